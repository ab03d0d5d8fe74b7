"""What a view counts of a prepared data set's inputs, and how it shows some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from components.data.inspection.findings import Inspection

BINS = 24  # of a distribution: fine enough to see two peaks, coarse enough for a few hundred samples

Drawn = Callable[[Image.Image, Any], Image.Image]  # a picture and a target → the picture with it


@dataclass(frozen=True)
class Look:
    """One input as a page shows it: as a picture (a data URI) or as a text; neither where it cannot be read."""

    uri: str | None = None
    text: str | None = None


class View(Protocol):
    """Of the inputs of one data set, a shard at a time."""

    columns: ClassVar[tuple[str, ...]]  # facts that are counted
    sized: ClassVar[str]  # what their sizes are called
    spread: ClassVar[tuple[str, str]]  # what `distribution` is called, and what it is, in a sentence

    def count(self, table: pa.Table, split: str) -> None:
        """Some more samples, by their facts."""
        ...

    def distribution(self) -> Mapping[str, npt.NDArray[np.int64]]:
        """Split → `(BINS,)` inputs."""
        ...

    def sizes(self, inspection: Inspection | None) -> Mapping[str, int]:
        """How large → inputs: as they came, where that was looked at; else as prepared."""
        ...

    def sizes_said(self, inspection: Inspection | None, spec: Any) -> str:
        """Which sizes these are, in a sentence."""
        ...

    def form(self, spec: Any) -> str:
        """What every input is, in a few words."""
        ...

    def magnified(self, spec: Any) -> bool:
        """Whether pictures are so small that each pixel is to be seen."""
        ...

    def looks(self, column: pa.Array, targets: Sequence[Any], drawn: Drawn) -> list[Look]:
        """N inputs, small; those that are pictures with their target."""
        ...
