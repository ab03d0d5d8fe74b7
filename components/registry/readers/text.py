"""Texts: strings to the numbers of their units, as preparing the data did it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

COLUMN, TYPE = "text", "string"
NEEDS = "tokenizing.py"  # of the project, beside this file: by the very file that read the data
REQUIRES: tuple[str, ...] = ()


class Reader:
    """By `model.json`, with what lies in `folder`, which `load` runs."""

    def __init__(self, folder: Path, card: Mapping[str, Any], load: Callable[[Path], Any]) -> None:
        self.tokenizer = load(folder / NEEDS).Tokenizer(card["input"])

    def read(self, value: Any) -> tuple[npt.NDArray[np.int32], None]:
        """`(length,)` numbers, and no place: a text has none. Raises ValueError for what is no text."""
        numbers: npt.NDArray[np.int32] = self.tokenizer.encode([value])[0]
        return numbers, None
