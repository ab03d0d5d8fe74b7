"""Pictures: how large and how bright they are, and small ones as data URIs."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components import decoding
from components.artifacts import SPLITS, ImageSpec
from components.data.card.views.protocol import BINS, Drawn, Look
from components.data.inspection.findings import Inspection

SIDE = 96  # pixels: what a page shows; smaller pictures are enlarged by whoever shows them
_LOSSLESS = 64  # pixels: below, PNG is as small as JPEG and shows every pixel as it is


class Pictures:
    """Counted by width, height and mean brightness."""

    columns: ClassVar[tuple[str, ...]] = ("width", "height", "mean")
    sized: ClassVar[str] = "sizes"
    spread: ClassVar[tuple[str, str]] = ("Brightness", "How bright the images are, from black to white.")

    def __init__(self) -> None:
        self._sizes: Counter[str] = Counter()  # `WIDTH×HEIGHT`, as prepared
        self._brightness: dict[str, npt.NDArray[np.int64]] = {split: np.zeros(BINS, dtype=np.int64) for split in SPLITS}

    def count(self, table: pa.Table, split: str) -> None:
        pairs = zip(table.column("width").to_pylist(), table.column("height").to_pylist(), strict=True)
        self._sizes.update(f"{width}×{height}" for width, height in pairs if width is not None)
        means = table.column("mean").drop_null().to_numpy()
        self._brightness[split] += np.histogram(means, bins=BINS, range=(0.0, 1.0))[0]

    def distribution(self) -> dict[str, npt.NDArray[np.int64]]:
        """From black to white."""
        return self._brightness

    def sizes(self, inspection: Inspection | None) -> dict[str, int]:
        if inspection is not None:
            return {size.replace("x", "×"): images for size, images in inspection.sizes.items()}
        return dict(self._sizes)

    def sizes_said(self, inspection: Inspection | None, spec: ImageSpec) -> str:
        if inspection is None:
            return "As prepared."
        return f"Of the images as they came; what is trained on has {spec.width}×{spec.height}."

    def form(self, spec: ImageSpec) -> str:
        return f"{spec.width}×{spec.height} in {'colour' if spec.channels == 3 else 'grey'}"

    def magnified(self, spec: ImageSpec) -> bool:
        return max(spec.height, spec.width) < _LOSSLESS

    def looks(self, column: pa.Array, targets: Sequence[Any], drawn: Drawn) -> list[Look]:
        return [_look(content, target, drawn) for content, target in zip(column.to_pylist(), targets, strict=True)]


VIEW = Pictures


def _look(content: bytes | None, target: Any, drawn: Drawn) -> Look:
    """At most `SIDE` pixels a side."""
    try:
        picture = decoding.decode(content or b"", frames="first").image
    except decoding.UndecodableError:
        return Look()
    picture = drawn(picture, target)
    picture.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    if max(picture.size) <= _LOSSLESS:
        picture.save(stream, "PNG", optimize=True)
        kind = "png"
    else:
        picture.save(stream, "JPEG", quality=82)
        kind = "jpeg"
    return Look(f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}")
