"""Texts, as a linear model is shown them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import sparse

from components.artifacts import InputSpec, TextSpec
from components.evaluate.baselines.plain import nothing
from components.evaluate.baselines.protocol import Features, Learn, See, Values
from components.tokenizing import PADDING

COLUMNS = 1 << 18  # that n-grams are hashed into
LONGEST = {"word": 2}  # units of the longest n-gram; of characters and bytes
OF_CHARACTERS = 4


def ngrams(values: Values, spec: InputSpec) -> See:
    """Runs of units, each by how often it occurs and how few texts of the training split have it (tf-idf), length 1."""
    from sklearn.feature_extraction.text import TfidfTransformer

    if not isinstance(spec, TextSpec):
        raise TypeError(f"input: expected texts, received {spec.kind}")
    longest = LONGEST.get(spec.unit, OF_CHARACTERS)
    weights = TfidfTransformer(sublinear_tf=True).fit(_counts(values, longest))

    def see(inputs: Values) -> Features:
        return weights.transform(_counts(inputs, longest))

    return see


def _counts(values: Values, longest: int) -> sparse.csr_matrix:
    """Numbers of units `(N, L)` → how often each run of up to `longest` units occurs, `(N, COLUMNS)`."""
    rows, columns = [], []
    hashed = np.zeros(values.shape, dtype=np.uint64)
    for length in range(1, longest + 1):
        width = values.shape[1] - length + 1
        if width < 1:
            break
        last = values[:, length - 1 :]
        hashed = _mixed(hashed[:, :width], last.astype(np.uint64))
        row, column = np.nonzero(last != PADDING)  # texts are padded at their end: a run ends where they do
        rows.append(row)
        columns.append(hashed[row, column] % np.uint64(COLUMNS))
    row, column = np.concatenate(rows), np.concatenate(columns).astype(np.int64)
    ones = np.ones(len(row), dtype=np.float32)
    return sparse.csr_matrix((ones, (row, column)), shape=(len(values), COLUMNS))


def _mixed(before: npt.NDArray[np.uint64], unit: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One step of a multiplicative hash (FNV's way, with splitmix64's first constant)."""
    mixed: npt.NDArray[np.uint64] = (before ^ (unit + np.uint64(1))) * np.uint64(0x9E3779B97F4A7C15)
    return mixed ^ (mixed >> np.uint64(29))


BASELINES: Mapping[str, Learn] = {"prior": nothing, "linear": ngrams}
