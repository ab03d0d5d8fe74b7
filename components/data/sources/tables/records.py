"""JSON as a table: one object per line, a list of objects, or Label Studio's list of tasks.

Values become texts, as in a CSV; lists and objects stay JSON. A task of Label Studio's is its data and a column a
question that was answered by choice; what was drawn is for `layouts` to tell of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from components import texts
from components.data.errors import DataError
from components.data.sources.base import boundary, limits
from components.data.sources.base.faults import shown
from components.data.sources.base.form import is_text
from components.data.sources.tables import plain_json

LONGEST = 32 * 2**20  # characters of a line: pictures as text are that long


def names(path: Path) -> list[str]:
    """The columns, in the order in which they first occur."""
    found: dict[str, None] = {}
    for where, row in _rows(path):
        found.update(dict.fromkeys(row))
        limits.check_columns(path, len(found))
        for name in [name for name in row if not is_text(name)]:
            raise DataError(f"{path}, {where}: expected whole characters in a name, received {texts.exact(name)}")
    return list(found)


def rows(path: Path, wanted: Sequence[str]) -> Iterator[dict[str, str | None]]:
    """Column → text of the columns that are wanted, a row at a time; raises DataError that names the line or row."""
    for where, row in _rows(path):
        with boundary.reading(f"{path}, {where}", "values that are texts"):
            found = {name: _text(row.get(name)) for name in wanted}
        for name, value in found.items():
            if value is not None and not is_text(value):
                raise DataError(
                    f"{path}, {where}: expected whole characters in {texts.exact(name)}, received "
                    f"{texts.exact(value)}; write it anew"
                )
        yield found


def tasks(path: Path, most: int) -> list[dict[str, Any]]:
    """Those of Label Studio's among the first rows."""
    return [each for _, each in islice(_objects(path), most) if is_task(each)]


def begins_a_list(start: bytes) -> bool:
    """Whether a file with these first bytes is a list, in whatever encoding."""
    return start.decode(plain_json.encoding(start), errors="ignore").lstrip("\ufeff \t\r\n").startswith("[")


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object and where it is, its answers in the place of a task of Label Studio's."""
    for where, each in _objects(path):
        if not isinstance(each, dict):
            raise DataError(f"{path}, {where}: expected an object with one value per column, received {shown(each)}")
        yield where, answered(each) if is_task(each) else each


def _objects(path: Path) -> Iterator[tuple[str, Any]]:
    if path.suffix.lower() == ".json":
        text = plain_json.decoded(path.read_bytes(), f"{path}")
        found = plain_json.elements(text, f"{path}")
        if found is None:
            content = plain_json.parsed(text, f"{path}")
            raise DataError(f"{path}: expected a list of objects, one an image, received {shown(content)}")
        yield from ((f"row {number:,}", each) for number, each in enumerate(found, start=1))
        return
    for number, line in enumerate(_lines(path), start=1):
        if not line.isspace():
            yield f"line {number:,}", plain_json.as_written(line, f"{path}, line {number:,}")


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        encoding = plain_json.encoding(file.read(4))
    with path.open(encoding=encoding) as lines:
        number = 0
        while True:
            number += 1
            try:
                line = lines.readline(LONGEST + 1)
            except UnicodeDecodeError as error:
                raise plain_json.not_text(error, f"{path}, after line {number - 1:,}") from None
            if len(line) > LONGEST:
                raise DataError(
                    f"{path}, line {number:,}: expected rows of at most {LONGEST:,} characters, received a longer one; "
                    "write one line per row, and name pictures instead of writing them out"
                )
            if not line:
                return
            yield line


def _text(value: Any) -> str | None:
    """A text as it is, a number as it was written, nothing for `null`, `""` and `NaN`; lists and objects as JSON."""
    if value is None or value == "" or value != value:  # noqa: PLR0124  (of NaN: pandas writes it for what is missing)
        return None
    if isinstance(value, plain_json.Number):
        return value.written
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# -- Label Studio ----------------------------------------------------------------------------------------------------


def is_task(item: Any) -> bool:
    """Whether it is a task of Label Studio's: data, and what people answered."""
    return isinstance(item, dict) and isinstance(item.get("data"), dict) and isinstance(item.get("annotations"), list)


def answered(task: dict[str, Any]) -> dict[str, Any]:
    """A task as a row: its data, and each question's choice; of several choices all of them, with `|` between."""
    found = dict(task["data"])
    for result in _results(task):
        if result.get("type") == "choices" and isinstance(result.get("value"), dict):
            chosen = result["value"].get("choices")
            found[str(result.get("from_name"))] = "|".join(map(str, chosen)) if isinstance(chosen, list) else chosen
    return found


def drawn(task: dict[str, Any]) -> set[str]:
    """What kinds of answers a task has that are no choices, such as `rectanglelabels`."""
    return {str(result.get("type")) for result in _results(task)} - {"choices"}


def _results(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Of the last person who did not skip it."""
    done = [each for each in task["annotations"] if isinstance(each, dict) and not each.get("was_cancelled")]
    results = done[-1].get("result") if done else None
    return [each for each in results if isinstance(each, dict)] if isinstance(results, list) else []
