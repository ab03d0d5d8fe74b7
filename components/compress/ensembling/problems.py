"""What is wrong with `line.ensemble` for a task: said before anything is trained, and before libraries are loaded."""

from __future__ import annotations

from components.config import LineConfig
from components.tasks.capabilities import Combinable
from components.tasks.protocol import Task

TEACHERS = frozenset({"wbf"})  # combiners whose fusion is not exported (`Combiner.exported`)
NO_TTA = "tta: expected none for boxes, which are not mirrored back, received hflip"


def problems(line: LineConfig, task: Task, key: str = "line.ensemble") -> list[str]:
    """A line each; nothing where there is nothing to be combined."""
    if line.members.count == 1 or not isinstance(task, Combinable):
        return []
    name, found = line.ensemble.combiner, []
    if name not in ("auto", *task.combiners):
        found.append(
            f"{key}.combiner: expected auto or one of {', '.join(sorted(task.combiners))}, which task {task.spec.name} "
            f"can take, received {name!r}"
        )
    elif name in TEACHERS and line.student is None:
        found.append(
            f"{key}.combiner: expected one that can be exported where `student: null`, received {name!r}, which is a "
            f"teacher alone; have a student"
        )
    if line.ensemble.tta != "none" and task.fuses == "boxes":
        found.append(f"{key}.{NO_TTA}")
    return found
