"""Which place learns what, what it costs, how boxes follow augmentation, and that a detector learns to find things."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from components.artifacts import ImageSpec
from components.config import NetworkConfig
from components.decoding import place
from components.models import registry
from components.models.parts.boxes import pairwise
from components.registry.answers import boxes as writing
from components.tasks import matching
from components.tasks.boxes import moved, truths_of
from components.tasks.detection import TASK
from components.tasks.network import network_answer
from components.tasks.protocol import Batch
from components.training.parallel.pieces import mean_of, micro_batches

CLASSES = 2
SIDE = 64
INPUTS = ImageSpec(height=SIDE, width=SIDE, channels=3, mean=(0.5,) * 3, std=(0.3,) * 3)
NOTHING = (-1, 0, 0, 0, 0, 0, 0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scenes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rectangles and ellipses of any colour on noise: none to three in a picture."""
    random = np.random.default_rng(seed)
    images, targets = np.zeros((count, SIDE, SIDE, 3), np.uint8), np.tile(np.float32(NOTHING), (count, 3, 1))
    for number in range(count):
        picture = Image.fromarray(random.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8))
        draw, taken = ImageDraw.Draw(picture), torch.zeros(0, 4)
        for row in range(random.integers(0, 4)):
            width, height = random.integers(14, 30, 2)
            left, top = random.integers(0, SIDE - width), random.integers(0, SIDE - height)
            box = torch.tensor([[left, top, left + width, top + height]]).float()
            if pairwise(box, taken).sum() > 0:
                continue
            label, taken = int(random.integers(CLASSES)), torch.cat([taken, box])
            (draw.rectangle, draw.ellipse)[label](
                (left, top, left + width - 1, top + height - 1), fill=tuple(random.integers(120, 256, 3).tolist())
            )
            targets[number, row] = (label, *box[0].tolist(), 0, 1)
        images[number] = np.asarray(picture)
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(targets)


def network(seed: int = 0, **arguments: object) -> torch.nn.Module:
    torch.manual_seed(seed)
    config = NetworkConfig(name="detector", arguments={"width": 8, **arguments})
    return registry.build(config, INPUTS, CLASSES)


def average_precision(answer: dict[str, np.ndarray], targets: Tensor) -> float:
    """At an overlap of .5, mean over the classes, by the area below the precision's envelope."""
    found = []
    for label in range(CLASSES):
        judged, there = [], 0
        for number, truths in enumerate(targets):
            own = truths[truths[:, 0] == label, 1:5]
            there += len(own)
            mine = answer["valid"][number] & (answer["labels"][number] == label)
            overlap = pairwise(torch.from_numpy(answer["boxes"][number][mine]), own).numpy()
            for score, row in zip(answer["scores"][number][mine], overlap, strict=True):
                best = int(row.argmax()) if len(row) else -1
                hit = best >= 0 and row[best] >= 0.5
                if hit:
                    overlap[:, best] = -1
                judged.append((score, hit))
        hits = np.array([hit for _, hit in sorted(judged, key=lambda each: -each[0])])
        precision = np.maximum.accumulate((hits.cumsum() / np.arange(1, len(hits) + 1))[::-1])[::-1]
        found.append((precision * hits).sum() / there)
    return float(np.mean(found))


@pytest.mark.parametrize("arguments", [{}, {"anchors": "16x16,24x24"}], ids=["sides", "anchors"])
def test_a_small_detector_finds_what_it_has_not_seen(arguments: dict[str, object]) -> None:
    images, targets = scenes(64, seed=0)
    unseen, truths = scenes(64, seed=1)
    detector = network(**arguments)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.005, total_steps=200)
    order = torch.Generator().manual_seed(0)
    for _ in range(200):
        chosen = torch.randint(0, len(images), (16,), generator=order)
        optimizer.zero_grad()
        TASK.loss(detector(images[chosen]), Batch(images[chosen], targets[chosen]))["loss"].backward()
        optimizer.step()
        schedule.step()
    answer = network_answer(TASK, detector.eval(), unseen)
    assert average_precision(answer, truths) > 0.5


