"""What a model answers at its worst: int8 sums may saturate on other processors than this one (`saturating`).

Of float networks, and of int8 ones that cannot, there is one answer, and nothing is asked twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from components.artifacts import Dataset, Figure, Model, Predictions, Split
from components.compress.quantization.worst import saturating_answerer, worse
from components.evaluate import cost
from components.evaluate.predict import predict
from components.runtimes.execution import Answerer
from components.tasks import registry as tasks
from components.tasks.asking import primary

Sums = Literal["", "either", "as run", "saturating"]


@dataclass(frozen=True)
class Asked:
    """The answers that a model is judged by, and the primary metric of both where there were two."""

    answer: Answerer
    predictions: Predictions
    sums: Sums
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def at_its_worst(model: Model, dataset: Dataset, split: Split, slices: int) -> Asked:
    """Ask the model for the split, and once more with saturating sums where it has any; keep what is worse."""
    answer = cost.answerer(model)
    run = predict(model, dataset, split, slice_count=slices, answer=answer)
    if model.card.precision != "int8" or not model.onnx.is_file():
        return Asked(answer, run, "")
    saturating = saturating_answerer(model.onnx)
    if saturating is None:
        return Asked(answer, run, "either")
    task = tasks.of(model.card)
    held = predict(model, dataset, split, slice_count=slices, answer=saturating)
    name, both = task.spec.primary_metric, (primary(task, run), primary(task, held))
    figures = {f"{name}_as_run": Figure(value=both[0]), f"{name}_saturating": Figure(value=both[1])}
    note = (
        f"Int8 sums of this model can saturate on x86 without VNNI: {name.replace('_', ' ')} is {both[0]:.4f} as run "
        f"here and {both[1]:.4f} there. Everything is judged by the worse of the two."
    )
    if worse(task, run, held):
        return Asked(saturating, held, "saturating", figures, (note,))
    return Asked(answer, run, "as run", figures, (note,))
