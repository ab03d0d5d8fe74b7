"""What is said about every candidate: what it costs, whom it costs more than others, and what it buys."""

from __future__ import annotations

from pydantic import Field

from components.artifacts import Card, Figure, Precision
from components.runtimes.execution import LatencyFigures


class Difference(Card):
    """How far two executions of one network are from each other on the same inputs."""

    samples: int
    largest: float  # of a probability
    mean: float  # of a number in the answers (a probability), absolute
    agreement: float  # share of equal predictions (of samples, or of pixels)


class GroupLoss(Card):
    """What a class or a group loses against float32."""

    column: str  # `class`, or a `group_*` column of the data
    group: str
    samples: int
    loss: Figure  # of the primary metric (of a dense task's class: of its first metric), positive where it is worse
    rest: float  # what all others lose
    flagged: bool  # it loses more than the rest, and chance alone hardly does that


class Int8Facts(Card):
    """How a graph came to be int8, and how much of it is."""

    method: str  # how ranges were taken
    equalized: int = 0  # pairs of convolutions between which channels were scaled to weights of one size
    # Of each way that was tried, on training inputs that ranges were not taken from; decibels.
    signal_to_noise: dict[str, float] = Field(default={})
    bits: int = 8  # of a weight; with 7 nothing saturates
    # Of a report of an earlier version, where 8 was all there was, nobody has counted them.
    saturable: int = 0  # pairs of weights whose products leave 16 bits, which is all that x86 without VNNI has for them
    operators: int  # convolutions and matrix products that take quantized inputs
    kernels: dict[str, int]  # what the runtime executes of it in integers, after its fusions
    kept: tuple[str, ...] = ()  # layers that stay in float32 because int8 costs too much in them
    # Layer → decibels where it alone is int8; where layers were searched.
    sensitivity: dict[str, float] = Field(default={})
    searched: int = 0  # graphs that were measured to find them
    note: str = ""


class CandidateReport(Card):
    """One candidate in figures, on the validation split."""

    name: str
    precision: Precision
    allowed: bool  # whether its loss is known and within the allowance
    metric: Figure  # of int8 whose sums can saturate: as this processor answers or saturating, whichever is worse
    loss: Figure  # of the metric, in its unit, positive where it is worse than float32; paired interval
    groups: tuple[GroupLoss, ...] = ()
    bytes: int
    speedup: float  # over float32 at the configured batch: median ratio of rounds timed one after the other
    speedup_low: float  # what three of four rounds reach
    latency: tuple[LatencyFigures, ...]  # one sample, then the configured batch
    from_float32: Difference
    stored: int = 0  # layers whose weights are stored in fewer bits, arithmetic in float32
    int8: Int8Facts | None = None

    @property
    def flagged(self) -> tuple[GroupLoss, ...]:
        """Classes and groups that lose more than the rest."""
        return tuple(group for group in self.groups if group.flagged)


class QuantizationReport(Card):
    """All candidates, which of them is served, and why."""

    served: str  # a candidate's name
    reason: str
    metric: str  # the task's primary metric
    metric_samples: int
    allowance: float
    calibration_split: str = "train"
    calibration_samples: int
    float32_from_pytorch: Difference
    candidates: tuple[CandidateReport, ...]  # float32 first
    left_out: dict[str, str] = Field(default={})  # candidate that was not made → why

    def candidate(self, name: str) -> CandidateReport:
        """KeyError where there is none of that name."""
        return {each.name: each for each in self.candidates}[name]
