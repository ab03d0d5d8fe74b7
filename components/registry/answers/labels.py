"""The labels that are said, and how probable each class is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OUTPUTS = ("probabilities", "prediction")
COLUMNS = {"labels": "list of string", "probabilities": "doubles"}


def write(answer: Sequence[Any], place: Any, card: Mapping[str, Any]) -> dict[str, Any]:
    """`(C,)` probabilities, and which labels are said → a row; `card` is `model.json`.

    Labels are in the order of the classes; their list is empty where none is said.
    """
    probabilities, said = answer
    return {
        "labels": [name for name, yes in zip(card["classes"], said, strict=True) if yes],
        "probabilities": {name: float(value) for name, value in zip(card["classes"], probabilities, strict=True)},
    }
