"""What was decided about a version, and what each gate said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from components.artifacts.card import Card
from components.files import writing

GATES = "gates"  # who decides where nobody does
_EARLIER = {"approve": "pass", "reject": "fail"}  # what gates did in records of earlier releases


class Verdict(Card):
    """What one gate said."""

    gate: str
    passed: bool
    value: float | None
    low: float | None = None
    high: float | None = None
    limit: float | None
    reason: str


class Decision(Card):
    """What was decided about a version, by whom or which gates, when, and on which evidence."""

    # Gates pass or fail a version; people approve or reject it.
    action: Literal["pass", "fail", "approve", "reject", "promote", "roll back", "retire", "acknowledge"]
    name: str
    version: int
    alias: str | None  # the alias that moves (that goes, where a version is retired), None where none does
    by: str
    at: str  # ISO 8601, UTC
    reason: str
    evidence: str | None  # digest of the Evidence
    verdicts: tuple[Verdict, ...] = ()
    production: int | None = None  # what the gates compared the version with: what was in production then
    test_evaluations: int | None = None  # versions that the gates judged on its test split, this one included

    @model_validator(mode="before")
    @classmethod
    def _earlier(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        known = {"test_evaluations" if key == "tries" else key: value for key, value in values.items()}
        return known | ({"action": gates_action(str(known.get("action")))} if known.get("by") == GATES else {})

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with writing(folder / "decision.json") as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Decision:
        return cls.read(folder / "decision.json")


def gates_action(action: str) -> str:
    """What the gates did: `pass` or `fail`, where records of earlier releases say `approve` or `reject`."""
    return _EARLIER.get(action, action)
