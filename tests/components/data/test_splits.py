"""Properties of the split, whatever the data."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config import SplitDeclaration
from components.data.errors import DataError
from components.data.preparing.splits import assign, assign_folds

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


# -- by group --------------------------------------------------------------------------------------------------------

BY_GROUP = SplitDeclaration(validation=0.2, test=0.2, group="group_patient")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=1, max_size=200), st.integers(0, 3))
def test_no_group_is_in_two_splits(rows: list[tuple[int, int]], seed: int) -> None:
    groups = [str(patient) for _, patient in rows]
    declaration = BY_GROUP.model_copy(update={"seed": seed})
    result = assign(_ids(len(rows)), [label for label, _ in rows], [None] * len(rows), declaration, groups=groups)
    assert all(len({split for split, other in zip(result, groups, strict=True) if other == one}) == 1 for one in groups)


def test_groups_are_laid_out_so_that_every_class_comes_near_its_share() -> None:
    # given 200 patients of 1 … 9 images, most with images of one class only
    rows = [
        (patient % 4 if image else (patient + 1) % 4, patient)
        for patient in range(200)
        for image in range(patient % 9 + 1)
    ]
    groups, labels = [str(patient) for _, patient in rows], [label for label, _ in rows]
    result = assign(_ids(len(rows)), labels, [None] * len(rows), BY_GROUP, groups=groups)
    for label in range(4):
        members = [split for split, other in zip(result, labels, strict=True) if other == label]
        for split, share in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
            assert members.count(split) / len(members) == pytest.approx(share, abs=0.03)


def test_a_group_follows_its_published_samples_and_the_rest_is_drawn() -> None:
    groups = [str(index // 4) for index in range(400)]
    published = ["test" if index % 4 == 0 and index < 80 else None for index in range(400)]
    result = assign(_ids(400), [0] * 400, published, BY_GROUP, groups=groups)
    assert [index for index, split in enumerate(result) if split == "test"] == list(range(80))
    assert result.count("validation") == pytest.approx(64, abs=4)


def test_a_published_training_split_gives_its_validation_split_by_group() -> None:
    groups = [str(index // 5) for index in range(500)]
    published = ["test" if index >= 400 else "train" for index in range(500)]
    result = assign(_ids(500), [index % 2 for index in range(500)], published, BY_GROUP, groups=groups)
    assert result[400:] == ["test"] * 100
    assert result[:400].count("validation") == pytest.approx(80, abs=5)


def test_a_sample_without_its_group_is_named() -> None:
    with pytest.raises(DataError, match=r"`group_patient` for every sample, received none for 1 of 3: sample-1"):
        assign(_ids(3), [0] * 3, [None] * 3, BY_GROUP, groups=["a", None, "b"])
    with pytest.raises(DataError, match="a source with a column `group_patient`"):
        assign(_ids(3), [0] * 3, [None] * 3, BY_GROUP)


# -- by time ---------------------------------------------------------------------------------------------------------

BY_TIME = SplitDeclaration(validation=0.2, test=0.2, order="time")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1e9), min_size=20, max_size=120, unique=True))
def test_nothing_is_trained_on_that_is_newer_than_what_is_tested(times: list[float]) -> None:
    result = assign(_ids(len(times)), [0] * len(times), [None] * len(times), BY_TIME, times=times)
    by_split = {split: [at for at, other in zip(times, result, strict=True) if other == split] for split in set(result)}
    assert max(by_split["train"]) < min(by_split["validation"])
    assert max(by_split["validation"]) < min(by_split["test"])
    assert abs(len(by_split["test"]) - 0.2 * len(times)) < 1 + 1e-9


def test_samples_of_one_moment_stay_together() -> None:
    times = [float(index // 8) for index in range(80)]
    result = assign(_ids(80), [0] * 80, [None] * 80, BY_TIME, times=times)
    assert all(len({split for split, other in zip(result, times, strict=True) if other == at}) == 1 for at in times)


def test_times_that_leave_a_split_empty_are_refused() -> None:
    with pytest.raises(DataError, match=r"leave samples for test and validation, received 10 samples of 1 different"):
        assign(_ids(10), [0] * 10, [None] * 10, BY_TIME, times=[5.0] * 10)
    with pytest.raises(DataError, match="times that are numbers"):
        assign(_ids(3), [0] * 3, [None] * 3, BY_TIME, times=[1.0, float("nan"), 2.0])


def test_group_and_time_together_are_refused() -> None:
    with pytest.raises(ValueError, match="either `group` or `order: time`"):
        SplitDeclaration(group="group_patient", order="time")


def test_ignoring_published_splits_draws_them_anew() -> None:
    published = ["test"] * 90 + ["train"] * 10
    result = assign(_ids(100), [0] * 100, published, SplitDeclaration(predefined="ignore"))
    assert (result.count("test"), result.count("validation")) == (20, 10)


# -- folds -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(strata, st.integers(2, 7))
def test_every_fold_has_its_part_of_every_class_within_one_sample(classes: list[int], folds: int) -> None:
    result = assign_folds(_ids(len(classes)), classes, folds, seed=0)
    assert set(result) <= set(range(folds))
    for label in set(classes):
        members = [fold for fold, other in zip(result, classes, strict=True) if other == label]
        assert all(abs(members.count(fold) - len(members) / folds) < 1 for fold in range(folds))
    assert max(result.count(fold) for fold in range(folds)) - min(result.count(fold) for fold in range(folds)) <= 1


def test_folds_keep_groups_whole_and_are_of_about_one_size() -> None:
    groups = [str(index // 6) for index in range(600)]
    result = assign_folds(_ids(600), [index % 3 for index in range(600)], 5, seed=1, groups=groups)
    assert all(len(set(result[start : start + 6])) == 1 for start in range(0, 600, 6))
    assert all(result.count(fold) == pytest.approx(120, abs=12) for fold in range(5))
