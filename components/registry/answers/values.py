"""Numbers by their names, in their units, each with the ends of its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OUTPUTS = ("value", "low", "high")
COLUMNS = {"values": "doubles", "low": "doubles", "high": "doubles", "units": "strings"}


def write(answer: Sequence[Any], place: Any, card: Mapping[str, Any]) -> dict[str, Any]:
    """`(K,)` values, lower and upper ends → a row."""
    names, units = card["target"]["names"], card["target"]["units"]
    told = {
        column: {name: float(number) for name, number in zip(names, numbers, strict=True)}
        for column, numbers in zip(("values", "low", "high"), answer, strict=True)
    }
    return {**told, "units": dict(zip(names, units, strict=True))}
