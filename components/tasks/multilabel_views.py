"""What labels are missed or false: tables for the report, and labels that the answers make doubtful."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.metrics import calibration, labels
from components.tasks.capabilities import Crossed, Doubt, Listed, View

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CROSSED = 24  # classes at most of which a matrix can be read
NONE = "(none)"


def views(classes: tuple[str, ...], true: Bools, said: Bools, scores: Floats) -> Sequence[View]:
    """By `(N, C)` truths, answers and probabilities: what is said of each class, what is said instead, how many."""
    found: list[View] = [_classes(classes, true, said, scores)]
    if len(classes) <= CROSSED:
        found.append(
            Crossed(
                "Labels that take each other's place",
                "What is said falsely (columns) of samples in which a label (rows) is missed, each such pair; on the "
                f"diagonal what is right. {NONE}: nothing else is missed, or said falsely.",
                (*classes, NONE),
                crossed(true, said),
            )
        )
    return [*found, _numbers(true, said)]


def crossed(true: Bools, said: Bools) -> npt.NDArray[np.int64]:
    """`(C + 1, C + 1)` counts: row a missed label, column a false one of the same sample; hits on the diagonal."""
    missed, false = (true & ~said).astype(np.int64), (said & ~true).astype(np.int64)
    missed = np.column_stack([missed, missed.sum(axis=1) == 0])
    false = np.column_stack([false, false.sum(axis=1) == 0])
    counts: npt.NDArray[np.int64] = missed.T @ false
    counts[-1, -1] = 0  # neither is a mistake
    right = (true & said).sum(axis=0)
    counts[np.arange(len(right)), np.arange(len(right))] = right
    return counts


def _classes(classes: tuple[str, ...], true: Bools, said: Bools, scores: Floats) -> Listed:
    thresholds = labels.best_threshold(true, scores)
    errors = [class_calibration(true[:, number], scores[:, number]) for number in range(len(classes))]
    rows = tuple(
        (
            name,
            int(true[:, number].sum()),
            int(said[:, number].sum()),
            int((true & said)[:, number].sum()),
            _known(errors[number]),
            _known(thresholds[number]),
        )
        for number, name in enumerate(classes)
    )
    return Listed(
        "Each label",
        "How often it is there, is said and is right; how far its probabilities lie from how often it is there; and "
        "the probability from which on it would have had to be said for the best F1 on these samples.",
        ("label", "there", "said", "right", "calibration error", "best from"),
        rows,
    )


def class_calibration(true: Bools, scores: Floats) -> float:
    """Mean gap between the probabilities `(N,)` of one class and how often it is there, in bins; NaN of no sample."""
    sums = calibration.bin_sums(scores[:, None], true[:, None])
    return float(calibration.expected_calibration_error(sums, np.ones((1, len(true))))[0])


def _numbers(true: Bools, said: Bools) -> Listed:
    """How many labels samples have, and how many are said of them."""
    there, told = true.sum(axis=1), said.sum(axis=1)
    exact = (true == said).all(axis=1)
    rows = tuple(
        (
            int(number),
            int((there == number).sum()),
            int((told == number).sum()),
            float(exact[there == number].mean()) if (there == number).any() else "–",
        )
        for number in range(int(max(there.max(initial=0), told.max(initial=0))) + 1)
    )
    return Listed(
        "How many labels",
        "Samples that have so many, samples of which so many are said, and of the first the share that is right in all "
        "of them.",
        ("labels", "samples", "said", "all right"),
        rows,
    )


def doubts(classes: tuple[str, ...], true: Bools, scores: Floats) -> Sequence[Doubt]:
    """Confident learning (Northcutt et al. 2021), a label at a time: what looks as surely otherwise as others do."""
    found: list[Doubt] = []
    for number, name in enumerate(classes):
        own, probability = true[:, number], scores[:, number]
        if own.all() or not own.any():
            continue
        there, absent = probability[own].mean(), probability[~own].mean()
        for row in np.flatnonzero(own & (probability <= absent) & (probability < 0.5)):
            said = f"labelled {name}, which is {probability[row]:.1%} probable"
            found.append(Doubt(int(row), "label-noise", float(1.0 - probability[row]), said))
        for row in np.flatnonzero(~own & (probability >= there) & (probability > 0.5)):
            said = f"not labelled {name}, which is {probability[row]:.1%} probable"
            found.append(Doubt(int(row), "missing-label", float(probability[row]), said))
    return sorted(found, key=lambda doubt: -doubt.score)


def _known(value: float) -> float | str:
    return "–" if np.isnan(value) else float(value)
