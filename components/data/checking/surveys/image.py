"""Pictures: sizes and modes from headers alone, which say the `image:` that fits. No picture is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from components import decoding
from components.config import ImageDeclaration
from components.data.checking.surveys.protocol import Fitting, most_frequent
from components.decoding import Fit
from components.inputs import describing
from components.inputs.protocol import Size

LARGE = 512  # pixels: ImageNet's networks take 224 to 480; above it an epoch is measured in hours on a CPU
MOST_SIZES, MOST_MODES = 4, 6  # that are listed


class Pictures:
    """What their headers say. Whether they can be decoded is the inspection's word."""

    asks: ClassVar[tuple[str, ...]] = ("height", "width", "channels", "resize")
    placeholder: ClassVar[Mapping[str, Any]] = {"height": 1, "width": 1, "channels": 3, "resize": True}

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.said = said
        self.size = 0
        self.sizes: Counter[tuple[int, int]] = Counter()  # (width, height) → images
        self.modes: Counter[str] = Counter()  # Pillow's mode → images
        self.headers: list[decoding.Header | None] = []  # None: it states no size, and so is no image
        self._known: dict[decoding.Header, decoding.Header] = {}  # equal ones are kept once

    def add(self, column: pa.ChunkedArray) -> None:
        for image in column:
            self._header(image.as_buffer())

    def _header(self, content: pa.Buffer) -> None:
        self.size += content.size
        try:
            header = decoding.header(content)
        except decoding.UndecodableError:
            self.headers.append(None)
            return
        self.headers.append(self._known.setdefault(header, header))
        self.modes[header.mode] += 1
        self.sizes[header.size] += 1

    def told(self) -> dict[str, str]:
        """The most frequent sizes and modes."""
        sizes = {f"{width}×{height}": count for (width, height), count in self.sizes.items()}
        return {"sizes": most_frequent(sizes, MOST_SIZES), "modes": most_frequent(self.modes, MOST_MODES)}

    def counts(self) -> dict[str, dict[str, int]]:
        """Sizes and modes."""
        return {
            "sizes": {f"{width}x{height}": count for (width, height), count in self.sizes.items()},
            "modes": self.modes,
        }

    def fitting(self, fit: Fit) -> Fitting:
        """The size and the colours that most images have; `resize` where some differ."""
        height, width, channels, resize = (self.said.get(key) for key in self.asks)
        samples, reasons = len(self.headers), []
        if height is None or width is None:
            height, width, why = self._size(height, width)
            reasons.append(f"size {width}×{height}: {why}")
        if channels is None:
            coloured = sum(number for mode, number in self.modes.items() if not decoding.is_grey(mode))
            channels = 3 if coloured else 1
            said = f"{coloured:,} of {samples:,} images are in colour" if coloured else "all images are grey"
            reasons.append(f"channels {channels}: {said}")
        differing = sum(number for size, number in self.sizes.items() if size != (width, height))
        lossless = decoding.LOSSLESS.get(channels, frozenset())
        lossy = {mode: number for mode, number in self.modes.items() if mode not in lossless}
        if resize is None:
            resize = bool(differing or lossy)
            if differing:
                reasons.append(f"resize: {differing:,} of {samples:,} images are of another size")
            if lossy:
                said = f"{sum(lossy.values()):,} of {samples:,} images ({', '.join(sorted(lossy))})"
                reasons.append(f"resize: {said} must be converted")
        if max(height, width) > LARGE:
            reasons.append(f"large: training takes long above {LARGE} pixels; --height and --width make it smaller")
        section: dict[str, Any] = {
            "height": height,
            "width": width,
            "channels": channels,
            **({"resize": True} if resize else {}),
        }
        if resize and differing and fit != "stretch":
            section["fit"] = fit
            reasons.append(f"fit {fit}: so that what is looked for keeps its shape")
        return Fitting(section, tuple(reasons))

    def _size(self, height: int | None, width: int | None) -> tuple[int, int, str]:
        """Height, width and why: the most frequent size, and of two such the larger; one side that is given is kept."""
        if not self.sizes:
            return height or width or 1, width or height or 1, "no image states its own"
        (w, h), count = max(self.sizes.items(), key=lambda item: (item[1], item[0]))
        if height is None and width is None:
            share = "all" if len(self.sizes) == 1 else f"{count:,} of {len(self.headers):,}"
            return h, w, f"that of {share} images"
        why = f"the other side in proportion to {w}×{h}"
        return height or max(1, round(h * (width or w) / w)), width or max(1, round(w * (height or h) / h)), why

    def foreseen(
        self, rows: slice, ids: Sequence[str], corrupt: Mapping[str, str], declared: ImageDeclaration
    ) -> tuple[Iterable[Size | None] | None, describing.Pictured]:
        """Sizes and modes by the headers; nothing that only pixels could tell."""
        headers = self.headers[rows]
        told: list[dict[str, Any]] = []
        for name, header in zip(ids, headers, strict=True):
            if name in corrupt or header is None:
                told.append({"decodable": False, "problem": corrupt.get(name, "no image")})
            else:
                told.append({"decodable": True} | describing.foretold(header.size, header.mode, declared))
        columns = {name: pa.array([each.get(name) for each in told], kind) for name, kind in describing.FACTS}
        none = np.zeros((len(told), declared.channels), dtype=np.int64)
        described = describing.Pictured(pa.nulls(len(told), pa.binary()), columns, none, none, none[:, 0])
        if not declared.resize:
            return None, described
        return [None if header is None else header.size for header in headers], described


SURVEY = Pictures
