"""`ensemble.json`: which combiner, why that one, and what each member and each combiner is worth on validation data."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from components.artifacts import Card, Model
from components.compress.ensembling.cost import Cost

REPORT = "ensemble.json"


TITLES = {"log_loss": "log loss", "squared_error": "squared error, σ²"}  # losses, for people


def _absent(value: object) -> bool:
    return value is None


class Judged(Card):
    """Figures on the validation split; of the losses there is the one that the answers have."""

    log_loss: float | None = Field(default=None, exclude_if=_absent)  # of probabilities, nats a unit (sample or pixel)
    squared_error: float | None = Field(default=None, exclude_if=_absent)  # of numbers, in squared deviations a value
    primary: float
    calibration_error: float  # NaN of answers that do not say how sure they are

    @model_validator(mode="after")
    def _has_one_loss(self) -> Self:
        if (self.log_loss is None) == (self.squared_error is None):
            raise ValueError("expected one of log_loss and squared_error")
        return self

    @property
    def loss(self) -> float:
        """By what combiners are compared."""
        value = self.squared_error if self.log_loss is None else self.log_loss
        return math.nan if value is None else value

    @property
    def loss_name(self) -> str:
        """The field that `loss` is from."""
        return "squared_error" if self.log_loss is None else "log_loss"

    @property
    def calibrated(self) -> bool:
        """Whether there is a calibration error to be shown."""
        return not math.isnan(self.calibration_error)


class Figures(Judged):
    """Of whoever answers."""

    name: str


class MemberFigures(Figures):
    """One member."""

    model: str  # its digest
    weight: float | None  # in the ensemble as it was written; None where a layer has many of each


class CombinerFigures(Figures):
    """One way to combine the members.

    What is fitted there is judged on samples that it was not fitted on; a mask's primary metric and calibration, whose
    answers are not kept, are those of the fit on all of them.
    """

    fitted: Literal["nothing", "validation", "out of fold"]  # on what
    behind: float  # the best one's loss; of log losses, both at their best temperatures
    standard_error: float  # of that
    cost: Cost


class EnsembleReport(Judged):
    """Its own figures are the model's, as it was written, on the whole validation split.

    Of what was fitted there they are flattering. What differs in pairs of members is the share of the units (samples or
    pixels) that they answer differently, and the correlation of being wrong; of numbers, the mean distance of their
    values in deviations, and the correlation of their errors (Pearson, over samples and values).
    """

    asked: str  # `ensemble.combiner`
    combiner: str
    reason: str
    left_out: dict[str, str]  # combiner → why it cannot combine these members
    metric: str  # the task's primary one
    samples: int
    units: int  # that are scored: samples, pixels, or values
    members: tuple[MemberFigures, ...]
    combiners: tuple[CombinerFigures, ...]  # from the simplest on
    disagreement: tuple[tuple[float, ...], ...]
    error_correlation: tuple[tuple[float, ...], ...]
    mean_disagreement: float
    mean_error_correlation: float
    member_cost: Cost  # mean of the members'

    @property
    def loss_title(self) -> str:
        """What `loss` is, for people."""
        return TITLES[self.loss_name]

    @property
    def rows(self) -> tuple[Figures, ...]:
        """The members, then the ways to combine them."""
        return (*self.members, *self.combiners)

    @property
    def chosen(self) -> CombinerFigures:
        """The figures of the combiner that was chosen."""
        return next(figures for figures in self.combiners if figures.name == self.combiner)

    def metrics(self) -> dict[str, float]:
        """All that is a number, by name, for who records it."""
        found = {
            f"validation_{self.metric}": self.primary,
            self.loss_name: self.loss,
            "disagreement": self.mean_disagreement,
            "error_correlation": self.mean_error_correlation,
            "macs_of_members": self.chosen.cost.macs / max(self.member_cost.macs, 1),
            "parameters_of_members": self.chosen.cost.parameters / max(self.member_cost.parameters, 1),
        }
        if self.calibrated:
            found["calibration_error"] = self.calibration_error
        for row in self.rows:
            found[f"{row.name}.{row.loss_name}"] = row.loss
            found[f"{row.name}.{self.metric}"] = row.primary
            if row.calibrated:
                found[f"{row.name}.calibration_error"] = row.calibration_error
        return found


def read_report(ensemble: Model) -> EnsembleReport:
    """The figures that `combine` wrote beside the model; raises ArtifactError where there are none."""
    return EnsembleReport.read(ensemble.folder / REPORT)
