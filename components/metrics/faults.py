"""What is wrong with detections: which class was taken for which, or for nothing, and what would put each right.

The kinds are those of TIDE (Bolya et al. 2020). Where only scores from a threshold on are to count, nothing has to be
matched anew: what a detection takes depends on better ones alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.metrics.average_precision import Matches
from components.metrics.detection import FAULTS, PASSED

Floats = npt.NDArray[np.float64]


def confusion(judged: Matches, score: float = 0.0) -> npt.NDArray[np.int64]:
    """Truths by what was said of them, at overlap .5: `(C + 1, C + 1)`, row = truth, column = detection.

    The last row holds detections of what is no truth, the last column truths that were missed. Only detections of
    `score` and above count. The diagonal has what average precision counts as right; a row's sum is all truths of a
    class that are not ignored, a column's all detections that do not lie on ignored ones.
    """
    found, truths, size, least = judged.found, judged.truths, judged.classes + 1, _stored(score)
    said = (found["score"] >= least) & (found["truth"] != PASSED)
    label, place = found["label"][said].astype(np.int64), found["truth"][said].astype(np.int64)
    kind = np.append(truths["label"].astype(np.int64), judged.classes)  # the last one is no truth
    score_of = np.append(truths["score"], -1.0)
    truth = np.where(place >= 0, np.searchsorted(truths["image"], found["image"][said]) + place, len(kind) - 1)
    # What a detection of another class took first may have been found after all.
    counts = (kind[truth] == label) | (score_of[truth] < least)
    truth = np.where(counts, truth, len(kind) - 1)
    missed = np.append(truths["counts"] & 1 == 1, False)
    missed[truth] = False
    rows = np.concatenate([kind[truth], kind[missed]])
    columns = np.concatenate([label, np.full(missed.sum(), judged.classes)])
    matrix: npt.NDArray[np.int64] = np.bincount(rows * size + columns, minlength=size * size)
    return matrix.reshape(size, size)


def faults(judged: Matches, weights: Floats, score: float = 0.0) -> dict[str, Floats]:
    """How many detections of `score` and above have which fault, under weights `(B, N)` of the images: `(B,)` each.

    `misplaced`: overlap .1 to .5 with a truth of their class; `mislabelled`: at least .5 with one of another class;
    `duplicate`: at least .5 with one that a better detection found; `background`: under .1 with any; `both`: misplaced
    and mislabelled. `missed`: truths without any detection that is right, misplaced or mislabelled.
    """
    found, truths, least = judged.found, judged.truths, _stored(score)
    said = found["score"] >= least
    images = {name: found["image"][said & (found["fault"] == number)] for number, name in enumerate(FAULTS)}
    seen = np.maximum(truths["score"], truths["near"])
    images["missed"] = truths["image"][(truths["counts"] & 1 == 1) & (seen < least)]
    return {name: weights @ np.bincount(image, minlength=judged.samples) for name, image in images.items()}


def _stored(score: float) -> np.float32:
    """As scores are stored, or .7 would be more than .7; at least 0, for −1 stands for none."""
    return np.float32(max(score, 0.0))
