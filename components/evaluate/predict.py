"""A model's answers on one split → `Predictions`, the table that everyone who judges reads.

A model with an ONNX graph is asked through it, for that is what will be served; members and teachers, which have
none, through PyTorch. What the columns mean is the task's business.
"""

from __future__ import annotations

from components.artifacts import ArtifactError, Dataset, Model, Predictions, Split
from components.data.reading.loading import load_split
from components.evaluate import slices
from components.evaluate.cost import answerer
from components.inputs import registry as inputs
from components.runtimes.execution import Answerer
from components.tasks import registry as tasks
from components.tasks.asking import ask


def predict(
    model: Model,
    dataset: Dataset,
    split: Split = "test",
    *,
    slice_count: int = 4,
    limit: int | None = None,
    seed: int = 0,
    answer: Answerer | None = None,
) -> Predictions:
    """Let the model answer for every sample of the split (or a seeded random `limit` of them).

    `answer` is the model where it is open already. Groups that the data declares are carried along; where it declares
    none there are `slice_*` columns, `slice_count` quantiles each. Raises ArtifactError where model and data do not
    fit, or the split is empty.
    """
    _check(model, dataset)
    arrays = load_split(dataset, split, limit, seed)
    if not len(arrays):
        raise ArtifactError(f"{dataset.folder}: expected samples in the {split} split, found none")
    return ask(
        tasks.of(model.card, dataset.card),
        answer or answerer(model),
        arrays,
        dataset.card,
        split=split,
        groups=arrays.groups or slices.of_inputs(inputs.of(dataset.card), arrays.inputs, slice_count),
        model=model.digest,
        data=dataset.digest,
    )


def _check(model: Model, dataset: Dataset) -> None:
    card, shown = model.card, dataset.card
    said, needed = ((each.task, each.classes, *each.input.shape) for each in (card, shown))
    if said != needed:
        raise ArtifactError(
            f"{model.folder}: expected a model for {shown.name} (task, classes, height, width, channels: {needed}), "
            f"received one for {said}"
        )
