"""`line.gates`: what a version must hold to, as a list of small values. What each gate judges lives in
`components.registry.gates`; here is what can be said to it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_type_hints

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    SerializeAsAny,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticKnownError

from components.config.section import Section, Share
from components.members import GATES


class FloorGate(Section):
    """The worse end of a metric's interval reaches the limit."""

    gate: Literal["floor"]
    limit: float  # in the metric's unit
    metric: str | None = None  # of which more is better; None: the task's primary one, whichever way it counts


class CeilingGate(Section):
    """The worse end of the interval of a metric of which less is better is within the limit."""

    gate: Literal["ceiling"]
    limit: float  # in the metric's unit
    metric: str  # of which less is better


class WorstGroupGate(Section):
    """The worst class of the worst group or slice reaches the limit, at the worse end of its interval."""

    gate: Literal["worst_group"]
    limit: NonNegativeFloat  # in the metric's unit
    # class: recall of each class in each group, of masks IoU, of labels and entities F1, of boxes average precision;
    # group: the primary metric of each group, at the point. None: class where the task has such a metric, else group.
    by: Literal["class", "group"] | None = None


class CalibrationGate(Section):
    """The worse end of the expected calibration error's interval is within the limit."""

    gate: Literal["calibration"]
    limit: Share  # of the gap between how sure answers are and how often they are right


class RobustnessGate(Section):
    """The primary metric on corrupted pictures, at the worse end of its interval, reaches the limit."""

    gate: Literal["robustness"]
    limit: NonNegativeFloat  # in the metric's unit


class ProductionGate(Section):
    """On the same samples the version is not worse than production by more than the margin (non-inferiority)."""

    gate: Literal["production"]
    margin: NonNegativeFloat = 0.0  # absolute where the primary metric is a share, else in parts of production's


class BaselineGate(Section):
    """On the same samples the version is better than a simple model, at the worse end of the interval."""

    gate: Literal["baseline"]
    baseline: str = "linear"  # one of `evaluate.baselines`
    margin: NonNegativeFloat = 0.0  # absolute where the primary metric is a share, else in parts of the baseline's


class Int8DropGate(Section):
    """The deployable artifact loses at most so much of the primary metric against its float parent."""

    gate: Literal["int8_drop"]
    limit: Share = 0.01  # a difference where the primary metric is a share, else parts of the parent's


class ParityGate(Section):
    """PyTorch's and the float ONNX graph's answers differ by no more: probabilities, or parts of an interval."""

    gate: Literal["parity"]
    limit: PositiveFloat = 1e-3  # largest difference


class LatencyGate(Section):
    """The median for one sample, on one thread, is within the limit."""

    gate: Literal["latency"]
    limit: PositiveFloat  # in milliseconds


class SizeGate(Section):
    """The deployable file is within the limit."""

    gate: Literal["size"]
    limit: PositiveFloat  # in MB


class DriftGate(Section):
    """The data is still of the kind that the production model was trained on."""

    gate: Literal["drift"]
    limit: Share = 0.0  # of the compared columns that may have drifted


class FreshnessGate(Section):
    """The newest sample is recent, when the version is judged and when it goes into production."""

    gate: Literal["freshness"]
    days: PositiveFloat  # largest age of the newest sample


class ApprovalsGate(Section):
    """So many people approve of the version before it goes into production."""

    gate: Literal["approvals"]
    required: Annotated[int, Field(ge=1, le=2)] = 1  # 2: the two-person rule


def _by_its_judge(gate: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """A validator: of a gate that another package adds, the section is what its judge takes, and lies beside it."""
    try:
        return check(gate)
    except ValidationError as error:
        (first, *_) = error.errors()
        if first["type"] != "union_tag_invalid":
            raise
        context = first["ctx"]
    others = GATES.names()
    if context["tag"] not in others:
        known = ", ".join([context["expected_tags"], *map(repr, others)])
        raise PydanticKnownError("union_tag_invalid", {**context, "expected_tags": known})
    section: type[Section] = get_type_hints(GATES.load(context["tag"]).judge)["gate"]
    return section.model_validate(gate)


Gate = Annotated[
    FloorGate
    | CeilingGate
    | WorstGroupGate
    | CalibrationGate
    | RobustnessGate
    | ProductionGate
    | BaselineGate
    | Int8DropGate
    | ParityGate
    | LatencyGate
    | SizeGate
    | DriftGate
    | FreshnessGate
    | ApprovalsGate,
    Field(discriminator="gate"),
    WrapValidator(_by_its_judge),
    SerializeAsAny(),
]


def label(gate: Gate) -> str:
    """What a gate's verdict is called: its name, and the metric where it names one."""
    if isinstance(gate, BaselineGate):
        return f"{gate.gate} {gate.baseline}"
    return f"{gate.gate} {gate.metric}" if isinstance(gate, FloorGate | CeilingGate) and gate.metric else gate.gate


def _once_each(gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
    if len({label(gate) for gate in gates}) != len(gates):
        raise ValueError("each gate once")
    return gates


# In the order in which the verdicts are told. None at all would let everything through.
Gates = Annotated[tuple[Gate, ...], Field(min_length=1), AfterValidator(_once_each)]
