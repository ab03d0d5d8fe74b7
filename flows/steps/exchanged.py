"""What a step gives that puts one network in the place of another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import Model
from flows.steps.training import only

if TYPE_CHECKING:
    from components.compress.allowance import Exchange


@dataclass(frozen=True)
class Exchanged:
    """The network, and what it is worth beside the one whose place it takes."""

    model: Model
    exchange: Exchange

    @classmethod
    def load(cls, folder: Path) -> Exchanged:
        """From a step's results: one model, and `allowance.write`'s file beside it."""
        from components.compress import allowance

        return cls(only(folder), allowance.read(folder))

    def within(self, key: str, allowed: float) -> Model:
        """The network; AllowanceError, naming the recipe's key, where it has lost more than is allowed."""
        from components.compress.allowance import within

        within(key, self.exchange, allowed)
        return self.model
