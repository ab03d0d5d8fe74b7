"""The labels that are more probable than not, and how probable each class is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OUTPUTS = ("probabilities",)
COLUMNS = {"labels": "list of string", "probabilities": "doubles"}


def write(answer: Sequence[Any], place: Any, card: Mapping[str, Any]) -> dict[str, Any]:
    """`(C,)` probabilities → a row; `card` is `model.json`."""
    (probabilities,) = answer
    named = {name: float(value) for name, value in zip(card["classes"], probabilities, strict=True)}
    return {"labels": [name for name, value in named.items() if value >= 0.5], "probabilities": named}
