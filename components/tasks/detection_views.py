"""What of detections is shown to people: what goes wrong and how often, and pictures of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from components.artifacts import Predictions
from components.metrics import average_precision, faults
from components.metrics.average_precision import VISIBLE, Matches
from components.metrics.detection import FAULTS, SIDES, SIZES
from components.tasks.capabilities import Crossed, Doubt, Listed, Looked, Mark, Marked, View

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
HALF = 0.5  # of an object, that is to be visible before its box is doubted
DOUBTED = {  # a fault of a sure answer, what it may say of the labels, and how
    "background": ("missing-box", "is seen where nothing is labelled:"),
    "mislabelled": ("label-noise", "is seen where another class is labelled:"),
    "misplaced": ("misplaced-box", "is seen, and its box lies otherwise:"),
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
        "Confusion matrix",
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


def marked(looked: Looked, predictions: Predictions) -> Marked:
    """The boxes of one sample that score enough, right or wrong, and all truths; or one of them, and what is around."""
    row = predictions.table.slice(looked.row, 1)
    found, truths = (row.column(name).to_pylist()[0] for name in ("found", "truths"))
    name = predictions.classes
    real = [
        Mark(_sides(one), "truth" if one["ignored"] or one["score"] >= looked.least else "missed", name[one["label"]])
        for one in truths
    ]
    said = [
        Mark(_sides(one), _kind(one), f"{name[one['label']]} {one['score']:.2f}")
        for one in found
        if one["score"] >= looked.least
    ]
    if looked.part is None:
        return Marked((*real, *said))
    of_truth = looked.line == LINES["missed"]
    one = (real if of_truth else said)[looked.part]
    return Marked((one, *said) if of_truth else (*real, one), _window(one.sides))


def doubts(predictions: Predictions) -> Sequence[Doubt]:
    """Objects that seem to have no box, boxes that seem to be of another class or place, and boxes of nothing.

    An answer is taken for sure that scores as the right answers of its class do on average (after confident learning,
    Northcutt et al. 2021); a box is of nothing where at least half of its object is visible and no answer is near it.
    """
    judged = average_precision.matches(predictions)
    found, truths = judged.found, judged.truths
    sure = found["score"] >= _usual(judged)[found["label"]]
    told = []
    for fault, (finding, says) in DOUBTED.items():
        for one in np.flatnonzero(sure & (found["fault"] == FAULTS.index(fault))):
            name, score = predictions.classes[found["label"][one]], float(found["score"][one])
            said = f"{name} (score {score:.2f}) {says} {_at(found, int(one))}"
            told.append(Doubt(int(found["image"][one]), finding, score, said))
    lost = (truths["counts"] & 1 == 1) & (truths["visible"] >= HALF) & (np.maximum(truths["score"], truths["near"]) < 0)
    for one in np.flatnonzero(lost):
        said = f"nothing is seen where {predictions.classes[truths['label'][one]]} is labelled: {_at(truths, int(one))}"
        told.append(Doubt(int(truths["image"][one]), "doubtful-box", float(truths["visible"][one]), said))
    return told


def _usual(judged: Matches) -> npt.NDArray[np.float64]:
    """`(C,)`: the mean score of what is right; infinite for a class of which nothing is."""
    right = judged.found["hits"] & 1 == 1
    labels, scores = judged.found["label"][right], judged.found["score"][right]
    sums, counts = (np.bincount(labels, each, minlength=judged.classes) for each in (scores, np.ones(len(scores))))
    usual: npt.NDArray[np.float64] = np.where(counts > 0, sums / np.maximum(counts, 1.0), np.inf)
    return usual


def _at(columns: Mapping[str, npt.NDArray[Any]], one: int) -> str:
    return "left {:.0f}, top {:.0f}, right {:.0f}, bottom {:.0f}".format(*(columns[side][one] for side in SIDES))


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


def _sides(box: Mapping[str, Any]) -> Sides:
    return box["left"], box["top"], box["right"], box["bottom"]


def _window(sides: Sides) -> Sides:
    left, top, right, bottom = sides
    half = max(right - left, bottom - top) * (0.5 + AROUND)
    x, y = (left + right) / 2, (top + bottom) / 2
    return x - half, y - half, x + half, y + half
