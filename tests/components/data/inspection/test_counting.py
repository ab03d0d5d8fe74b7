"""Counts are compared with what splitting really needs, and lambda with guessing sample by sample."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config import SplitDeclaration
from components.data.inspection.counting import goodman_kruskal, groups_of_classes, loose, needed, parts
from components.data.preparing.splits import assign, assign_folds


def guessed(classes: list[int], own: int) -> float:
    """The chance of guessing `own` as the most frequent of the others, ties at random."""
    counts = Counter(classes)
    if not counts:
        return 0.0
    most = max(counts.values())
    winners = [label for label, count in counts.items() if count == most]
    return 1.0 / len(winners) if own in winners else 0.0


def by_guessing(groups: list[int], classes: list[int]) -> float:
    blind, informed = 0.0, 0.0
    for index, (group, label) in enumerate(zip(groups, classes, strict=True)):
        others = [other for place, other in enumerate(classes) if place != index]
        mates = [
            other
            for place, (mate, other) in enumerate(zip(groups, classes, strict=True))
            if place != index and mate == group
        ]
        without = guessed(others, label)
        blind += 1.0 - without
        informed += 1.0 - (guessed(mates, label) if mates else without)
    return max(0.0, (blind - informed) / blind) if blind else 0.0


samples = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=40)


@given(samples)
@settings(max_examples=300, deadline=None)
def test_lambda_is_what_guessing_each_sample_comes_to(pairs: list[tuple[int, int]]) -> None:
    groups, classes = [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    assert goodman_kruskal(np.array(groups), np.array(classes)) == pytest.approx(by_guessing(groups, classes))


def test_a_group_that_is_the_class_tells_it_all_and_an_unrelated_one_nothing() -> None:
    random = np.random.default_rng(0)
    classes = random.integers(0, 5, 2000)

    assert goodman_kruskal(classes + 10, classes) == 1.0
    assert goodman_kruskal(random.integers(0, 10, 2000), classes) < 0.05
    assert goodman_kruskal(np.zeros(2000, dtype=int), classes) == 0.0


def test_groups_of_one_sample_do_not_tell_their_own_class() -> None:
    classes = np.random.default_rng(0).integers(0, 5, 500)

    assert goodman_kruskal(np.arange(500), classes) == 0.0


@pytest.mark.parametrize(
    "declared",
    [
        {},
        {"validation": 0.15, "test": 0.2},
        {"validation": 0.3, "test": 0.3, "folds": 5},
        {"validation": 0.05, "test": 0.5, "folds": 10},
        {"validation": 1 / 3, "test": 1 / 3, "folds": 2},
    ],
)
@pytest.mark.parametrize("published", [(), ("test",), ("validation", "test")])
def test_as_many_as_are_needed_put_one_of_a_class_into_every_split_and_fold(
    declared: dict[str, Any], published: tuple[str, ...]
) -> None:
    declaration = SplitDeclaration(**declared)

    number, _ = needed(declaration, dict.fromkeys(published, 1))

    for count in range(number, number + 30):
        ids = [f"s{index}" for index in range(count + len(published))]
        places = [None] * count + list(published)
        splits = assign(ids, [0] * len(ids), places, declaration)
        assert set(splits) == {"train", "validation", "test"}
        train = [name for name, split in zip(ids, splits, strict=True) if split == "train"]
        if declaration.folds:
            folds = assign_folds(train, [0] * len(train), declaration.folds, 0)
            assert len(set(folds)) == declaration.folds


def test_what_the_source_has_put_aside_is_not_split_again() -> None:
    shown = {"": np.array([5, 1]), "train": np.array([2, 0]), "test": np.array([9, 9])}

    assert loose(shown, SplitDeclaration()).tolist() == [7, 1]
    assert loose(shown, SplitDeclaration(predefined="ignore")).tolist() == [16, 10]


def test_parts_are_splits_that_are_drawn_and_folds() -> None:
    assert parts(SplitDeclaration(), {}) == 3
    assert parts(SplitDeclaration(folds=4), {"test": 10}) == 5
    assert parts(SplitDeclaration(predefined="ignore"), {"test": 10}) == 3


def test_the_groups_of_a_class_are_counted_once_each() -> None:
    groups: npt.NDArray[np.int64] = np.array([0, 0, 1, 2, -1, 1])
    classes: npt.NDArray[np.int64] = np.array([0, 0, 0, 1, 1, -1])

    assert groups_of_classes(groups, classes, 3).tolist() == [2, 1, 0]
