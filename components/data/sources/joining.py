"""`spellings: join`: a source whose classes, and groups' values, have one spelling each.

Which spelling is the most frequent is known when all samples have been counted, so the source is read twice; where
no two names could be one, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components import spelling
from components.data.sources.base.form import SourceData
from components.inputs import images


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
    counts = Counts(Counter(dict.fromkeys(data.classes, 0)), {name: Counter() for name in groups})
    for table in data.tables:
        for numbers in shown(table.column("target"), data.target):
            for place, count in enumerate(np.bincount(numbers[numbers >= 0], minlength=len(data.classes)).tolist()):
                if count and place < len(data.classes):
                    counts.classes[data.classes[place]] += count
        for name in groups:
            counts.groups[name].update(value for value in table.column(name).to_pylist() if value is not None)
    return counts


def shown(column: pa.ChunkedArray, kind: str) -> Iterator[npt.NDArray[np.int64]]:
    """The classes that samples show: of a mask each once."""
    for chunk in column.chunks:
        if kind == "class":
            yield chunk.drop_null().to_numpy(zero_copy_only=False)
        else:
            yield from (np.unique(mask).astype(np.int64) for mask in images.decode_masks(chunk) if mask is not None)


def _renamed(data: SourceData, number: Mapping[str, int], spelt: Mapping[str, Mapping[str, str]]) -> Iterator[pa.Table]:
    lookup = np.array([number[name] for name in data.classes])
    same = (lookup == np.arange(len(lookup))).all()
    for table in data.tables:
        for name, forms in spelt.items():
            if name and forms:
                values = [forms.get(value, value) for value in table.column(name).to_pylist()]
                table = _with(table, name, pa.array(values, pa.string()))  # noqa: PLW2901
        yield table if same else _with(table, "target", targets(table.column("target"), data.target, lookup))


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def targets(column: pa.ChunkedArray, kind: str, lookup: npt.NDArray[np.int64]) -> pa.Array:
    """Indices into the classes that are left; a mask that cannot be read stays as it is, to be found later."""
    if kind == "class":
        return pa.array([None if each is None else lookup[each].item() for each in column.to_pylist()], pa.int64())
    pixel = np.arange(256, dtype=np.uint8)
    pixel[: len(lookup)] = lookup
    values = column.combine_chunks()
    masks = images.decode_masks(values)
    return pa.array(
        [
            before if mask is None else images.encode(pixel[mask][None])[0].as_py()
            for before, mask in zip(values.to_pylist(), masks, strict=True)
        ],
        pa.binary(),
    )
