"""Properties of the split, whatever the data."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config import SplitDeclaration
from components.data.errors import DataError
from components.data.splits import assign

strata = st.lists(st.integers(0, 4), min_size=1, max_size=200)
shares = st.tuples(st.floats(0.05, 0.45), st.floats(0.05, 0.45), st.integers(0, 3))


def _ids(count: int) -> list[str]:
    return [f"sample-{index}" for index in range(count)]


@settings(max_examples=150, deadline=None)
@given(strata, shares)
def test_every_class_has_its_share_within_one_sample(classes: list[int], declared: tuple[float, float, int]) -> None:
    declaration = SplitDeclaration(validation=declared[0], test=declared[1], seed=declared[2])
    result = assign(_ids(len(classes)), classes, [None] * len(classes), declaration)
    wanted = {"validation": declared[0], "test": declared[1], "train": 1 - declared[0] - declared[1]}
    assert len(result) == len(classes)
    for label in set(classes):
        members = [split for split, other in zip(result, classes, strict=True) if other == label]
        for split, share in wanted.items():
            assert abs(members.count(split) - share * len(members)) < 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(strata, st.randoms(use_true_random=False), st.integers(0, 5))
def test_the_order_of_rows_decides_nothing(classes: list[int], shuffler: object, seed: int) -> None:
    declaration = SplitDeclaration(seed=seed)
    rows = list(zip(_ids(len(classes)), classes, strict=True))
    before = dict(zip(_ids(len(classes)), assign(*_columns(rows), declaration), strict=True))
    shuffler.shuffle(rows)  # type: ignore[attr-defined]
    after = dict(zip([sample for sample, _ in rows], assign(*_columns(rows), declaration), strict=True))
    assert before == after


def _columns(rows: list[tuple[str, int]]) -> tuple[list[str], list[int], list[None]]:
    return [sample for sample, _ in rows], [label for _, label in rows], [None] * len(rows)


def test_another_seed_splits_otherwise() -> None:
    ids, classes = _ids(300), [index % 3 for index in range(300)]
    one, other = (assign(ids, classes, [None] * 300, SplitDeclaration(seed=seed)) for seed in (0, 1))
    assert one != other


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["train", "test"])), min_size=1, max_size=150))
def test_a_published_test_split_is_neither_trained_on_nor_added_to(rows: list[tuple[int, str]]) -> None:
    published = [split for _, split in rows]
    result = assign(_ids(len(rows)), [label for label, _ in rows], published, SplitDeclaration())
    if "test" in published:
        assert [split == "test" for split in result] == [split == "test" for split in published]


def test_all_published_splits_stay_as_they_are() -> None:
    published = ["train", "validation", "test", "train"]
    assert assign(_ids(4), [0, 0, 0, 0], published, SplitDeclaration(validation=0.4, test=0.4)) == published


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(DataError, match="nothing would be left"):
        assign(_ids(4), [0] * 4, [None] * 4, SplitDeclaration(validation=0.5, test=0.5))


def test_an_unknown_published_split_is_refused() -> None:
    with pytest.raises(DataError, match="holdout"):
        assign(["a"], [0], ["holdout"], SplitDeclaration())
