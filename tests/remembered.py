"""What a process remembers of this project's code and its members, and how a test leaves it as it has found it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


def place() -> dict[str, str | None]:
    """What names the project and the store that a call is for."""
    return {name: os.environ.get(name) for name in ("CONVOY_ROOT", "MLFLOW_TRACKING_URI")} | {"folder": str(Path.cwd())}


BEFORE = place()  # any test


def forget_code() -> None:
    """Digests are made of the files anew, wherever `provenance.CODE` says that they lie."""
    from components import provenance

    for known in (provenance._path, provenance._parsed, provenance._imports):
        known.cache_clear()


def for_the_moment(patch: pytest.MonkeyPatch) -> None:
    """What is registered as a family of networks goes when `patch` is undone."""
    from components.models import registry

    for name in ("_entries", "_gives", "_takes"):
        patch.setattr(registry, name, dict(getattr(registry, name)))


def left() -> list[str]:
    """What a test has left to those after it, which would see another project; for people, and empty as a rule."""
    found = [f"{name} is {value}" for name, value in place().items() if value != BEFORE[name]]
    if (provenance := sys.modules.get("components.provenance")) is not None:
        there = provenance._path("components.provenance")
        if there != Path(provenance.__file__):
            found.append(f"digests are made of {there}")
    if (registry := sys.modules.get("components.models.registry")) is not None:
        from components.members import FAMILIES

        found += [f"{name} is registered as a family" for name in set(registry._entries) - set(FAMILIES.names())]
    return found
