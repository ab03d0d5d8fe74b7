"""Texts: strings to the numbers of their units, as preparing the data did it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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

    def read(self, value: Any) -> tuple[npt.NDArray[np.int32], Place]:
        """`(length,)` numbers, and where in the text its units stand. Raises ValueError for what is no text."""
        numbers: npt.NDArray[np.int32] = self.tokenizer.encode([value])[0]
        return numbers, Place(value, self.tokenizer)


@dataclass(frozen=True)
class Place:
    """The request's own text; where its units stand is found when it is asked."""

    text: str
    tokenizer: Any

    def units(self) -> npt.NDArray[np.int32]:
        """`(U, 2)`: first character of each unit that the network is given, and the one behind its last."""
        places: npt.NDArray[np.int32] = self.tokenizer.places(self.text)
        return places
