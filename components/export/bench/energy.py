"""What an answer costs in energy: read from the processor's counters where they can be read, estimated where not.

Linux shows RAPL's counters (of the whole package, so of everything that runs on it) under /sys/class/powercap, as a
rule to root alone, and inside a virtual machine not at all. Without them a figure needs a number that only the user
knows: the watts of a busy core. With neither there is no figure.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

POWERCAP = Path("/sys/class/powercap")

Basis = Literal["counters", "estimate"]


@dataclass(frozen=True)
class Meter:
    """Joules so far, of which only differences mean anything."""

    basis: Basis
    counters: tuple[tuple[Path, int], ...] = ()  # a package's counter, and where it starts again, microjoules
    watts: float = 0.0  # of a busy core

    def read(self) -> tuple[float, ...]:
        """A value a counter, or this process's CPU seconds times the watts; joules."""
        if self.basis == "estimate":
            return (time.process_time() * self.watts,)
        return tuple(int(path.read_text()) / 1e6 for path, _ in self.counters)

    def since(self, before: tuple[float, ...]) -> float:
        """Joules since `before`. A counter that has started again did so once: it takes minutes to fill."""
        ends = [end / 1e6 for _, end in self.counters] or [0.0]
        return sum(
            now - then if now >= then else now - then + end
            for now, then, end in zip(self.read(), before, ends, strict=True)
        )


def meter(watts: float | None = None, powercap: Path = POWERCAP) -> Meter | None:
    """The processor's counters; where they cannot be read, CPU time at `watts` a busy core; None without that."""
    found = []
    for package in sorted(powercap.glob("intel-rapl:[0-9]*")):
        if package.name.count(":") > 1:
            continue  # a part of a package, which is in its sum already
        try:
            counter = package / "energy_uj"
            int(counter.read_text())
            found.append((counter, int((package / "max_energy_range_uj").read_text())))
        except (OSError, ValueError):
            found.clear()
            break  # half of the packages would be half of the truth
    if found:
        return Meter("counters", tuple(found))
    return Meter("estimate", watts=watts) if watts else None
