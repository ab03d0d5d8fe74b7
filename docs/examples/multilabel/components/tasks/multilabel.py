"""Several labels an image, or none: which of the classes it shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from components.artifacts import DatasetCard, Head, Predictions
from components.metrics import errors
from components.metrics.metric import Metric
from components.models.forms import VECTOR
from components.targets import labels
from components.tasks.answers import Answers
from components.tasks.protocol import Batch, Columns, Output, TaskSpec

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float64]

SAID = 0.5  # probability from which on a label is said


class MultiLabel:
    """Multi-label classification with a sigmoid for each class."""

    spec = TaskSpec(
        name="multilabel",
        target=labels.TARGET.name,
        outputs=(Output("probabilities", ("classes",), "float32", measured=True),),
        written="labels",
        metrics=(
            Metric("jaccard", says="labels that are said and true, of those that are either; mean over the samples"),
            Metric("exact_match", says="share of the samples with all of their labels, and no other"),
            Metric("micro_f1", says="balance of missed and false labels, over all samples together"),
        ),
    )
    gives = VECTOR

    def head(self, card: DatasetCard) -> Head:
        """One output per class."""
        return Head(gives=self.gives, outputs=len(card.classes))

    def loss(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        """Binary cross-entropy, mean over samples and classes; 0 where there is no sample."""
        import torch.nn.functional as F

        if not len(outputs):
            return {"loss": outputs.float().sum() * 0.0}
        truth = batch.targets * (1.0 - label_smoothing) + label_smoothing / 2
        return {"loss": F.binary_cross_entropy_with_logits(outputs.float(), truth)}

    def answer(self, outputs: Tensor) -> dict[str, Tensor]:
        """`(N, C)` logits → `probabilities` (N, C) float32."""
        return {"probabilities": outputs.float().sigmoid()}

    def difference(self, one: Answers, other: Answers) -> Floats:
        """The largest difference of a probability."""
        gap = np.abs(one["probabilities"].astype(np.float64) - other["probabilities"])
        largest: Floats = gap.max(axis=1)
        return largest

    def rows(self, answer: Mapping[str, npt.NDArray[Any]], targets: npt.NDArray[Any]) -> Columns:
        return {"target": (targets > 0).tolist(), "prediction": (answer["probabilities"] >= SAID).tolist()}

    def measure(self, predictions: Predictions, weights: Floats) -> dict[str, Floats]:
        true, said = (_column(predictions, name) for name in ("target", "prediction"))
        both, either = (true & said).sum(axis=1), (true | said).sum(axis=1)
        overlap = np.where(either > 0, both / np.maximum(either, 1), 1.0)  # to say nothing of nothing is right
        hits, counted = 2.0 * (weights @ both), weights @ (both + either)
        return {
            "jaccard": errors.mean(overlap, weights),
            "exact_match": errors.mean((both == either).astype(np.float64), weights),
            "micro_f1": np.divide(hits, counted, out=np.full(len(weights), np.nan), where=counted > 0),
        }


TASK = MultiLabel()


def _column(predictions: Predictions, name: str) -> npt.NDArray[np.bool_]:
    """A list column as `(N, C)`."""
    flat = predictions.table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.bool_).reshape(len(predictions.table), len(predictions.classes))
