"""Tasks by name: a file in this folder that says `TASK = …` is one."""

from __future__ import annotations

from functools import cache

from components.artifacts import DatasetCard, ModelCard
from components.config import ConfigurationError
from components.members import TASKS
from components.tasks.protocol import Bound, Ignoring, Task


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


def of(card: DatasetCard | ModelCard, shown: DatasetCard | None = None) -> Task:
    """The task of that data or model, with the names, units and scales of its targets where these make a difference.

    A model may be `shown` data that it was not trained on: what of that is not judged is the data's word.
    """
    task = get(card.task)
    if shown is not None and isinstance(task, Ignoring):
        return task.bound(shown.target)
    return task.bound(card.target) if isinstance(task, Bound) else task
