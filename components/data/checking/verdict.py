"""Which findings the pipeline's rules would stop over, and what is told of rules that no finding explains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from components.artifacts import SPLITS
from components.config import DatasetConfig
from components.data.inspection.base.findings import TWINS
from components.data.inspection.wording import ERRORS
from components.data.validation.rules import Broken

MOST_CLASSES = 5  # that are named in one sentence

Rows = Sequence[Mapping[str, Any]]  # columns of `inspection.findings.SCHEMA`


class Verdict(NamedTuple):
    """Of each finding whether it stops the pipeline, and what else does, a sentence each."""

    stopping: list[bool]
    refusals: tuple[str, ...]


def of_refusal(said: str, rows: Rows, config: DatasetConfig) -> Verdict:
    """Where the pipeline stops before its rules are asked: what it says, unless findings say it sample by sample."""
    told = any(row["kind"] == "missing-group" and row["other"] == config.split.group for row in rows)
    return Verdict([row["kind"] in ERRORS for row in rows], () if told else (said,))


def of_rules(rules: Sequence[Broken], rows: Rows, config: DatasetConfig) -> Verdict:
    """Where the rules have been asked, and `rules` are those that are broken."""
    breaking = {rule.column: set(rule.ids) for rule in rules if rule.column}
    lacking = _lacking(breaking.get("samples", set()))
    stopping = [_stops(row, breaking, lacking) for row in rows]
    explained = {name for row, stops in zip(rows, stopping, strict=True) if stops for name in _columns(row)}
    refusals = tuple(rule.line for rule in rules if rule.column not in {*explained, "samples"})
    small = {row["id"] for row in rows if row["kind"] == "small-class"}
    left = {name: parts for name, parts in lacking.items() if name not in small}
    return Verdict(stopping, (*refusals, *([_none_of(left, config)] if left else ())))


def _columns(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns of the rules that a finding would break."""
    if row["kind"] in TWINS:
        return ("twin_in_other_split", "splits_with_same_input")
    return {"corrupt": ("problem",), "missing-group": (row["other"],)}.get(row["kind"], ())


def _stops(row: Mapping[str, Any], breaking: Mapping[str, set[str]], lacking: Mapping[str, list[str]]) -> bool:
    """Whether one of the rules is broken by what the finding is about."""
    if row["kind"] == "small-class":
        return row["id"] in lacking
    return any(not breaking.get(name, set()).isdisjoint((row["id"], row["other"])) for name in _columns(row))


def _lacking(cells: Iterable[str]) -> dict[str, list[str]]:
    """Class → the splits and folds that have none of it; a cell is `SPLIT/CLASS`."""
    found: dict[str, list[str]] = {}
    for part, _, name in (cell.partition("/") for cell in cells):
        found.setdefault(name, []).append(part)
    return {name: sorted(parts, key=_place) for name, parts in sorted(found.items())}


def _place(part: str) -> tuple[int, str]:
    return (SPLITS.index(part), part) if part in SPLITS else (len(SPLITS), part)


def _none_of(lacking: Mapping[str, Sequence[str]], config: DatasetConfig) -> str:
    """Classes that are large enough and yet in some split not at all: groups, twins or times left it none."""
    other = "another split.seed, or " if config.split.order == "random" else ""
    told = [f"{name!r} for {' and '.join(parts)}" for name, parts in lacking.items()]
    more = f", and of {len(told) - MOST_CLASSES} classes more" if len(told) > MOST_CLASSES else ""
    ways = f"set {other}other shares (split.validation, split.test)"
    if config.checks.leakage == "move" and config.split.predefined == "keep":
        ways = f"twins have been moved out of it: {ways}, or draw all splits anew (-S split.predefined=ignore)"
    return (
        f"split: expected samples of every class in every split, received none of {', '.join(told[:MOST_CLASSES])}"
        f"{more}; {ways}"
    )
