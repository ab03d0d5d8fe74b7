"""Numbers as targets: their scale is that of the training rows, and what is no number is named."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from components.artifacts import DatasetCard
from components.targets.protocol import UnreadableTargetError
from components.targets.values import TARGET

ABOUT = {"names": ("count", "size"), "units": ("", "px")}


def column(rows: list[list[float] | None]) -> pa.Array:
    return pa.array(rows, TARGET.stored)


def card(*columns: pa.Array) -> DatasetCard:
    return DatasetCard.model_construct(classes=(), target=TARGET.record(ABOUT, columns))


def test_the_scale_is_that_of_the_rows_however_they_are_cut() -> None:
    random = np.random.default_rng(0)
    values = np.stack([random.integers(0, 9, 500), random.normal(1e7, 1e-3, 500)], axis=1)
    whole = TARGET.record(ABOUT, [column(values.tolist())])
    parts = [column(part.tolist()) for part in np.array_split(values[random.permutation(500)], 7)]
    assert TARGET.record(ABOUT, parts) == whole
    np.testing.assert_allclose(whole["mean"], values.mean(axis=0))
    np.testing.assert_allclose(whole["std"], values.std(axis=0), rtol=1e-6)
    assert (whole["low"], whole["high"]) == (values.min(axis=0).tolist(), values.max(axis=0).tolist())


def test_a_value_that_never_changes_has_a_scale_to_be_divided_by() -> None:
    assert TARGET.record(ABOUT, [column([[1.0, 2.0], [3.0, 2.0]])])["std"] == [1.0, 1.0]
    assert TARGET.record(ABOUT, [])["std"] == [1.0, 1.0]


def test_rows_that_cannot_be_read_have_no_say_in_the_scale_and_are_named() -> None:
    rows = column([[1.0, 2.0], None, [3.0, float("inf")], [3.0, 4.0]])
    found = card(rows)
    assert found.target["mean"] == [2.0, 3.0]
    assert TARGET.facts(rows, found)["target"] == ["values", None, None, "values"]
    with pytest.raises(UnreadableTargetError, match="expected 2 finite numbers, received none") as raised:
        TARGET.arrays(rows, found)
    assert raised.value.row == 1


def test_few_whole_numbers_are_counted_each_and_others_by_ranges() -> None:
    few = card(column([[1.0, 0.0], [4.0, 0.0]]))
    assert TARGET.parts(few) == ("count 1", "count 2", "count 3", "count 4")
    assert TARGET.parted(column([[1.0, 0.0], [2.4, 0.0], [9.0, 0.0], [-1.0, 0.0]]), few).classes.tolist() == [
        0,
        1,
        3,
        0,
    ]
    many = card(column([[0.0, 0.0], [60.0, 0.0]]))
    assert TARGET.parts(many)[0] == "count 0 – 10"
    assert len(TARGET.parts(many)) == 6
    assert TARGET.parted(column([[60.0, 0.0], [10.0, 0.0]]), many).classes.tolist() == [5, 1]


def test_what_is_asked_is_told_with_units() -> None:
    assert TARGET.described((), ABOUT) == "with count and size (px)"


@pytest.mark.parametrize("about", [{}, {"names": ("a", "a"), "units": ("", "")}, {"names": ("a",), "units": ()}])
def test_names_and_units_go_together(about: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ValidationError):
        TARGET.record(about, [])
