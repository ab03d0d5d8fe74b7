"""Answers and truths of images to judge, at random and by hand, and what COCO's evaluator says of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from faster_coco_eval import COCO, COCOeval_faster

from components.artifacts import Predictions
from components.metrics import average_precision, detection
from components.metrics.average_precision import Matches

CLASSES = 3


@dataclass(frozen=True)
class Judged:
    """An answer and its truths, one row per image."""

    answer: Mapping[str, np.ndarray]
    targets: np.ndarray

    def __getitem__(self, images: np.ndarray) -> Judged:
        return Judged({name: values[images] for name, values in self.answer.items()}, self.targets[images])

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def matches(self) -> Matches:
        table = pa.table(detection.rows(self.answer, self.targets))
        return average_precision.matches(Predictions(table, "", "", tuple("abcdefg"[:CLASSES])))


def drawn(
    seed: int, images: int = 12, detections: int = 40, truths: int = 8, grid: float = 4.0, wrong: float = 0.2
) -> Judged:
    """Truths of all sizes on a coarse grid, so that overlaps tie, and detections that are near them, beside, or off.

    Some are of `wrong` classes, some of equal scores; some images have no truth, some no detection, some neither.
    """
    random = np.random.default_rng(seed)
    sides = random.choice([12.0, 24.0, 40.0, 80.0, 120.0], (images, truths, 2)) + grid * random.integers(
        0, 2, (images, truths, 2)
    )
    corners = grid * random.integers(0, int(80 / grid), (images, truths, 2))
    boxes = np.concatenate([corners, corners + sides], axis=2)
    labels = random.integers(0, CLASSES, (images, truths))
    labels[np.arange(truths) >= random.integers(0, truths + 1, images)[:, None]] = -1
    labels[0] = -1
    ignored = random.random((images, truths)) < 0.2
    visible = random.choice([0.1, 0.2, 0.4, 0.5, 0.9, 1.0], (images, truths))
    targets = np.concatenate([labels[..., None], boxes, ignored[..., None], visible[..., None]], axis=2)

    near = random.integers(0, truths, (images, detections))
    shift = grid * random.integers(-2, 3, (images, detections, 4)) * (random.random((images, detections, 1)) < 0.7)
    found = np.take_along_axis(boxes, near[..., None], axis=1) + shift
    found[..., 2:] = np.maximum(found[..., 2:], found[..., :2] + grid)
    said = np.take_along_axis(labels, near, axis=1)
    said = np.where((said < 0) | (random.random(said.shape) < wrong), random.integers(0, CLASSES, said.shape), said)
    scores = np.round(random.random(said.shape), 2)
    valid = np.arange(detections) < random.integers(0, detections + 1, images)[:, None]
    valid[1] = False
    answer = {"boxes": found.astype(np.float32), "scores": scores.astype(np.float32), "labels": said, "valid": valid}
    return Judged(answer, targets.astype(np.float32))


def coco(judged: Judged) -> COCOeval_faster:
    """The same, evaluated by COCO's evaluator."""
    told = [
        {"image_id": image + 1, "category_id": int(label) + 1, "bbox": bbox(box), "score": float(score)}
        for image in range(len(judged))
        for box, score, label, valid in zip(
            *(judged.answer[name][image] for name in ("boxes", "scores", "labels", "valid")), strict=True
        )
        if valid
    ]
    true = [
        {"image_id": image + 1, "category_id": int(row[0]) + 1, "bbox": bbox(row[1:5]), "iscrowd": int(row[5])}
        for image in range(len(judged))
        for row in judged.targets[image]
        if row[0] >= 0
    ]
    for number, annotation in enumerate(true, start=1):
        annotation.update(id=number, area=annotation["bbox"][2] * annotation["bbox"][3])
    with redirect_stdout(io.StringIO()):
        data = COCO(
            {
                "images": [{"id": image + 1, "width": 300, "height": 300} for image in range(len(judged))],
                "annotations": true,
                "categories": [{"id": label + 1, "name": str(label)} for label in range(CLASSES)],
            }
        )
        evaluator = COCOeval_faster(data, data.loadRes(told), "bbox", separate_eval=True)
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def bbox(box: np.ndarray) -> list[float]:
    left, top, right, bottom = box.astype(float)
    return [left, top, right - left, bottom - top]


def one_image(boxes: list[list[float]], scores: list[float], labels: list[int], truths: list[list[float]]) -> Judged:
    """Truths of five or more numbers: the others are not ignored, and wholly visible."""
    whole = [row + [0.0, 1.0][len(row) - 5 :] for row in truths]
    answer = {
        "boxes": np.array(boxes, np.float32).reshape(1, -1, 4),
        "scores": np.array([scores], np.float32),
        "labels": np.array([labels], np.int64),
        "valid": np.ones((1, len(labels)), bool),
    }
    return Judged(answer, np.array(whole, np.float32).reshape(1, -1, 7))


def distinct(judged: Judged) -> Judged:
    """The same with no two equal scores within an image; between images they stay equal."""
    scores = np.linspace(0.1, 1.0, judged.answer["scores"].shape[1], dtype=np.float32)
    order = judged.answer["scores"].argsort(axis=1).argsort(axis=1)
    return Judged({**judged.answer, "scores": scores[order]}, judged.targets)
