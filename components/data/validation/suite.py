"""What every prepared data set must hold to, whatever its task: expectations by the names of Great Expectations.

An `error` stops the run; a `warning` is recorded and it goes on. The rows they speak of are those of `tables`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from components.artifacts import SPLITS
from components.config import ChecksDeclaration, DatasetConfig
from components.data.validation.tables import Across
from components.inputs import registry as inputs
from components.inputs.protocol import Expectation
from components.spelling import IMAGE

Severity = Literal["error", "warning"]

# Below this many samples of a class in a split, one sample moves that class's recall by more than ten points.
FEW_SAMPLES = 10


def of_samples(config: DatasetConfig, target: str, groups: Sequence[str], across: Across) -> list[Expectation]:
    """About the table with a row a sample; `target` is what the task learns from, `class` or `mask`.

    `across` is what is known of twins in several splits: what would help is said with its numbers.
    """
    return [*_of_form(config, target), *_of_groups(config, groups), *_of_content(config, across)]


def _of_form(config: DatasetConfig, target: str) -> list[Expectation]:
    return [
        _holds("id", "ExpectColumnValuesToNotBeNull", {}, "every sample has an id"),
        _between("copies_of_id", 1, 1, "ids are unique"),
        _holds("split", "ExpectColumnValuesToBeInSet", {"value_set": list(SPLITS)}, "every sample is in a known split"),
        _holds("target_kind", "ExpectColumnValuesToBeInSet", {"value_set": [target]}, f"targets are a {target} each"),
        _holds("target", "ExpectColumnValuesToNotBeNull", {}, "every sample has a target that can be read"),
        *inputs.get(config.input_kind).expectations(config.declared),
    ]


def _of_groups(config: DatasetConfig, groups: Sequence[str]) -> list[Expectation]:
    """A sample of an unknown group would be missing from every figure by group, and nobody would notice."""
    told = "name it `unknown` in the source where it is not known"
    known = [
        _holds(group, "ExpectColumnValuesToNotBeNull", {}, f"every sample has a {group} ({told})") for group in groups
    ]
    if config.split.group is not None:
        group = config.split.group
        known.append(_between("splits_with_same_group", 1, 1, f"no {group} is in two splits"))
        if group != IMAGE:
            spelt = f"no {group} is in two splits under two spellings (source.spellings)"
            known.append(_between("splits_with_same_name", None, 1, spelt, "warning"))
    return known


def _of_content(config: DatasetConfig, across: Across) -> list[Expectation]:
    checks, given = config.checks, inputs.get(config.input_kind)
    one = given.one
    # Leakage: a figure measured on such a sample is a memory, not a skill. Fashion-MNIST's published splits share
    # no exact pixels (counted over all 70,000), nor do scikit-learn's digits, so nothing is tolerated.
    leakage: Severity = "warning" if checks.leakage == "keep" else "error"
    ways = _ways(checks, across)
    expected = [
        _between("splits_with_same_input", 1, 1, f"no {one} is in two splits", leakage),
        _never("twin_in_other_split", f"no {one} has a near-duplicate in another split ({ways})", leakage),
        _between("copies_in_split", None, 1, f"no {one} is twice in one split", "warning"),
        _never("blank", f"no {one} is {given.blank}", "warning"),
        _never("outlier", f"no {one} is far from all others (checks.outliers: {checks.outliers})", "warning"),
        _never("doubtful_label", f"no label is doubtful (checks.label_noise: {checks.label_noise})", "warning"),
    ]
    if "review" in (checks.outliers, checks.label_noise):
        where = checks.reviewed or "a file that checks.reviewed names"
        expected.append(_never("unreviewed", f"a person has a verdict on every finding to be reviewed (in {where})"))
    return expected


def _ways(checks: ChecksDeclaration, across: Across) -> str:
    """What `checks.leakage` says, and what it could say where that stops the pipeline."""
    if checks.leakage != "error" or not across.leaking:
        return f"checks.leakage: {checks.leakage}"
    left, moving, judged = (_samples(number) for number in (len(across.leaking), across.moving, across.judged))
    return (
        f"checks.leakage in params.yaml: `error` stops here, `drop` leaves {left} out of what is learnt from, `move` "
        f"puts {moving} into the later split beside their twins, `keep` learns from them and gives the metric without "
        f"{judged} of the test split too"
    )


def _samples(number: int) -> str:
    return f"{number:,} sample{'' if number == 1 else 's'}"


def of_counts(checks: ChecksDeclaration) -> list[Expectation]:
    """About the table with a row a split and class."""
    everywhere = "every class is in every split and fold"
    few = f"every class has at least {FEW_SAMPLES} samples in every split"
    if checks.small_classes == "error":
        return [_between("samples", 1, None, everywhere), _between("samples", FEW_SAMPLES, None, few, "warning")]
    return [
        _between("learnt", 1, None, "every class is in the training split"),
        _between("samples", 1, None, f"{everywhere} (checks.small_classes: keep)", "warning"),
        _between("samples", FEW_SAMPLES, None, few, "warning"),
    ]


def of_groups() -> list[Expectation]:
    """About the table with a row a group column."""
    return [_never("confounded", "no group all but tells the class (checks.confounding)", "warning")]


def _holds(
    column: str, kind: str, arguments: dict[str, object], says: str, severity: Severity = "error"
) -> Expectation:
    return Expectation(kind, {"column": column, **arguments}, severity, says)


def _never(column: str, says: str, severity: Severity = "error") -> Expectation:
    return _holds(column, "ExpectColumnValuesToBeInSet", {"value_set": [False]}, says, severity)


def _between(
    column: str, least: float | None, most: float | None, says: str, severity: Severity = "error"
) -> Expectation:
    limits = {"min_value": least, "max_value": most}
    given: dict[str, object] = {key: value for key, value in limits.items() if value is not None}
    return _holds(column, "ExpectColumnValuesToBeBetween", given, says, severity)
