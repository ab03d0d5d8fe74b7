"""Names that are one but for their writing are found, told apart from those that are not, and named by what differs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import spelling
from tests.hostile_texts import NEVER, WORDS


@pytest.mark.parametrize(
    ("names", "differ"),
    [
        (("cat", "cat ", "  cat", "cat\u00a0", "\u3000cat", "cat\u2800"), "blanks"),
        (("big cat", "big  cat", "big\u00a0cat", "big\tcat"), "blanks"),
        (("cat", "\ufeffcat", "c\u00adat", "cat\u200b", "\u202acat\u202c"), "characters that are not seen"),
        (("café", "cafe\u0301"), "Unicode form"),
        (("cat", "ｃａｔ"), "Unicode form"),
        (("ﬁn", "fin"), "Unicode form"),
        (("Cat", "cat", "CAT"), "case"),
        (("Straße", "STRASSE"), "case"),
        (("it's", "it’s"), "quotes"),
        (("1", "01", "001", "+1", "1.0", "1."), "how the number is written"),
        (("0", "-0", "0.00"), "how the number is written"),
        (("patient-1", "patient-001"), "how the number is written"),
        (("T-shirt", "T_shirt", "T shirt", "T.shirt", "T – shirt"), "dashes, underscores, dots and blanks"),
        (("One", "one", "one "), "blanks and case"),
        (("Cat", " cat", "ｃａｔ"), "blanks, Unicode form and case"),
    ],
)
def test_spellings_of_one_name_are_one_and_what_differs_is_said(names: tuple[str, ...], differ: str) -> None:
    (found,) = spelling.several(dict.fromkeys(names, 1))
    assert {name for name, _ in found.counts} == set(names)
    assert found.differ == differ


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("1.5", "15"), ("1.05", "1.5"), ("1-5", "1.5"), ("-1", "1"), ("10", "1"), ("100", "1e2"), ("v1.05", "v1.5")),
        *(("c", "c++"), ("c", "c#"), ("tshirt", "t-shirt"), ("cat", "cats"), ("é", "e"), ("a", "а"), ("-", "_")),
    ],
)
def test_other_names_stay_others(one: str, other: str) -> None:
    assert spelling.several({one: 1, other: 1}) == []


def test_they_are_joined_to_the_most_frequent_then_the_shortest_then_the_first() -> None:
    (found,) = spelling.several({"cat ": 3, "cat": 3, "Cat": 3, "CAT": 9, "dog": 1})
    assert found.counts == (("CAT", 9), ("Cat", 3), ("cat", 3), ("cat ", 3)) and found.rest == 9
    assert found.said("group_pet") == (
        "group_pet: 'CAT' (9), 'Cat' (3), 'cat' (3), 'cat ' (3): the same name but for blanks and case"
    )


def test_what_cannot_be_seen_is_no_name_and_hostile_names_are_many() -> None:
    assert spelling.key(NEVER["unseen"]) == spelling.key(" ") == spelling.key("") == ""
    assert [{name for name, _ in found.counts} for found in spelling.several(dict.fromkeys(WORDS.values(), 1))] == [
        {"a\x07\x08b", "a\u2066b\u2069", "a\x00b"},
        {"a\tb", "a\u00a0b", "a\u2028b"},
        {"café", "cafe\u0301"},
        {'it\'s "so"', "it’s “so”"},
    ]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=12))
def test_the_key_of_a_key_is_the_key(text: str) -> None:
    key = spelling.key(text)
    assert spelling.key(key) == key
    assert spelling.key(f" {text.replace(' ', chr(0xA0))}\u200b") == key


@pytest.mark.parametrize(
    ("names", "lists"),
    [
        (("cat", "dog", "cat, dog"), {"cat, dog": ("cat", "dog")}),
        (("cat", "dog", "Cat|Dog ", "dog;cat"), {"Cat|Dog ": ("Cat", "Dog"), "dog;cat": ("dog", "cat")}),
        (("cat,dog", "dog,bird", "bird,cat"), {
            "cat,dog": ("cat", "dog"), "dog,bird": ("dog", "bird"), "bird,cat": ("bird", "cat")}),
        (("cat", "dog", "cat and dog", "cat + dog", "cat/dog"), {
            "cat and dog": ("cat", "dog"), "cat + dog": ("cat", "dog"), "cat/dog": ("cat", "dog")}),
        (("T-shirt/top", "Trouser", "Pullover"), {}),
        (("rock and roll", "jazz", "rock"), {}),
        (("maillot", "maillot, tank suit", "tench, Tinca tinca"), {}),
        (("north/a", "north/b", "south/a", "south/b"), {}),
        (("12/03", "12/04", "11/03"), {}),
    ],
)  # fmt: skip
def test_a_cell_with_several_labels_is_told_from_a_name_with_a_comma(
    names: tuple[str, ...], lists: dict[str, tuple[str, ...]]
) -> None:
    assert spelling.lists(names) == lists
