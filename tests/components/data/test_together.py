"""Families of twins in the splits that are drawn: never torn apart, and nothing else moved that need not be."""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config import SplitDeclaration
from components.data.errors import DataError
from components.data.preparing.splits import assign, assign_folds

SPLIT = SplitDeclaration(validation=0.15, test=0.2)
BY_GROUP = SPLIT.model_copy(update={"group": "group_patient"})

# A row is a class and a number of its family; families of one sample are none.
rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), min_size=1, max_size=150)


def _ids(count: int) -> list[str]:
    return [f"sample-{index}" for index in range(count)]


def _families(ids: list[str], numbers: list[int]) -> list[list[str]]:
    found: dict[int, list[str]] = {}
    for name, number in zip(ids, numbers, strict=True):
        found.setdefault(number, []).append(name)
    return [family for family in found.values() if len(family) > 1]


def _drawn(ids: list[str], labels: list[int], declaration: SplitDeclaration = SPLIT, **known: Any) -> dict[str, str]:
    published = known.pop("published", [None] * len(ids))
    return dict(zip(ids, assign(ids, labels, published, declaration, **known), strict=True))


def _by_class(place: dict[str, str], labels: list[int]) -> Counter[tuple[int, str]]:
    return Counter(zip(labels, place.values(), strict=True))


# -- at random -------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(rows, st.integers(0, 3))
def test_no_family_is_in_two_splits_and_classes_keep_what_the_draw_gave_them(
    samples: list[tuple[int, int]], seed: int
) -> None:
    ids, labels = _ids(len(samples)), [label for label, _ in samples]
    families = _families(ids, [number for _, number in samples])
    declaration = SPLIT.model_copy(update={"seed": seed})
    before = _drawn(ids, labels, declaration)
    try:
        place = _drawn(ids, labels, declaration, families=families)
    except DataError:  # fewer pictures differ than there are splits
        assert len(samples) - sum(map(len, families)) + len(families) < len(set(before.values()))
        return
    assert all(len({place[name] for name in family}) == 1 for family in families)
    # of each class as many samples are in each split as without twins, where its twins alone are not more
    held = _by_class({name: place[name] for family in families for name in family}, [
        labels[ids.index(name)] for family in families for name in family
    ])  # fmt: skip
    wanted, received = _by_class(before, labels), _by_class(place, labels)
    for label in set(labels):
        splits = set(before.values()) | set(place.values())
        if all(held[label, split] <= wanted[label, split] for split in splits):
            assert all(received[label, split] == wanted[label, split] for split in splits)


@settings(max_examples=60, deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_of_families_nor_of_their_members_decides_anything(
    samples: list[tuple[int, int]], shuffler: random.Random
) -> None:
    ids = _ids(len(samples))
    table = [(name, label, f"p{number % 9}") for name, (label, number) in zip(ids, samples, strict=True)]
    families = _families(ids, [number for _, number in samples])

    def draw() -> list[dict[str, Any] | str]:
        results: list[dict[str, Any] | str] = []
        names, labels, groups = (list(column) for column in zip(*table, strict=True))
        for declaration, known in ((SPLIT, {}), (BY_GROUP, {"groups": groups})):
            try:
                results.append(_drawn(names, labels, declaration, families=families, **known))
                if known:
                    folds = assign_folds(names, labels, 3, 0, families=families, **known)
                    results.append(dict(zip(names, folds, strict=True)))
            except DataError as error:
                results.append(str(error))
        return results

    before = draw()
    shuffler.shuffle(table)
    shuffler.shuffle(families)
    for family in families:
        shuffler.shuffle(family)
    assert draw() == before


def test_without_twins_every_draw_is_the_one_of_before() -> None:
    """The digests are of what was drawn before families were known of: versions of data sets rest on them."""
    ids, labels = _ids(500), [index * index % 7 for index in range(500)]
    groups, times = [str(index * 7 % 60) for index in range(500)], [float(index * 31 % 97) for index in range(500)]
    published = [("train", "test", None, "train")[index % 4] for index in range(500)]

    def digest(drawn: list[Any]) -> str:
        return hashlib.sha256(repr(drawn).encode()).hexdigest()[:16]

    nothing = [None] * 500
    by_time = SPLIT.model_copy(update={"order": "time"})
    assert digest(assign(ids, labels, nothing, SPLIT.model_copy(update={"seed": 3}))) == "98a33a1421fa62c5"
    assert digest(assign(ids, labels, published, SPLIT)) == "c3e460f2bf58e3bf"
    assert digest(assign(ids, labels, nothing, BY_GROUP, groups=groups)) == "8049aaede4726d70"
    assert digest(assign(ids, labels, nothing, by_time, times=times)) == "be694b54fad37d84"
    assert digest(assign_folds(ids, labels, 5, 1)) == "5c22e471a7fa182e"
    assert digest(assign_folds(ids, labels, 5, 1, groups=groups)) == "55801d33eaa20ad0"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 4), max_size=12), st.integers(0, 20))
