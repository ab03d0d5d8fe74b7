"""Objects in a picture: a box, a class and a score of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from components.artifacts import DatasetCard, Head, Predictions
from components.metrics import average_precision, detection
from components.metrics.metric import Metric
from components.models.forms import BOXES, LEAST_SCORE
from components.targets.boxes import TARGET
from components.tasks import detection_views
from components.tasks.answers import Answers
from components.tasks.capabilities import Doubt, Looked, Marked, Told, View
from components.tasks.protocol import Batch, Columns, Output, TaskSpec

if TYPE_CHECKING:
    from torch import Tensor

    from components.models.ensemble import Fuses
    from components.tasks.boxes import Moves

Floats = npt.NDArray[np.float64]

HIDDEN = {"recall_hidden": (-np.inf, 0.5)}  # of an object, how much of it is visible at most


class Detection:
    """One-stage detection: a box and a score per class at each place, and no object said twice."""

    spec = TaskSpec(
        name="detection",
        target=TARGET.name,
        outputs=(
            # Rounding changes the order of boxes that score alike, and so what stands in a row; the scores it does not.
            Output("boxes", ("detections", 4), "float32"),
            Output("scores", ("detections",), "float32", measured=True),
            Output("labels", ("detections",), "int64"),
            Output("valid", ("detections",), "bool"),
        ),
        written="boxes",
        metrics=(
            Metric("map", says="average precision, mean over the classes and over overlaps from .5 to .95"),
            Metric("map50", says="average precision at an overlap of .5, mean over the classes"),
            Metric("map75", says="average precision at an overlap of .75, mean over the classes"),
            Metric("average_recall", says="share of the objects that any box found, mean as of the average precision"),
            Metric("recall", says="share of the objects found at an overlap of .5 where nine boxes in ten are right"),
            Metric("recall_hidden", says="the same of objects of which at most half is visible"),
        ),
    )
    gives = BOXES
    class_metric = Metric("ap", says="average precision of a class, mean over overlaps from .5 to .95")
    binomial = False
    fuses: ClassVar[Fuses] = "boxes"
    combiners: ClassVar[frozenset[str]] = frozenset({"soft", "weighted", "nms", "wbf", "soup"})

    def head(self, card: DatasetCard) -> Head:
        """One logit per class and place, beside its box."""
        return Head(gives=self.gives, outputs=len(card.classes))

    # -- learnt -------------------------------------------------------------------------------------------------------

    def loss(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        """The mean of the images' losses (`matching.losses`); qualities are soft already, and nothing is smoothed."""
        from components.tasks.matching import BOX_WEIGHT, losses

        classes, boxes = (_mean(each, outputs) for each in losses(outputs, batch.targets))
        return {"loss": classes + BOX_WEIGHT * boxes, "class_loss": classes.detach(), "box_loss": boxes.detach()}

    def each(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
        from components.tasks.matching import BOX_WEIGHT, losses

        classes, boxes = losses(outputs, batch.targets)
        return classes + BOX_WEIGHT * boxes

    def distillation_loss(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Divergence of each class's score and distance of boxes, as far as somebody says that there is an object.

        Scores count by the larger of both, boxes by the teacher's best one (Zheng et al. 2022): what it says of places
        that show nothing is not worth copying. The mean over images of sums in parts of the teacher's best scores.

        A teacher that says boxes at other places than the student (other strides, boxes that are fused) is copied by
        what it finds (`copied`), for which a temperature means nothing.
        """
        from components.models.parts.boxes import generalized_overlaps
        from components.models.parts.suppression import found
        from components.tasks.matching import BOX_WEIGHT, copied, said

        own, other = said(student), said(teacher)
        if own.priors.shape != other.priors.shape or not own.priors.equal(other.priors):
            classes, boxes = (
                _mean(each, student) for each in copied(student, *found(other.boxes, other.logits, LEAST_SCORE))
            )
            return classes + BOX_WEIGHT * boxes
        sure, ours = other.logits.sigmoid(), own.logits.detach().sigmoid()
        soft = (other.logits / temperature).sigmoid()
        apart = _cross_entropy(own.logits / temperature, soft) - _cross_entropy(other.logits / temperature, soft)
        scores = (apart * sure.maximum(ours)).sum(dim=(1, 2)) * temperature**2
        weight = sure.amax(dim=2)
        boxes = ((1.0 - generalized_overlaps(own.boxes, other.boxes)) * weight).sum(dim=1)
        return _mean((scores + BOX_WEIGHT * boxes) / weight.sum(dim=1).clamp_min(1.0), student)

    def moved(self, targets: Tensor, transform: Moves) -> Tensor:
        from components.tasks.boxes import moved

        return moved(targets, transform)

    # -- answered -----------------------------------------------------------------------------------------------------

    def answer(self, outputs: Tensor) -> dict[str, Tensor]:
        """`(N, L, 8 + C)` → `boxes` (N, K, 4) in pixels, `scores`, `labels`, `valid` (N, K), the best first."""
        from components.models.parts.suppression import found
        from components.tasks.matching import said

        told = said(outputs)
        names = (output.name for output in self.spec.outputs)
        return dict(zip(names, found(told.boxes, told.logits, LEAST_SCORE), strict=True))

    def difference(self, one: Answers, other: Answers) -> Floats:
        """What one says and the other does not: each box with the squared score as its weight, in parts of all.

        A box is said by the other as far as one of its boxes of the same class overlaps it and scores alike. A weight
        of less than 1 on both sides together counts as 1: two that find next to nothing hardly differ.
        """
        overlap = detection.iou(one["boxes"], other["boxes"])
        overlap[(one["boxes"][:, :, None] == other["boxes"][:, None]).all(axis=3)] = 1.0
        mine, theirs = (np.where(each["valid"], each["scores"], 0.0).astype(np.float64) for each in (one, other))
        less, more = (which(mine[:, :, None], theirs[:, None]) for which in (np.minimum, np.maximum))
        alike = np.divide(less, more, out=np.zeros_like(more), where=more > 0)
        said_too = overlap * alike * (one["labels"][:, :, None] == other["labels"][:, None])
        weights = mine**2, theirs**2
        missing = (weights[0] * (1.0 - said_too.max(axis=2, initial=0.0))).sum(axis=1)
        missing += (weights[1] * (1.0 - said_too.max(axis=1, initial=0.0))).sum(axis=1)
        apart: Floats = missing / np.maximum(weights[0].sum(axis=1) + weights[1].sum(axis=1), 1.0)
        return apart

    def rows(self, answer: Mapping[str, npt.NDArray[Any]], targets: npt.NDArray[Any]) -> Columns:
        return dict(detection.rows(answer, targets))

    def told(self, answer: Answers, targets: npt.NDArray[Any]) -> Told:
        """How sure each object was found, at least by what is not answered, and how sure nothing else was.

        What fusions take are raw outputs: members are asked again under each.
        """
        found, nothing = detection.likelihoods(answer, targets)
        judged = (targets[..., 0] >= 0) & (targets[..., 5] <= 0)
        found = np.where(judged, np.maximum(found, LEAST_SCORE), 1.0)
        units = np.concatenate([found, nothing[:, None]], axis=1)
        return Told(units, units > 0.5, None, np.append(judged, np.ones((len(judged), 1), bool), axis=1))

    def measure(self, predictions: Predictions, weights: Floats) -> dict[str, Floats]:
        judged = average_precision.matches(predictions)
        figures = average_precision.figures(judged, weights)
        return {**figures, **average_precision.by_visibility(judged, weights, HIDDEN)}

    def by_class(self, predictions: Predictions) -> dict[str, dict[str, float]]:
        judged = average_precision.matches(predictions)
        found = average_precision.by_class(judged, np.ones((1, len(predictions.table))))
        return {
            name: {metric: float(values[0, index]) for metric, values in found.items()}
            for index, name in enumerate(predictions.classes)
        }

    def class_values(self, predictions: Predictions, weights: Floats) -> Floats:
        judged = average_precision.matches(predictions)
        values: Floats = average_precision.average_precision(judged, weights).mean(axis=2)
        return values

    def with_class(self, predictions: Predictions) -> npt.NDArray[np.bool_]:
        return average_precision.images_with_class(average_precision.matches(predictions))

    def views(self, predictions: Predictions) -> Sequence[View]:
        return detection_views.views(predictions)

    def looked_at(self, predictions: Predictions) -> Sequence[Looked]:
        return detection_views.looked_at(predictions)

    def marked(self, looked: Looked, predictions: Predictions) -> Marked:
        return detection_views.marked(looked, predictions)

    def doubts(self, predictions: Predictions) -> Sequence[Doubt]:
        return detection_views.doubts(predictions)


TASK = Detection()


def _mean(each: Tensor, outputs: Tensor) -> Tensor:
    """0 where there is no image."""
    return each.mean() if len(each) else outputs.float().sum() * 0.0


def _cross_entropy(logits: Tensor, probabilities: Tensor) -> Tensor:
    import torch.nn.functional as F

    return F.binary_cross_entropy_with_logits(logits, probabilities, reduction="none")
