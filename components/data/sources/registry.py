"""Sources by their `kind`: the one door through which all of them are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from components import spelling, texts
from components.config import Located
from components.data.errors import DataError
from components.data.sources import apart
from components.data.sources.base import boundary
from components.data.sources.base.form import IMAGE, SourceData, is_text
from components.members import SOURCES

LONGEST_NAME = 1000  # characters of a class's name: whatever is longer is a file or a text, in the wrong column


def read(source: Any, project: Path) -> SourceData:
    """The samples of a `source:` section; only that kind's module is imported. Relative paths are the project's.

    Every source passes here: its names, which are joined where the section says so, and whatever its module or a
    library raises, now or when the tables are read, which becomes a DataError. Raises DataError for a name that is
    none, and for a source that lies where Convoy keeps things.
    """

    def opened() -> SourceData:
        module: Any = SOURCES.load(source.kind)
        with boundary.reading(*_called(source)):
            apart.check_source(source, project)
            data: SourceData = module.read(source, project)
        return replace(data, tables=boundary.each(data.tables, *_called(source)))

    data = opened()
    _named(data, source.kind)
    if not isinstance(source, Located):
        return data
    if data.given == IMAGE and getattr(source, "faulty", "refuse") == "skip":
        from components.data.sources.unreadable import readable

        data = readable(data)
    if source.spellings == "join":
        from components.data.sources.joining import joined

        data = joined(data, lambda: _again(source, project))
    if left := tuple(name for name in source.without if name not in data.left):
        from components.data.sources.leaving import without

        data = without(data, left)
    return data


def _again(source: Located, project: Path) -> SourceData:
    """The source as it was before its names were joined."""
    return read(source.model_copy(update={"spellings": "keep", "without": ()}), project)


def layouts() -> Iterator[Any]:
    """Every source's layouts, `layouts.form.Layout`, and those that no source reads yet."""
    from components.data.sources.layouts import elsewhere

    for name in SOURCES.names():
        yield from getattr(SOURCES.load(name), "LAYOUTS", ())
    yield from elsewhere.LAYOUTS


def _called(source: Any) -> tuple[str, str]:
    """A source in messages, where its reader names no file: its place (an address may hold secrets), and its kind."""
    path = getattr(source, "path", None)
    there = path is not None and "://" not in path and "::" not in path
    return f"{path} ({source.kind})" if there else f"source ({source.kind})", f"a source of kind {source.kind}"


def _named(data: SourceData, kind: str) -> None:
    """Raises DataError for a name that is empty, no text, or a whole document."""
    for what, names in (("class", data.classes), ("group", [name.removeprefix("group_") for name in data.groups])):
        for name in names:
            wrong = None
            if not spelling.key(name):
                wrong = "a name that can be seen"
            elif len(name) > LONGEST_NAME:
                wrong = f"a name of at most {LONGEST_NAME:,} characters"
            elif not is_text(name):
                wrong = "whole characters"
            if wrong:
                raise DataError(
                    f"source ({kind}): expected {wrong} for a {what}, received {texts.exact(name)}; rename it"
                )


def listing(source: Any, project: Path) -> str | None:
    """A digest that stays equal as long as nobody touches the source; reads no image, and asks a server only for names.

    None where the source is not there or cannot be reached, and for those that are inside the package.
    """
    if not isinstance(source, Located):
        return None
    from components.data.sources.places import place

    # Those whose images may lie elsewhere than `path` know where.
    module = SOURCES.load(source.kind)  # type: ignore[attr-defined]
    with boundary.reading(*_called(source)):
        apart.check_source(source, project)
        found: str | None = getattr(module, "listing", place.listing)(source, project)
    return found
