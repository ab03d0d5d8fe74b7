"""Pictures: sound ones of the declared size, one of another format, one of another size, none, and none that is one."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
from PIL import Image

from components.config import ImageDeclaration

DECLARED = ImageDeclaration(height=4, width=6, channels=1)


def _file(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format=kind)
    return content.getvalue()


_RANDOM = np.random.default_rng(0)
_FIRST, _SECOND, _LARGE = (_RANDOM.integers(0, 256, size, dtype=np.uint8) for size in ((4, 6), (4, 6), (9, 9)))
COLUMN = pa.array(
    [_file(_FIRST), _file(_SECOND), _file(_FIRST, "BMP"), _file(_LARGE), None, b"no picture", _file(_FIRST)[:40]],
    pa.binary(),
)
SOUND = [0, 1, 2]  # rows that become arrays; the first two differ
