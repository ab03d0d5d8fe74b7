"""What some tasks can do and others cannot: a protocol each, and `isinstance` says whether a task has it.

A step that needs one is skipped where the task has none, and the run says so; a setting that needs one is a mistake in
the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from components.artifacts import DatasetCard, Predictions
from components.config import ImbalanceConfig
from components.metrics.metric import Metric
from components.tasks.answers import Answers
from components.tasks.protocol import Batch, Ignoring

if TYPE_CHECKING:
    from torch import Tensor

    from components.augment.policy import Move, Transform
    from components.models.ensemble import Fuses

Floats = npt.NDArray[np.float64]


class Loss(Protocol):
    """Raw outputs and their batch → `{"loss": scalar, …}`."""

    def __call__(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]: ...


# -- views of predictions ---------------------------------------------------------------------------------------------


@runtime_checkable
class WithClasses(Protocol):
    """Figures of each class."""

    def by_class(self, predictions: Predictions) -> dict[str, dict[str, float]]:
        """Class name → metric → value; the first metric is the primary one's, in its unit and direction."""
        ...


@runtime_checkable
class WithClassMetric(Protocol):
    """A metric of each class under weights, so that a group can be judged class by class."""

    class_metric: Metric  # the first of `by_class`, a share
    binomial: bool  # whether it is the share of the class's samples that are right, so that its interval is exact

    def class_values(self, predictions: Predictions, weights: Floats) -> Floats:
        """The metric of each class under each of B weightings of the N samples, `weights` (B, N): `(B, C)`.

        NaN where nothing is known of a class.
        """
        ...

    def with_class(self, predictions: Predictions) -> npt.NDArray[np.bool_]:
        """Which samples have each class, in truth: `(N, C)`."""
        ...


@runtime_checkable
class WithConfusion(Protocol):
    """Answers that take one class for another."""

    def confusion(self, predictions: Predictions) -> npt.NDArray[np.int64]:
        """(C, C) counts over all samples, row = target."""
        ...


@runtime_checkable
class WithReliability(Protocol):
    """Answers that say how sure they are."""

    def reliability(self, predictions: Predictions) -> Floats:
        """`components.metrics.calibration` sums over all samples, (3·bins,): units, confidence, correct."""
        ...


@dataclass(frozen=True)
class Compared:
    """Answers that are numbers, beside the truths: `(N,)` each, in `unit`."""

    unit: str
    target: Floats
    prediction: Floats
    low: Floats  # ends of the interval that goes with the answer
    high: Floats


@runtime_checkable
class WithNumbers(Protocol):
    """Answers that are numbers."""

    def compared(self, predictions: Predictions) -> dict[str, Compared]:
        """Name of what is answered → answers and truths."""
        ...


@dataclass(frozen=True)
class Listed:
    """A table for people: cells are texts, or numbers that are shares (float) or counts (int)."""

    title: str
    says: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | float | int, ...], ...]


@dataclass(frozen=True)
class Crossed:
    """What is taken for what, where not all of it is of a class: counts `(R, R)` of what `names` name, row = target."""

    title: str
    says: str
    names: tuple[str, ...]
    counts: npt.NDArray[np.int64]


View = Listed | Crossed


@runtime_checkable
class WithViews(Protocol):
    """Answers of which there is more to be shown than all tasks' have."""

    def views(self, predictions: Predictions) -> Sequence[View]:
        """In the order in which they are to be read."""
        ...


@dataclass(frozen=True)
class Looked:
    """A sample that is worth a look."""

    sheet: str  # samples of one sheet are shown together,
    line: str  # those of one line beside each other
    row: int  # of the predictions
    says: str
    least: float  # the score from which on an answer counts here
    part: int | None = None  # which of the row's answers, or truths, is to be looked at; None: the whole picture


@dataclass(frozen=True)
class Mark:
    """A rectangle over a picture."""

    sides: tuple[float, float, float, float]  # left, top, right, bottom in pixels
    kind: Literal["truth", "right", "wrong", "missed"]
    says: str = ""


@dataclass(frozen=True)
class Marked:
    """What is drawn over a picture, and which part of it is shown; None: all."""

    marks: tuple[Mark, ...]
    window: tuple[float, float, float, float] | None = None


@runtime_checkable
class WithMarks(Protocol):
    """Answers that can be drawn over their pictures."""

    def looked_at(self, predictions: Predictions) -> Sequence[Looked]:
        """Samples that show best what the answers are like, sheet by sheet and line by line."""
        ...

    def marked(self, looked: Looked, predictions: Predictions) -> Marked:
        """What is drawn over one of them."""
        ...


@dataclass(frozen=True)
class Doubt:
    """A label that is probably wrong, or not there."""

    row: int  # of the predictions
    finding: str
    score: float  # greater is worse; what it means is the finding's own
    says: str  # a sentence for people


@runtime_checkable
class Doubting(Protocol):
    """Answers by which labels that were not learnt from can be doubted."""

    def doubts(self, predictions: Predictions) -> Sequence[Doubt]:
        """In the order in which they deserve a look."""
        ...


