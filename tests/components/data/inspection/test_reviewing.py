"""A person's verdicts are read as they were meant, or not at all, and count for more than the catalogue."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from components.config import ChecksDeclaration
from components.data.errors import DataError
from components.data.inspection.base.findings import Decisions, Finding
from components.data.inspection.reviewing import Reviewed, decide, read_reviewed, write_review

FOUND = [
    Finding("outlier", "a", "", 1.5, "strange"),
    Finding("label-noise", "b", "dog", 0.999, "looks like dog"),
    Finding("near-duplicate", "d", "c", 0.998, "the same picture as c"),
    Finding("duplicate", "e", "c", 1.0, "the same pixels as c"),
]


def read(tmp_path: Path, text: str) -> Reviewed:
    (tmp_path / "reviewed.csv").write_text(text, encoding="utf-8")
    return read_reviewed(ChecksDeclaration(reviewed="reviewed.csv"), tmp_path)


def test_verdicts_are_read_whatever_other_columns_there_are(tmp_path: Path) -> None:
    reviewed = read(tmp_path, "\ufeffid,note,verdict\na,,keep\nb,hm,DROP\nc,undecided,\n\n")

    assert reviewed.verdicts == {"a": "keep", "b": "drop"}
    reviewed.check(["a", "b", "z"])


def test_without_a_file_there_are_no_verdicts(tmp_path: Path) -> None:
    assert read_reviewed(ChecksDeclaration(), tmp_path).verdicts == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "id,verdict\na,keep\nb,maybe\n",
            "line 3: expected an id and a verdict of keep, drop, received 'b' and 'maybe'",
        ),
        ("id,verdict\n,drop\n", "line 2: expected an id"),
        ("id,verdict\na,keep\nb,drop\na,drop\n", "line 4: expected one verdict per sample"),
        ("name,verdict\na,keep\n", "line 1: expected columns id and verdict, received name, verdict"),
        ("", "line 1: expected columns id and verdict, received none"),
    ],
)
def test_a_mistake_is_named_by_file_and_line(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        read(tmp_path, text)

    assert str(tmp_path / "reviewed.csv") in str(raised.value)
    assert expected in str(raised.value)


def test_a_verdict_on_a_sample_that_is_not_there_is_named_by_line(tmp_path: Path) -> None:
    reviewed = read(tmp_path, "id,verdict\na,keep\nx,drop\ny,keep\n")

    with pytest.raises(DataError, match=r"reviewed\.csv, line 3: expected the id of a sample, received 'x'.*1 others"):
        reviewed.check(["a", "b"])


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.csv: expected a CSV"):
        read_reviewed(ChecksDeclaration(reviewed="missing.csv"), tmp_path)


def test_by_default_nothing_but_the_families_of_twins_is_handed_on_and_nobody_asked() -> None:
    decisions, asked = decide(FOUND, ChecksDeclaration(), Reviewed())

    assert decisions == Decisions(twins=(("c", "d", "e"),))
    assert asked == []


def test_what_the_catalogue_drops_is_dropped_unless_a_person_keeps_it() -> None:
    checks = ChecksDeclaration(outliers="drop", label_noise="drop", leakage="drop")

    decisions, asked = decide(FOUND, checks, Reviewed(verdicts={"b": "keep"}))

    assert decisions.drop == {"a": "outlier: strange"}
    assert decisions.twins == (("c", "d", "e"),)
    assert asked == []


def test_what_is_to_be_reviewed_waits_for_a_verdict_and_then_obeys_it() -> None:
    checks = ChecksDeclaration(outliers="review", label_noise="review")

    before, asked = decide(FOUND, checks, Reviewed())
    after, again = decide(FOUND, checks, Reviewed(verdicts={"a": "drop", "b": "keep", "z": "drop"}))

    assert before.drop == before.verdicts == {}
    assert [one.id for one in asked] == [one.id for one in again] == ["a", "b"]
    assert after.drop == {}
    assert after.verdicts == {"a": "a person has said so", "z": "a person has said so"}  # in whichever split they are


def test_what_is_asked_can_be_filled_in_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "reviewed.csv"
    write_review(FOUND[:2], {"b": "keep"}, path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(row.values()) for row in rows] == [
        ["a", "outlier", "1.5", "strange", ""],
        ["b", "label-noise", "0.999", "looks like dog", "keep"],
    ]

    path.write_text(path.read_text().replace("strange,", "strange,drop"))

    reviewed = read_reviewed(ChecksDeclaration(reviewed="reviewed.csv"), tmp_path)
    assert reviewed.verdicts == {"a": "drop", "b": "keep"}


def test_nothing_is_written_where_nothing_is_asked(tmp_path: Path) -> None:
    write_review([], {}, tmp_path / "review.csv")

    assert not list(tmp_path.iterdir())
