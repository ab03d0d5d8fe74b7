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


def write(answer: Sequence[Any], place: Any, card: Mapping[str, Any]) -> dict[str, Any]:
    """`(H, W)` numbers of classes → a row; `place` says which of the image's own pixels they are of.

    What the network has not seen of an image is class 0.
    """
    left, top, right, bottom = place.covers
    mask = np.asarray(answer[0])[top:bottom, left:right]
    counts = np.bincount(mask.ravel().astype(np.int64), minlength=len(card["classes"]))
    first, upper, last, lower = map(round, place.taken)
    part = Image.fromarray(mask.astype(np.uint8)).resize((last - first, lower - upper), Image.Resampling.NEAREST)
    drawn = Image.new("L", place.size)
    drawn.paste(part, (first, upper))
    buffer = io.BytesIO()
    drawn.save(buffer, format="PNG")
    return {
        "mask": base64.b64encode(buffer.getvalue()).decode("ascii"),
        "shares": {name: float(count / mask.size) for name, count in zip(card["classes"], counts, strict=True)},
    }
