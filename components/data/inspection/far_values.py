"""Numbers that lie far from all others of their kind: slips of the pen, other units, placeholders such as -999."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Deviations from the median, estimated by quartiles, beyond which a value is far: of normally distributed values one in
# 10^9, and of skewed ones (exponential) one in 2,000.
LIMIT = 6.0
LEAST = 20  # values from which on it can be said what is usual
_QUARTILE = 0.6744897501960817  # of a normal distribution, in its deviations


def distances(values: Floats) -> Floats:
    """`(N, K)` values → how far each is from the median of its column, in robust deviations; 0 where that is not known.

    The deviation is that of either side by itself, for skewed columns have a long one; equal values do not count.
    """
    found = np.zeros_like(values)
    for place, column in enumerate(values.T):
        known = column[np.isfinite(column)]
        if len(known) < LEAST:
            continue
        middle = np.median(known)
        for side in (known[known > middle], known[known < middle]):
            if not len(side):
                continue
            scale = np.median(np.abs(side - middle)) / _QUARTILE
            rows = np.isfinite(column) & (np.sign(column - middle) == np.sign(side[0] - middle))
            found[rows, place] = np.abs(column[rows] - middle) / scale
    return found


def far(values: Floats, limit: float = LIMIT) -> npt.NDArray[np.bool_]:
    """`(N, K)`: which of the values lie further than `limit` robust deviations from their median."""
    return distances(values) > limit
