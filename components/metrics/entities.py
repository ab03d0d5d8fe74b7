"""Entities that are right: of the same units from the first to the last, and of the same class (CoNLL 2003).

Tags are BIO: 0 is no entity's, class k begins with 1 + 2k and goes on with 2 + 2k; below 0 is no unit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Tags = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def counts(targets: Tags, predicted: Tags, classes: int) -> tuple[Counts, Counts, Counts]:
    """`(N, L)` tags each → entities by class `(N, C)`: right, said, there. A stray inside goes on with nothing."""
    true, said = _begins(targets), _begins(predicted)
    alike = true & (targets == predicted) & (_ends(targets) == _ends(predicted))
    return (
        _by_class(targets, alike, classes),
        _by_class(predicted, said, classes),
        _by_class(targets, true, classes),
    )


def f1(right: Floats, said: Floats, there: Floats) -> Floats:
    """The harmonic mean of precision and recall; NaN where nothing is there and nothing was said."""
    return share(2.0 * right, said + there)


def share(part: Floats, whole: Floats) -> Floats:
    """NaN where there is nothing that it could be a share of."""
    found: Floats = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
    return found


def mean(values: Floats) -> Floats:
    """`(B, C)` → `(B,)`, over the classes that have a value; NaN where none has."""
    known = ~np.isnan(values)
    return share(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1).astype(np.float64))


def _begins(tags: Tags) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (tags > 0) & (tags % 2 == 1)
    return found


def _ends(tags: Tags) -> npt.NDArray[np.int64]:
    """`(N, L)`: behind which unit an entity ends that begins here: the first that does not go on with its class."""
    length = tags.shape[1]
    label = np.where(tags > 0, (tags - 1) // 2, -1)
    goes_on = np.zeros_like(tags, dtype=bool)  # from the unit before
    goes_on[:, 1:] = (tags[:, 1:] > 0) & (tags[:, 1:] % 2 == 0) & (label[:, 1:] == label[:, :-1])
    stops = np.where(goes_on, length, np.arange(length))  # the places at which nothing goes on
    behind = np.full((len(tags), length + 1), length, dtype=np.int64)
    behind[:, :-1] = np.minimum.accumulate(stops[:, ::-1], axis=1)[:, ::-1]
    return behind[:, 1:]


def _by_class(tags: Tags, chosen: npt.NDArray[np.bool_], classes: int) -> Counts:
    rows, places = np.nonzero(chosen)
    counted = np.zeros((len(tags), classes), dtype=np.int64)
    np.add.at(counted, (rows, (tags[rows, places] - 1) // 2), 1)
    return counted
