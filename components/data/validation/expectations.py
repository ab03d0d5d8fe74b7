"""A user's own expectations, from the YAML file that `checks.expectations` names.

A list; each entry has the `kind` of Great Expectations and its arguments, and may say its `severity` (error), what it
`says` to people, and which `table` it is about: `samples` (a row a sample), `counts` (a row a split and class) or
`groups` (a row a group column).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.config import YamlError, read_yaml
from components.data.errors import DataError
from components.inputs.protocol import Expectation

TABLES = ("samples", "counts", "groups")
_OURS = frozenset({"kind", "severity", "says", "table"})


def read(project: Path, declared: str | None) -> dict[str, list[Expectation]]:
    """Table → expectations; raises DataError naming the file and the entry that is wrong. None declared: none."""
    result: dict[str, list[Expectation]] = {table: [] for table in TABLES}
    if declared is None:
        return result
    path = project / declared
    try:
        entries = read_yaml(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"checks.expectations: expected a file at {path}, received none") from None
    except YamlError as error:
        raise DataError(f"{path}: expected YAML, received something else: {error}") from None
    if not isinstance(entries, list):
        raise DataError(f"{path}: expected a list of expectations, received {type(entries).__name__}")
    for number, entry in enumerate(entries, start=1):
        table, expectation = _parse(entry, f"{path}, entry {number}")
        result[table].append(expectation)
    return result


def _parse(entry: Any, where: str) -> tuple[str, Expectation]:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("kind"), str):
        raise DataError(
            f"{where}: expected a mapping with a `kind` such as ExpectColumnValuesToBeBetween, received {entry!r}"
        )
    severity, table = entry.get("severity", "error"), entry.get("table", "samples")
    if severity not in ("error", "warning"):
        raise DataError(f"{where}: expected severity `error` or `warning`, received {severity!r}")
    if table not in TABLES:
        raise DataError(f"{where}: expected table {', '.join(TABLES)}, received {table!r}")
    arguments = {str(key): value for key, value in entry.items() if key not in _OURS}
    stated = ", ".join(f"{key} {value}" for key, value in arguments.items())
    says = str(entry.get("says") or f"{entry['kind']} ({stated})")
    return table, Expectation(entry["kind"], arguments, severity, says)