# -- assignment ------------------------------------------------------------------------------------------------------


def outputs_of(boxes: Tensor, logits: Tensor, stride: float = 8.0, side: int = 4) -> Tensor:
    """A grid of `side`² places that say these boxes and logits, `(L, 4)` and `(L, C)`."""
    y, x = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    centres = torch.stack([x.flatten(), y.flatten()], dim=1) * stride
    return torch.cat([centres, torch.full_like(centres, stride), boxes, logits], dim=1)[None]


def blank(side: int = 4) -> tuple[Tensor, Tensor]:
    return torch.tensor([[0.0, 0, 32, 32]]).repeat(side**2, 1), torch.full((side**2, CLASSES), -3.0)


def targets_of(*truths: tuple[float, ...], most: int = 4) -> Tensor:
    return torch.tensor([[*truths, *[NOTHING] * (most - len(truths))]], dtype=torch.float32)


def assigned(outputs: Tensor, targets: Tensor) -> matching.Assigned:
    return matching.assign(matching.said(outputs), truths_of(targets, CLASSES))


def test_places_inside_an_object_learn_it_and_the_best_as_much_as_it_overlaps() -> None:
    boxes, logits = blank()
    boxes[5] = torch.tensor([8.0, 8, 24, 22])  # 7/8 of the truth
    boxes[6] = torch.tensor([8.0, 8, 24, 16])
    found = assigned(outputs_of(boxes, logits), targets_of((1, 8, 8, 24, 24, 0, 1)))
    assert set(found.quality[0, :, 1].nonzero().flatten().tolist()) == {5, 6, 9, 10}
    assert not found.quality[0, :, 0].any() and found.counted.all()
    torch.testing.assert_close(found.quality[0, 5, 1], torch.tensor(0.875))
    torch.testing.assert_close(found.quality[0, 6, 1], torch.tensor(0.875 * (0.5 / 0.875) ** 6))
    assert (found.boxes[0, [5, 6, 9, 10]] == torch.tensor([8.0, 8, 24, 24])).all()


def test_an_object_is_learnt_by_no_more_than_its_best_places() -> None:
    boxes, logits = blank()
    boxes[:, 2] = torch.arange(16) + 16.0
    found = assigned(outputs_of(boxes, logits), targets_of((0, 0, 0, 32, 32, 0, 1)))
    assert found.quality[0, :, 0].nonzero().flatten().tolist() == list(range(16 - matching.PLACES, 16))


def test_a_place_in_two_objects_learns_the_one_that_it_overlaps_more() -> None:
    boxes, logits = blank()
    boxes[:] = torch.tensor([0.0, 0, 16, 16])
    boxes[10] = torch.tensor([0.0, 0, 30, 30])
    found = assigned(outputs_of(boxes, logits), targets_of((0, 0, 0, 32, 32, 0, 1), (1, 0, 0, 22, 22, 0, 1)))
    assert found.quality[0, 10].nonzero().flatten().tolist() == [0]
    assert (found.boxes[0, 10] == torch.tensor([0.0, 0, 32, 32])).all()
    assert found.quality[0, 0].nonzero().flatten().tolist() == [1]


def test_an_object_between_all_places_is_learnt_by_the_nearest() -> None:
    boxes, logits = blank()
    found = assigned(outputs_of(boxes, logits), targets_of((0, 13, 5, 15, 7, 0, 1)))
    assert found.quality[0].nonzero().tolist() == [[1, 0]]


