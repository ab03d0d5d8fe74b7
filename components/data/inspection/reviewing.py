"""What is to be done about what was found: the catalogue's word, and a person's, sample by sample."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from components import texts
from components.config import ChecksDeclaration
from components.data.errors import DataError
from components.data.families import joined
from components.data.inspection.base.findings import TWINS, Decisions, Finding
from components.files import writing

VERDICTS = ("keep", "drop")
COLUMNS = ("id", "finding", "score", "says", "verdict")


@dataclass(frozen=True)
class Reviewed:
    """A person's verdicts by id, and the line of the file that each stands in."""

    path: Path | None = None
    verdicts: dict[str, Literal["keep", "drop"]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def check(self, known: Iterable[str]) -> None:
        """Raises DataError where a verdict is about a sample that is not there; `known` are those that are."""
        unknown = set(self.lines).difference(known)
        if unknown:
            name = min(unknown, key=lambda unknown: self.lines[unknown])
            raise DataError(
                f"{self.path}, line {self.lines[name]}: expected the id of a sample, received {name!r}, which is none "
                f"of this data set{_and_more(len(unknown) - 1)}; correct or remove the line"
            )


def _and_more(number: int) -> str:
    return f" (nor are {number} others)" if number else ""


def read_reviewed(checks: ChecksDeclaration, project: Path) -> Reviewed:
    """The file that `checks.reviewed` names; raises DataError naming the line that is wrong.

    Columns `id` and `verdict`; others are for people. `review.csv` with its verdicts filled in is such a file; a line
    whose verdict is still empty says nothing.
    """
    if checks.reviewed is None:
        return Reviewed()
    path = project / checks.reviewed
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _parse(path, csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: expected a CSV with columns id and verdict (`checks.reviewed`), received none that can be read: "
            f"{error}"
        ) from error


def _parse(path: Path, rows: csv.DictReader[str]) -> Reviewed:
    reviewed = Reviewed(path)
    header = rows.fieldnames or []
    if not {"id", "verdict"} <= set(header):
        raise DataError(f"{path}, line 1: expected columns id and verdict, received {', '.join(header) or 'none'}")
    for row in rows:
        name, verdict = texts.uncell(row["id"] or ""), (row["verdict"] or "").strip().lower()
        if not verdict and name:
            continue
        if verdict not in VERDICTS or not name:
            raise DataError(
                f"{path}, line {rows.line_num}: expected an id and a verdict of {', '.join(VERDICTS)}, received "
                f"{name!r} and {row['verdict']!r}"
            )
        if reviewed.verdicts.get(name, verdict) != verdict:
            raise DataError(
                f"{path}, line {rows.line_num}: expected one verdict per sample, received {verdict!r} for {name!r}, of "
                f"which line {reviewed.lines[name]} says the opposite"
            )
        reviewed.verdicts[name] = "keep" if verdict == "keep" else "drop"
        reviewed.lines.setdefault(name, rows.line_num)
    return reviewed


def decide(found: Iterable[Finding], checks: ChecksDeclaration, reviewed: Reviewed) -> tuple[Decisions, list[Finding]]:
    """What `prepare` is to do, and the findings that a person is asked about (with or without a verdict yet).

    A person's `drop` counts in every split, for whatever sample it names; a `keep` spares it from being dropped for
    what was found. Families of twins are handed on whatever `checks.leakage` says: splits are drawn by them.
    """
    handling = {"outlier": checks.outliers, "label-noise": checks.label_noise}
    verdicts = {name: "a person has said so" for name, verdict in reviewed.verdicts.items() if verdict == "drop"}
    drop: dict[str, str] = {}
    pairs: list[tuple[str, str]] = []
    asked: list[Finding] = []
    for finding in found:
        if finding.kind in TWINS:
            pairs.append((finding.id, finding.other))
        if handling.get(finding.kind) == "review":
            asked.append(finding)
        if handling.get(finding.kind) == "drop" and reviewed.verdicts.get(finding.id) != "keep":
            drop.setdefault(finding.id, f"{finding.kind}: {finding.says}")
    decisions = Decisions(
        drop=dict(sorted(drop.items())),
        verdicts=dict(sorted(verdicts.items())),
        twins=tuple(tuple(family) for family in joined(pairs)),
    )
    return decisions, asked


def write_review(asked: Iterable[Finding], verdicts: Mapping[str, str], path: Path) -> None:
    """A CSV to fill in: what is asked, the verdict where there is one already. Nothing where nothing is asked."""
    rows = [
        (texts.cell(one.id), one.kind, f"{one.score:.4g}", texts.cell(one.says), verdicts.get(one.id, ""))
        for one in asked
    ]
    if not rows:
        return
    with writing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
