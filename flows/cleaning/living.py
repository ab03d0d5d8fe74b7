"""Which lines run now, by their leases: what they may be using stays."""

from __future__ import annotations

from dataclasses import dataclass

from flows.base.project import Project
from flows.processes import leases


@dataclass(frozen=True)
class Living:
    """A run under way, or one that has to be taken for one that does."""

    id: str
    said: str  # why it counts as running
    since: float  # seconds since 1970


def living(project: Project) -> list[Living]:
    """Lines that are under way, and leases that cannot be read, which may be of one."""
    alive = leases.living(project)
    known = {lease.id: lease for lease in leases.held(project)}
    found = []
    for path in sorted(project.leases.glob("*.json")):
        lease = known.get(path.stem)
        if lease is not None and lease.id in alive:
            said = f"process {lease.content['pid']} on {lease.content['host']}"
            found.append(Living(lease.id, said, float(lease.content["started"])))
        elif lease is None and path.exists():
            found.append(Living(path.stem, f"{path} cannot be read; remove it if nothing runs", 0.0))
    return found