def test_what_is_ignored_counts_neither_way() -> None:
    boxes, logits = blank()
    ignored, learnt = (1, 0, 0, 16, 16, 1, 1), (0, 0, 0, 7, 7, 0, 1)
    found = assigned(outputs_of(boxes, logits), targets_of(ignored, learnt))
    assert found.quality[0].nonzero().tolist() == [[0, 0]]
    assert (~found.counted[0]).nonzero().flatten().tolist() == [1, 4, 5]
    hot = logits.clone()
    hot[[1, 4, 5]] = 5.0
    for targets in (targets_of(ignored), targets_of(ignored, learnt)):
        before, after = (TASK.each(outputs_of(boxes, each), Batch(hot, targets)) for each in (logits, hot))
        assert torch.equal(before, after)
    assert TASK.each(outputs_of(boxes, hot), Batch(hot, targets_of())) > 2


# -- the loss --------------------------------------------------------------------------------------------------------


def test_pictures_without_objects_have_a_finite_loss_with_a_gradient() -> None:
    images, targets = scenes(4, seed=2)
    targets[:, :, 0] = -1
    detector = network()
    parts = TASK.loss(detector(images), Batch(images, targets))
    parts["loss"].backward()
    assert 0 < parts["loss"].item() < 3 and parts["box_loss"] == 0
    assert all(torch.isfinite(weight.grad).all() for weight in detector.parameters())
    assert detector.head.bias.grad.any()


@pytest.mark.parametrize("pieces", [2, 3, 8])
def test_the_loss_of_a_batch_is_that_of_its_pieces(pieces: int) -> None:
    images, targets = scenes(8, seed=3)
    detector = network(normalization="group")
    batch = Batch(images, targets)
    whole = TASK.loss(detector(images), batch)
    cut = micro_batches(batch, pieces)
    losses = [TASK.loss(detector(piece.inputs), piece) for piece in cut]
    for name, value in mean_of(losses, [len(piece.inputs) for piece in cut]).items():
        torch.testing.assert_close(value, whole[name].detach(), rtol=1e-5, atol=1e-6)


def test_rows_of_truths_and_padding_change_nothing() -> None:
    images, targets = scenes(8, seed=4)
    outputs = network()(images).detach()
    padded = torch.cat([targets[:, [2, 0, 1]], torch.tensor(NOTHING).float().expand(8, 20, 7)], dim=1)
    torch.testing.assert_close(TASK.each(outputs, Batch(images, padded)), TASK.each(outputs, Batch(images, targets)))


# -- answers ---------------------------------------------------------------------------------------------------------


def said(*objects: tuple[float, ...], most: int = 3) -> dict[str, np.ndarray]:
    """Of one picture: label, score, left, top, right, bottom of each."""
    table = np.zeros((1, most, 6), np.float32)
    table[:, :, 0] = -1
    table[0, : len(objects)] = np.array(objects, np.float32).reshape(-1, 6)
    valid = table[:, :, 0] >= 0
    return {
        "boxes": table[:, :, 2:], "scores": table[:, :, 1], "labels": table[:, :, 0].astype(np.int64), "valid": valid
    }  # fmt: skip


def test_answers_differ_by_what_only_one_of_them_says() -> None:
    one, half = (0, 0.8, 0, 0, 10, 10), (0, 0.8, 0, 0, 10, 5)
    both = said(one, (1, 0.6, 20, 20, 40, 40))
    nothing = said()
    pairs = {
        (0.0, "nothing twice"): (nothing, nothing),
        (0.0, "in another order"): (both, said((1, 0.6, 20, 20, 40, 40), one)),
        (0.8**2, "found or not"): (said(one), nothing),
        (1.0, "another class"): (said(one), said((1, *one[1:]))),
        (0.5, "half as high"): (said(one), said(half)),
        (0.5, "half as sure"): (said((0, 1.0, *one[2:])), said((0, 0.5, *one[2:]))),
        (0.6**2 / (0.6**2 + 2 * 0.8**2), "one of two"): (both, said(one)),
    }
    for (expected, case), (left, right) in pairs.items():
        assert TASK.difference(left, right)[0] == pytest.approx(expected, abs=1e-6), case
        assert TASK.difference(right, left)[0] == pytest.approx(expected, abs=1e-6), case
    blank_ = {name: values[:, :0] for name, values in nothing.items()}
    assert TASK.difference(blank_, nothing).tolist() == [0.0]


