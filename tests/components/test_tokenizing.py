"""Texts become the numbers that their card says, whoever wrote them: held against a tokenizer written character by
character, over any Unicode."""

from __future__ import annotations

import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components import tokenizing
from components.tokenizing import NoTextError, Tokenizer, count, encode, units

UNITS = ("byte", "character", "word")
WHOLE = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
# What rules are about, often: marks, apostrophes, blanks, ideographs, joiners, capitals with odd lower cases.
ODD = "aB9_'’ \t\r\n\x00é\u0301\u0323\u0345ΣσİǅJ\u030cK漢々の\u200d👩\ufe0f\ufeff힣ᄀ가"
TRICKY = st.text(st.sampled_from(ODD), max_size=40)


def by_hand(text: str, *, lower: bool) -> list[str]:
    """Words, found without a regular expression; of at most 30 marks in a row."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    text = unicodedata.normalize("NFC", text)
    text = unicodedata.normalize("NFC", text.lower()) if lower else text

    def sort(place: int) -> str:
        char = text[place] if place < len(text) else " "
        name = unicodedata.name(char, "")
        if name.startswith("CJK ") or 0x3005 <= ord(char) <= 0x3007 or 0x20000 <= ord(char) <= 0x3FFFF:
            return "alone"
        category = unicodedata.category(char)
        return "letter" if category[0] in "LN" or char == "_" else "mark" if category[0] == "M" else "alone"

    found, at = [], 0
    while at < len(text):
        end = at + 1
        if sort(at) == "letter":
            while sort(end) in ("letter", "mark") or (
                end < len(text) and text[end] in "'’" and sort(end + 1) == "letter"
            ):
                end += 1
        if not text[at].isspace():
            found.append(text[at:end])
        at = end
    return found


def spec(unit: str, vocabulary: tuple[str, ...] = (), *, length: int = 8, lower: bool = True) -> dict[str, object]:
    return {"kind": "text", "unit": unit, "length": length, "lower": lower, "vocabulary": list(vocabulary)}


@given(WHOLE | TRICKY, st.booleans())
@example("Don’t stop_it! ❤️love 1️⃣ 👩‍👩‍👧 日本語の葛\U000e0100の \x00é rock'n'roll's'", True)
@example("ΌΣΟΣ ΣΑΣ", True)
def test_words_are_those_found_by_hand(text: str, lower: bool) -> None:
    assert list(units(text, "word", lower=lower)) == by_hand(text, lower=lower)


@given(WHOLE | TRICKY, st.booleans(), st.sampled_from(["character", "word"]))
def test_it_does_not_matter_how_letters_are_composed(text: str, lower: bool, unit: str) -> None:
    apart = unicodedata.normalize("NFD", text)
    assert list(units(apart, unit, lower=lower)) == list(units(text, unit, lower=lower))


@given(WHOLE | TRICKY, st.sampled_from(UNITS), st.booleans(), st.integers(1, 12))
def test_what_is_cut_is_the_beginning_of_the_whole(text: str, unit: str, lower: bool, length: int) -> None:
    vocabulary = tuple(dict.fromkeys(units(text, unit, lower=lower))) if unit != "byte" else ()
    told = spec(unit, vocabulary, length=length, lower=lower)
    short, whole = encode([text], told)[0], encode([text], told | {"length": 500})[0]
    assert short.tolist() == whole[:length].tolist()
    assert np.count_nonzero(whole) == count(text, unit, lower=lower)
    assert (short[np.count_nonzero(short) :] == 0).all()  # padding is behind all else
    assert 1 not in short  # the vocabulary has every unit


@given(WHOLE)
def test_bytes_are_those_of_utf8(text: str) -> None:
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").encode()
    assert encode([text], spec("byte", length=400))[0, : len(plain)].tolist() == [byte + 2 for byte in plain]


def test_numbers_follow_the_vocabulary_and_1_is_what_it_lacks() -> None:
    found = encode(["Not good, NOT!", "", " \r\n"], spec("word", ("good", "not", ","), length=6))
    assert found.dtype == np.int32
    assert found.tolist() == [[3, 2, 4, 3, 1, 0], [0] * 6, [0] * 6]
    assert encode(["aB"], spec("character", ("B", "a"), length=3, lower=False)).tolist() == [[3, 2, 0]]
    assert encode(["aB"], spec("byte", length=1)).tolist() == [[99]]
    assert encode([], spec("word")).shape == (0, 8)


def test_a_byte_order_mark_goes_a_line_end_is_one_and_nul_stays() -> None:
    assert list(units("\ufeffa\r\nb\x00", "character", lower=True)) == ["a", "\n", "b", "\x00"]
    assert list(units("\ufeffa\r\nb \x00", "word", lower=True)) == ["a", "b", "\x00"]
    assert count("\ufeffa\r\nb\x00", "byte", lower=True) == 4


def test_what_is_no_text_is_refused_with_its_row() -> None:
    tokenizer = Tokenizer(spec("word"))
    for value, said in (
        ("so \ud83d", "half of a character, U+D83D, at place 3"),
        (None, "there is none"),
        (3.5, "a float in place of a text"),
        (b"good", "a bytes in place of a text"),
    ):
        with pytest.raises(NoTextError, match=said.replace("+", r"\+")) as refused:
            tokenizer.encode(["good", value])
        assert refused.value.row == 1
    with pytest.raises(ValueError, match="expected character or word, received 'sentence'"):
        units("good", "sentence", lower=True)


@given(st.text(max_size=30), st.sampled_from(UNITS))
def test_every_text_is_encoded_or_refused(text: str, unit: str) -> None:
    if any(0xD800 <= ord(char) < 0xE000 for char in text):
        assert "half of a character" in str(tokenizing.problem(text))
        with pytest.raises(NoTextError):
            encode([text], spec(unit))
    else:
        assert encode([text], spec(unit)).shape == (1, 8)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("text", ["good day ", "a", "漢字", "\u0301\u0323", "a'", "Привет "], ids=ascii)
def test_a_million_characters_are_no_matter(text: str, unit: str) -> None:
    tokenizer = Tokenizer(spec(unit))
    tokenizer.encode(["é"])  # its tables are made once
    start = time.process_time()
    tokenizer.encode([text * (10**6 // len(text))])
    assert (
        time.process_time() - start < 1.0
    )  # 2 to 50 ms are usual, 500 of one endless word; composing as many marks takes an hour


def test_of_marks_in_a_row_thirty_count() -> None:
    assert count("a" + "\u0323" * 1000, "character", lower=True) == 30  # ạ and 29
    assert list(units("a" + "\u0323" * 40 + "b", "word", lower=True)) == ["ạ" + "\u0323" * 29 + "b"]
    assert count("\u0301" * 40 + "a" + "\u0323" * 31, "character", lower=True) == 30 + 30


def test_it_runs_where_the_project_is_not_installed(tmp_path: Path) -> None:
    source = Path(tokenizing.__file__).read_text(encoding="utf-8")
    (tmp_path / "tokenizing.py").write_text(source, encoding="utf-8")
    asked = (
        "import sys, tokenizing; print(tokenizing.encode(['ab'], dict(unit='byte', length=3, lower=True, "
        "vocabulary=[])).tolist(), 'components' in sys.modules)"
    )
    command = [sys.executable, "-c", asked]
    answer = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[[99, 100, 0]] False"


# -- where units stand -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("Ann, don't", "word", [(0, 3), (3, 4), (5, 10)]),
        ("\ufeffA\r\nb", "character", [(1, 2), (2, 4), (4, 5)]),
        ("\ufeffA\r\nb", "byte", [(1, 2), (2, 4), (4, 5)]),
        ("ü1", "byte", [(0, 1), (0, 1), (1, 2)]),
        ("u\u0308 x", "word", [(0, 2), (3, 4)]),
        ("u\u0308x", "character", [(0, 2), (2, 3)]),
        ("İstanbul x", "word", [(0, 8), (9, 10)]),  # two characters in lower case
        ("İ J\u030c x", "word", [(0, 1), (2, 4), (5, 6)]),  # two of one, and one of two
        ("\u1112\u1161\u11ab 漢字", "word", [(0, 3), (4, 5), (5, 6)]),
        ("a" + "\u0301" * 40 + " b", "word", [(0, 41), (42, 43)]),  # of marks the first count
        ("", "word", []),
    ],
)
def test_a_units_place_is_in_the_text_as_it_was_given(text: str, unit: str, expected: list[tuple[int, int]]) -> None:
    found = Tokenizer({"unit": unit, "length": 100, "lower": True, "vocabulary": []}).places(text)
    assert [tuple(place) for place in found.tolist()] == expected


@pytest.mark.parametrize("unit", ["byte", "character", "word"])
@pytest.mark.parametrize("lower", [False, True])
def test_there_is_a_place_for_every_unit_that_is_encoded_in_order(unit: str, lower: bool) -> None:
    pool = [
        *"abCİJ '.\n",
        "\r\n",
        "\u0301",
        "\u030c",
        "\u0327",
        "Σ",
        "\u1100",
        "\u1161",
        "\u11a8",
        "가",
        "\u09c7",
        "\u09be",
        "字",
        "😀",
    ]
    random = np.random.default_rng(0)
    tokenizer = Tokenizer({"unit": unit, "length": 12, "lower": lower, "vocabulary": []})
    for _ in range(200):
        text = "".join(random.choice(pool, random.integers(0, 20)).tolist())
        places = tokenizer.places(text)
        assert len(places) == np.count_nonzero(tokenizer.encode([text]))
        assert (places[:, 0] < places[:, 1]).all() and (np.diff(places, axis=0) >= 0).all()
        assert places.max(initial=0) <= len(text)
        assert tokenizer.places(f"{text} x")[: len(places)].tolist() == places.tolist()
