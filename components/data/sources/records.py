"""JSON as a table: an object a line, a list of objects, or Label Studio's list of tasks.

Values become texts, as in a CSV; lists and objects stay JSON. A task of Label Studio's is its data and a column a
question that was answered by choice; what was drawn is for `layouts` to tell of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.data.errors import DataError
from components.data.sources.faults import shown


def names(path: Path) -> list[str]:
    """The columns, in the order in which they first occur."""
    return list(dict.fromkeys(name for row in rows(path) for name in row))


def rows(path: Path) -> Iterator[dict[str, str | None]]:
    """Column → text, a row at a time; raises DataError that names the line or row."""
    for where, each in _objects(path):
        if not isinstance(each, dict):
            raise DataError(f"{path}, {where}: expected an object with a value a column, received {shown(each)}")
        row = answered(each) if is_task(each) else each
        yield {name: _text(value) for name, value in row.items()}


def _objects(path: Path) -> Iterator[tuple[str, Any]]:
    if path.suffix.lower() == ".json":
        content = _parsed(path.read_bytes(), f"{path}")
        if not isinstance(content, list):
            raise DataError(f"{path}: expected a list of objects, one an image, received {shown(content)}")
        yield from ((f"row {number}", each) for number, each in enumerate(content, start=1))
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"line {number}", _parsed(line, f"{path}, line {number}")


def _parsed(content: bytes, where: str) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: expected JSON in UTF-8, received something else: {error}") from None


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
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
