"""The kinds of things that can go, and what their going costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

HOUR = 3600.0  # seconds: what was used within the last one stays
DAY = 86400.0


@dataclass(frozen=True)
class Kind:
    """One kind: what it is, and what it costs to do without."""

    name: str
    what: str
    cost: str
    ages: bool = True  # whether it may go only when it is as old as `--older-than` says; else an hour is enough


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "leftovers", "what killed runs have left half-written, and locks that nobody holds", "nothing", ages=False
        ),
        Kind("restored", "past data that a run had restored for itself", "nothing", ages=False),
        Kind("logs", "logs", "they cannot be read any more"),
        Kind("decoded", "decoded splits", "the next training on that data decodes it again"),
        Kind("work", "checkpoints of steps that were not finished", "their training begins anew"),
        Kind("downloads", "downloaded and unpacked files", "they are fetched again when they are needed"),
        Kind("steps", "results of steps on which no version stands", "the same step is done again if it comes back"),
        Kind("deleted", "files of what was deleted in MLflow", "it cannot be restored there any more"),
    )
}


@dataclass(frozen=True)
class Removable:
    """One thing that can go: files, and the runs in MLflow that must go before them."""

    kind: str
    what: str  # for people
    paths: tuple[Path, ...]
    size: int  # bytes on the disk
    lock: Path | None = None  # held by whoever works with it
    runs: tuple[str, ...] = ()
    seconds: float = 0.0  # that making it again takes, where that is known


@dataclass(frozen=True)
class Survey:
    """What can go, and what was left out, with the reason."""

    removable: tuple[Removable, ...]
    stays: tuple[str, ...] = field(default=())
