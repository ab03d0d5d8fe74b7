"""Keys and values of the configuration under the names they had: understood for one more version, with a warning."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple


class RenamedWarning(FutureWarning):
    """A key or a value that has another name now; the message names both."""


class Renamed(NamedTuple):
    """What a key, or some of its values, are called now."""

    key: str  # dotted, the new one; the old one where values alone have other names
    values: Mapping[Any, Any] = {}  # old → new; all others stay as they are


# Below `line:`, old key → new.
LINE: Mapping[str, Renamed] = {
    "ensemble.mirror": Renamed("ensemble.tta", {True: "hflip", False: "none"}),
    "prune.target": Renamed("prune.target", {"flops": "macs"}),
    "training.rollbacks": Renamed("training.checkpoint_restores"),
}


def current(values: Any, names: Mapping[str, Renamed] = LINE) -> Any:
    """`values`, a mapping of mappings, under the present names; each that it had to change is warned of."""
    for old, new in names.items():
        *above, last = old.split(".")
        if isinstance(below := _below(values, above), Mapping) and last in below:
            value = below[last]
            known = isinstance(value, str | bool) and value in new.values
            if known or old != new.key:
                values = _with(values, above, last, new.key.rpartition(".")[2], new.values[value] if known else value)
                warned(old if old != new.key else f"{old}: {value}", _said(new, value, known=known))
    return values


def warned(old: str, new: str) -> None:
    """Warn that `old` is called `new` now."""
    warnings.warn(f"{old} is called {new} now; the old name goes with the next version", RenamedWarning, stacklevel=2)


def _said(new: Renamed, value: Any, *, known: bool) -> str:
    return f"{new.key}: {new.values[value]}" if known else new.key


def _below(values: Any, keys: list[str]) -> Any:
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def _with(values: Mapping[str, Any], above: list[str], old: str, new: str, value: Any) -> dict[str, Any]:
    """`values` with one key below `above` renamed, where it stands; a new name that is there as well is what counts."""
    if above:
        return {**values, above[0]: _with(values[above[0]], above[1:], old, new, value)}
    if new in values and new != old:
        return {key: each for key, each in values.items() if key != old}
    return {new if key == old else key: value if key == old else each for key, each in values.items()}
