"""What was decided about a version, and what each gate said."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from components.artifacts.card import Card
from components.files import writing


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

    action: Literal["approve", "reject", "promote", "roll back", "retire"]
    name: str
    version: int
    alias: str | None  # the alias that moves (that goes, where a version is retired), None for a rejection
    by: str
    at: str  # ISO 8601, UTC
    reason: str
    evidence: str | None  # digest of the Evidence
    verdicts: tuple[Verdict, ...] = ()
    production: int | None = None  # what the gates compared the version with: what was in production then
    tries: int | None = None  # the version was the so-manieth that the gates judged on its test split

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with writing(folder / "decision.json") as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Decision:
        return cls.read(folder / "decision.json")
