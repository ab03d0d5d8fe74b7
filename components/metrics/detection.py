"""Detections beside truths, image by image: which truth each of them found, and what is wrong where it found none.

Matching is greedy, by score, and the same as in COCO's evaluator (Lin et al. 2014), which the tests compare with. It
stays within an image, so its outcome does not depend on how images are weighted: a row an image holds all that any
weighted or resampled figure needs (`components.metrics.average_precision`, `components.metrics.faults`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Sizes = Mapping[str, tuple[float, float]]  # name → least and largest area, both included

THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)  # overlaps from which on a truth counts as found; bits count in them
SIZES: Sizes = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, math.inf)}  # COCO's, in px²
SIDES = ("left", "top", "right", "bottom")
MOST = 100  # detections of one class that are judged in an image, those of the highest scores
TOUCHED = 0.1  # overlap below which a detection has nothing to do with a truth (Bolya et al. 2020)
FAULTS = ("misplaced", "mislabelled", "duplicate", "background", "both")  # what `fault` numbers; −1 where there is none
PASSED = -2  # in place of a detection's truth: an ignored one, so that it is neither right nor wrong


def area(boxes: npt.NDArray[Any]) -> Floats:
    """`(…, 4)` left, top, right, bottom → `(…,)`; 0 for a box whose ends are the wrong way round."""
    sides = np.maximum(boxes[..., 2:].astype(np.float64) - boxes[..., :2], 0.0)
    whole: Floats = sides[..., 0] * sides[..., 1]
    return whole


def intersection(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> Floats:
    """Area that boxes share: `(…, K, 4)`, `(…, M, 4)` → `(…, K, M)`."""
    one, other = one[..., :, None, :].astype(np.float64), other[..., None, :, :].astype(np.float64)
    ends = (np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:]))
    return area(np.concatenate(ends, axis=-1))


def iou(one: npt.NDArray[Any], other: npt.NDArray[Any], crowd: Bools | None = None) -> Floats:
    """Intersection over union: `(…, K, 4)`, `(…, M, 4)` → `(…, K, M)`; 0 where a box has no area or no finite end.

    Of those of `other` that are a `crowd` `(…, M)` it is the share of the one box that lies within.
    """
    with np.errstate(invalid="ignore"):  # of ends that are no finite numbers
        shared = intersection(one, other)
        own = area(one)[..., :, None]
        union = own + area(other)[..., None, :] - shared
        if crowd is not None:
            union = np.where(crowd[..., None, :], own, union)
        found: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return np.nan_to_num(found, nan=0.0)


def match(overlap: Floats, left_out: Bools, crowd: Bools, thresholds: Floats) -> Ints:
    """The truth that each detection takes at each of T thresholds, by R notions of what is left out; −1 for none.

    `overlap` `(N, K, M)` is of detections by falling score with truths they may take, 0 elsewhere. Truths that are
    `left_out` `(N, R, M)` are taken where no other can be had, and those of a `crowd` `(N, M)` any number of times. Of
    truths of equal overlap the last is taken. → `(N, R, T, K)`
    """
    samples, detections, truths = overlap.shape
    found = np.full((samples, left_out.shape[1], len(thresholds), detections), -1)
    taken = np.zeros((samples, left_out.shape[1], len(thresholds), truths), bool)
    able = overlap.max(axis=2, initial=0.0) >= thresholds[0]
    # All images go on together: the first detection of each that can take a truth at all, then the second, and so on.
    turns = np.where(able, np.cumsum(able, axis=1), 0)
    for turn in range(1, turns.max(initial=0) + 1):
        image, place = np.nonzero(turns == turn)
        own = overlap[image, place]
        rank = own.argsort(axis=1, kind="stable").argsort(axis=1)
        rank = rank[:, None] + np.where(left_out[image], 0, truths)
        free = (own[:, None] >= thresholds[:, None])[:, None] & (~taken[image] | crowd[image][:, None, None])
        rank = np.where(free, rank[:, :, None], -1)
        best = np.where(rank.max(axis=3) >= 0, rank.argmax(axis=3), -1)
        found[image, :, :, place] = best
        taken[image] |= best[..., None] == np.arange(truths)
    return found


def rows(
    answer: Mapping[str, npt.NDArray[Any]], targets: npt.NDArray[Any], sizes: Sizes = SIZES
) -> dict[str, pa.ListArray]:
    """Columns of `Predictions`, a row an image, of an answer and its truths.

    `answer`: `boxes` `(N, K, 4)`, and `scores` (at least 0), `labels` and `valid` `(N, K)`; `targets` `(N, M, 7)`:
    label (−1 for none), left, top, right, bottom, ignored, visible share. The columns are lists of structs:

    - `found`, by falling score: `left`, `top`, `right`, `bottom`; `score`; `label`; `area`; `hits` (bit t: it found a
      truth at the threshold t; bit 10·s + t: the same where only truths of the s-th size count); `passed` (bits as
      these: it is left out of account, for it lies on an ignored truth, or found none and is of another size); `truth`:
      at the first threshold, the place in `truths` of the one it found or took for another class, −1 for none, −2 for
      an ignored one; `fault`: its place in `FAULTS`.
    - `truths`, as stored: `left`, `top`, `right`, `bottom`; `label`; `area`; `visible`; `ignored`; `counts` (bit 0: it
      is not ignored; bit s: and of the s-th size); `score`: of the best detection that found it at the first threshold,
      −1 for none; `near`: of the best that was misplaced or mislabelled on it, −1 for none.

    At most 100 detections of a class are judged in an image, as COCO does; the others are not in the columns.
    Raises ValueError for more sizes than there are bits for.
    """
    if len(sizes) > 5:
        raise ValueError(f"sizes: expected at most 5, received {len(sizes)}")
    boxes, scores, labels, valid = _by_score(answer)
    if targets.shape[1] == 0:
        targets = np.full((len(targets), 1, 7), -1.0)
    truth_labels, truth_boxes = targets[..., 0].astype(np.int64), targets[..., 1:5]
    there, ignored = truth_labels >= 0, targets[..., 5] > 0
    areas, truth_areas = (area(each).astype(np.float32) for each in (boxes, truth_boxes))

    overlap = iou(boxes, truth_boxes, ignored) * (valid[:, :, None] & there[:, None])
    same = labels[:, :, None] == truth_labels[:, None]
    ranges = np.array([(0.0, math.inf), *sizes.values()])
    outside, truth_outside = (_outside(each, ranges) for each in (areas, truth_areas))
    left_out = truth_outside | ignored[:, None]
    matched = match(overlap * same, left_out, ignored, THRESHOLDS)
    on_left_out = np.take_along_axis(left_out[:, :, None], np.maximum(matched, 0), axis=3)
    hits = (matched >= 0) & ~on_left_out
    passed = np.where(matched >= 0, on_left_out, outside[:, :, None])

    first, right, spared = matched[:, 0, 0], hits[:, 0, 0], passed[:, 0, 0]
    score = _best(scores, first, first >= 0, there.shape)
    wrong = valid & ~right & ~spared
    judged = overlap * ~ignored[:, None]
    own, other = judged * same, judged * ~same
    # A truth that a better detection has found by its class is not taken for another class.
    untaken = other * (wrong[:, :, None] & (score[:, None] < scores[:, :, None]))
    nobody = np.zeros(there.shape, bool)
    mistaken = match(untaken, nobody[:, None], nobody, THRESHOLDS[:1])[:, 0, 0]
    taken = np.where(right, first, mistaken)
    fault = np.where(wrong, _fault(own.max(axis=2), other.max(axis=2)), -1)
    misplaced, mislabelled = fault == FAULTS.index("misplaced"), fault == FAULTS.index("mislabelled")
    nearest = np.where(misplaced, own.argmax(axis=2), other.argmax(axis=2))
    place = np.append(np.cumsum(there, axis=1) - 1, np.full((len(there), 1), -1), axis=1)  # in the list; −1 for none
    return {
        "found": _lists(
            valid,
            **_sides(boxes),
            score=(scores, np.float32),
            label=(labels, np.int16),
            area=(areas, np.float32),
            hits=(_bits(hits), np.int64),
            passed=(_bits(passed), np.int64),
            truth=(np.where(spared, PASSED, np.take_along_axis(place, taken, axis=1)), np.int16),
            fault=(fault, np.int8),
        ),
        "truths": _lists(
            there,
            **_sides(truth_boxes),
            label=(truth_labels, np.int16),
            area=(truth_areas, np.float32),
            visible=(targets[..., 6], np.float32),
            ignored=(ignored, np.bool_),
            counts=(_bits(~left_out[:, :, None]), np.int8),
            score=(score, np.float32),
            near=(_best(scores, nearest, misplaced | mislabelled, there.shape), np.float32),
        ),
    }


def likelihoods(answer: Mapping[str, npt.NDArray[Any]], targets: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """How sure an answer is of what is there, and of there being nothing else: `(N, M)` and `(N,)`, in [0, 1].

    Of a truth the mean over the thresholds of the score of what found it, 0 where nothing did; of an image the product
    over all detections that found nothing of 1 less their score. `answer` and `targets` are those of `rows`.
    """
    boxes, scores, labels, valid = _by_score(answer)
    there, ignored = targets[..., 0] >= 0, targets[..., 5] > 0
    may = valid[:, :, None] & there[:, None] & (labels[:, :, None] == targets[:, None, :, 0])
    matched = match(iou(boxes, targets[..., 1:5], ignored) * may, ignored[:, None], ignored, THRESHOLDS)[:, 0]
    found = np.zeros((len(targets), len(THRESHOLDS), targets.shape[1]))
    image, level, place = np.nonzero(matched >= 0)
    np.maximum.at(found, (image, level, matched[image, level, place]), scores[image, place])
    nothing: Floats = np.where(valid & (matched[:, 0] < 0), 1.0 - scores, 1.0).prod(axis=1)
    return found.mean(axis=1), nothing


def _by_score(answer: Mapping[str, npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], Floats, Ints, Bools]:
    """Boxes, scores, labels and which are judged, by falling score; a score that is no number is the least."""
    scores, valid = np.nan_to_num(answer["scores"].astype(np.float64), nan=0.0), answer["valid"].astype(bool)
    order = np.argsort(np.where(valid, -scores, np.inf), axis=1, kind="stable")
    scores, valid, labels = (np.take_along_axis(each, order, axis=1) for each in (scores, valid, answer["labels"]))
    if labels.shape[1] > MOST:
        for label in np.unique(labels[valid]):
            mine = valid & (labels == label)
            valid &= ~mine | (np.cumsum(mine, axis=1) <= MOST)
    return np.take_along_axis(answer["boxes"], order[..., None], axis=1), scores, labels, valid


def _outside(areas: npt.NDArray[Any], ranges: Floats) -> Bools:
    """`(N, K)`, `(R, 2)` → `(N, R, K)`."""
    return (areas[:, None] < ranges[:, :1]) | (areas[:, None] > ranges[:, 1:])


def _fault(own: Floats, other: Floats) -> Ints:
    """What is wrong, by the largest overlaps with truths of its class and of others, in TIDE's order; `(N, K)` each."""
    cases = {
        "misplaced": (own >= TOUCHED) & (own < THRESHOLDS[0]),
        "mislabelled": other >= THRESHOLDS[0],
        "duplicate": own >= THRESHOLDS[0],
        "background": other < TOUCHED,
    }
    chosen: Ints = np.select(list(cases.values()), [FAULTS.index(name) for name in cases], FAULTS.index("both"))
    return chosen


