"""What a recipe's gates ask of a task: figures that it has, from the side on which they are good."""

from __future__ import annotations

from components.config.gates import CalibrationGate, CeilingGate, FloorGate, Gate, WorstGroupGate, label
from components.tasks.capabilities import WithClassMetric
from components.tasks.protocol import Task

CALIBRATION = "calibration_error"


def problems(gates: tuple[Gate, ...], task: Task, key: str = "gates") -> list[str]:
    """What no version of this task could ever pass, a line each; figures that only some data has are not known here."""
    more = {metric.name: metric.more for metric in task.spec.metrics}
    wrong = []
    for gate in gates:
        called = f"{key}.{label(gate)}"
        if isinstance(gate, CalibrationGate) and CALIBRATION not in more:
            wrong.append(f"{called}: expected null, since task {task.spec.name} has no {CALIBRATION}, received a gate")
        elif isinstance(gate, WorstGroupGate) and gate.by == "class" and not isinstance(task, WithClassMetric):
            wrong.append(f"{called}.by: expected group, since task {task.spec.name} has no metric of single classes")
        elif isinstance(gate, FloorGate) and gate.metric is not None and not more.get(gate.metric, True):
            wrong.append(f"{called}: expected `gate: ceiling`, since less {gate.metric} is better, received `floor`")
        elif isinstance(gate, CeilingGate) and more.get(gate.metric, False):
            wrong.append(f"{called}: expected `gate: floor`, since more {gate.metric} is better, received `ceiling`")
    return wrong
