"""`without`: a source whose classes are those that are left, and whose samples are of these.

In masks the pixels of what is left out become the first class's, which is the background; no picture goes.
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
from components.data.sources.joining import shown, targets

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
    if data.target == "mask" and data.classes[0] in names:
        raise DataError(
            f"source.without: expected classes other than the first, {texts.exact(data.classes[0])}, which the "
            "pixels of "
            "those that are left out become"
        )
    place = {name: index for index, name in enumerate(kept)}
    counts: Counter[str] = Counter()

    def notes() -> tuple[str, ...]:
        what = "sample" if data.target == "class" else "mask"
        said = (
            f"left out: {counts[name]:,} {what if counts[name] == 1 else f'{what}s'} of class {texts.exact(name)} "
            "(`without`)"
            for name in names
        )
        return (*data.notes(), *said)

    return replace(data, classes=kept, tables=_tables(data, place, names, counts), notes=notes)


def _tables(
    data: SourceData, place: dict[str, int], names: tuple[str, ...], counts: Counter[str]
) -> Iterator[pa.Table]:
    lookup = np.array([place.get(name, 0) for name in data.classes])
    left = np.array([name in names for name in data.classes])
    for table in data.tables:
        if data.target == "class":
            numbers = table.column("target").to_numpy(zero_copy_only=False)
            counts.update(data.classes[number] for number in numbers[left[numbers]].tolist())
            table = table.filter(pa.array(~left[numbers]))  # noqa: PLW2901
            if not len(table):
                continue
        else:
            for numbers in shown(table.column("target"), "mask"):
                counts.update(
                    data.classes[number] for number in numbers.tolist() if number < len(left) and left[number]
                )
        at = table.schema.get_field_index("target")
        yield table.set_column(at, "target", targets(table.column("target"), data.target, lookup))
