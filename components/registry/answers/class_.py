"""One class: its name, how sure that is, and the same of all classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OUTPUTS = ("probabilities", "prediction")
COLUMNS = {"label": "string", "probability": "double", "probabilities": "doubles"}


def write(answer: Sequence[Any], place: Any, card: Mapping[str, Any]) -> dict[str, Any]:
    """`(C,)` probabilities and the class's number → a row; `card` is `model.json`."""
    probabilities, index = answer
    return {
        "label": card["classes"][int(index)],
        "probability": float(probabilities[int(index)]),
        "probabilities": {name: float(value) for name, value in zip(card["classes"], probabilities, strict=True)},
    }
