"""Pictures: encoded files in, pixels of one size out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components import decoding
from components.artifacts import ImageSpec
from components.config import ImageDeclaration
from components.inputs import describing, png
from components.inputs.corruptions import CORRUPTIONS
from components.inputs.protocol import Each, Expectation, Size, UnreadableInputError, Values

AT_ONCE = 32 * 2**20  # bytes of decoded pixels at a time: large photographs must not gather 10,000 at a time
DARK = 0.1  # of full scale


class Image:
    """Declared by their size and colours; brought there, or refused where they may not be."""

    name = "image"
    stored = pa.binary()
    one, many = "image", "images"
    shown, content, blank = "picture", "pixels", "of one value, or nearly so"
    facts = tuple(describing.FACTS)
    digest = ImageSpec.digest
    augmented = True
    slices = {"brightness": ("darkest", "brightest"), "contrast": ("flattest", "starkest")}  # noqa: RUF012
    corruptions = CORRUPTIONS

    def rows(self, declared: ImageDeclaration) -> int:
        return max(1, AT_ONCE // (declared.height * declared.width * declared.channels))

    def describe(
        self, column: pa.Array, declared: ImageDeclaration, each: Each = png.in_threads
    ) -> describing.Pictured:
        return describing.describe(column, declared, each)

    def gathering(self, declared: ImageDeclaration) -> describing.Moments:
        return describing.Moments(declared)

    def sizes(self, column: pa.Array, declared: ImageDeclaration) -> Iterable[Size | None] | None:
        return map(_size, column) if declared.resize else None

    def arrays(self, column: pa.Array, spec: ImageSpec) -> npt.NDArray[np.uint8]:
        stored = png.decode_stored(column)
        if stored is not None and stored.shape[1:] == spec.shape:
            return stored
        decoded = np.empty((len(column), *spec.shape), dtype=np.uint8)
        if len(column):
            decode_one = partial(_decoded, spec=spec)
            decoded[:] = png.in_threads(decode_one, list(enumerate(column.to_pylist())))
        return decoded

    def described(self, spec: ImageSpec) -> str:
        return f"{spec.width}×{spec.height} images"

    def brought(self, spec: ImageSpec) -> str:
        return f"Every image is brought to {spec.width}×{spec.height} pixels"

    def noise(self, spec: ImageSpec, count: int, seed: int) -> npt.NDArray[np.uint8]:
        return np.random.default_rng(seed).integers(0, 256, (count, *spec.shape), dtype=np.uint8)

    def sliced(self, values: Values) -> dict[str, npt.NDArray[np.float64]]:
        """Mean and standard deviation of each picture's pixels, in [0, 1]."""
        flat = values.reshape(len(values), -1)
        mean = flat.mean(axis=1, dtype=np.float64)
        square = np.einsum("ij,ij->i", flat, flat, dtype=np.float64) / flat.shape[1]
        return {"brightness": mean / 255.0, "contrast": np.sqrt(np.maximum(square - mean**2, 0.0)) / 255.0}

    def summary(self, values: Values, spec: ImageSpec) -> dict[str, npt.NDArray[Any]]:
        """Of brightness in [0, 1].

        `edge_*` are mean squared differences of neighbours; `sharpness` is the variance of the Laplacian (Pech-Pacheco
        et al. 2000) and falls with blur; `noise` is the standard deviation that Immerkær (1996) estimates, which rises
        with noise that `edge_*` do not notice.
        """
        grey = values.mean(axis=3, dtype=np.float32) / np.float32(255.0)
        columns: dict[str, Any] = {
            "brightness": grey.mean(axis=(1, 2)),
            "contrast": grey.std(axis=(1, 2)),
            "darkest": grey.min(axis=(1, 2)),
            "brightest": grey.max(axis=(1, 2)),
            "dark_share": (grey < DARK).mean(axis=(1, 2)),
        }
        if min(grey.shape[1:]) > 2:  # those of neighbours need some
            rows, across = np.diff(grey, axis=1), np.diff(grey, axis=2)
            columns["edge_rows"] = (rows**2).mean(axis=(1, 2))
            columns["edge_columns"] = (across**2).mean(axis=(1, 2))
            bent_rows, bent_across = np.diff(rows, axis=1), np.diff(across, axis=2)
            columns["sharpness"] = (bent_rows[:, :, 1:-1] + bent_across[:, 1:-1, :]).var(axis=(1, 2))
            columns["noise"] = np.abs(np.diff(bent_rows, n=2, axis=2)).mean(axis=(1, 2)) * np.sqrt(np.pi / 2) / 6
        if values.shape[3] == 3:
            for channel, name in enumerate(("red", "green", "blue")):
                columns[name] = values[..., channel].mean(axis=(1, 2)) / 255.0
        return columns

    def expectations(self, declared: ImageDeclaration) -> Sequence[Expectation]:
        width, height, mode = declared.width, declared.height, decoding.MODE[declared.channels]
        way = "set `image.fit` (stretch, letterbox, crop) to convert, or correct `image:` in params.yaml"
        return [
            Expectation("ExpectColumnValuesToBeNull", {"column": "problem"}, "error", "every image can be decoded"),
            _between("width", width, width, f"every image is {width} pixels wide ({way})"),
            _between("height", height, height, f"every image is {height} pixels high ({way})"),
            Expectation(
                "ExpectColumnValuesToBeInSet",
                {"column": "mode", "value_set": [mode]},
                "error",
                f"every image has mode {mode} ({way})",
            ),
            _between("mean", 0.0, 1.0, "mean brightness lies in [0, 1]"),
            _between("std", 0.0, 0.5, "contrast lies in [0, 0.5]"),
        ]


INPUT = Image()


def decode(content: bytes, spec: ImageSpec, *, resize: bool = False) -> npt.NDArray[np.uint8]:
    """One encoded image as `(H, W, C)` uint8.

    With `resize`, any image is converted as preparing would; without, one of another size or colour raises
    UndecodableError.
    """
    pixels, _ = decoding.read(content, decoding.Form.of(spec.model_dump() | {"resize": resize}))
    return pixels


def _size(picture: pa.BinaryScalar) -> Size | None:
    """Width and height, upright; None of what is no picture, which has a fault of its own."""
    try:
        return decoding.header(picture.as_buffer()).size
    except decoding.UndecodableError:
        return None


def _decoded(numbered: tuple[int, bytes | None], spec: ImageSpec) -> npt.NDArray[np.uint8]:
    row, content = numbered
    try:
        return decode(content or b"", spec)
    except decoding.UndecodableError as error:
        raise UnreadableInputError(row, str(error)) from None


def _between(column: str, least: float, most: float, says: str) -> Expectation:
    limits = {"column": column, "min_value": least, "max_value": most}
    return Expectation("ExpectColumnValuesToBeBetween", limits, "error", says)
