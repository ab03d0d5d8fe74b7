"""Sources by their `kind`, and the form in which every one of them hands over its samples."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from components.config import Located
from components.data.sources import apart

BATCH_ROWS = 10_000
BATCH_BYTES = 64 * 2**20


@dataclass(frozen=True)
class SourceData:
    """What a source gives: its class names, what a target is, and its rows, table by table.

    Columns: `id` (string, unique), `image` (encoded bytes), `target` (int64 index into `classes`, or the bytes of a
    PNG mask of such indices), `published` (the split the source itself gives the sample, or null), any `group_*`
    (string, null where it is missing), and, where `time` says so, `time` (float64, seconds or any other order).
    """

    classes: tuple[str, ...]
    target: Literal["class", "mask"]
    tables: Iterator[pa.Table]
    groups: tuple[str, ...] = ()
    time: bool = False
    notes: Callable[[], tuple[str, ...]] = tuple  # what was left out, a sentence a kind; known at the tables' end

    @property
    def schema(self) -> pa.Schema:
        return schema(self.target, self.groups, self.time)


def schema(target: Literal["class", "mask"], groups: tuple[str, ...] = (), time: bool = False) -> pa.Schema:
    """The columns of a source's tables, in order."""
    return pa.schema(
        [
            ("id", pa.string()),
            ("image", pa.binary()),
            ("target", pa.int64() if target == "class" else pa.binary()),
            ("published", pa.string()),
            *[(group, pa.string()) for group in groups],
            *([("time", pa.float64())] if time else []),
        ]
    )


_MODULES = {
    "fashion-mnist": "components.data.sources.fashion_mnist",
    "digits": "components.data.sources.digits",
    "digit-scenes": "components.data.sources.digit_scenes",
    "folder": "components.data.sources.folder",
    "manifest": "components.data.sources.manifest",
    "coco": "components.data.sources.coco",
    "voc": "components.data.sources.voc",
    "idx": "components.data.sources.idx",
    "arrays": "components.data.sources.arrays",
    "huggingface": "components.data.sources.huggingface",
}
_PLACE = "components.data.sources.place"


def read(source: Any, project: Path) -> SourceData:
    """The samples of a `source:` section; only that kind's module is imported. Relative paths are the project's.

    Raises DataError for a source that lies where Convoy keeps things, and whatever its kind's module raises.
    """
    apart.check_source(source, project)
    data: SourceData = importlib.import_module(_MODULES[source.kind]).read(source, project)
    return data


def listing(source: Any, project: Path) -> str | None:
    """A digest that stays equal as long as nobody touches the source; reads no image, and asks a server only for names.

    None where the source is not there or cannot be reached, and for those that are inside the package.
    """
    if not isinstance(source, Located):
        return None
    apart.check_source(source, project)
    # Those whose images may lie elsewhere than `path` know where.
    lister: Any = importlib.import_module(_MODULES[source.kind] if source.kind in ("manifest", "coco") else _PLACE)  # type: ignore[attr-defined]
    found: str | None = lister.listing(source, project)
    return found
