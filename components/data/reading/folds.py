"""Which fold of the training split each sample is in, for those who train without one of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.artifacts import Dataset
from components.data.errors import DataError
from components.data.preparing.splits import assign_folds
from components.targets import registry as targets

SEED = 0  # of folds that the data set does not have itself: the same for all of its trainings


def folds_of(dataset: Dataset, folds: int) -> npt.NDArray[np.int64]:
    """`(N,)`, 0 … `folds` - 1, of the training split in its stored order.

    Those that the data set was prepared with (`split.folds`, which keep groups together); where it has none, stratified
    by class. Raises DataError where it has another number of them.
    """
    if dataset.card.folds is not None:
        if dataset.card.folds != folds:
            raise DataError(
                f"members.folds: expected {dataset.card.folds}, as datasets.{dataset.card.name}.split.folds has it, "
                f"received {folds}; make them the same"
            )
        return np.asarray(dataset.table("train", ["fold"]).column("fold").to_numpy(), dtype=np.int64)
    once = targets.of(dataset).labelled == "once"
    table = dataset.table("train", ["id", "target"] if once else ["id"])
    ids = table.column("id").to_pylist()
    strata = table.column("target").to_pylist() if once else [0] * len(ids)
    return np.asarray(assign_folds(ids, strata, folds, SEED), dtype=np.int64)
