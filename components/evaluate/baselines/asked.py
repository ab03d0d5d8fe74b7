"""Which baselines a recipe asks for, held against those there are. No engine."""

from __future__ import annotations

from components.config import LineConfig
from components.config.gates import BaselineGate
from components.evaluate.baselines import registry
from components.tasks.capabilities import Fitting
from components.tasks.protocol import Task


def problems(line: LineConfig, task: Task, given: str, key: str = "line") -> list[str]:
    """What is wrong with the baselines of a recipe for a task on inputs of a kind, a line each."""
    asked, where = line.evaluate.baselines, f"{key}.evaluate.baselines"
    wrong = [
        f"{key}.gates: expected a baseline among {where} ({', '.join(asked) or 'none'}), received {gate.baseline}"
        for gate in line.gates
        if isinstance(gate, BaselineGate) and gate.baseline not in asked
    ]
    if asked and not isinstance(task, Fitting):
        return [*wrong, f"{where}: expected none, since task {task.spec.name} has none, received {', '.join(asked)}"]
    there = registry.of(given)
    unknown = [name for name in asked if name not in there]
    if unknown:
        some = f"some of {', '.join(there)}" if there else "none"
        wrong.append(f"{where}: expected {some} for inputs of kind {given}, received {', '.join(unknown)}")
    return wrong
