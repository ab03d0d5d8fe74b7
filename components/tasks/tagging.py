"""Named entities: which parts of a text are of which class, unit by unit in BIO (Ramshaw and Marcus 1995).

Texts' tags are not kept: a row of `Predictions` holds how many entities of each class are there, were said and were
right, and how many units were, which is all that any weighted or resampled figure needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from components.artifacts import DatasetCard, Head, Predictions
from components.metrics import entities
from components.metrics.metric import Metric
from components.models.forms import SEQUENCE
from components.targets import tags
from components.tasks.answers import Answers
from components.tasks.capabilities import Told
from components.tasks.protocol import Batch, Columns, Output, TaskSpec
from components.tasks.softmax import cross_entropy, soft_target_divergence

if TYPE_CHECKING:
    from torch import Tensor

    from components.models.ensemble import Fuses

Floats = npt.NDArray[np.float64]

COUNTED = ("right", "said", "there")  # columns of entities by class


class Tagging:
    """Named entity recognition: a softmax over BIO tags at every unit of a text."""

    spec = TaskSpec(
        name="tagging",
        target=tags.TARGET.name,
        outputs=(
            Output("probabilities", ("tags", "units"), "float32", measured=True),
            Output("prediction", ("units",), "int64"),
        ),
        written="spans",
        metrics=(
            Metric("entity_f1", says="balance of missed and false entities; right is one of both ends and class"),
            Metric("precision", says="share of the entities that were said that are there"),
            Metric("recall", says="share of the entities that are there that were said"),
            Metric("macro_f1", says="the first, with every class counting equally"),
            Metric("unit_accuracy", says="share of the units that got the right tag"),
        ),
    )
    gives = SEQUENCE
    class_metric = Metric("f1", says="balance of missed and false entities of a class")
    binomial = False
    fuses: ClassVar[Fuses] = "probabilities"
    combiners = frozenset({"soft", "weighted", "soup"})

    def head(self, card: DatasetCard) -> Head:
        """One output for what is no entity, and two for each class: for its first unit, and for those inside."""
        return Head(gives=self.gives, outputs=1 + 2 * len(card.classes))

    def loss(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        """Cross-entropy over the units that there are."""
        return {"loss": cross_entropy(outputs, batch.targets, label_smoothing, tags.NOT_ASKED)}

    def answer(self, outputs: Tensor) -> dict[str, Tensor]:
        """`(N, T, L)` logits → `probabilities` (N, T, L) float32, `prediction` (N, L) int64.

        A unit that is said to be inside of an entity of which the one before it is no part begins one.
        """
        import torch

        probabilities = outputs.float().softmax(dim=1)
        likeliest = probabilities.argmax(dim=1)
        before = torch.cat([torch.zeros_like(likeliest[:, :1]), likeliest[:, :-1]], dim=1)
        inside = (likeliest > 0) & (likeliest % 2 == 0)
        begins = inside & (before != likeliest) & (before != likeliest - 1)
        return {"probabilities": probabilities, "prediction": torch.where(begins, likeliest - 1, likeliest)}

    def difference(self, one: Answers, other: Answers) -> Floats:
        """The largest difference of a probability."""
        gap = np.abs(one["probabilities"].astype(np.float64) - other["probabilities"])
        largest: Floats = gap.reshape(len(gap), -1).max(axis=1)
        return largest

    def agreement(self, one: Answers, other: Answers) -> Floats:
        """Of the units that either says to be of an entity."""
        said = (one["prediction"] != tags.OUTSIDE) | (other["prediction"] != tags.OUTSIDE)
        alike = ((one["prediction"] == other["prediction"]) & said).sum(axis=1)
        share: Floats = np.where(said.any(axis=1), alike / np.maximum(said.sum(axis=1), 1), 1.0)
        return share

    def rows(self, answer: Mapping[str, npt.NDArray[Any]], targets: npt.NDArray[Any]) -> Columns:
        classes = (answer["probabilities"].shape[1] - 1) // 2
        judged = targets != tags.NOT_ASKED
        predicted = np.where(judged, answer["prediction"], tags.NOT_ASKED)
        counted = entities.counts(targets, predicted, classes)
        return {
            **{name: counts.tolist() for name, counts in zip(COUNTED, counted, strict=True)},
            "units": judged.sum(axis=1),
            "units_right": ((targets == predicted) & judged).sum(axis=1),
        }

    def measure(self, predictions: Predictions, weights: Floats) -> dict[str, Floats]:
        right, said, there = (weights @ _counts(predictions, name) for name in COUNTED)  # (B, C) each
        total = right.sum(axis=1), said.sum(axis=1), there.sum(axis=1)
        units, hits = (weights @ predictions.table.column(name).to_numpy() for name in ("units", "units_right"))
        return {
            "entity_f1": entities.f1(*total),
            "precision": entities.share(total[0], total[1]),
            "recall": entities.share(total[0], total[2]),
            "macro_f1": entities.mean(entities.f1(right, said, there)),
            "unit_accuracy": entities.share(hits, units),
        }

    def by_class(self, predictions: Predictions) -> dict[str, dict[str, float]]:
        right, said, there = (_counts(predictions, name).sum(axis=0) for name in COUNTED)
        figures = {
            "f1": entities.f1(right, said, there),
            "precision": entities.share(right, said),
            "recall": entities.share(right, there),
        }
        return {
            name: {figure: float(values[place]) for figure, values in figures.items()}
            for place, name in enumerate(predictions.classes)
        }

    def class_values(self, predictions: Predictions, weights: Floats) -> Floats:
        right, said, there = (weights @ _counts(predictions, name) for name in COUNTED)
        return entities.f1(right, said, there)

    def with_class(self, predictions: Predictions) -> npt.NDArray[np.bool_]:
        held: npt.NDArray[np.bool_] = _counts(predictions, "there") > 0
        return held

    def told(self, answer: Answers, targets: npt.NDArray[Any]) -> Told:
        """The likelihoods and tags of all units; probabilities are too many to be kept."""
        judged = targets != tags.NOT_ASKED
        asked = np.where(judged, targets, tags.OUTSIDE)[:, None].astype(np.int64)
        likelihoods = np.take_along_axis(answer["probabilities"], asked, axis=1)[:, 0].astype(np.float64)
        units = np.where(judged, likelihoods, 1.0)
        return Told(units, answer["prediction"].astype(np.int16), None, judged)

    def distillation_loss(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """`soft_target_divergence` of the student's logits from the teacher's."""
        return soft_target_divergence(student, teacher, temperature)


TASK = Tagging()


def _counts(predictions: Predictions, column: str) -> Floats:
    """A column of counts by class as `(N, C)`."""
    values = predictions.table.column(column).combine_chunks().flatten().to_numpy(zero_copy_only=False)
    counts: Floats = values.reshape(len(predictions.table), len(predictions.classes)).astype(np.float64)
    return counts
