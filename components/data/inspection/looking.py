"""One pass over a source's tables: what is remembered of each sample is a few words, and what an eye has in files.

Says what each sample is (readable, blank, of which class and groups) and counts; whether that is wrong is for others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.data.errors import DataError
from components.data.inspection.base.twins import DIGEST
from components.data.inspection.eyes.protocol import Eye, Glimpse
from components.data.sources.base.form import INPUT, SourceData
from components.inputs import registry as inputs
from components.inputs.protocol import InputKind
from components.targets import registry as targets
from components.targets.protocol import UNKNOWN, TargetKind


@dataclass
class Seen:
    """What is known of N samples beside what the eye keeps of their inputs."""

    classes: tuple[str, ...]
    given: InputKind
    kind: TargetKind
    ids: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    targets: npt.NDArray[np.int32] = field(
        default_factory=lambda: np.zeros(0, np.int32)
    )  # UNKNOWN of what is not of one class
    captions: pa.DictionaryArray | None = None  # of targets that are any number of classes: those of each, in words
    measures: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)  # of targets that are numbers, in words
    readable: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    blank: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    digests: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(0, DIGEST))  # equal for equal content
    groups: dict[str, pa.DictionaryArray] = field(default_factory=dict)
    shown: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)  # published split or "" → samples a class
    broken: dict[int, str] = field(default_factory=dict)  # sample → why it cannot be read

    def __len__(self) -> int:
        return len(self.ids)

    def id(self, index: int | np.integer) -> str:
        name: str = str(self.ids[int(index)].as_py())
        return name

    def label(self, index: int | np.integer) -> str | None:
        """What the sample is labelled, in words; None where that is not known, or no name says it."""
        if self.captions is not None:
            said: str | None = self.captions[int(index)].as_py()
            return said
        number = int(self.targets[index])
        return None if number == UNKNOWN else self.classes[number]

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Samples a class; where targets are masks, those that show it."""
        counts: npt.NDArray[np.int64] = np.sum(list(self.shown.values()), axis=0)
        return counts


def look(data: SourceData, eye: Eye) -> Seen:
    """Read the source to its end."""
    seen = Seen(data.classes, inputs.get(data.given), targets.get(data.target))
    glimpses: list[Glimpse] = []
    parts: dict[str, list[Any]] = {"ids": [], "targets": []}
    groups: dict[str, list[pa.Array]] = {name: [] for name in data.groups}
    captions: list[pa.Array] = []
    measures: dict[str, list[npt.NDArray[np.float64]]] = {}
    at = 0
    for table in data.tables:
        for rows in table.to_batches(max_chunksize=_rows_at_once(table)):
            glimpses.append(eye.look(rows.column(INPUT)))
            parts["ids"].append(rows.column("id").cast(pa.string()))
            parts["targets"].append(_count(seen, rows))
            if seen.kind.labelled == "any":
                captions.append(seen.kind.captions(rows.column("target"), data.classes).dictionary_encode())
            for words, values in seen.kind.measures(rows.column("target"), data.about).items():
                measures.setdefault(words, []).append(values)
            for name, columns in groups.items():
                columns.append(rows.column(name).cast(pa.string()).dictionary_encode())
            seen.broken |= {at + index: why for index, why in glimpses[-1].broken.items()}
            at += len(rows)
    if at == 0:
        raise DataError(f"expected {seen.given.many}, received none; the source is empty")
    seen.ids = _joined(parts["ids"])
    seen.targets = np.concatenate(parts["targets"])
    seen.readable, seen.blank, seen.digests = (
        np.concatenate([getattr(glimpse, name) for glimpse in glimpses]) for name in ("readable", "blank", "digests")
    )
    seen.captions = _joined(captions) if captions else None
    seen.measures = {words: np.concatenate(values) for words, values in measures.items()}
    seen.groups = {name: _joined(columns) for name, columns in groups.items()}
    return seen


def _rows_at_once(table: pa.Table) -> int:
    """Small inputs a thousand at a time, so that threads share them; fewer where each is large."""
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
