"""What most kinds of targets have in common; a kind writes only what is otherwise with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from components.artifacts import DatasetCard
from components.decoding import Fit
from components.inputs.protocol import Expectation, Size
from components.targets.protocol import UNKNOWN, Numbers, Shown


class Plain:
    """A target of classes that nothing more is known of: no size, no place in its picture, not one label alone."""

    name: str
    fit: Fit = "stretch"
    background = False

    def shown(self, column: pa.Array, classes: int) -> Shown:
        raise NotImplementedError

    def labels(self, column: pa.Array, classes: int) -> Numbers:
        return np.full(len(column), UNKNOWN, dtype=np.int64)

    def parts(self, card: DatasetCard) -> tuple[str, ...]:
        return card.classes

    def parted(self, column: pa.Array, card: DatasetCard) -> Shown:
        return self.shown(column, len(card.classes))

    def measures(self, column: pa.Array, about: Mapping[str, Any]) -> dict[str, npt.NDArray[np.float64]]:
        return {}

    def fitted(
        self, column: pa.Array, pictures: Iterable[Size | None], size: Size, fit: Fit, about: Mapping[str, Any]
    ) -> pa.Array:
        return column

    def record(
        self, about: Mapping[str, Any], columns: Iterable[pa.Array], others: Iterable[pa.Array] = ()
    ) -> dict[str, Any]:
        return {"kind": self.name}

    def expectations(self, card: DatasetCard) -> Sequence[Expectation]:
        return []

    def described(self, classes: Sequence[str], about: Mapping[str, Any]) -> str:
        return f"in {len(classes):,} class{'' if len(classes) == 1 else 'es'}"

    def names(self, column: pa.Array, classes: tuple[str, ...]) -> pa.Array:
        return pa.nulls(len(column), pa.string())

    def captions(self, column: pa.Array, classes: tuple[str, ...]) -> pa.Array:
        return self.names(column, classes)

    def drawn(self, picture: Image.Image, target: Any, about: Mapping[str, Any]) -> Image.Image:
        return picture

    def marked(self, picture: Image.Image, target: npt.NDArray[Any], about: Mapping[str, Any]) -> Image.Image:
        return picture

    def colours(self, classes: Sequence[str], about: Mapping[str, Any]) -> dict[str, tuple[int, int, int]]:
        return {}
