from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from components.artifacts import Dataset, Model
from components.compress.allowance import AllowanceError, Exchange, exchange, read, within, write


def exchanged(before: float, after: float, *, higher_is_better: bool = True) -> Exchange:
    return Exchange(
        stage="student",
        source="ensemble",
        metric="accuracy",
        samples=269,
        before=before,
        after=after,
        higher_is_better=higher_is_better,
    )


def test_a_stage_beyond_its_allowance_is_stopped_with_the_figures_and_the_key() -> None:
    with pytest.raises(AllowanceError) as stopped:
        within("student.allowance", exchanged(0.9157, 0.8432), 0.05)
    assert str(stopped.value).startswith(
        "student.allowance: expected student to lose at most 5 pp of validation accuracy against ensemble, received "
        "0.8432 after 0.9157, 7.25 pp worse (269 samples)"
    )


@pytest.mark.parametrize(("before", "after"), [(0.9, 0.85001), (0.9, 0.9), (0.9, 0.99)])
def test_a_stage_within_its_allowance_goes_on(before: float, after: float) -> None:
    within("student.allowance", exchanged(before, after), 0.05)


def test_a_metric_that_is_to_be_small_is_worse_where_it_grows() -> None:
    within("student.allowance", exchanged(0.4, 0.1, higher_is_better=False), 0.05)
    with pytest.raises(AllowanceError, match=r"30\.00 pp worse"):
        within("student.allowance", exchanged(0.1, 0.4, higher_is_better=False), 0.05)


def test_a_figure_that_is_not_known_is_not_allowed() -> None:
    with pytest.raises(AllowanceError, match="by an amount that is not known"):
        within("student.allowance", exchanged(0.9, math.nan), 1.0)


def test_networks_are_compared_on_the_same_validation_samples(
    student: Model, members: list[Model], digits: Dataset, tmp_path: Path
) -> None:
    same = exchange(student, student, digits)
    assert same.loss == 0.0
    assert same.samples == digits.card.splits["validation"]
    there, back = exchange(student, members[2], digits), exchange(members[2], student, digits)
    assert there.loss == -back.loss
    write(there, tmp_path)
    assert read(tmp_path) == there


def test_what_is_no_share_is_held_against_the_allowance_in_parts_of_what_there_was() -> None:
    in_pixels = exchanged(4.0, 4.1, higher_is_better=False).model_copy(update={"metric": "rmse", "unit": "px"})
    within("student.allowance", in_pixels, 0.05)
    with pytest.raises(AllowanceError, match=r"at most 2 % of validation rmse .* 2\.50 % worse"):
        within("student.allowance", in_pixels, 0.02)


def test_a_document_of_a_share_reads_as_before_there_were_units() -> None:
    found = exchanged(0.9, 0.8)
    assert "unit" not in json.loads(found.to_json())
    assert Exchange.model_validate_json(found.to_json()) == found and found.unit == "share"