def test_a_served_answer_is_in_pixels_of_the_requests_own_picture() -> None:
    card = {"classes": ["cup", "plate"], "input": {"width": 64, "height": 32}}
    answer = said((1, 0.75, 16, 8, 32, 40), (0, 0.5, 0, 0, 64, 32))
    row = writing.write([answer[name][0] for name in writing.OUTPUTS], place((640, 64), (64, 32), "stretch"), card)
    assert list(row) == list(writing.COLUMNS)
    assert row["label"] == ["plate", "cup"] and row["score"] == [0.75, 0.5]
    assert [row[side] for side in ("left", "top", "right", "bottom")] == [[160, 0], [16, 0], [320, 640], [64, 64]]
    nothing = writing.write([said()[name][0] for name in writing.OUTPUTS], place((640, 64), (64, 32), "stretch"), card)
    assert all(value == [] for value in nothing.values())


def test_an_object_costs_the_same_whatever_else_its_picture_shows() -> None:
    boxes, logits = blank()
    boxes[[0, 15]] = torch.tensor([[0.0, 0, 8, 8], [24.0, 24, 32, 32]])
    first, second = (0, 0, 0, 9, 9, 0, 1), (1, 23, 23, 32, 32, 0, 1)
    shown = outputs_of(boxes, logits)
    alone, other, both, none = (
        TASK.each(shown, Batch(logits, targets_of(*truths))) for truths in ((first,), (second,), (first, second), ())
    )
    torch.testing.assert_close(both - none, (alone - none) + (other - none))


# -- augmentation ----------------------------------------------------------------------------------------------------


@dataclass
class Turn:
    """Each image turned about its middle, by its own angle, and moved."""

    size: tuple[int, int]
    angles: Tensor
    shift: tuple[float, float] = (0.0, 0.0)

    def points(self, points: Tensor) -> Tensor:
        cosine, sine = self.angles.cos(), self.angles.sin()
        turn = torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2)
        middle = torch.tensor([self.size[1] / 2, self.size[0] / 2])
        return (points - middle) @ turn.mT + middle + torch.tensor(self.shift)


def test_boxes_are_around_the_moved_ellipses_that_fill_them() -> None:
    targets = targets_of((1, 30, 10, 50, 20, 0, 0.5), most=2).repeat(3, 1, 1)
    found = moved(targets, Turn((40, 80), torch.tensor([0.0, math.pi / 2, math.pi / 4])))
    assert found.shape == targets.shape and found.dtype == targets.dtype
    torch.testing.assert_close(found[0], targets[0])
    torch.testing.assert_close(found[1, 0], torch.tensor([1.0, 40, 10, 50, 30, 0, 0.5]))
    side = math.hypot(20, 10) / math.sqrt(2)  # around an ellipse of 20×10, turned by half a right angle
    assert (found[2, 0, 3:5] - found[2, 0, 1:3]).tolist() == pytest.approx([side, side])
    assert (found[:, 1, 0] == -1).all()


def test_boxes_are_cut_to_the_picture_and_go_where_too_little_is_left_of_them() -> None:
    truths = [(0, 0, 0, 10, 10, ignored, 1) for ignored in (0, 1)]
    for left, labels in ((2.0, [0, 0]), (6.0, [0, 0]), (7.5, [-1, 0]), (10.0, [-1, -1]), (30.0, [-1, -1])):
        found = moved(targets_of(*truths, most=2), Turn((40, 80), torch.zeros(1), (-left, 0.0)))
        assert found[0, :, 0].tolist() == labels, left
        assert found[0, :, 5].tolist() == [0, 1]
        for row in found[0][found[0, :, 0] >= 0]:
            torch.testing.assert_close(row[1:5], torch.tensor([0.0, 0, 10 - left, 10]))
