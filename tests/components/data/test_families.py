"""Who is a twin of whom through others, and which of them are in different splits."""

from __future__ import annotations

from components.data.families import joined, leaks, learnt, moves


def test_families_are_joined_through_others_in_whatever_order_the_pairs_come() -> None:
    pairs = [("b", "a"), ("x", "y"), ("c", "b"), ("d", "c")]

    assert joined(pairs) == joined(reversed(pairs)) == [["a", "b", "c", "d"], ["x", "y"]]
    assert joined([("a", "b", "c"), ("d", "c")]) == [["a", "b", "c", "d"]]
    assert joined([]) == []


def test_a_family_in_two_splits_leaks_though_no_pair_of_the_tree_does() -> None:
    splits = {"a": "train", "b": "train", "c": "test", "d": "validation", "x": "test", "y": "test"}
    families = joined([("a", "b"), ("b", "gone"), ("gone", "c"), ("c", "d"), ("x", "y")])

    # those of earlier splits would be learnt from, those of later ones may have been learnt by heart
    assert leaks(families, splits) == {"a": "c", "b": "c", "d": "c"}
    assert learnt(families, splits) == {"c": "a", "d": "a"}
    assert leaks(families[1:], splits) == learnt(families[1:], splits) == {}


def test_what_moves_takes_its_group_along_and_the_twins_of_that() -> None:
    families = [["a1", "t1"], ["a2", "b1"], ["c1", "c2"]]
    groups = {"a1": "ann", "a2": "ann", "b1": "bob", "b2": "bob", "c1": "cat", "c2": "cat", "t1": "tim"}
    splits = dict.fromkeys(groups, "train") | {"t1": "test"}

    assert moves(families, splits) == {"a1": "t1"}
    assert moves(families, splits, groups) == dict.fromkeys(["a1", "a2", "b1", "b2"], "t1")
    assert moves(families, dict.fromkeys(groups, "train"), groups) == {}