def test_of_few_families_only_the_torn_move_and_as_many_others_make_up_for_them(sizes: list[int], seed: int) -> None:
    ids, labels = _ids(600), [index % 3 for index in range(600)]
    loose = ids[:]
    random.Random(seed).shuffle(loose)
    families = [[loose.pop() for _ in range(size)] for size in sizes]
    before, after = _drawn(ids, labels), _drawn(ids, labels, families=families)

    torn = [family for family in families if len({before[name] for name in family}) > 1]
    moved = {name for name in ids if before[name] != after[name]}
    joining = {name for family in torn for name in family if before[name] != after[name]}
    assert all(any(before[name] == after[name] for name in family) for family in torn)
    assert len(moved - joining) <= len(joining)
    assert moved - joining <= set(loose)
    assert _by_class(before, labels) == _by_class(after, labels)


def test_data_of_families_alone_is_split_as_its_declaration_says() -> None:
    # given 200 photographs, ten times each: each class has 20 families
    ids, labels = _ids(2000), [index // 10 % 10 for index in range(2000)]
    families = [ids[start : start + 10] for start in range(0, 2000, 10)]
    found = _by_class(_drawn(ids, labels, SplitDeclaration(validation=0.1, test=0.2), families=families), labels)
    assert found == {(label, split): n for label in range(10) for split, n in
                     (("train", 140), ("validation", 20), ("test", 40))}  # fmt: skip


def test_each_split_has_its_share_of_the_families_whatever_their_size() -> None:
    ids = _ids(30_000)
    sizes = [2, 3, 4, 5, 6] * 300
    families, at = [], 0
    for size in sizes:
        families.append(ids[at : at + size])
        at += size
    place = _drawn(ids, [0] * 30_000, families=families)
    for size in (2, 6):
        count = Counter(place[family[0]] for family in families if len(family) == size)
        assert count["test"] / 300 == pytest.approx(0.2, abs=0.08)  # three and a half standard deviations
        assert count["train"] / 300 == pytest.approx(0.65, abs=0.1)


def test_twins_with_two_labels_stay_together() -> None:
    ids, labels = _ids(300), [index % 3 for index in range(300)]
    families = [[ids[index], ids[index + 1]] for index in range(0, 60, 2)]
    place = _drawn(ids, labels, families=families)
    assert all(place[one] == place[other] for one, other in families)
    assert _by_class(place, labels) == _by_class(_drawn(ids, labels), labels)


@pytest.mark.parametrize(("size", "split"), [(30, (20, 10)), (70, (20, 10)), (90, (6, 4))])
def test_a_family_larger_than_the_shares_is_trained_on_and_the_rest_is_judged_on(
    size: int, split: tuple[int, int]
) -> None:
    ids = _ids(100)
    count = Counter(_drawn(ids, [0] * 100, SplitDeclaration(), families=[ids[:size]]).values())
    assert (count["test"], count["validation"]) == split


def test_a_class_of_as_many_families_as_splits_is_in_all_of_them() -> None:
    ids = _ids(12)
    place = _drawn(ids, [0] * 12, SplitDeclaration(), families=[ids[:5], ids[5:10], ids[10:]])
    assert Counter(place.values()) == {"train": 5, "test": 5, "validation": 2}


def test_pictures_that_are_all_alike_are_refused_with_a_way_that_works() -> None:
    ids = _ids(40)
    with pytest.raises(DataError, match=r"at least 3 pictures that differ, to have some for test and val") as told:
        _drawn(ids, [0] * 40, families=[ids])
    assert "40 samples of 1, since copies, altered or not, stay together ('sample-0' and 'sample-9'" in str(told.value)
    assert "\n" not in str(told.value) and "split.twins=ignore and checks.leakage=keep" in str(told.value)
    ignoring = SPLIT.model_copy(update={"twins": "ignore"})
    assert _drawn(ids, [0] * 40, ignoring, families=[ids]) == _drawn(ids, [0] * 40)
    with pytest.raises(DataError, match="to have some for fold"):
        assign_folds(ids, [0] * 40, 5, 0, families=[ids])


@pytest.mark.slow
def test_sixty_thousand_samples_in_twenty_thousand_families_take_two_seconds() -> None:
    ids = _ids(60_000)
    random.Random(0).shuffle(ids)
    families = [ids[start : start + 3] for start in range(0, 60_000, 3)]
    labels = [index % 10 for index in range(60_000)]
    started = time.process_time()
    place = _drawn(ids, labels, families=families)
    assert time.process_time() - started < 2.0
    assert all(len({place[name] for name in family}) == 1 for family in families)
    assert all(_by_class(place, labels)[label, "test"] == pytest.approx(1200, abs=40) for label in range(10))


# -- published splits, groups, times, folds ---------------------------------------------------------------------------


def test_a_sample_without_a_split_follows_its_published_twin_and_what_is_trained_on_does_not() -> None:
    ids = _ids(100)
    published = ["test"] * 10 + ["validation"] * 10 + ["train"] * 30 + [None] * 50
    families = [
        [ids[0], ids[60]],
        [ids[12], ids[61]],
        [ids[1], ids[30]],
        [ids[2], ids[13], ids[62]],
        [ids[31], ids[63]],
    ]
    place = _drawn(ids, [0] * 100, SPLIT, published=published, families=families)
    assert [place[ids[index]] for index in (60, 61, 62)] == ["test", "validation", "test"]
    assert place[ids[30]] == "train"  # the publisher's own: `checks.leakage` says what becomes of it
    assert place[ids[31]] == place[ids[63]]
    assert [name for name, split in place.items() if split == "test"] == [*ids[:10], ids[60], ids[62]]


def test_a_published_test_split_stays_and_the_validation_split_beside_it_tears_nothing_apart() -> None:
    ids, labels = _ids(1000), [index % 5 for index in range(1000)]
    published = ["train"] * 800 + ["test"] * 200
    families = [[ids[index], ids[index + 40], ids[800 + index]] for index in range(40)]
    place = _drawn(ids, labels, published=published, families=families)
    assert [place[name] == "test" for name in ids] == [split == "test" for split in published]
    assert all(place[one] == place[other] != "test" for one, other, _ in families)
    assert _by_class(place, labels) == _by_class(_drawn(ids, labels, published=published), labels)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 90)), min_size=30, max_size=150))
