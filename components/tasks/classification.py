"""One label an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from components.artifacts import DatasetCard, Predictions
from components.metrics import calibration, confusion
from components.metrics.metric import Metric
from components.models.forms import VECTOR
from components.targets import class_
from components.tasks import linear
from components.tasks.answers import Answers
from components.tasks.capabilities import Doubt
from components.tasks.protocol import Batch, Columns, TaskSpec
from components.tasks.softmax import CALIBRATION_ERROR, OneLabel, cross_entropy, outputs

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float64]

LEAST_PROBABILITY = (
    1e-7  # below float32's resolution near 1; bounds the likelihood of a sample that is called impossible
)


class Classification(OneLabel):
    """Single-label classification with a softmax over the classes."""

    spec = TaskSpec(
        name="classification",
        target=class_.TARGET.name,
        outputs=outputs(),
        written="class",
        metrics=(
            Metric("accuracy", says="share of the samples that got the right answer"),
            Metric("balanced_accuracy", says="the same, with every class counting equally"),
            Metric("macro_f1", says="balance of missed and false answers, mean over the classes"),
            Metric("worst_class_recall", says="share found of the class that is found least"),
            Metric("log_loss", "less", "", "how surprised the model is by the truth; less is better"),
            Metric("brier_score", "less", "", "squared error of the probabilities; less is better"),
            CALIBRATION_ERROR,
        ),
    )
    gives = VECTOR
    combiners = frozenset({"soft", "hard", "weighted", "boosted", "stacking", "soup"})
    class_figures: ClassVar = {"recall": confusion.recall, "precision": confusion.precision, "f1": confusion.f1}
    class_metric = Metric("recall", says="share found of a class")
    binomial = True

    def loss(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        return {"loss": cross_entropy(outputs, batch.targets, label_smoothing)}

    def rows(self, answer: Mapping[str, npt.NDArray[Any]], targets: npt.NDArray[Any]) -> Columns:
        return {
            "target": targets.astype(np.int64),
            "prediction": answer["prediction"].astype(np.int64),
            "scores": answer["probabilities"].astype(np.float32).tolist(),
        }

    def measure(self, predictions: Predictions, weights: Floats) -> dict[str, Floats]:
        target, prediction, scores = _columns(predictions)
        matrix = confusion.weighted(self.counts(predictions), weights)
        total = weights.sum(axis=1)
        samples = np.arange(len(target))
        surprise = -np.log(np.maximum(scores[samples, target], LEAST_PROBABILITY))
        truth = np.zeros_like(scores)
        truth[samples, target] = 1.0
        brier = ((scores - truth) ** 2).sum(axis=1)
        bins = calibration.bin_sums(scores.max(axis=1), prediction == target)
        return {
            "accuracy": confusion.accuracy(matrix),
            "balanced_accuracy": confusion.mean_of_classes(confusion.recall(matrix)),
            "macro_f1": confusion.mean_of_classes(confusion.f1(matrix)),
            "worst_class_recall": confusion.worst_of_classes(confusion.recall(matrix)),
            "log_loss": _mean(surprise, weights, total),
            "brier_score": _mean(brier, weights, total),
            "calibration_error": calibration.expected_calibration_error(bins, weights),
        }

    def counts(self, predictions: Predictions) -> Any:
        target, prediction, _ = _columns(predictions)
        return confusion.label_counts(target, prediction, len(predictions.classes))

    def with_class(self, predictions: Predictions) -> npt.NDArray[np.bool_]:
        target, _, _ = _columns(predictions)
        held: npt.NDArray[np.bool_] = target[:, None] == np.arange(len(predictions.classes))
        return held

    def reliability(self, predictions: Predictions) -> Floats:
        target, prediction, scores = _columns(predictions)
        sums: Floats = calibration.bin_sums(scores.max(axis=1), prediction == target).sum(axis=0)
        return sums

    def doubts(self, predictions: Predictions) -> Sequence[Doubt]:
        """Confident learning (Northcutt et al. 2021): what looks like another class as surely as its own samples do."""
        target, _, scores = _columns(predictions)
        usual = np.full(len(predictions.classes), np.inf)
        for label in np.unique(target):
            usual[label] = scores[target == label, label].mean()
        likely = np.where(scores >= usual, scores, -1.0)
        samples, other = np.arange(len(target)), likely.argmax(axis=1)
        margin = scores[samples, other] - scores[samples, target]
        doubted = np.flatnonzero((likely.max(axis=1) >= 0) & (other != target))
        names = predictions.classes
        return [
            Doubt(
                row=int(one),
                finding="label-noise",
                score=float(margin[one]),
                says=f"labelled {names[target[one]]} ({scores[one, target[one]]:.1%} probable), looks like "
                f"{names[other[one]]} ({scores[one, other[one]]:.0%})",
            )
            for one in doubted[np.argsort(-margin[doubted], kind="stable")]
        ]

    def fitted(self, features: Any, targets: npt.NDArray[Any], card: DatasetCard) -> Callable[[Any], Answers]:
        """Logistic regression."""
        probabilities = linear.logistic(features, targets.astype(np.int64), len(card.classes))

        def answer(asked: Any) -> Answers:
            found = probabilities(asked)
            return {"probabilities": found.astype(np.float32), "prediction": found.argmax(axis=1)}

        return answer

    def likelihoods(self, answer: Answers, targets: npt.NDArray[Any]) -> Floats:
        return np.asarray(answer["probabilities"][np.arange(len(targets)), targets], dtype=np.float64)


TASK = Classification()


def _columns(predictions: Predictions) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Target and prediction `(N,)`, scores `(N, C)`."""
    table = predictions.table
    scores = table.column("scores").combine_chunks().flatten().to_numpy().reshape(len(table), len(predictions.classes))
    return table.column("target").to_numpy(), table.column("prediction").to_numpy(), scores.astype(np.float64)


def _mean(values: Floats, weights: Floats, total: Floats) -> Floats:
    mean: Floats = np.divide(weights @ values, total, out=np.full(total.shape, np.nan), where=total > 0)
    return mean
