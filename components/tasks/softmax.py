"""What tasks with a softmax over classes share, be it once an image or at every pixel: classes are dimension 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from components.artifacts import DatasetCard, Head, Predictions
from components.config import ImbalanceConfig
from components.metrics import confusion
from components.metrics.metric import Metric
from components.tasks.answers import Answers
from components.tasks.capabilities import Loss, Told
from components.tasks.protocol import Batch, Output

if TYPE_CHECKING:
    from torch import Tensor

    from components.models.ensemble import Fuses

Floats = npt.NDArray[np.float64]

CALIBRATION_ERROR = Metric(
    "calibration_error", "less", says="gap between how sure the model is and how often it is right; less is better"
)


def outputs(*space: str) -> tuple[Output, ...]:
    """Of a softmax over the classes at every place of `space`."""
    return (
        Output("probabilities", ("classes", *space), "float32", measured=True),
        Output("prediction", space, "int64"),
    )


# A float32 softmax can give a true class exactly 0. This is a finite price for it, 16 nats; the classifier's log loss
# has the same.
LEAST_LIKELIHOOD = 1e-7


class Softmax:
    """The part of such a task that does not depend on what is labelled."""

    fuses: ClassVar[Fuses] = "probabilities"
    # A vote, or a layer on all classes of all members, at every pixel is more than a split can be held in memory for.
    combiners = frozenset({"soft", "weighted", "soup"})
    # Of a class, by a confusion matrix; the first is that of the primary metric.
    class_figures: ClassVar[Mapping[str, Callable[[Floats], Floats]]] = {}
    binomial: ClassVar[bool] = False

    gives: str

    def head(self, card: DatasetCard) -> Head:
        """One output per class."""
        return Head(gives=self.gives, outputs=len(card.classes))

    def answer(self, outputs: Tensor) -> dict[str, Tensor]:
        """`(N, C, …)` logits → `probabilities` (N, C, …) float32, `prediction` (N, …) int64."""
        probabilities = outputs.float().softmax(dim=1)
        return {"probabilities": probabilities, "prediction": probabilities.argmax(dim=1)}

    def difference(self, one: Answers, other: Answers) -> Floats:
        """The largest difference of a probability."""
        gap = np.abs(one["probabilities"].astype(np.float64) - other["probabilities"])
        largest: Floats = gap.reshape(len(gap), -1).max(axis=1)
        return largest

    def agreement(self, one: Answers, other: Answers) -> Floats:
        """Of the predicted classes."""
        same = one["prediction"] == other["prediction"]
        share: Floats = same.reshape(len(same), -1).mean(axis=1)
        return share

    def confusion(self, predictions: Predictions) -> npt.NDArray[np.int64]:
        once = np.ones((1, len(predictions.table)))
        total: npt.NDArray[np.int64] = confusion.weighted(self.counts(predictions), once)[0].astype(np.int64)
        return total

    def by_class(self, predictions: Predictions) -> dict[str, dict[str, float]]:
        matrix = self.confusion(predictions)[None].astype(np.float64)
        columns = {name: figure(matrix)[0] for name, figure in self.class_figures.items()}
        return {
            name: {metric: float(values[index]) for metric, values in columns.items()}
            for index, name in enumerate(predictions.classes)
        }

    def class_values(self, predictions: Predictions, weights: Floats) -> Floats:
        figure = next(iter(self.class_figures.values()))
        return figure(confusion.weighted(self.counts(predictions), weights))

    def counts(self, predictions: Predictions) -> Any:
        """The confusion counts of each sample, dense or sparse, as `components.metrics.confusion` sums them."""
        raise NotImplementedError

    def told(self, answer: Answers, targets: npt.NDArray[Any]) -> Told:
        """The likelihoods and classes of all units; probabilities are too many to be kept."""
        units, answered = (
            each.reshape(len(targets), -1) for each in (self.likelihoods(answer, targets), answer["prediction"])
        )
        return Told(units, answered.astype(np.int16), None)

    def likelihoods(self, answer: Answers, targets: npt.NDArray[Any]) -> Floats:
        """The probability given to the true class of each unit (sample or pixel), `(M,)`."""
        raise NotImplementedError

    def distillation_loss(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """`soft_target_divergence` of the student's logits from the teacher's."""
        return soft_target_divergence(student, teacher, temperature)


class OneLabel(Softmax):
    """Where a sample has one label: it can be drawn, weighed and counted as wrong by it."""

    balances: ClassVar[frozenset[str]] = frozenset({"weighted", "focal", "balanced-softmax"})

    def told(self, answer: Answers, targets: npt.NDArray[Any]) -> Told:
        """With the log-probabilities of all classes."""
        logs = np.log(np.maximum(answer["probabilities"], LEAST_LIKELIHOOD)).astype(np.float32)
        return replace(super().told(answer, targets), fusible=logs)

    def labels(self, targets: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        return np.asarray(targets, dtype=np.int64)

    def mistakes(self, answer: Answers, targets: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        wrong: npt.NDArray[np.bool_] = answer["prediction"] != targets
        return wrong

    def each(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy."""
        import torch.nn.functional as F

        return F.cross_entropy(outputs, batch.targets, reduction="none", label_smoothing=label_smoothing)

    def counted(self, targets: npt.NDArray[Any], classes: int) -> npt.NDArray[np.int64]:
        return np.bincount(self.labels(targets), minlength=classes).astype(np.int64)

    def balanced(self, config: ImbalanceConfig, counts: npt.NDArray[np.int64], label_smoothing: float = 0.0) -> Loss:
        """Cross-entropy with each class's weight, focal, or of the balanced softmax."""
        import torch

        from components.tasks.balance import BalancedSoftmax, Focal, Weighted, class_weights, log_prior

        match config.loss:
            case "weighted":
                return Weighted(torch.from_numpy(class_weights(counts)).float(), label_smoothing)
            case "focal":
                return Focal(config.focal_gamma, label_smoothing)
            case "balanced-softmax":
                return BalancedSoftmax(torch.from_numpy(log_prior(counts)).float(), label_smoothing)
        raise ValueError(f"loss: expected weighted, focal or balanced-softmax, received {config.loss}")


def cross_entropy(outputs: Tensor, targets: Tensor, label_smoothing: float, ignore: int | None = None) -> Tensor:
    """Mean cross-entropy in float32: `(N, C, …)` logits, `(N, …)` int64 → scalar.

    Over the units whose target is not `ignore`; 0 where there is none.
    """
    import torch.nn.functional as F

    if targets.numel() == 0:
        return outputs.float().sum() * 0.0
    if ignore is None:
        return F.cross_entropy(outputs.float(), targets, label_smoothing=label_smoothing)
    total = F.cross_entropy(
        outputs.float(), targets, ignore_index=ignore, reduction="sum", label_smoothing=label_smoothing
    )
    return total / (targets != ignore).sum().clamp(min=1)  # PyTorch's own mean is not a number where nothing is asked


def soft_target_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL of the softened student from the softened teacher, times T²: `(N, C, …)` logits → scalar mean over units.

    Hinton et al., "Distilling the Knowledge in a Neural Network" (2015): the factor keeps the gradient's size the same
    as T changes.
    """
    import torch.nn.functional as F

    student_log = F.log_softmax(student.float() / temperature, dim=1)
    teacher_log = F.log_softmax(teacher.float() / temperature, dim=1)
    pointwise = F.kl_div(student_log, teacher_log, reduction="none", log_target=True).sum(dim=1)
    return pointwise.mean() * temperature**2 if pointwise.numel() else pointwise.sum()
