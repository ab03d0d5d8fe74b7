"""Texts that are not as clean as those a network has learnt from: units that are lost, exchanged, unknown or doubled.

Of characters and bytes these are the slips of a keyboard, of words those of whoever writes in haste. A share of a
text's units is touched, by severities 1 to 5; what stands behind its end stays there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from components.inputs.protocol import Corruption
from components.tokenizing import PADDING, UNKNOWN

# Of a text's units. No scale is known: the least is a slip in a long sentence, the most one in each short one.
SHARES = (0.02, 0.05, 0.10, 0.15, 0.25)

Numbers = npt.NDArray[np.int32]
Places = npt.NDArray[np.bool_]


def dropped(values: Numbers, touched: Places) -> Numbers:
    """Those touched are missing, and what follows moves up."""
    order = np.argsort(touched, axis=1, kind="stable")
    return np.take_along_axis(np.where(touched, PADDING, values), order, axis=1)


def swapped(values: Numbers, touched: Places) -> Numbers:
    """Each of those touched and its successor change places; of neighbours that are both touched, the first alone."""
    pairs = touched[:, :-1] & (values[:, 1:] != PADDING)
    pairs[:, 1:] &= ~pairs[:, :-1]
    changed = values.copy()
    rows, places = np.nonzero(pairs)
    changed[rows, places], changed[rows, places + 1] = values[rows, places + 1], values[rows, places]
    return changed


def unknown(values: Numbers, touched: Places) -> Numbers:
    """Those touched are ones that no vocabulary has."""
    return np.where(touched, np.int32(UNKNOWN), values)


def repeated(values: Numbers, touched: Places) -> Numbers:
    """Those touched stand there twice, and what follows moves back; what has no room left is cut."""
    length = values.shape[1]
    first = np.cumsum(1 + touched, axis=1) - 1 - touched
    changed = np.full((len(values), 2 * length), PADDING, dtype=values.dtype)
    np.put_along_axis(changed, first + touched, values, axis=1)
    np.put_along_axis(changed, first, values, axis=1)
    return changed[:, :length]


_KINDS: dict[str, Callable[[Numbers, Places], Numbers]] = {
    "dropped": dropped,
    "swapped": swapped,
    "unknown": unknown,
    "repeated": repeated,
}


def corrupted(values: Numbers, severity: int, random: np.random.Generator, *, kind: str) -> Numbers:
    """int32 `(N, L)` → the same texts, corrupted."""
    touched = (random.random(values.shape) < SHARES[severity - 1]) & (values != PADDING)
    return _KINDS[kind](values, touched)


CORRUPTIONS: Mapping[str, Corruption] = {kind: partial(corrupted, kind=kind) for kind in _KINDS}
