"""`without`: a source whose classes are those that are left, and whose samples are of these.

In masks the pixels of what is left out become the first class's, which is the background, and of boxes those of what is
left out go; no picture does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from components import texts
from components.data.errors import DataError
from components.data.sources.base.form import SourceData
from components.targets import registry as targets
from components.targets.protocol import UNKNOWN, TargetKind

_NAMED = 8  # classes that a message lists


def without(data: SourceData, names: tuple[str, ...]) -> SourceData:
    """The same source without these classes; raises DataError for a class that it has not, and where none is left."""
    listed = ", ".join([*map(texts.shown, data.classes[:_NAMED]), *(["…"] if data.classes[_NAMED:] else [])])
    unknown = [name for name in names if name not in data.classes]
    if unknown:
        raise DataError(
            f"source.without: expected classes of the source ({listed}), received {texts.exact(unknown[0])}, "
            "which is none"
        )
    kept = tuple(name for name in data.classes if name not in names)
    if not kept:
        raise DataError(f"source.without: expected a class to be left, received all of them: {listed}")
    kind = targets.get(data.target)
    if kind.background and data.classes[0] in names:
        raise DataError(
            f"source.without: expected classes other than the first, {texts.exact(data.classes[0])}, which the "
            "pixels of "
            "those that are left out become"
        )
    place = {name: index for index, name in enumerate(kept)}
    counts: Counter[str] = Counter()

    def notes() -> tuple[str, ...]:
        said = (f"left out: {_counted(counts[name], kind)} of class {texts.exact(name)} (`without`)" for name in names)
        return (*data.notes(), *said)

    return replace(data, classes=kept, tables=_tables(data, place, names, counts), notes=notes)


def _tables(
    data: SourceData, place: dict[str, int], names: tuple[str, ...], counts: Counter[str]
) -> Iterator[pa.Table]:
    kind = targets.get(data.target)
    lookup = np.array([place.get(name, 0 if kind.background else UNKNOWN) for name in data.classes])
    left = np.array([name in names for name in data.classes])
    for table in data.tables:
        column = table.column("target").combine_chunks()
        shown = kind.shown(column, len(data.classes)).counts(len(data.classes))
        counts.update({name: number for name, number in zip(data.classes, shown.tolist(), strict=True) if number})
        if kind.labelled == "once":
            labels = kind.labels(column, len(data.classes))
            kept = ~(left[labels] & (labels >= 0))
            table, column = table.filter(pa.array(kept)), column.filter(pa.array(kept))  # noqa: PLW2901
            if not len(table):
                continue
        yield table.set_column(table.schema.get_field_index("target"), "target", kind.numbered(column, lookup))


def _counted(number: int, kind: TargetKind) -> str:
    """`3 samples`; `2 masks`; `the boxes in 1 picture`."""
    some = f"{number:,} {{}}{'' if number == 1 else 's'}"
    if kind.labelled == "once":
        return some.format("sample")
    return some.format(kind.name) if kind.background else f"the {kind.name} in {some.format('picture')}"
