"""Suppression beside torchvision's, and through the engines that serve it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import box_iou, generalized_box_iou_loss, nms

from components.models.parts.boxes import generalized_overlaps, pairwise
from components.models.parts.suppression import BLOCK, MOST, OVERLAP, found, unsuppressed

CLASSES = 3
EXACT = (0.5, 0.625)  # overlaps that float32 holds, so that a pair on the edge is the same for both


def drawn(sets: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Boxes in half pixels, of which float32 holds every area, from heaps of them to scattered ones; and labels."""
    random = torch.Generator().manual_seed(seed)
    middles = torch.rand(sets, count, 2, generator=random) * torch.rand(sets, 1, 1, generator=random) * 100
    sizes = torch.rand(sets, count, 2, generator=random) * 40
    corners = torch.cat([middles, middles + sizes], dim=2)
    return (corners * 2).round() / 2, torch.randint(0, CLASSES, (sets, count), generator=random)


def greedy(boxes: Tensor, labels: Tensor, overlap: float) -> Tensor:
    """What torchvision keeps of boxes that stand in order of their scores, all of which are equal."""
    apart = boxes + labels.unsqueeze(1) * 512.0  # another class is far away
    kept = torch.zeros(len(boxes), dtype=torch.bool)
    kept[nms(apart, torch.ones(len(boxes)), overlap)] = True
    return kept


def kept_as_torchvision_keeps(sets: int, count: int, seed: int) -> None:
    boxes, labels = drawn(sets, count, seed)
    for overlap, part in zip(EXACT, (slice(0, None, 2), slice(1, None, 2)), strict=True):
        expected = torch.stack([greedy(*each, overlap) for each in zip(boxes[part], labels[part], strict=True)])
        assert torch.equal(unsuppressed(boxes[part], labels[part], overlap), expected)
        assert 0 < expected.float().mean() < 1


@pytest.mark.parametrize("count", [1, 2, BLOCK, BLOCK + 1, 37, MOST])
def test_what_is_kept_is_what_torchvision_keeps(count: int) -> None:
    if count > 2:
        kept_as_torchvision_keeps(200, count, seed=count)
    boxes, labels = drawn(50, count, seed=1)
    expected = torch.stack([greedy(*each, 0.5) for each in zip(boxes, labels, strict=True)])
    assert torch.equal(unsuppressed(boxes, labels, 0.5), expected)


@pytest.mark.slow
def test_what_is_kept_is_what_torchvision_keeps_of_ten_thousand_sets() -> None:
    for seed in range(10):
        kept_as_torchvision_keeps(1000, MOST if seed < 2 else 40, seed)


@pytest.mark.parametrize("length", [2, BLOCK, MOST - 1, MOST])
def test_of_a_chain_every_second_one_is_kept_however_long_it_is(length: int) -> None:
    """Each box overlaps the next alone: whether the last is kept depends on all others."""
    left = torch.arange(length).float() * 2
    boxes = torch.stack([left, torch.zeros(length), left + 10, torch.full((length,), 10.0)], dim=1)[None]
    labels = torch.zeros(1, length, dtype=torch.int64)
    assert ((pairwise(boxes, boxes) > OVERLAP).sum() - length) == 2 * (length - 1)
    assert unsuppressed(boxes, labels)[0].tolist() == [place % 2 == 0 for place in range(length)]


def test_boxes_of_other_classes_and_of_no_area_suppress_nothing() -> None:
    boxes = torch.tensor([[[0.0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 9, 9], [4, 4, 4, 4], [4, 4, 4, 4]]])
    assert unsuppressed(boxes, torch.tensor([[0, 1, 0, 2, 2]])).tolist() == [[True, True, False, True, True]]


def test_overlaps_are_torchvisions() -> None:
    boxes, _ = drawn(2, 200, seed=0)
    one, other = boxes
    torch.testing.assert_close(pairwise(one, other), torch.nan_to_num(box_iou(one, other)))
    expected = generalized_box_iou_loss(one, other)
    torch.testing.assert_close(1 - generalized_overlaps(one, other), expected, atol=1e-5, rtol=0)


def test_what_is_found_stands_in_front_by_falling_score_and_the_rest_is_blank() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [80, 80, 90, 90]]])
    logits = torch.tensor([[[2.0, -9.0], [3.0, 1.0], [-9.0, 1.5], [-9.0, -9.0]]])
    there, scores, labels, valid = found(boxes, logits, least=0.2)
    # The second place says both classes, and what the first says it has said.
    assert valid.tolist() == [[True, True, True, False]]
    assert labels.tolist() == [[0, 1, 1, -1]]
    torch.testing.assert_close(scores[0], torch.tensor([3.0, 1.5, 1.0, -torch.inf]).sigmoid())
    assert there[0].tolist() == [*(boxes[0, place].tolist() for place in (1, 2, 1)), [0.0] * 4]
    there, scores, labels, valid = found(boxes, logits - 20, least=0.2)
    assert not valid.any() and not scores.any() and not there.any() and (labels == -1).all()
    assert [each.shape for each in found(boxes[:0], logits[:0], 0.2)] == [(0, 4, 4), (0, 4), (0, 4), (0, 4)]


class Found(nn.Module):
    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, boxes: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
        return found(boxes, logits, 0.3, self.most)


# The exporter's time grows with the number of blocks; three have what all have: a first, a middle and a shorter last.
@pytest.fixture(scope="module", params=[2 * BLOCK + 5, pytest.param(MOST, marks=pytest.mark.slow)])
def most(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def graph(most: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "found.onnx"
    batch = {0: torch.export.Dim("batch")}
    program = torch.onnx.export(
        Found(most).eval(),
        (torch.rand(2, 150, 4), torch.rand(2, 150, CLASSES)),
        dynamo=True,
        dynamic_shapes={"boxes": batch, "logits": batch},
        verbose=False,
    )
    assert program is not None
    program.save(path)
    return path


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_exported_graph_finds_the_same_for_any_number_of_pictures(graph: Path, most: int, engine: str) -> None:
    boxes, _ = drawn(8, 150, seed=3)
    logits = torch.randn(8, 150, CLASSES, generator=torch.Generator().manual_seed(3))
    logits[2] = logits[5] = -20.0  # nothing is found in these
    if engine == "onnxruntime":
        session = onnxruntime.InferenceSession(graph)
    else:
        session = openvino.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for part in (slice(0, 1), slice(0, 3), slice(0, 8), slice(2, 3)):
        given = {"boxes": boxes[part].numpy(), "logits": logits[part].numpy()}
        answer = session.run(None, given) if engine == "onnxruntime" else list(session(given).values())
        expected = found(boxes[part], logits[part], 0.3, most)
        assert [each.shape for each in answer] == [each.shape for each in expected]
        np.testing.assert_allclose(answer[1], expected[1], atol=1e-6)
        for mine, theirs in zip(
            (answer[0], answer[2], answer[3]), (expected[0], expected[2], expected[3]), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)
    assert not expected[3].any()
