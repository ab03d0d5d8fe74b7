"""Tasks by name: one file a task, added by one line here."""

from __future__ import annotations

from components.config import ConfigurationError
from components.tasks.classification import Classification
from components.tasks.protocol import Task
from components.tasks.segmentation import Segmentation

_tasks: dict[str, Task] = {}


def register(task: Task) -> None:
    """Add a task; a name in use raises."""
    if task.spec.name in _tasks:
        raise ValueError(f"task {task.spec.name!r} is registered already")
    _tasks[task.spec.name] = task


def names() -> list[str]:
    """The registered tasks."""
    return sorted(_tasks)


def get(name: str) -> Task:
    """The task of that name; raises ConfigurationError where there is none."""
    if name not in _tasks:
        raise ConfigurationError(f"task: expected one of {', '.join(names())}, received {name!r}")
    return _tasks[name]


register(Classification())
register(Segmentation())
