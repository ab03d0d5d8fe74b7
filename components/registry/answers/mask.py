"""A class for each pixel: a PNG as large as the image, in base64, whose pixels are classes, and each class's share."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

OUTPUTS = ("prediction",)
COLUMNS = {"mask": "string", "shares": "doubles"}


def write(answer: Sequence[Any], size: tuple[int, int], card: Mapping[str, Any]) -> dict[str, Any]:
    """`(H, W)` numbers of classes → a row; `size` is the image's own width and height."""
    (mask,) = answer
    counts = np.bincount(mask.ravel().astype(np.int64), minlength=len(card["classes"]))
    drawn = Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    drawn.save(buffer, format="PNG")
    return {
        "mask": base64.b64encode(buffer.getvalue()).decode("ascii"),
        "shares": {name: float(count / mask.size) for name, count in zip(card["classes"], counts, strict=True)},
    }
