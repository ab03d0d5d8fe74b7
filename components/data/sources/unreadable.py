"""`faulty: skip`: a source without the pictures that nothing can read; what they are is told, and how many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa

from components import decoding
from components.data.sources.annotations.frames import UNREADABLE
from components.data.sources.base.faults import Fault, Faults, named
from components.data.sources.base.form import SourceData
from components.inputs import png


def readable(data: SourceData) -> SourceData:
    """The same samples, each picture being decoded to its end; what a key of `image:` makes readable stays."""
    faults = Faults("", "skip")

    def tables() -> Iterator[pa.Table]:
        for table in data.tables:
            wrong = png.in_threads(_wrong, table.column("image").to_pylist())
            for name, said in zip(table.column("id").to_pylist(), wrong, strict=True):
                if said is not None:
                    faults.add(Fault(UNREADABLE, f"{named(name)} {said}"))
            kept = table.filter(pa.array([said is None for said in wrong]))
            if len(kept):
                yield kept

    return replace(data, tables=tables(), notes=lambda: (*data.notes(), *faults.notes()))


def _wrong(content: Any) -> str | None:
    """Why these bytes are no picture that can be read; None where they are one, or a key would make them one."""
    try:
        with decoding.opened(content):
            return None
    except decoding.UndecodableError as error:
        return None if error.key else str(error)