def _best(scores: Floats, truth: Ints, which: Bools, shape: tuple[int, ...]) -> Floats:
    """The highest score of `which` detections `(N, K)` on the truth of each, `(N, M)`; −1 where there is none."""
    best = np.full(shape, -1.0)
    image, place = np.nonzero(which)
    np.maximum.at(best, (image, truth[image, place]), scores[image, place])
    return best


def _bits(flags: Bools) -> Ints:
    """`(N, R, T, K)` → `(N, K)`."""
    powers = 1 << np.arange(flags.shape[1] * flags.shape[2]).reshape(flags.shape[1:3])
    bits: Ints = np.tensordot(flags, powers, axes=([1, 2], [0, 1]))
    return bits


def _sides(boxes: npt.NDArray[Any]) -> dict[str, tuple[npt.NDArray[Any], type]]:
    return {name: (boxes[..., place], np.float32) for place, name in enumerate(SIDES)}


def _lists(which: Bools, **columns: tuple[npt.NDArray[Any], type]) -> pa.ListArray:
    """A list of structs for each of N, of those of `(N, L)` that are there."""
    values = [pa.array(column[which].astype(kind)) for column, kind in columns.values()]
    ends = np.concatenate([[0], np.cumsum(which.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(ends, pa.StructArray.from_arrays(values, list(columns)))
