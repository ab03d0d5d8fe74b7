"""What is shown and what comes back, whichever engine answers. Types alone, so that naming them costs no import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

Inputs = npt.NDArray[Any]  # as their kind has them: uint8 (N, H, W, C) pictures, int32 (N, L) texts
Answers = dict[str, npt.NDArray[Any]]  # output name → array of N answers
Answerer = Callable[[Inputs], Answers]
