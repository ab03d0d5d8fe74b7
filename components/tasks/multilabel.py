"""Any number of labels a sample, or none: which of the classes it shows, each a question of its own.

A label is said where its probability is at least a half. That is the least mean loss of right and wrong decisions, it
keeps probabilities what they are (a threshold of each class's own, as a bias of its logit, would not), and who counts
a missed label otherwise than a false one has the probabilities: they are served, and the report says at which of them
F1 would have been best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from components.artifacts import DatasetCard, Head, Predictions
from components.config import ImbalanceConfig
from components.metrics import calibration, labels
from components.metrics.confusion import mean_of_classes
from components.metrics.errors import mean
from components.metrics.metric import Metric
from components.models.forms import VECTOR
from components.targets.labels import TARGET
from components.tasks.answers import Answers
from components.tasks.capabilities import Doubt, Loss, Told, View
from components.tasks.protocol import Batch, Columns, Output, TaskSpec
from components.tasks.softmax import CALIBRATION_ERROR, LEAST_LIKELIHOOD

if TYPE_CHECKING:
    from torch import Tensor

    from components.models.ensemble import Fuses

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SAID = 0.5  # probability from which on a label is said


class MultiLabel:
    """Multi-label classification with a sigmoid for each class."""

    spec = TaskSpec(
        name="multilabel",
        target=TARGET.name,
        outputs=(
            Output("probabilities", ("classes",), "float32", measured=True),
            Output("prediction", ("classes",), "bool"),
        ),
        written="labels",
        metrics=(
            Metric("macro_f1", says="balance of missed and false labels, mean over the classes"),
            Metric("micro_f1", says="balance of missed and false labels, of all classes together"),
            Metric("map", says="precision, mean over the recalls that thresholds reach, mean over the classes"),
            Metric("exact_match", says="share of the samples with all of their labels, and no other"),
            Metric("hamming_loss", "less", says="share of the labels that are missed or false; less is better"),
            Metric("log_loss", "less", "", "how surprised the model is by a label; less is better"),
            CALIBRATION_ERROR,
        ),
    )
    gives = VECTOR
    class_metric = Metric("f1", says="balance of missed and false labels of a class")
    binomial = False
    fuses: ClassVar[Fuses] = "labels"
    combiners: ClassVar[frozenset[str]] = frozenset({"soft", "weighted", "soup"})
    balances: ClassVar[frozenset[str]] = frozenset({"weighted", "focal"})

    def head(self, card: DatasetCard) -> Head:
        """One logit per class."""
        return Head(gives=self.gives, outputs=len(card.classes))

    # -- learnt -------------------------------------------------------------------------------------------------------

    def loss(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        """Binary cross-entropy, mean over samples and classes; 0 where there is no sample."""
        from components.tasks.sigmoid import Sigmoid

        return Sigmoid(label_smoothing=label_smoothing)(outputs, batch)

    def each(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
        from components.tasks.sigmoid import Sigmoid

        return Sigmoid(label_smoothing=label_smoothing).units(outputs, batch.targets).mean(dim=1)

    def counted(self, targets: npt.NDArray[Any], classes: int) -> npt.NDArray[np.int64]:
        """Samples that have each label."""
        counts: npt.NDArray[np.int64] = (targets > 0).sum(axis=0, dtype=np.int64)
        return counts

    def balanced(self, config: ImbalanceConfig, counts: npt.NDArray[np.int64], label_smoothing: float = 0.0) -> Loss:
        """Binary cross-entropy with each class's weight, or focal."""
        import torch

        from components.tasks.balance import class_weights
        from components.tasks.sigmoid import Sigmoid

        match config.loss:
            case "weighted":
                weights = class_weights(counts)
                return Sigmoid(torch.from_numpy(weights / weights.mean()).float(), label_smoothing=label_smoothing)
            case "focal":
                return Sigmoid(gamma=config.focal_gamma, label_smoothing=label_smoothing)
        raise ValueError(f"loss: expected {' or '.join(sorted(self.balances))}, received {config.loss}")

    def distillation_loss(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Divergence of the softened student from the softened teacher, times T²: mean over samples and classes."""
        import torch.nn.functional as F

        own, other = student.float() / temperature, teacher.float() / temperature
        soft = other.sigmoid()
        cost = partial(F.binary_cross_entropy_with_logits, target=soft, reduction="none")
        apart = cost(own) - cost(other)
        return apart.mean() * temperature**2 if apart.numel() else apart.sum()

    # -- answered -----------------------------------------------------------------------------------------------------

    def answer(self, outputs: Tensor) -> dict[str, Tensor]:
        """`(N, C)` logits → `probabilities` (N, C) float32, and as `prediction` (N, C) which labels are said."""
        probabilities = outputs.float().sigmoid()
        return {"probabilities": probabilities, "prediction": probabilities >= SAID}

    def difference(self, one: Answers, other: Answers) -> Floats:
        """The largest difference of a probability."""
        largest: Floats = np.abs(one["probabilities"].astype(np.float64) - other["probabilities"]).max(axis=1)
        return largest

    def agreement(self, one: Answers, other: Answers) -> Floats:
        """Of the labels, said or not."""
        share: Floats = (one["prediction"] == other["prediction"]).mean(axis=1)
        return share

    def rows(self, answer: Mapping[str, npt.NDArray[Any]], targets: npt.NDArray[Any]) -> Columns:
        return {
            "target": (targets > 0).tolist(),
            "prediction": answer["prediction"].tolist(),
            "scores": answer["probabilities"].astype(np.float32).tolist(),
        }

    def told(self, answer: Answers, targets: npt.NDArray[Any]) -> Told:
        """Of each class the probability of what is true of it; a fusion takes logits."""
        probabilities = answer["probabilities"].astype(np.float64)
        bounded = np.clip(probabilities, LEAST_LIKELIHOOD, 1.0 - LEAST_LIKELIHOOD)
        logits = (np.log(bounded) - np.log1p(-bounded)).astype(np.float32)
        return Told(np.where(targets > 0, probabilities, 1.0 - probabilities), answer["prediction"], logits)

    def fitted(self, features: Any, targets: npt.NDArray[Any], card: DatasetCard) -> Callable[[Any], Answers]:
        """A logistic regression a label."""
        from components.tasks.linear import logistic

        each = [logistic(features, (column > 0).astype(np.int64), 2) for column in targets.T]

        def answer(asked: Any) -> Answers:
            probabilities = np.stack([told(asked)[:, 1] for told in each], axis=1).astype(np.float32)
            return {"probabilities": probabilities, "prediction": probabilities >= SAID}

        return answer

    # -- judged -------------------------------------------------------------------------------------------------------

    def measure(self, predictions: Predictions, weights: Floats) -> dict[str, Floats]:
        true, said, scores = _columns(predictions)
        likelihood = np.where(true, scores, 1.0 - scores)
        surprise = -np.log(np.maximum(likelihood, LEAST_LIKELIHOOD)).mean(axis=1)
        return {
            "macro_f1": mean_of_classes(labels.f1(true, said, weights)),
            "micro_f1": labels.micro_f1(true, said, weights),
            "map": mean_of_classes(labels.average_precision(true, scores, weights)),
            "exact_match": labels.exact_match(true, said, weights),
            "hamming_loss": labels.hamming_loss(true, said, weights),
            "log_loss": mean(surprise, weights),
            "calibration_error": calibration.expected_calibration_error(_bins(true, said, scores), weights),
        }

    def by_class(self, predictions: Predictions) -> dict[str, dict[str, float]]:
        true, said, scores = _columns(predictions)
        once = np.ones((1, len(true)))
        figures = {
            "f1": labels.f1(true, said, once)[0],
            "recall": labels.recall(true, said, once)[0],
            "precision": labels.precision(true, said, once)[0],
            "average_precision": labels.average_precision(true, scores, once)[0],
        }
        return {
            name: {metric: float(values[number]) for metric, values in figures.items()}
            for number, name in enumerate(predictions.classes)
        }

    def class_values(self, predictions: Predictions, weights: Floats) -> Floats:
        true, said, _ = _columns(predictions)
        return labels.f1(true, said, weights)

    def with_class(self, predictions: Predictions) -> Bools:
        true, _, _ = _columns(predictions)
        return true

    def reliability(self, predictions: Predictions) -> Floats:
        """How sure each decision is, whether the label is said or not, and how often it is right."""
        sums: Floats = _bins(*_columns(predictions)).sum(axis=0)
        return sums

    def views(self, predictions: Predictions) -> Sequence[View]:
        from components.tasks.multilabel_views import views

        return views(predictions.classes, *_columns(predictions))

    def doubts(self, predictions: Predictions) -> Sequence[Doubt]:
        from components.tasks.multilabel_views import doubts

        true, _, scores = _columns(predictions)
        return doubts(predictions.classes, true, scores)


TASK = MultiLabel()


def _columns(predictions: Predictions) -> tuple[Bools, Bools, Floats]:
    """What is true, what is said, and scores, `(N, C)` each."""
    shape = (len(predictions.table), len(predictions.classes))
    true, said, scores = (
        predictions.table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(shape)
        for name in ("target", "prediction", "scores")
    )
    return true.astype(np.bool_), said.astype(np.bool_), scores.astype(np.float64)


def _bins(true: Bools, said: Bools, scores: Floats) -> Floats:
    return calibration.bin_sums(np.where(said, scores, 1.0 - scores), true == said)