@runtime_checkable
class Deciding(Protocol):
    """Answers that are decisions, which two executions take alike or not."""

    def agreement(self, one: Answers, other: Answers) -> Floats:
        """The share of each sample's decisions (its label, its pixels) that are equal, `(N,)`."""
        ...


@runtime_checkable
class Fitting(Protocol):
    """Answers that a linear model can learn to give: a baseline for networks."""

    def fitted(self, features: Any, targets: npt.NDArray[Any], card: DatasetCard) -> Callable[[Any], Answers]:
        """What answers for features `(N, F)`, once it has learnt from those, dense or sparse, and their targets."""
        ...


# -- choices of losses ------------------------------------------------------------------------------------------------


@runtime_checkable
class SeveralLosses(Protocol):
    """A task that can be learnt by other losses than its own."""

    losses: Mapping[str, str]  # name → what it is

    def named_loss(self, name: str) -> Loss:
        """ValueError for a name that is none of `losses`."""
        ...


# -- several networks -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """What combining needs of an answer for N samples of U scored units each: one a label, H·W a mask, V of V values.

    Of boxes, one an object that may be there, and the last one that there is nothing else. Of probabilities and boxes
    `units` are those given to the truths; of numbers, how far the answers are above the truths, in deviations.
    """

    units: Floats  # (N, U)
    # (N, U) the classes; of numbers, the values, in deviations from the mean; of boxes, whether the unit is right.
    answered: npt.NDArray[Any]
    # (N, C) as a fusion takes it: log-probabilities, or numbers; None where a split of them is too much to be held.
    fusible: npt.NDArray[np.float32] | None
    # (N, U) which units have a truth; None where all have. Of others the likelihood is 1, so that they cost nothing.
    judged: npt.NDArray[np.bool_] | None = None


@runtime_checkable
class Combinable(Protocol):
    """How members are combined."""

    fuses: Fuses  # what their outputs say
    combiners: frozenset[str]  # names of those in `components.compress.ensembling.combiners` that can combine them

    def told(self, answer: Answers, targets: npt.NDArray[Any]) -> Told:
        """What is kept of an answer, beside its rows."""
        ...


@runtime_checkable
class Distillable(Protocol):
    """How a student copies a teacher."""

    def distillation_loss(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Distance of the student's raw outputs from the teacher's, scaled so that it does not shrink with T."""
        ...


# -- targets with a place in their images -----------------------------------------------------------------------------


@runtime_checkable
class Moving(Protocol):
    """Targets that move with what augmentation does to their images."""

    def moved(self, targets: Tensor, transform: Transform) -> Tensor:
        """The batch's targets where the transform puts them, in the same shape."""
        ...


def moves(task: object) -> Move:
    """How a task's targets follow their images."""
    from components.augment.policy import still

    return task.moved if isinstance(task, Moving) else still


# -- samples that count differently -----------------------------------------------------------------------------------


@runtime_checkable
class Labels(Protocol):
    """One class a sample: by it samples are drawn, compared and made up."""

    def labels(self, targets: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """`(N,)` classes."""
        ...


@runtime_checkable
class Each(Protocol):
    """A loss that is a mean of each sample's own."""

    def each(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
        """`(N,)`."""
        ...


@runtime_checkable
class Mistaken(Protocol):
    """Answers that are right or wrong."""

    def mistakes(self, answer: Answers, targets: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which samples were got wrong, `(N,)`."""
        ...


@runtime_checkable
class Balanced(Protocol):
    """Losses for classes of very different sizes."""

    balances: frozenset[str]  # those of `training.imbalance.loss` that there are, beside `natural`

    def counted(self, targets: npt.NDArray[Any], classes: int) -> npt.NDArray[np.int64]:
        """`(classes,)`: samples of each class."""
        ...

    def balanced(self, config: ImbalanceConfig, counts: npt.NDArray[np.int64], label_smoothing: float = 0.0) -> Loss:
        """The loss that `config.loss` names, one of `balances`, for `counts` (C,) training samples a class."""
        ...


SAYS = {  # each capability, and what can be done with a task that has it
    WithClasses: "metrics of each class",
    WithClassMetric: "metrics of each class in each group (gates.worst_group)",
    WithConfusion: "confusion of classes",
    WithReliability: "calibration",
    WithNumbers: "plots of answers against truths",
    WithViews: "tables of what goes wrong",
    WithMarks: "pictures of answers beside truths",
    Doubting: "labels that are doubted after training",
    Deciding: "agreement of two executions",
    Fitting: "baselines (evaluate.baselines)",
    Ignoring: "parts that are neither learnt nor judged (source.ignore)",
    SeveralLosses: "a choice of losses (training.loss)",
    Combinable: "ensembles",
    Distillable: "distillation",
    Moving: "targets that move with their images",
    Labels: "drawing and comparing samples by label",
    Each: "weights of samples and classes",
    Mistaken: "boosting",
    Balanced: "losses for unequal classes",
}
