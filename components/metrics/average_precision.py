"""Average precision and recall of detections under weights `(B, N)` of N images, as in COCO's evaluator.

The rows of `components.metrics.detection` are sorted by score once; what was found, rightly and at all, is then a
cumulative sum of the images' weights. A figure that cannot be computed is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.artifacts import Predictions
from components.metrics.confusion import mean_of_classes
from components.metrics.detection import SIZES, THRESHOLDS, Sizes

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Columns = Mapping[str, npt.NDArray[Any]]

RECALLS: Floats = np.linspace(0.0, 1.0, 101)  # at which precision is read off
VISIBLE = {"barely": (-math.inf, 0.2), "partly": (0.2, 0.5), "mostly": (0.5, 1.0)}  # more than … and at most …
PRECISION = 0.9  # at which recall is told
CELLS = 250_000  # weights that are worked on at once: 2 MB an array, so that a processor's cache holds them


@dataclass(frozen=True)
class Matches:
    """Detections and truths of all images, a value each in every column, with the `image` they belong to."""

    samples: int
    classes: int
    found: Columns  # by falling score; of equal scores in the order of the images
    truths: Columns  # in the order of the images


def matches(predictions: Predictions) -> Matches:
    """Of the columns `found` and `truths`."""
    found, truths = (flat(predictions.table, name) for name in ("found", "truths"))
    order = np.argsort(-found["score"], kind="stable")
    sorted_ = {name: values[order] for name, values in found.items()}
    return Matches(len(predictions.table), len(predictions.classes), sorted_, truths)


def flat(table: pa.Table, column: str) -> dict[str, npt.NDArray[Any]]:
    """A column of lists of structs → a flat array a field, and `image`: the row of each."""
    lists = table.column(column).combine_chunks()
    structs = lists.flatten()
    fields = zip((field.name for field in structs.type), structs.flatten(), strict=True)
    image = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    return {"image": image, **{name: values.to_numpy(zero_copy_only=False) for name, values in fields}}


def average_precision(judged: Matches, weights: Floats, size: int = 0) -> Floats:
    """Mean precision over 101 recalls, by class and threshold: → `(B, C, T)`; NaN for a class without truths.

    `size` s ≥ 1: of the s-th of the sizes that the rows were made with; 0: of all.
    """
    there = truths_of_class(judged, weights, size)
    found = np.full((*there.shape, len(THRESHOLDS)), np.nan)
    for label in range(judged.classes):
        mine = np.flatnonzero(judged.found["label"] == label)
        hits, passed = (_flags(judged.found[name][mine], size) for name in ("hits", "passed"))
        for part in _parts(len(weights), len(mine)):
            own = weights[part][:, judged.found["image"][mine]]
            found[part, label] = _interpolated(own, hits, passed, there[part, label])
    found[there <= 0] = np.nan
    return found


def largest_recall(judged: Matches, weights: Floats, size: int = 0) -> Floats:
    """Share of the truths that were found, by class and threshold: → `(B, C, T)`; NaN for a class without truths."""
    there = truths_of_class(judged, weights, size)[..., None]
    hits = _flags(judged.found["hits"], size)
    right = np.stack([_of_class(judged, judged.found, weights, which) for which in hits], axis=2)
    shares: Floats = np.divide(right, there, out=np.full(right.shape, np.nan), where=there > 0)
    return shares


def recall_at(judged: Matches, weights: Floats, precision: float = PRECISION, among: Bools | None = None) -> Floats:
    """Largest share of the truths found at overlap .5 by scores from a threshold on, if so many of these are right.

    The threshold is that of all classes together; `among` (one flag a truth) says of which truths the share is told.
    0 where no threshold is so precise, NaN where there are no truths: → `(B,)`.
    """
    found, truths = judged.found, judged.truths
    score = found["score"]
    right, counted = found["hits"] & 1 == 1, found["passed"] & 1 == 0
    # Detections of equal scores pass a threshold together.
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True)[: len(score)])
    counts = truths["counts"] & 1 == 1
    which = np.flatnonzero(counts if among is None else counts & among)
    which = which[np.argsort(-truths["score"][which], kind="stable")]
    # How many of these truths are found at each threshold, the first of which nothing passes.
    reached = np.append(0, np.searchsorted(-truths["score"][which], -score[ends], side="right"))
    shares = np.full(len(weights), np.nan)
    for part in _parts(len(weights), len(score)):
        own = weights[part][:, found["image"]]
        true, all_ = (np.cumsum(own * flag, axis=1)[:, ends] for flag in (right, counted))
        # A rounding error is no lack of precision.
        precise = np.full((len(own), len(reached)), True)
        precise[:, 1:] = (all_ > 0) & (true >= precision * all_ * (1.0 - 1e-12))
        last = len(reached) - 1 - precise[:, ::-1].argmax(axis=1)
        truth_weights = weights[part][:, truths["image"][which]]
        sums = np.concatenate([np.zeros((len(own), 1)), np.cumsum(truth_weights, axis=1)], axis=1)
        np.divide(sums[np.arange(len(own)), reached[last]], sums[:, -1], out=shares[part], where=sums[:, -1] > 0)
    return shares


def best_score(judged: Matches) -> float:
    """The score from which on answers are best taken: where F1 at overlap .5 is greatest; 1 where nothing is right."""
    found = judged.found
    score, right, counted = found["score"], found["hits"] & 1 == 1, found["passed"] & 1 == 0
    ends = np.append(score[1:] != score[:-1], True)[: len(score)]
    there = int((judged.truths["counts"] & 1).sum())
    f1 = np.where(ends, 2.0 * np.cumsum(right) / np.maximum(np.cumsum(counted) + there, 1), 0.0)
    return float(score[f1.argmax()]) if f1.any() else 1.0


def image_f1(judged: Matches, score: float) -> Floats:
    """F1 of each image `(N,)` with answers of `score` and above, mean over the overlaps.

    NaN where nothing is said and nothing is there. `score` is compared as scores are stored.
    """
    found, truths = judged.found, judged.truths
    said = found["score"] >= np.float32(score)
    hits = _flags(found["hits"], 0).mean(axis=0)
    right = np.bincount(found["image"][said], hits[said], minlength=judged.samples)
    counted = np.bincount(found["image"][said & (found["passed"] & 1 == 0)], minlength=judged.samples)
    all_ = counted + np.bincount(truths["image"][truths["counts"] & 1 == 1], minlength=judged.samples)
    shares: Floats = np.divide(2.0 * right, all_, out=np.full(judged.samples, np.nan), where=all_ > 0)
    return shares


def figures(judged: Matches, weights: Floats) -> dict[str, Floats]:
    """All classes and sizes together, `(B,)` each.

    `map`: average precision, mean over thresholds and over the classes that have truths; `map50`, `map75`: the same at
    one overlap; `average_recall`: `largest_recall` in place of it; `recall`: `recall_at` a precision of .9.
    """
    return {**_means(judged, weights), "recall": recall_at(judged, weights)}


def by_class(judged: Matches, weights: Floats) -> dict[str, Floats]:
    """`ap`, `ap50` and `recall` (the largest at overlap .5) of each class, `(B, C)` each."""
    precision = average_precision(judged, weights)
    recall = largest_recall(judged, weights)
    return {"ap": precision.mean(axis=2), "ap50": precision[:, :, 0], "recall": recall[:, :, 0]}


def by_size(judged: Matches, weights: Floats, sizes: Sizes = SIZES) -> dict[str, dict[str, Floats]]:
    """`map`, `map50`, `map75` and `average_recall` of each size that the rows were made with, `(B,)` each."""
    return {name: _means(judged, weights, size) for size, name in enumerate(sizes, start=1)}


def by_visibility(
    judged: Matches,
    weights: Floats,
    ranges: Mapping[str, tuple[float, float]] = VISIBLE,
    precision: float = PRECISION,
) -> dict[str, Floats]:
    """`recall_at` the precision of all, among the truths of which more than … and at most … is visible: `(B,)` each."""
    visible = judged.truths["visible"]
    return {
        # As they are stored, or .2 would be more than .2.
        name: recall_at(judged, weights, precision, (visible > np.float32(low)) & (visible <= np.float32(high)))
        for name, (low, high) in ranges.items()
    }


def truths_of_class(judged: Matches, weights: Floats, size: int = 0) -> Floats:
    """Weight of the truths that count, `(B, C)`: not ignored, and of the s-th size where `size` is not 0."""
    return _of_class(judged, judged.truths, weights, judged.truths["counts"] >> size & 1 == 1)


def images_with_class(judged: Matches) -> Bools:
    """Which images have a truth of each class that counts, `(N, C)`."""
    truths, found = judged.truths, np.zeros((judged.samples, judged.classes), bool)
    counts = truths["counts"] & 1 == 1
    found[truths["image"][counts], truths["label"][counts]] = True
    return found


def _means(judged: Matches, weights: Floats, size: int = 0) -> dict[str, Floats]:
    precision = average_precision(judged, weights, size)
    return {
        "map": mean_of_classes(precision.mean(axis=2)),
        "map50": mean_of_classes(precision[:, :, 0]),
        "map75": mean_of_classes(precision[:, :, 5]),
        "average_recall": mean_of_classes(largest_recall(judged, weights, size).mean(axis=2)),
    }


def _interpolated(weights: Floats, hits: Bools, passed: Bools, there: Floats) -> Floats:
    """Average precision of one class: weights `(B, D)` of detections by falling score, `(T, D)` flags → `(B, T)`."""
    found = np.zeros((len(weights), len(hits)))
    present = np.where(there > 0, there, 1.0)[:, None]
    total = weights
    for number, (hit, out) in enumerate(zip(hits, passed, strict=True)):
        if number == 0 or not np.array_equal(out, passed[number - 1]):
            total = np.cumsum(weights * ~out if out.any() else weights, axis=1)
        # Precision is at its best, and recall grows, only where something was found.
        at = np.flatnonzero(hit)
        right = np.cumsum(weights[:, at], axis=1)
        precision = np.divide(right, total[:, at], out=np.zeros_like(right), where=right > 0)
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = right / present
        recall[recall > 1.0 - 1e-9] = 1.0  # all, but for rounding
        reached = RECALLS.searchsorted(recall, side="right")
        found[:, number] = (np.diff(reached, axis=1, prepend=0) * precision).sum(axis=1) / len(RECALLS)
    return found


def _of_class(judged: Matches, columns: Columns, weights: Floats, which: Bools) -> Floats:
    """Weight of `which` of these detections or truths, by class: `(B, C)`."""
    cells = columns["image"][which] * judged.classes + columns["label"][which]
    counts = np.bincount(cells, minlength=judged.samples * judged.classes).reshape(judged.samples, judged.classes)
    return weights @ counts.astype(np.float64)


def _flags(bits: npt.NDArray[Any], size: int) -> Bools:
    """`(D,)` → `(T, D)`: what the bits say at each threshold."""
    places = np.arange(len(THRESHOLDS)) + len(THRESHOLDS) * size
    flags: Bools = bits >> places[:, None] & 1 == 1
    return flags


def _parts(count: int, width: int) -> Iterator[slice]:
    """Rows of weights that are held together."""
    step = max(1, CELLS // max(width, 1))
    return (slice(start, start + step) for start in range(0, count, step))
