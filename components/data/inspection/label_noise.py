"""Labels that are probably wrong: confident learning (Northcutt, Jiang and Chuang 2021), by cleanlab.

A plain classifier on the embedding says how probable each class is, for samples it was not fitted to; cleanlab counts
how many labels contradict it, and which. Only those that it gives next to no chance are listed: it is a weak
classifier, and where it merely doubts, it is wrong more often than the label.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from components.blas import one_thread
from components.data.inspection.rows import BATCH, Rows

Indices = npt.NDArray[np.int64]

FOLDS = 5
LEAST = 10  # samples of a class, two a fold: with fewer its own label is a surprise to the classifier
FITTED = 8000  # samples that each fold's classifier is fitted to: with all 56,000 of Fashion-MNIST it gains 0.3 points
FITTED_OF_CLASS = 20  # of a rare class, as far as there are so many
ITERATIONS = 60  # of L-BFGS; more move the probe's accuracy by less than 0.1 points
# Probability of the given label below which it is listed. At 0.05 twice as many of Fashion-MNIST's own labels are, its
# shirts that could be T-shirts; `benchmarks/inspection.py` has precision and recall.
CONFIDENCE = 0.01


@dataclass(frozen=True)
class Doubts:
    """Samples whose label is doubtful: their place among those that were asked about, the class each looks like, and
    the probabilities of that class and of the label."""

    samples: Indices
    looks_like: Indices
    probability: npt.NDArray[np.float32]
    of_label: npt.NDArray[np.float32]
    notes: tuple[str, ...] = ()


@one_thread
def doubtful(
    embedded: Rows,
    labels: npt.NDArray[np.integer],
    classes: Sequence[str],
    folder: Path,
    *,
    groups: npt.NDArray[np.integer] | None = None,
    seed: int = 0,
) -> Doubts:
    """Doubtful labels of N samples, whose embeddings `embedded` holds in the same order.

    `labels` `(N,)` index `classes`; a negative one is none, and is not asked about. No two samples of one of `groups`
    `(N,)` are in two folds (a negative one is a group by itself). Probabilities wait in a file in `folder`.
    """
    random = np.random.default_rng(seed)
    folds = _folds(labels, groups, random)
    left_out = _too_small(labels, folds, len(classes))
    notes = []
    if left_out.any():
        names = [name for name, out in zip(classes, left_out, strict=True) if out]
        notes.append(
            f"doubtful labels: not looked for among {', '.join(names[:5])}{' …' if len(names) > 5 else ''}, too few "
            f"samples (of too few groups) for {FOLDS} folds"
        )
    asked = np.flatnonzero((labels >= 0) & ~left_out[labels])
    kept = np.flatnonzero(~left_out & (np.bincount(labels[labels >= 0], minlength=len(classes)) > 0))
    if len(kept) < 2:
        nobody = np.zeros(0, dtype=np.int64)
        notes = notes or ["doubtful labels: not looked for, since there are not two classes"]
        return Doubts(nobody, nobody, np.zeros(0, np.float32), np.zeros(0, np.float32), tuple(notes))
    numbers = np.searchsorted(kept, labels[asked])
    with Rows(folder, (len(kept),), np.float32) as probabilities:
        models = [_fit(embedded, asked, numbers, folds[asked] != fold, random) for fold in range(FOLDS)]
        for start in range(0, len(asked), BATCH):
            part = asked[start : start + BATCH]
            probabilities.append(_predict(models, embedded.take(part), folds[part], len(kept)))
        of_label, looks_like, probability, number = _inspect(probabilities, numbers)
    worst = np.argsort(of_label, kind="stable")[:number]
    worst = np.sort(worst[(of_label[worst] < CONFIDENCE) & (looks_like[worst] != numbers[worst])])
    return Doubts(asked[worst], kept[looks_like[worst]], probability[worst], of_label[worst], tuple(notes))


def _folds(
    labels: npt.NDArray[np.integer], groups: npt.NDArray[np.integer] | None, random: np.random.Generator
) -> Indices:
    """A fold for each sample: dealt out class by class, or group by group."""
    folds = np.empty(len(labels), dtype=np.int64)
    shuffled = random.permutation(len(labels))
    if groups is None:
        folds[shuffled[np.argsort(labels[shuffled], kind="stable")]] = np.arange(len(labels)) % FOLDS
        return folds
    alone = groups < 0
    codes = np.where(alone, groups.max(initial=0) + 1 + np.arange(len(groups)), groups)
    _, members = np.unique(codes, return_inverse=True)
    dealt: Indices = random.permutation(int(members.max()) + 1) % FOLDS
    return dealt[members]


def _too_small(labels: npt.NDArray[np.integer], folds: Indices, classes: int) -> npt.NDArray[np.bool_]:
    """Classes of few samples, or all in one fold: the classifier of that fold would not know them."""
    table = np.zeros((classes, FOLDS), dtype=np.int64)
    known = labels >= 0
    np.add.at(table, (labels[known], folds[known]), 1)
    total = table.sum(axis=1)
    small: npt.NDArray[np.bool_] = (total > 0) & ((total < LEAST) | (total == table.max(axis=1)))
    return small


def _fit(
    embedded: Rows, asked: Indices, numbers: Indices, training: npt.NDArray[np.bool_], random: np.random.Generator
) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    places = np.flatnonzero(training)
    share = min(1.0, FITTED / len(places))
    chosen = []
    for number in np.unique(numbers[places]):
        own = places[numbers[places] == number]
        size = min(len(own), max(FITTED_OF_CLASS, round(share * len(own))))
        chosen.append(random.choice(own, size, replace=False))
    rows = np.sort(np.concatenate(chosen))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # where it stops it is good enough: see ITERATIONS
        return LogisticRegression(max_iter=ITERATIONS, tol=1e-3).fit(embedded.take(asked[rows]), numbers[rows])


def _predict(models: Sequence[Any], batch: npt.NDArray[np.float32], folds: Indices, classes: int) -> Any:
    """`(n, classes)` probabilities, each row by the classifier that has not seen it."""
    probabilities = np.zeros((len(batch), classes), dtype=np.float32)
    for fold, model in enumerate(models):
        own = folds == fold
        if own.any():
            probabilities[np.ix_(own, model.classes_)] = model.predict_proba(batch[own])
    return probabilities


def _inspect(
    probabilities: Rows, numbers: Indices
) -> tuple[npt.NDArray[np.float32], Indices, npt.NDArray[np.float32], int]:
    """Of each sample the label's probability, the most probable class and its probability; and how many labels are
    wrong, as cleanlab estimates it."""
    from cleanlab.experimental.label_issues_batched import LabelInspector

    inspector = LabelInspector(num_class=probabilities.shape[0], store_results=False, verbose=False, n_jobs=1)
    for rows, batch in probabilities.batches():
        inspector.update_confident_thresholds(numbers[rows], batch)
    of_label, looks_like, probability = [], [], []
    for rows, batch in probabilities.batches():
        inspector.score_label_quality(numbers[rows], batch)
        of_label.append(batch[np.arange(len(batch)), numbers[rows]])
        looks_like.append(batch.argmax(axis=1))
        probability.append(batch.max(axis=1))
    return (
        np.concatenate(of_label),
        np.concatenate(looks_like),
        np.concatenate(probability),
        int(inspector.get_num_issues()),
    )
