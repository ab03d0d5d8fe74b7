"""`ensemble.json`: which combiner, why that one, and what each member and each combiner is worth on validation data."""

from __future__ import annotations

from typing import Literal

from components.artifacts import Card, Model
from components.compress.ensembling.cost import Cost

REPORT = "ensemble.json"


class Figures(Card):
    """Of whoever answers, on the validation split."""

    name: str
    log_loss: float  # nats a unit (sample or pixel)
    primary: float
    calibration_error: float


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
    behind: float  # the best one's log loss, both at their best temperatures, in nats a unit
    standard_error: float  # of that
    cost: Cost


class EnsembleReport(Card):
    """Log losses are nats a scored unit (sample or pixel)."""

    asked: str  # `ensemble.combiner`
    combiner: str
    reason: str
    left_out: dict[str, str]  # combiner → why it cannot combine these members
    metric: str  # the task's primary one
    samples: int
    units: int
    members: tuple[MemberFigures, ...]
    combiners: tuple[CombinerFigures, ...]  # from the simplest on
    disagreement: tuple[tuple[float, ...], ...]  # share of the units that two members answer differently
    error_correlation: tuple[tuple[float, ...], ...]
    mean_disagreement: float
    mean_error_correlation: float
    member_cost: Cost  # mean of the members'
    # The model as it was written, on the whole validation split: of what was fitted there, a flattering figure.
    log_loss: float
    primary: float
    calibration_error: float

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
            "log_loss": self.log_loss,
            "calibration_error": self.calibration_error,
            "disagreement": self.mean_disagreement,
            "error_correlation": self.mean_error_correlation,
            "flops_of_members": self.chosen.cost.flops / max(self.member_cost.flops, 1),
            "parameters_of_members": self.chosen.cost.parameters / max(self.member_cost.parameters, 1),
        }
        for row in self.rows:
            found[f"{row.name}.log_loss"] = row.log_loss
            found[f"{row.name}.{self.metric}"] = row.primary
            found[f"{row.name}.calibration_error"] = row.calibration_error
        return found


def read_report(ensemble: Model) -> EnsembleReport:
    """The figures that `combine` wrote beside the model; raises ArtifactError where there are none."""
    return EnsembleReport.read(ensemble.folder / REPORT)
