"""A model's answers on one split → `Predictions`, the table that everyone who judges reads.

A model with an ONNX graph is asked through it, for that is what will be served; members and teachers, which have
none, through PyTorch. What the columns mean is the task's business.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from components.artifacts import ArtifactError, Dataset, Model, Predictions, Split
from components.compress import runtime
from components.data.reading.loading import load_split
from components.evaluate import slices
from components.models.network import load_network
from components.tasks import registry as tasks
from components.tasks.protocol import Columns, network_answer

BATCH = 64  # images; ONNX Runtime gains nothing from larger ones on a CPU

Images = npt.NDArray[np.uint8]


def predict(
    model: Model,
    dataset: Dataset,
    split: Split = "test",
    *,
    slice_count: int = 4,
    limit: int | None = None,
    seed: int = 0,
) -> Predictions:
    """Let the model answer for every sample of the split (or a seeded random `limit` of them).

    Groups that the data declares are carried along; where it declares none there are `slice_*` columns, `slice_count`
    quantiles each. Raises ArtifactError where model and data do not fit, or the split is empty.
    """
    _check(model, dataset)
    arrays = load_split(dataset, split, limit, seed)
    if not len(arrays):
        raise ArtifactError(f"{dataset.folder}: expected samples in the {split} split, found none")
    task = tasks.get(model.card.task)
    columns: Columns = {}
    start = 0
    for answer in _answers(model, arrays.images):
        targets = arrays.targets[start : start + BATCH]
        start += len(targets)
        for name, values in task.rows(answer, targets).items():
            columns.setdefault(name, []).append(pa.array(values))
    table = {
        "id": pa.array(arrays.ids.tolist(), pa.string()),
        "split": pa.array([split] * len(arrays), pa.string()),
        **{
            name: pa.array(values.tolist(), pa.string())
            for name, values in (arrays.groups or slices.by_image(arrays.images, slice_count)).items()
        },
        **{name: pa.chunked_array(parts).combine_chunks() for name, parts in columns.items()},
    }
    return Predictions(pa.table(table), model.digest, dataset.digest, model.card.classes)


def _answers(model: Model, images: Images) -> Iterator[dict[str, npt.NDArray[np.generic]]]:
    if model.onnx.is_file():
        yield from runtime.stream(runtime.open_session(model), images, BATCH)
        return
    network, task = load_network(model), tasks.get(model.card.task)
    for start in range(0, len(images), BATCH):
        batch = np.ascontiguousarray(images[start : start + BATCH].transpose(0, 3, 1, 2))
        yield network_answer(task, network, torch.from_numpy(batch).float() / 255.0)


def _check(model: Model, dataset: Dataset) -> None:
    card, shown = model.card, dataset.card
    said = (card.task, card.classes, card.input.height, card.input.width, card.input.channels)
    needed = (shown.task, shown.classes, shown.input.height, shown.input.width, shown.input.channels)
    if said != needed:
        raise ArtifactError(
            f"{model.folder}: expected a model for {shown.name} (task, classes, height, width, channels: {needed}), "
            f"received one for {said}"
        )
