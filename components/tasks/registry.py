"""Tasks by name: a file in this folder that says `TASK = …` is one."""

from __future__ import annotations

from functools import cache

from components.config import ConfigurationError
from components.members import TASKS
from components.tasks.protocol import Task


@cache
def names() -> tuple[str, ...]:
    """The tasks there are; none is imported."""
    return tuple(TASKS.names())


@cache
def get(name: str) -> Task:
    """The task of that name, imported now; raises ConfigurationError where there is none."""
    if name not in names():
        raise ConfigurationError(f"task: expected one of {', '.join(names())}, received {name!r}")
    task: Task = TASKS.load(name).TASK
    if task.spec.name != name:
        raise ValueError(
            f"{TASKS.folder}.{name}: expected a task that is called as its file, received {task.spec.name!r}"
        )
    return task
