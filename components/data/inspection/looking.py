"""One pass over a source's tables: what is remembered of each sample is a few words, and a thumbnail in a file.

Says what each image is (decodable, of how much contrast, of which size) and counts; whether that is wrong is for
others.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from components import decoding
from components.config import ImageDeclaration
from components.data.errors import DataError
from components.data.inspection.thumbnails import SIDE, Previews, Rows, preview, shrink
from components.data.sources.base.form import SourceData
from components.inputs import png
from components.targets import registry as targets
from components.targets.protocol import TargetKind

LEAST = 4 * SIDE  # pixels: to what a JPEG may shrink while it is decoded, four to a side of each of the thumbnail's
DIGEST = np.dtype([("high", "<u8"), ("low", "<u8")])


@dataclass
class Seen:
    """What is known of N samples; thumbnails and previews are in the files that `look` was given."""

    classes: tuple[str, ...]
    kind: TargetKind
    ids: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    targets: npt.NDArray[np.int32] = field(
        default_factory=lambda: np.zeros(0, np.int32)
    )  # UNKNOWN of what is not of one class
    measures: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)  # of targets that are numbers, in words
    decodable: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    contrast: npt.NDArray[np.uint8] = field(
        default_factory=lambda: np.zeros(0, np.uint8)
    )  # greatest range of a channel
    digests: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(0, DIGEST))  # equal for equal pixels
    groups: dict[str, pa.DictionaryArray] = field(default_factory=dict)
    shown: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)  # published split or "" → samples a class
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    broken: dict[int, str] = field(default_factory=dict)  # sample → why it cannot be decoded
    deep: int = 0  # pictures of 16-bit grey that are read by their type's range
    peak: int = 0  # the greatest value in any of these

    def __len__(self) -> int:
        return len(self.ids)

    def id(self, index: int | np.integer) -> str:
        name: str = str(self.ids[int(index)].as_py())
        return name

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Samples a class; where targets are masks, those that show it."""
        counts: npt.NDArray[np.int64] = np.sum(list(self.shown.values()), axis=0)
        return counts


def look(data: SourceData, declared: ImageDeclaration, thumbnails: Rows, previews: Previews) -> Seen:
    """Read the source to its end. A sample that cannot be decoded has a black thumbnail and no preview."""
    seen = Seen(data.classes, targets.get(data.target))
    parts: dict[str, list[Any]] = {name: [] for name in ("ids", "targets", "decodable", "contrast", "digests")}
    groups: dict[str, list[pa.Array]] = {name: [] for name in data.groups}
    measures: dict[str, list[npt.NDArray[np.float64]]] = {}
    at = 0
    for table in data.tables:
        for rows in table.to_batches(max_chunksize=_rows_at_once(table)):
            pictures = _pictures(rows.column("image"), declared)
            thumbnails.append(pictures.thumbnails)
            previews.append(pictures.previews)
            for name in ("decodable", "contrast", "digests"):
                parts[name].append(getattr(pictures, name))
            parts["ids"].append(rows.column("id").cast(pa.string()))
            parts["targets"].append(_count(seen, rows))
            for words, values in seen.kind.measures(rows.column("target"), data.about).items():
                measures.setdefault(words, []).append(values)
            for name, columns in groups.items():
                columns.append(rows.column(name).cast(pa.string()).dictionary_encode())
            seen.sizes += pictures.sizes
            seen.modes += pictures.modes
            seen.broken |= {at + index: why for index, why in pictures.broken.items()}
            seen.deep += len(pictures.peaks)
            seen.peak = max(seen.peak, *pictures.peaks, 0)
            at += len(rows)
    if at == 0:
        raise DataError("expected images, received none; the source is empty")
    seen.ids = _joined(parts["ids"])
    seen.targets, seen.decodable, seen.contrast, seen.digests = (
        np.concatenate(parts[name]) for name in ("targets", "decodable", "contrast", "digests")
    )
    seen.measures = {words: np.concatenate(values) for words, values in measures.items()}
    seen.groups = {name: _joined(columns) for name, columns in groups.items()}
    return seen


def _rows_at_once(table: pa.Table) -> int:
    """Small images a thousand at a time, so that threads share them; fewer where each is large."""
    return max(16, min(4096, 2**24 * len(table) // max(int(table.nbytes), 1)))


def _joined(arrays: list[pa.Array]) -> pa.Array:
    chunked = pa.chunked_array(arrays)
    if pa.types.is_dictionary(chunked.type):
        chunked = chunked.unify_dictionaries()
    return chunked.combine_chunks()


def _count(seen: Seen, rows: pa.RecordBatch) -> npt.NDArray[np.int32]:
    """Add up who shows which class, by published split; the targets themselves where each is a class."""
    published = np.array([name or "" for name in rows.column("published").to_pylist()])
    classes = len(seen.classes)
    for name in np.unique(published).tolist():
        seen.shown.setdefault(name, np.zeros(classes, dtype=np.int64))
    shown = seen.kind.shown(rows.column("target"), classes)
    for name in np.unique(published).tolist():
        seen.shown[name] += shown.counts(classes, published == name)
    return seen.kind.labels(rows.column("target"), classes).astype(np.int32)


# -- pictures ---------------------------------------------------------------------------------------------------------


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
            _digests([_digest(image) for image in stored]),
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
        _digests([picture.digest for picture in each]),
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


def _digests(values: list[bytes]) -> npt.NDArray[np.void]:
    return np.frombuffer(b"".join(values), dtype=DIGEST)
