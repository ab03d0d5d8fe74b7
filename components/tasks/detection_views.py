"""What of detections is shown to people: what goes wrong and how often, and pictures of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from components.artifacts import Predictions
from components.metrics import average_precision, detection, faults
from components.metrics.average_precision import VISIBLE, Matches
from components.metrics.detection import FAULTS, SIZES
from components.tasks.answers import Answers
from components.tasks.capabilities import Crossed, Listed, Looked, Mark, Marked, View

Sides = tuple[float, float, float, float]
Cells = tuple[str | float | int, ...]

SCENES = 4  # pictures a line of whole scenes
FAULTY = 6  # of parts of scenes
AROUND = 0.75  # of a box's longer side, that is shown around it
NOTHING = "nothing"
SAID = {  # each fault, in people's words
    "misplaced": "found, of the right class, in a box that overlaps by .1 to .5",
    "mislabelled": "found and taken for another class",
    "duplicate": "said once more",
    "background": "said where there is nothing",
    "both": "neither the place nor the class is right",
    "missed": "objects that nothing points at",
}
LINES = {"missed": "missed", "background": "nothing there", "misplaced": "misplaced", "mislabelled": "mislabelled"}


def views(predictions: Predictions) -> Sequence[View]:
    """Faults, confusion with each other and with nothing, and figures by size and by visible share."""
    judged = average_precision.matches(predictions)
    once, least = np.ones((1, judged.samples)), average_precision.best_score(judged)
    counts = judged.truths["counts"] & 1 == 1
    found = faults.faults(judged, once, least)
    there, every = int(counts.sum()), int((judged.found["score"] >= np.float32(least)).sum())
    wrong = Listed(
        "What goes wrong",
        f"Of {there:,} objects and {every:,} answers of a score of {least:.2f} and above, where F1 is greatest. The "
        "kinds are TIDE's (Bolya et al. 2020).",
        ("fault", "what it is", "how many"),
        tuple((name, SAID[name], int(values[0])) for name, values in found.items()),
    )
    crossed = Crossed(
        "What is taken for what",
        "Each row is a true class, or nothing; columns say what it was called, or that it was not found. Answers of "
        f"{least:.2f} and above, at an overlap of .5.",
        (*predictions.classes, NOTHING),
        faults.confusion(judged, least),
    )
    return (wrong, crossed, *_by_size(judged, once), *_by_visibility(judged, once))


def looked_at(predictions: Predictions) -> Sequence[Looked]:
    """The best, typical and worst scenes, and the surest of what is wrong."""
    judged = average_precision.matches(predictions)
    least = average_precision.best_score(judged)
    return (*_scenes(judged, least), *_faulty(judged, least))


def marked(looked: Looked, answer: Answers, targets: npt.NDArray[Any], classes: tuple[str, ...]) -> Marked | None:
    """The boxes of one sample that score enough, right or wrong, and all truths; or one of them, and what is around."""
    columns = detection.rows(answer, targets)
    found, truths = (columns[name].to_pylist()[0] for name in ("found", "truths"))
    boxes, _, _, valid = detection.by_score(answer)
    ours = [_sides(box) for box in boxes[0][valid[0]]]
    theirs = [_sides(box) for box in targets[0][targets[0][:, 0] >= 0, 1:5]]
    real = [
        Mark(
            sides, "truth" if truth["ignored"] or truth["score"] >= looked.least else "missed", classes[truth["label"]]
        )
        for sides, truth in zip(theirs, truths, strict=True)
    ]
    said = [
        Mark(
            sides,
            "right" if (one["hits"] | one["passed"]) & 1 else "wrong",
            f"{classes[one['label']]} {one['score']:.2f}",
        )
        for sides, one in zip(ours, found, strict=True)
        if one["score"] >= looked.least
    ]
    if looked.part is None:
        return Marked((*real, *said))
    of_truth = looked.line == LINES["missed"]
    if looked.part >= len(real if of_truth else said):
        return None
    one = (real if of_truth else said)[looked.part]
    return Marked((*(real if not of_truth else [one]), *(said if of_truth else [one])), _window(one.sides))


def _by_size(judged: Matches, once: npt.NDArray[np.float64]) -> Iterator[View]:
    found = average_precision.by_size(judged, once)
    rows: list[Cells] = []
    for size, (name, (low, high)) in enumerate(SIZES.items(), start=1):
        number = int((judged.truths["counts"] >> size & 1).sum())
        if number:
            limits = (
                f"{math.sqrt(low):.0f} to {math.sqrt(high):.0f} px"
                if math.isfinite(high)
                else f"from {math.sqrt(low):.0f} px"
            )
            rows.append(
                (name, limits, number, *(float(found[name][each][0]) for each in ("map", "map50", "average_recall")))
            )
    if rows:
        yield Listed(
            "By size",
            "Sides of squares of the same area, in pixels of the picture that the network sees.",
            ("size", "side", "objects", "map", "map50", "average recall"),
            tuple(rows),
        )


def _by_visibility(judged: Matches, once: npt.NDArray[np.float64]) -> Iterator[View]:
    """Nothing where the data does not say it: there all is visible."""
    visible, counts = judged.truths["visible"], judged.truths["counts"] & 1 == 1
    if not (visible[counts] < 1.0).any():
        return
    found = average_precision.by_visibility(judged, once)
    rows: list[Cells] = []
    for name, (low, high) in VISIBLE.items():
        number = int((counts & (visible > np.float32(low)) & (visible <= np.float32(high))).sum())
        if number:
            rows.append((name, f"{max(low, 0.0):.0%} to {high:.0%}", number, float(found[name][0])))
    yield Listed(
        "By how much is visible",
        "Recall at an overlap of .5, by the answers of which nine in ten are right.",
        ("visible", "share", "objects", "recall"),
        tuple(rows),
    )


def _scenes(judged: Matches, least: float) -> Iterator[Looked]:
    worth = average_precision.image_f1(judged, least)
    there = np.bincount(judged.truths["image"], minlength=judged.samples)
    known = np.flatnonzero(np.isfinite(worth))
    order = known[np.lexsort((known, -there[known], -worth[known]))]  # of equal ones those that show more
    middle = max(0, (len(order) - SCENES) // 2)
    lines = {"best": order[:SCENES], "typical": order[middle : middle + SCENES], "worst": order[::-1][:SCENES]}
    for line, rows in lines.items():
        yield from (Looked("scenes", line, int(row), f"F1 {worth[row]:.2f}", least) for row in rows)


def _faulty(judged: Matches, least: float) -> Iterator[Looked]:
    """The surest answers of each fault; of what is missed, what is most visible."""
    truths, found = judged.truths, judged.found
    missed = (truths["counts"] & 1 == 1) & (np.maximum(truths["score"], truths["near"]) < np.float32(least))
    chosen = np.flatnonzero(missed)
    for one in chosen[np.argsort(-truths["visible"][chosen], kind="stable")][:FAULTY]:
        row = int(truths["image"][one])
        part = int(one - np.searchsorted(truths["image"], row))
        yield Looked("faults", LINES["missed"], row, f"{truths['visible'][one]:.0%} visible", least, part)
    for name in ("background", "misplaced", "mislabelled"):
        wrong = np.flatnonzero((found["fault"] == FAULTS.index(name)) & (found["score"] >= np.float32(least)))
        for one in wrong[:FAULTY]:
            row = int(found["image"][one])
            part = int((found["image"][:one] == row).sum())  # both are by falling score
            yield Looked("faults", LINES[name], row, f"score {found['score'][one]:.2f}", least, part)


def _kind(found: Mapping[str, Any]) -> Literal["right", "wrong"]:
    """What lies on an ignored truth is not wrong."""
    return "right" if (found["hits"] | found["passed"]) & 1 else "wrong"


def _sides(box: npt.NDArray[Any]) -> Sides:
    left, top, right, bottom = (float(side) for side in box)
    return left, top, right, bottom


def _window(sides: Sides) -> Sides:
    left, top, right, bottom = sides
    half = max(right - left, bottom - top) * (0.5 + AROUND)
    x, y = (left + right) / 2, (top + bottom) / 2
    return x - half, y - half, x + half, y + half
