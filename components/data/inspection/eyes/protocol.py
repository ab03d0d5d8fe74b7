"""What an eye must see of the inputs of one source, so that the inspection can say what is suspicious about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from components.data.inspection.embedding import Floats
from components.data.inspection.findings import Finding, Kind
from components.data.inspection.twins import Twins

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Glimpse:
    """What is known at once of N inputs."""

    readable: npt.NDArray[np.bool_]  # (N,)
    blank: npt.NDArray[np.bool_]  # (N,): of those that are readable, those in which there is nothing to be seen
    digests: npt.NDArray[np.void]  # (N,) of `twins.DIGEST`: equal for inputs of the same content
    broken: Mapping[int, str]  # place among the N → why it cannot be read


class Eye(Protocol):
    """Looks at the inputs of one source, in order, as the catalogue declares them; open while their files are needed.

    What is asked for below is asked once all have been seen; samples are places in that order.
    """

    says: ClassVar[Mapping[Kind, str]]  # findings in the words of this kind of input
    likeness: ClassVar[str]  # what near-duplicates are alike by
    cell: ClassVar[tuple[int, int]]  # of a sheet: width and height in pixels
    sizes: Counter[str]  # how large inputs are → how many
    modes: Counter[str]  # how their files hold them → how many

    def __init__(self, declared: Any, folder: Path) -> None:
        """`folder` is where nameless files may lie."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def look(self, column: pa.Array) -> Glimpse:
        """At some more inputs."""
        ...

    def notes(self) -> list[str]:
        """How inputs are read that are not read as they stand."""
        ...

    def remarks(self) -> Iterator[Finding]:
        """What is suspicious about all of them together."""
        ...

    def blank(self, sample: int) -> tuple[float, str]:
        """How blank a blank one is, 1 at most, and in words."""
        ...

    def near_copies(self, samples: Indices) -> Twins:
        """Pairs that are all but the same, of samples that all differ and are not blank."""
        ...

    def faint_copies(self, samples: Indices) -> Twins:
        """Pairs of blank ones, all of which differ, that become the same when they are prepared."""
        ...

    def descriptors(self, samples: Indices) -> Floats:
        """`(n, D)`: numbers in which alike is near."""
        ...

    def picture(self, sample: int) -> Image.Image:
        """It, for people."""
        ...
