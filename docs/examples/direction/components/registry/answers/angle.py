"""The angle, in degrees from 0 to 360."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OUTPUTS = ("angle",)
COLUMNS = {"angle": "double"}


def write(answer: Sequence[Any], place: Any, card: Mapping[str, Any]) -> dict[str, Any]:
    """A number → a row."""
    return {"angle": float(answer[0]) % 360.0}
