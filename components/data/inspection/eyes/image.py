"""Pictures: thumbnails that are compared, previews that are shown, how much contrast there is, sizes and modes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from components import decoding
from components.config import ImageDeclaration
from components.data.inspection.embedding import Floats
from components.data.inspection.eyes import correlating
from components.data.inspection.eyes.gradients import descriptor
from components.data.inspection.eyes.protocol import Glimpse, Indices
from components.data.inspection.eyes.thumbnails import SIDE, preview, shrink
from components.data.inspection.findings import Finding, Kind
from components.data.inspection.rows import Pieces, Rows
from components.data.inspection.twins import Twins, digests_of
from components.inputs import png

LEAST = 4 * SIDE  # pixels: to what a JPEG may shrink while it is decoded, four to a side of each of the thumbnail's
# Grey values, of 255, that a picture must span for anything to be seen in it. Re-encoding and a camera's noise make up
# to a dozen of one value; the faintest of Fashion-MNIST's 70,000 spans 254, of the digits 223.
BLANK = 16
LOW = 2**14  # of 16 bits: cameras and scanners of 10, 12 and 14 bits stay below it


class Pictures:
    """A sample that cannot be decoded has a black thumbnail and no preview."""

    says: ClassVar[Mapping[Kind, str]] = {
        "corrupt": "cannot be decoded to its end",
        "narrow-range": "16-bit pictures that use a low part of their range only",
        "blank": "of one value, or so nearly that nothing is to be seen",
        "duplicate": "the same pixels as another",
        "near-duplicate": "all but the same picture as another",
    }
    likeness: ClassVar[str] = "correlation"
    cell: ClassVar[tuple[int, int]] = (96, 96)

    def __init__(self, declared: ImageDeclaration, folder: Path) -> None:
        self.sizes: Counter[str] = Counter()  # `WIDTHxHEIGHT` → images
        self.modes: Counter[str] = Counter()  # Pillow's mode → images
        self._declared, self._folder = declared, folder
        self._contrast: list[npt.NDArray[np.uint8]] = []  # greatest range of a channel
        self._deep = 0  # pictures of 16-bit grey that are read by their type's range
        self._peak = 0  # the greatest value in any of these
        self._files = ExitStack()

    def __enter__(self) -> Self:
        shape = (SIDE, SIDE, self._declared.channels)
        self._thumbnails = self._files.enter_context(Rows(self._folder, shape, np.uint8))
        self._previews = self._files.enter_context(Pieces(self._folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()

    def look(self, column: pa.Array) -> Glimpse:
        pictures = _pictures(column, self._declared)
        self._thumbnails.append(pictures.thumbnails)
        self._previews.append(pictures.previews)
        self._contrast.append(pictures.contrast)
        self.sizes += pictures.sizes
        self.modes += pictures.modes
        self._deep += len(pictures.peaks)
        self._peak = max(self._peak, *pictures.peaks, 0)
        blank = pictures.decodable & (pictures.contrast < BLANK)
        return Glimpse(pictures.decodable, blank, pictures.digests, pictures.broken)

    def notes(self) -> list[str]:
        """How pictures are read whose numbers are not 8 bits of grey or of red, green and blue."""
        limits = self._declared.range
        said = ((mode, count, decoding.read_as(mode, limits)) for mode, count in sorted(self.modes.items()))
        return [f"mode {mode}, {count:,} pictures: {how}" for mode, count, how in said if how]

    def remarks(self) -> Iterator[Finding]:
        """16-bit pictures that all use a low part of their range only, as those of 12-bit scanners do."""
        if self._deep and self._peak < LOW:
            used = (1 << max(8, self._peak.bit_length())) - 1
            said = (
                f"{self._deep:,} pictures of 16 bits have no value above {self._peak:,} of 65,535, so that they are "
                f"nearly black; where their range is 0 to {used:,}, say so: `image.range: [0, {used}]`"
            )
            yield Finding("narrow-range", "image.range", "", 1.0, said)

    def blank(self, sample: int) -> tuple[float, str]:
        if len(self._contrast) > 1:
            self._contrast = [np.concatenate(self._contrast)]
        span = int(self._contrast[0][sample])
        said = "is of one value" if span == 0 else f"spans {span} of 255 grey values"
        return 1.0 - span / 255.0, f"the picture {said}: nothing is to be seen"

    def near_copies(self, samples: Indices) -> Twins:
        return correlating.near_copies(self._thumbnails, samples, self._folder)

    def faint_copies(self, samples: Indices) -> Twins:
        return correlating.same_thumbnails(self._thumbnails, samples)

    def descriptors(self, samples: Indices) -> Floats:
        return descriptor(self._thumbnails.take(samples))

    def picture(self, sample: int) -> Image.Image:
        content = self._previews[sample]
        if content:
            return decoding.decode(content).image
        pixels = self._thumbnails.take(np.array([sample]))[0]
        return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


EYE = Pictures


@dataclass(frozen=True)
class _Pictures:
    thumbnails: png.Pixels
    previews: list[bytes]
    decodable: npt.NDArray[np.bool_]
    contrast: npt.NDArray[np.uint8]
    digests: npt.NDArray[np.void]
    sizes: Counter[str]
    modes: Counter[str]
    broken: dict[int, str]
    peaks: list[int]


def _pictures(column: pa.Array, declared: ImageDeclaration) -> _Pictures:
    channels = declared.channels
    stored = png.decode_stored(column)
    if stored is not None:
        count, height, width, own = stored.shape
        return _Pictures(
            shrink(stored, channels),
            _previews(stored),
            np.ones(count, dtype=bool),
            _contrast(stored),
            digests_of([_digest(image) for image in stored]),
            Counter({f"{width}x{height}": count}),
            Counter({decoding.MODE[own]: count}),
            {},
            [],
        )
    each: list[_Picture] = png.in_threads(partial(_picture, declared=declared), column.to_pylist())
    good = [picture for picture in each if not picture.broken]
    return _Pictures(
        np.stack([picture.thumbnail for picture in each]),
        [picture.preview for picture in each],
        np.array([not picture.broken for picture in each], dtype=bool),
        np.array([picture.contrast for picture in each], dtype=np.uint8),
        digests_of([picture.digest for picture in each]),
        Counter(picture.size for picture in good),
        Counter(picture.mode for picture in good),
        {index: picture.broken for index, picture in enumerate(each) if picture.broken},
        [picture.peak for picture in good if picture.peak is not None],
    )


@dataclass(frozen=True)
class _Picture:
    thumbnail: png.Pixels
    preview: bytes = b""
    contrast: int = 0
    digest: bytes = bytes(16)
    size: str = ""
    mode: str = ""
    broken: str = ""  # why it cannot be decoded
    peak: int | None = None


def _picture(content: bytes | None, declared: ImageDeclaration) -> _Picture:
    """One encoded image. Of a JPEG that shrinks while it is decoded, the digest is that of the file."""
    try:
        with decoding.opened(content or b"", range=declared.range, frames=declared.frames, least=LEAST) as picture:
            pixels = decoding.to_array(picture.image)[None]
            whole = picture.image.size == picture.header.size
            width, height = picture.header.size
            return _Picture(
                shrink(pixels, declared.channels)[0],
                preview(picture.image),
                int(_contrast(pixels)[0]),
                _digest(pixels[0]) if whole else hashlib.blake2b(content or b"", digest_size=16).digest(),
                f"{width}x{height}",
                picture.header.mode,
                peak=picture.peak,
            )
    except decoding.UndecodableError as error:
        return _Picture(np.zeros((SIDE, SIDE, declared.channels), dtype=np.uint8), broken=str(error))


def _previews(batch: png.Pixels) -> list[bytes]:
    """Of `(N, H, W, C)` images."""
    if max(batch.shape[1:3]) <= SIDE:
        return [b""] * len(batch)
    each = batch[..., 0] if batch.shape[3] == 1 else batch
    previews: list[bytes] = png.in_threads(lambda pixels: preview(Image.fromarray(pixels)), list(each))
    return previews


def _contrast(batch: png.Pixels) -> npt.NDArray[np.uint8]:
    """Greatest less least value of each of `(N, H, W, C)` images, in the channel where that is most."""
    spread: npt.NDArray[np.uint8] = (batch.max(axis=(1, 2)) - batch.min(axis=(1, 2))).max(axis=1)
    return spread


def _digest(pixels: png.Pixels) -> bytes:
    digest = hashlib.blake2b(b"%d %d %d\0" % pixels.shape, digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()
