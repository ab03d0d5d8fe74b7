"""`spellings: join`: a source whose classes, and groups' values, have one spelling each.

Which spelling is the most frequent is known when all samples have been counted, so the source is read twice; where
no two names could be one, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from components import spelling
from components.data.sources.base.form import SourceData
from components.targets import registry as targets


@dataclass
class Counts:
    """Samples by class (of masks: that show it), and by value of each group."""

    classes: Counter[str] = field(default_factory=Counter)
    groups: dict[str, Counter[str]] = field(default_factory=dict)


def joined(data: SourceData, again: Callable[[], SourceData]) -> SourceData:
    """The same samples under one spelling a name; `again` opens the source once more."""
    groups = [name for name in data.groups if name != spelling.IMAGE]
    if not groups and not spelling.several(dict.fromkeys(data.classes, 0)):
        return data
    counts = _count(data, groups)
    found = {"": spelling.several(counts.classes), **{name: spelling.several(counts.groups[name]) for name in groups}}
    told = tuple(each.said(column) for column, several in found.items() for each in several)
    spelt = {
        column: {name: each.name for each in several for name, _ in each.counts} for column, several in found.items()
    }
    kept = tuple(name for name in data.classes if spelt[""].get(name, name) == name)
    place = {name: index for index, name in enumerate(kept)}
    number = {name: place[spelt[""].get(name, name)] for name in data.classes}
    fresh = again()
    return replace(fresh, classes=kept, tables=_renamed(fresh, number, spelt), joined=told)


def _count(data: SourceData, groups: list[str]) -> Counts:
    kind = targets.get(data.target)
    counts = Counts(Counter(dict.fromkeys(data.classes, 0)), {name: Counter() for name in groups})
    for table in data.tables:
        shown = kind.shown(table.column("target").combine_chunks(), len(data.classes)).counts(len(data.classes))
        counts.classes.update(dict(zip(data.classes, shown.tolist(), strict=True)))
        for name in groups:
            counts.groups[name].update(value for value in table.column(name).to_pylist() if value is not None)
    return counts


def _renamed(data: SourceData, number: Mapping[str, int], spelt: Mapping[str, Mapping[str, str]]) -> Iterator[pa.Table]:
    lookup = np.array([number[name] for name in data.classes])
    same = (lookup == np.arange(len(lookup))).all()
    for table in data.tables:
        for name, forms in spelt.items():
            if name and forms:
                values = [forms.get(value, value) for value in table.column(name).to_pylist()]
                table = _with(table, name, pa.array(values, pa.string()))  # noqa: PLW2901
        column = table.column("target").combine_chunks()
        yield table if same else _with(table, "target", targets.get(data.target).numbered(column, lookup))


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)
