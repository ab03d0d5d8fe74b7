"""What a source holds, counted as it is read: classes, groups, published splits; what its inputs are, by their kind.

Whether inputs can be read, and what else is wrong with them, is the inspection's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from components.data.checking.surveys.protocol import InputSurvey
from components.data.sources.base.form import INPUT, SourceData
from components.inputs import registry as inputs
from components.members import SURVEYS
from components.targets import registry as targets

UNPUBLISHED = ""  # the split of what the source has not split

Advanced = Callable[[int, str], None]  # is told how many inputs have been read, and what they are called


def of_kind(given: str) -> type[InputSurvey]:
    """What surveys inputs of that kind, imported now."""
    survey: type[InputSurvey] = SURVEYS.load(given).SURVEY
    return survey


@dataclass
class Survey:
    """Counts, complete when the tables of `watch` have been read to their end."""

    inputs: InputSurvey
    classes: dict[str, Counter[str]] = field(default_factory=dict)  # class → split → samples (that show it)
    groups: dict[str, Counter[str]] = field(default_factory=dict)  # `group_*` → value → samples; missing ones left out
    splits: Counter[str] = field(default_factory=Counter)  # as published
    samples: int = 0
    # What the splits depend on, a value a sample; groups by column.
    ids: list[str] = field(default_factory=list)
    published: list[str | None] = field(default_factory=list)
    members: dict[str, list[str | None]] = field(default_factory=dict)
    times: list[float | None] = field(default_factory=list)
    asked: str = ""  # what can be answered, in words
    joined: tuple[str, ...] = ()  # what has been made one name, a sentence each

    @classmethod
    def of(cls, data: SourceData, said: Mapping[str, Any]) -> Survey:
        """One of a source, of whose inputs the command line says so much."""
        return cls(of_kind(data.given)(said))

    def watch(self, data: SourceData, advanced: Advanced = lambda *_: None) -> SourceData:
        """The same source, counted as it passes."""
        self.classes = {name: Counter() for name in data.classes}
        self.groups = {name: Counter() for name in data.groups}
        self.joined = data.joined
        self.asked = targets.get(data.target).described(data.classes, data.about)

        many = inputs.get(data.given).many

        def tables() -> Iterator[pa.Table]:
            for table in data.tables:
                self._count(table, data)
                advanced(self.samples, many)
                yield table

        return replace(data, tables=tables())

    def _count(self, table: pa.Table, data: SourceData) -> None:
        published = table.column("published").to_pylist()
        self.samples += len(table)
        self.splits.update(split or UNPUBLISHED for split in published)
        self.ids += table.column("id").to_pylist()
        self.published += published
        self.times += table.column("time").to_pylist() if data.time else []
        for group in data.groups:
            values = table.column(group).to_pylist()
            self.members.setdefault(group, []).extend(values)
            self.groups[group].update(value for value in values if value)
        shown = targets.get(data.target).shown(table.column("target").combine_chunks(), len(data.classes))
        for row, number in zip(shown.rows.tolist(), shown.classes.tolist(), strict=True):
            self.classes[data.classes[number]][published[row] or UNPUBLISHED] += 1
        self.inputs.add(table.column(INPUT))
