"""One label a pixel.

Masks are not kept: a row of `Predictions` holds the sample's confusion counts and calibration sums, which is all that
any weighted or resampled figure needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from components.artifacts import Predictions
from components.metrics import calibration, confusion
from components.metrics.metric import Metric
from components.models.forms import MAP
from components.targets import mask
from components.tasks.answers import Answers
from components.tasks.capabilities import Told
from components.tasks.protocol import Batch, Columns, TaskSpec
from components.tasks.softmax import CALIBRATION_ERROR, Softmax, cross_entropy, outputs

if TYPE_CHECKING:
    from torch import Tensor

    from components.augment.policy import Transform

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Segmentation(Softmax):
    """Semantic segmentation with a softmax over the classes at every pixel; class 0 is the background.

    Pixels whose target is `ignore` are left out of everything that is learnt, measured or fitted.
    """

    ignore: int | None = None

    spec = TaskSpec(
        name="segmentation",
        target=mask.TARGET.name,
        outputs=outputs("height", "width"),
        written="mask",
        metrics=(
            Metric("mean_iou", says="overlap of drawn and true areas, mean over the classes"),
            Metric("pixel_accuracy", says="share of the pixels that got the right class"),
            Metric("mean_dice", says="overlap of drawn and true areas, weighted to small ones"),
            Metric("worst_class_iou", says="overlap for the class that is drawn worst"),
            CALIBRATION_ERROR,
        ),
    )
    gives = MAP

    class_figures: ClassVar = {
        "iou": confusion.intersection_over_union,
        "recall": confusion.recall,
        "precision": confusion.precision,
    }
    class_metric: ClassVar[Metric] = Metric("iou", says="overlap of drawn and true areas of a class")

    def bound(self, target: Mapping[str, Any]) -> Segmentation:
        return Segmentation(mask.ignored_of(target))

    def loss(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        """Cross-entropy and soft Dice, in equal parts: the second keeps small objects from drowning in background."""
        pixels = cross_entropy(outputs, batch.targets, label_smoothing, self.ignore)
        overlap = _dice_loss(outputs, batch.targets, self.ignore)
        return {"loss": pixels + overlap, "cross_entropy": pixels.detach(), "dice_loss": overlap.detach()}

    def moved(self, targets: Tensor, transform: Transform) -> Tensor:
        """What augmentation shows beyond an image is ignored, where anything is, and background else."""
        return transform.pixels(targets, self.ignore or 0)

    def rows(self, answer: Mapping[str, npt.NDArray[Any]], targets: npt.NDArray[Any]) -> Columns:
        probabilities, prediction = answer["probabilities"], answer["prediction"]
        judged = None if self.ignore is None else targets != self.ignore
        bins = calibration.bin_sums(probabilities.max(axis=1), prediction == targets, judged=judged)
        return {
            "confusion": confusion.mask_counts(targets, prediction, probabilities.shape[1], self.ignore).tolist(),
            "calibration": bins.tolist(),
        }

    def measure(self, predictions: Predictions, weights: Floats) -> dict[str, Floats]:
        matrix = confusion.weighted(self.counts(predictions), weights)
        overlap = confusion.intersection_over_union(matrix)
        return {
            "mean_iou": confusion.mean_of_classes(overlap),
            "pixel_accuracy": confusion.accuracy(matrix),
            "mean_dice": confusion.mean_of_classes(confusion.f1(matrix)),
            "worst_class_iou": confusion.worst_of_classes(overlap),
            "calibration_error": calibration.expected_calibration_error(_matrix(predictions, "calibration"), weights),
        }

    def counts(self, predictions: Predictions) -> Any:
        return _matrix(predictions, "confusion")

    def with_class(self, predictions: Predictions) -> npt.NDArray[np.bool_]:
        classes = len(predictions.classes)
        held: npt.NDArray[np.bool_] = self.counts(predictions).reshape(-1, classes, classes).sum(axis=2) > 0
        return held

    def reliability(self, predictions: Predictions) -> Floats:
        sums: Floats = _matrix(predictions, "calibration").sum(axis=0)
        return sums

    def told(self, answer: Answers, targets: npt.NDArray[Any]) -> Told:
        told = super().told(answer, targets)
        return told if self.ignore is None else replace(told, judged=(targets != self.ignore).reshape(told.units.shape))

    def likelihoods(self, answer: Answers, targets: npt.NDArray[Any]) -> Floats:
        """Of the pixels that are ignored, 1."""
        asked = targets if self.ignore is None else np.where(targets == self.ignore, 0, targets)
        at_target = np.take_along_axis(answer["probabilities"], asked[:, None].astype(np.int64), axis=1)
        found = at_target.ravel().astype(np.float64)
        return found if self.ignore is None else np.where(targets.ravel() == self.ignore, 1.0, found)


TASK = Segmentation()


def _dice_loss(outputs: Tensor, targets: Tensor, ignore: int | None = None) -> Tensor:
    """1 − mean soft Dice of the batch's classes (Milletari et al. 2016): `(N, C, H, W)`, `(N, H, W)` → scalar.

    Over the pixels whose target is not `ignore`; 0 where there is none.
    """
    import torch.nn.functional as F

    if targets.numel() == 0:
        return outputs.float().sum() * 0.0
    probabilities = outputs.float().softmax(dim=1)
    judged = None if ignore is None else targets != ignore
    classes = targets if judged is None else targets.where(judged, 0)
    truth = F.one_hot(classes, outputs.shape[1]).permute(0, 3, 1, 2).to(probabilities)
    if judged is not None:
        probabilities, truth = probabilities * judged[:, None], truth * judged[:, None]
    overlap = (probabilities * truth).sum(dim=(0, 2, 3))
    size = probabilities.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3))
    present = truth.sum(dim=(0, 2, 3)) > 0
    dice = (2 * overlap + 1.0) / (size + 1.0)
    return present.any().to(dice) - (dice * present).sum() / present.sum().clamp(min=1)


def _matrix(predictions: Predictions, column: str) -> Floats:
    """A list column as `(N, length)`."""
    values = predictions.table.column(column).combine_chunks().flatten().to_numpy(zero_copy_only=False)
    lengths = {"confusion": len(predictions.classes) ** 2, "calibration": 3 * calibration.BINS}
    return np.asarray(values.reshape(len(predictions.table), lengths[column]), dtype=np.float64)
