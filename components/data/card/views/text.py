"""Texts: how long they are, and the beginning of some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts import SPLITS, TextSpec
from components.data.card.views.protocol import BINS, Drawn, Look
from components.data.inspection.findings import Inspection
from components.inputs import vocabulary

SHOWN = 160  # characters of a text
_LONGEST = 17.0  # of a length's logarithm: beyond 131,071 units all are one


class Texts:
    """Counted by their length in units."""

    columns: ClassVar[tuple[str, ...]] = ("length",)
    sized: ClassVar[str] = "lengths"
    spread: ClassVar[tuple[str, str]] = (
        "Lengths by split",
        "How long the texts are, from empty to 131,071 units, each step of the same ratio.",
    )

    def __init__(self) -> None:
        self._sizes: Counter[int] = Counter()  # power of two that a length is below → texts, as prepared
        self._lengths: dict[str, npt.NDArray[np.int64]] = {split: np.zeros(BINS, dtype=np.int64) for split in SPLITS}

    def count(self, table: pa.Table, split: str) -> None:
        lengths = table.column("length").drop_null().to_numpy()
        self._sizes.update(int(length).bit_length() for length in lengths)
        scaled = np.minimum(np.log2(lengths + 1.0), _LONGEST)
        self._lengths[split] += np.histogram(scaled, bins=BINS, range=(0.0, _LONGEST))[0]

    def distribution(self) -> dict[str, npt.NDArray[np.int64]]:
        """By the logarithm of their length."""
        return self._lengths

    def sizes(self, inspection: Inspection | None) -> dict[str, int]:
        """In units, by powers of two: these are as they came, since nothing is cut in what is prepared."""
        return {_range(bits): texts for bits, texts in sorted(self._sizes.items())}

    def sizes_said(self, inspection: Inspection | None, spec: TextSpec) -> str:
        return f"Of the texts in {spec.unit}s; a network is given the first {spec.length:,}."

    def form(self, spec: TextSpec) -> str:
        return f"texts of {spec.said}"

    def magnified(self, spec: TextSpec) -> bool:
        return False

    def looks(self, column: pa.Array, targets: Sequence[Any], drawn: Drawn) -> list[Look]:
        return [_look(text) for text in vocabulary.texts(column)]


VIEW = Texts


def _look(text: Any) -> Look:
    if vocabulary.problem(text) is not None:
        return Look()
    said = " ".join(text[: 2 * SHOWN].split())
    return Look(text=said if len(said) <= SHOWN and len(text) <= 2 * SHOWN else f"{said[:SHOWN]}…")


def _range(bits: int) -> str:
    if bits < 2:
        return str(bits)
    return f"{1 << (bits - 1):,}–{(1 << bits) - 1:,}"
