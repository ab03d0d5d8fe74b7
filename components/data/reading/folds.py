"""Which fold of the training split each sample is in, for those who train without one of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.artifacts import Dataset
from components.data.errors import DataError
from components.data.preparing.splits import assign_folds
from components.targets import registry as targets
from components.targets.strata import Strata

SEED = 0  # of folds that the data set does not have itself: the same for all of its trainings


def folds_of(dataset: Dataset, folds: int) -> npt.NDArray[np.int64]:
    """`(N,)`, 0 … `folds` - 1, of the training split in its stored order.

    Those that the data set was prepared with (`split.folds`, which keep groups together); where it has none, stratified
    by class, or by labels. Raises DataError where it has another number of them.
    """
    if dataset.card.folds is not None:
        if dataset.card.folds != folds:
            raise DataError(
                f"members.folds: expected {dataset.card.folds}, as datasets.{dataset.card.name}.split.folds has it, "
                f"received {folds}; make them the same"
            )
        return np.asarray(dataset.table("train", ["fold"]).column("fold").to_numpy(), dtype=np.int64)
    kind = targets.of(dataset)
    ids, strata = dataset.table("train", ["id"]).column("id").to_pylist(), Strata()
    if kind.labelled in ("once", "any"):
        column = dataset.table("train", ["target"]).column("target").combine_chunks()
        strata.add(kind.shown(column, len(dataset.card.classes)))
    drawn = assign_folds(ids, strata.found() or [0] * len(ids), folds, SEED, labels=strata.labels)
    return np.asarray(drawn, dtype=np.int64)
