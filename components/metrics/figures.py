"""A value and its resamples → a `Figure`."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from components.artifacts import Figure
from components.metrics import bootstrap
from components.metrics.metric import SHARE

Floats = npt.NDArray[np.float64]


def figure(value: float, spread: Floats, confidence: float, unit: str = SHARE) -> Figure:
    """The value with the interval of its resamples `(B,)`, which is left out, rather than guessed, where one has none.

    A share's unit is not written: that is what a figure is where none is said.
    """
    low, high = bootstrap.interval(spread, confidence)
    said = "" if unit == SHARE else unit
    return (
        Figure(value=value, low=low, high=high, unit=said)
        if math.isfinite(low + high)
        else Figure(value=value, unit=said)
    )
