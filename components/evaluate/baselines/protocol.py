"""What a kind of input must say so that simple models can learn from it. No PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy.typing as npt

from components.artifacts import InputSpec

Values = npt.NDArray[Any]  # N inputs as their kind has them
Features = Any  # (N, F) float32, as an array or as one of SciPy's sparse matrices
See = Callable[[Values], Features]
Learn = Callable[[Values, InputSpec], See]  # training inputs and what their card says → how any inputs are seen


class Baselines(Protocol):
    """A module of this folder."""

    BASELINES: Mapping[str, Learn]  # name in `evaluate.baselines` → what a linear model is shown