def test_groups_and_families_are_one_relation(samples: list[tuple[int, int, int]]) -> None:
    ids, labels = _ids(len(samples)), [label for label, _, _ in samples]
    groups = [f"patient {patient}" for _, patient, _ in samples]
    families = _families(ids, [number for _, _, number in samples])
    try:
        place = _drawn(ids, labels, BY_GROUP, groups=groups, families=families)
        folds = dict(zip(ids, assign_folds(ids, labels, 3, 0, groups=groups, families=families), strict=True))
    except DataError as error:
        assert "groups without a picture in common" in str(error)
        return
    for whole in [*families, *_families(ids, [patient for _, patient, _ in samples])]:
        assert len({place[name] for name in whole}) == len({folds[name] for name in whole}) == 1


def test_a_pair_of_twins_joins_two_groups_and_the_other_groups_stay_where_they_were() -> None:
    ids, groups = _ids(600), [f"patient {index // 6:02d}" for index in range(600)]
    before = _drawn(ids, [0] * 600, BY_GROUP, groups=groups)
    pair = next([one, other] for one in ids for other in ids if (before[one], before[other]) == ("train", "test"))
    after = _drawn(ids, [0] * 600, BY_GROUP, groups=groups, families=[pair])
    joined = {groups[ids.index(name)] for name in pair}
    moved = {group for name, group in zip(ids, groups, strict=True) if before[name] != after[name]}
    assert len({after[name] for name, group in zip(ids, groups, strict=True) if group in joined}) == 1
    assert moved < joined


def test_a_group_follows_the_published_twin_of_one_of_its_samples() -> None:
    ids, groups = _ids(200), [f"patient {index // 10}" for index in range(200)]
    published = ["test" if index < 20 else None for index in range(200)]
    place = _drawn(ids, [0] * 200, BY_GROUP, published=published, groups=groups, families=[[ids[3], ids[57]]])
    assert {place[name] for name in ids[50:60]} == {"test"}
    # and of published samples in two splits, whatever their order, the later one decides
    published = ["test", "validation", *[None] * 198]
    for turned in (1, -1):
        given_ = (ids[::turned], [0] * 200, BY_GROUP)
        known: dict[str, Any] = {"published": published[::turned], "groups": groups[::turned]}
        assert {_drawn(*given_, **known)[name] for name in ids[2:10]} == {"test"}


def test_time_goes_before_twins() -> None:
    by_time = SPLIT.model_copy(update={"order": "time"})
    ids, times = _ids(100), [float(index) for index in range(100)]
    known = {"times": times, "families": [[ids[0], ids[99]]]}
    assert _drawn(ids, [0] * 100, by_time, **known) == _drawn(ids, [0] * 100, by_time, times=times)


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(2, 5))
def test_no_family_is_in_two_folds_and_classes_keep_their_parts(samples: list[tuple[int, int]], folds: int) -> None:
    ids, labels = _ids(len(samples)), [label for label, _ in samples]
    families = _families(ids, [number for _, number in samples])
    try:
        found = dict(zip(ids, assign_folds(ids, labels, folds, 0, families=families), strict=True))
    except DataError as error:
        assert "to have some for fold" in str(error)
        return
    assert all(len({found[name] for name in family}) == 1 for family in families)
    before = Counter(zip(labels, assign_folds(ids, labels, folds, 0), strict=True))
    after = Counter(zip(labels, found.values(), strict=True))
    largest = max(map(len, families), default=0)
    assert all(abs(before[each] - after[each]) <= largest for each in before.keys() | after.keys())
