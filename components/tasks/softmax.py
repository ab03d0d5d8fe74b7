"""What tasks with a softmax over classes share, be it once an image or at every pixel: classes are dimension 1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from components.artifacts import DatasetCard, Head
from components.metrics.metric import Metric
from components.tasks.answers import Answers
from components.tasks.protocol import Output

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


class Softmax:
    """The part of such a task that does not depend on what is labelled."""

    # A vote, or a layer on all classes of all members, at every pixel is more than a split can be held in memory for.
    combiners = frozenset({"soft", "weighted", "soup"})

    gives: str

    def head(self, card: DatasetCard) -> Head:
        """One output per class."""
        return Head(gives=self.gives, outputs=len(card.classes))

    def answer(self, outputs: Tensor) -> dict[str, Tensor]:
        """`(N, C, …)` logits → `probabilities` (N, C, …) float32, `prediction` (N, …) int64."""
        probabilities = torch.softmax(outputs.float(), dim=1)
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

    def distillation_loss(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """`soft_target_divergence` of the student's logits from the teacher's."""
        return soft_target_divergence(student, teacher, temperature)


def cross_entropy(outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Mean cross-entropy in float32: `(N, C, …)` logits, `(N, …)` int64 → scalar; 0 where there is no sample."""
    if targets.numel() == 0:
        return outputs.float().sum() * 0.0
    return F.cross_entropy(outputs.float(), targets, label_smoothing=label_smoothing)


def soft_target_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL of the softened student from the softened teacher, times T²: `(N, C, …)` logits → scalar mean over units.

    Hinton et al., "Distilling the Knowledge in a Neural Network" (2015): the factor keeps the gradient's size the same
    as T changes.
    """
    student_log = F.log_softmax(student.float() / temperature, dim=1)
    teacher_log = F.log_softmax(teacher.float() / temperature, dim=1)
    pointwise = F.kl_div(student_log, teacher_log, reduction="none", log_target=True).sum(dim=1)
    return pointwise.mean() * temperature**2 if pointwise.numel() else pointwise.sum()
