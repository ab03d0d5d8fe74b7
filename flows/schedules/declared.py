"""`infra/deployments.yaml`: what Prefect runs, when and where, and who is told. Only what the file says; no engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from components.config import Section, read_section
from components.config.renamed import Renamed, warned
from components.config.section import UNSHOWN, Few

FILE = Path("infra") / "deployments.yaml"
LINE = "flows/line.py:line"

Occasion = Literal["failure", "gates-failed", "approval", "rollback"]
RENAMED = {"notices": Renamed("notifications")}  # keys of the file, old → new


class WorkPool(Section):
    """Where workers look for runs; made where the server has none of that name."""

    type: str = "process"  # a type of Prefect's: process, docker, kubernetes, …
    limit: Few = 1  # runs at once, over all deployments of the pool


class When(Section):
    """A cron expression on somebody's clock."""

    cron: str
    timezone: str = "UTC"
    active: bool = True


class Overlap(Section):
    """What becomes of a run that is due while `limit` runs of the same deployment are under way."""

    limit: Few = 1
    then: Literal["enqueue", "cancel"] = "enqueue"


class Entry(Section):
    """One deployment: a flow with its parameters."""

    entrypoint: str  # FILE.py:FLOW, from the project's root
    description: str | None = None
    parameters: dict[str, Any] = Field(default={})
    schedules: tuple[When, ...] = ()  # none: it is started by hand, from Prefect's page or by an automation
    overlap: Overlap = Overlap()
    work_pool: str
    tags: tuple[str, ...] = ()


class Channel(Section):
    """A way to people, and what they are told by it."""

    kind: Literal["webhook", "slack", "email"]
    address: str  # name of the environment variable with the address, which is a secret
    of: tuple[Occasion, ...] = ("failure", "gates-failed", "approval", "rollback")

    @field_validator("of", mode="before")
    @classmethod
    def _renamed(cls, given: Any) -> Any:
        if not isinstance(given, list | tuple) or "rejection" not in given:
            return given
        warned("of: rejection", "gates-failed")
        return ["gates-failed" if each == "rejection" else each for each in given]

    @field_validator("address")
    @classmethod
    def _is_a_name(cls, given: str) -> str:
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", given) is None:
            raise PydanticCustomError(UNSHOWN, "the name of an environment variable, in which the address is")
        return given


class Deployments(Section):
    """The file as a whole."""

    work_pools: dict[str, WorkPool] = Field(default={})
    deployments: dict[str, Entry] = Field(default={})
    notifications: tuple[Channel, ...] = ()


def read(root: Path) -> Deployments:
    """The file as it stands; raises ConfigurationError with every mistake of its form."""
    return read_section(root / FILE, Deployments, RENAMED)


def single(recipe: str, overrides: list[str], cron: str, timezone: str) -> Deployments:
    """As a file would be that has the pipeline for one recipe, on one cron expression."""
    entry = Entry(
        entrypoint=LINE,
        parameters={"recipe": recipe, "overrides": overrides},
        schedules=(When(cron=cron, timezone=timezone),),
        work_pool="convoy",
    )
    return Deployments(work_pools={"convoy": WorkPool()}, deployments={recipe: entry})
