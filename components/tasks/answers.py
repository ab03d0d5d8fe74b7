"""What is shown and what comes back, whichever engine answers. Types alone, so that naming them costs no import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]  # (N, H, W, C)
Answers = dict[str, npt.NDArray[Any]]  # output name → array of N answers
Answerer = Callable[[Images], Answers]
