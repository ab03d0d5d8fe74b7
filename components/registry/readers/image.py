"""Pictures: bytes of an encoded image, or those as base64 text, to pixels, as preparing the data did it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

COLUMN, TYPE = "image", "binary"
NEEDS = "decoding"  # of the project, beside this file: by the very files that read the data
REQUIRES = ("pillow",)


class Reader:
    """By `model.json`, with what lies in `folder`, which `load` runs."""

    def __init__(self, folder: Path, card: Mapping[str, Any], load: Callable[[Path], Any]) -> None:
        self.decoding = load(folder / NEEDS / "__init__.py")
        self.form = self.decoding.Form.of(card["input"])

    def read(self, value: Any) -> tuple[npt.NDArray[np.uint8], Any]:
        """`(height, width, channels)` pixels, and where in them the image lies.

        Raises ValueError in the words that training has for the same image.
        """
        pixels, size = self.decoding.read(_bytes(value), self.form)
        return pixels, self.form.place(size)


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        try:
            return base64.b64decode(value.partition(",")[2] if value.startswith("data:") else value, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("expected base64 text, received text that is not base64") from None
    raise ValueError(f"expected bytes or base64 text, received {type(value).__name__}")
