"""Texts: how long they are, in units, which says the `text:` that fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.config import TextDeclaration
from components.data.checking.surveys.protocol import Fitting
from components.decoding import Fit
from components.inputs.protocol import Described
from components.inputs.text import INPUT

SHARE = 0.95  # of the texts that are read whole: a few long ones would make all others mostly padding
STEP = 8  # units: a length is rounded up to a multiple
LONGEST = 65_536  # units, as the catalogue has it


class Texts:
    """Each is described as the pipeline will describe it: that costs no more than counting it."""

    asks: ClassVar[tuple[str, ...]] = ()
    placeholder: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.size = 0
        self._said = said
        self._declared = TextDeclaration.model_validate(said)
        self._facts: list[pa.Table] = []

    def add(self, column: pa.ChunkedArray) -> None:
        texts = column.combine_chunks()
        self.size += pc.sum(pc.binary_length(texts)).as_py() or 0
        # Facts alone: what texts are made of is not needed, and would be as large as they are.
        self._facts.append(pa.table(INPUT.describe(texts, self._declared).facts))

    def told(self) -> dict[str, str]:
        """The shortest, the middle and the longest text."""
        lengths = self._lengths()
        if not len(lengths):
            return {"lengths": "none"}
        least, middle, most = (int(value) for value in (lengths.min(), np.median(lengths), lengths.max()))
        return {"lengths": f"{least:,} to {most:,} {self._declared.unit}s, half of them at most {middle:,}"}

    def counts(self) -> dict[str, dict[str, int]]:
        """Lengths in units."""
        return {"lengths": {str(int(length)): count for length, count in Counter(self._lengths().tolist()).items()}}

    def fitting(self, fit: Fit) -> Fitting:
        """The unit, and a length by which most texts are whole."""
        section: dict[str, Any] = {"unit": self._declared.unit, "length": self._declared.length}
        if "length" in self._said:
            return Fitting(section, ())
        lengths = self._lengths()
        needed = int(np.quantile(lengths, SHARE, method="inverted_cdf")) if len(lengths) else 1
        section["length"] = min(max(STEP, -(-needed // STEP) * STEP), LONGEST)
        whole = float(np.mean(lengths <= section["length"])) if len(lengths) else 1.0
        longest = f"; the longest has {int(lengths.max()):,}" if whole < 1.0 else ""
        why = f"length {section['length']:,}: {whole:.0%} of the texts have at most so many {section['unit']}s{longest}"
        return Fitting(section, (why,))

    def foreseen(
        self, rows: slice, ids: Sequence[str], corrupt: Mapping[str, str], declared: TextDeclaration
    ) -> tuple[None, Described]:
        """What has been described, without the texts."""
        facts = pa.concat_tables(self._facts).slice(rows.start, rows.stop - rows.start).combine_chunks()
        columns = {name: facts.column(name).combine_chunks() for name in facts.column_names}
        nothing = pa.nulls(len(ids), INPUT.stored)
        return None, replace(INPUT.describe(nothing, declared), facts=columns)

    def _lengths(self) -> Any:
        """In units, of the texts that can be read."""
        counted = [table.column("length").drop_null().to_numpy() for table in self._facts]
        return np.concatenate(counted) if counted else np.zeros(0, dtype=np.int64)


SURVEY = Texts
