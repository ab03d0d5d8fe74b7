"""What a run compared with the run before it, and what had changed: the answer to "why was this done again?"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from components.files import digest_values
from components.registry.memory.tracking import DATA, Run, Tracking

if TYPE_CHECKING:
    from flows.run.context import Done

CODE = "convoy.code"
PARTS = {"data": DATA, "parameters": "convoy.parameters", "code": CODE, "libraries": "convoy.lock"}  # tags of a run
SHOWN = 12  # characters of a digest


@dataclass(frozen=True)
class Compared:
    """One run beside an earlier one of the same recipe."""

    earlier: str | None  # its run
    at: str  # when it ran, for people
    then: dict[str, str]  # digest of each part
    now: dict[str, str]

    @property
    def changed(self) -> tuple[str, ...]:
        """The parts that are not as they were."""
        return tuple(part for part in PARTS if self.then.get(part) != self.now.get(part))

    def said(self) -> str:
        """One sentence for people."""
        if self.earlier is None:
            return "There is no earlier run of this recipe to compare with."
        same = [f"{part} {self.now[part][:SHOWN]}" for part in PARTS if part not in self.changed]
        parts = [f"{' and '.join(self.changed)} changed"] if self.changed else []
        parts += [f"the same {', '.join(same)}"] if same else []
        return f"Compared with the run of {self.at} ({self.earlier[:8]}): {'; '.join(parts)}."

    def table(self) -> list[dict[str, str]]:
        """Rows for the pages."""
        return [
            {
                "what": part,
                "then": self.then.get(part, "–")[:SHOWN],
                "now": self.now[part][:SHOWN],
                "": "changed" if part in self.changed else "the same",
            }
            for part in PARTS
        ]


def code(done: Sequence[Done]) -> str:
    """Digest of the code of all the steps that a run took."""
    return digest_values({step.step: step.code for step in done})


def with_earlier(tracking: Tracking, recipe: str, run_id: str, now: Mapping[str, str]) -> Compared:
    """The run's tags `now` beside those of the last run of this recipe that came to its end."""
    own = {part: now[tag] for part, tag in PARTS.items()}
    for run in tracking.search({"convoy.recipe": recipe}, status="FINISHED"):
        if run.id != run_id and CODE in run.tags:
            return Compared(run.id, _when(run), {part: run.tags.get(tag, "") for part, tag in PARTS.items()}, own)
    return Compared(None, "", {}, own)


def _when(run: Run) -> str:
    return f"{datetime.fromtimestamp(run.started, UTC):%Y-%m-%d %H:%M} UTC"
