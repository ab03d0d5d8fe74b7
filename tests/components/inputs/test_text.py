"""Texts as an input: described, counted into a vocabulary, turned into numbers, judged."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from components.artifacts import TextSpec
from components.config import TextDeclaration
from components.inputs import registry
from components.inputs.protocol import UnreadableInputError
from components.inputs.text import INPUT
from components.inputs.text_corruptions import SHARES
from tests.components.inputs.given.text import COLUMN, DECLARED, SOUND


def spec_of(declared: TextDeclaration, *texts: str) -> TextSpec:
    gathered = INPUT.gathering(declared)
    gathered.add(INPUT.describe(pa.array(texts, pa.string()), declared), np.ones(len(texts), bool))
    return gathered.spec()


SPEC = spec_of(DECLARED, "not good , bad at all all !")


def test_it_is_found_by_its_name() -> None:
    assert registry.get("text") is INPUT


def test_texts_are_described_as_they_are_and_what_is_none_says_why() -> None:
    told = INPUT.describe(COLUMN, DECLARED)
    assert told.stored.equals(COLUMN)
    facts = {name: column.to_pylist() for name, column in told.facts.items()}
    assert list(facts) == [name for name, _ in INPUT.facts]
    assert facts["decodable"] == [row in SOUND for row in range(len(COLUMN))]
    assert facts["problem"] == [None, None, None, None, "there is none", "bytes that are no UTF-8", None]
    assert facts["length"] == [8, 8, 0, 1000, None, None, 2]
    assert facts["text_sha256"][6] == hashlib.sha256(b"hardly bad").hexdigest()
    assert facts["text_sha256"][4] is None


@pytest.mark.parametrize(("unit", "length"), [("byte", 9), ("character", 8), ("word", 2)])
def test_lengths_are_in_the_units_that_are_declared(unit: str, length: int) -> None:
    declared = TextDeclaration.model_validate({"unit": unit, "length": 3})
    assert INPUT.describe(pa.array(["so naïve"]), declared).facts["length"].to_pylist() == [length]


def test_the_vocabulary_is_the_training_splits_alone_the_most_frequent_first() -> None:
    declared = TextDeclaration(unit="word", length=4, least=2, vocabulary=3)
    texts = ["b a a", "B c c d d", "test test test", "one two three four five five"]
    chosen = np.array([True, True, False, True])
    whole = INPUT.gathering(declared)
    whole.add(INPUT.describe(pa.array(texts), declared), chosen)
    assert whole.spec().vocabulary == ("a", "b", "c")  # ties by code points; d and five come twice, but not within 4
    parts = INPUT.gathering(declared)
    for row in (3, 1, 0, 2):  # in any order, in any parts
        parts.add(INPUT.describe(pa.array([texts[row]]), declared), chosen[row : row + 1])
    assert parts.spec() == whole.spec()
    assert whole.spec().numbers == 5


def test_no_card_carries_what_nobody_would_call_a_word() -> None:
    assert spec_of(DECLARED, "x" * 101, "y" * 100).vocabulary == ("y" * 100,)


def test_bytes_are_known_without_a_vocabulary() -> None:
    spec = spec_of(TextDeclaration(unit="byte", length=4), "ab")
    assert (spec.vocabulary, spec.numbers) == ((), 258)
    assert INPUT.arrays(pa.array(["ab"]), spec).tolist() == [[99, 100, 0, 0]]


def test_arrays_are_the_numbers_of_what_is_sound_and_anything_else_names_its_row() -> None:
    sound = INPUT.arrays(COLUMN.take(SOUND), SPEC)
    assert (sound.shape, sound.dtype) == ((5, *SPEC.shape), np.dtype(SPEC.type))
    assert sound[2].tolist() == [0] * 6
    with pytest.raises(UnreadableInputError, match="there is none") as refused:
        INPUT.arrays(COLUMN, SPEC)
    assert refused.value.row == 4
    with pytest.raises(UnreadableInputError, match=r"no UTF-8"):
        INPUT.arrays(COLUMN[5:], SPEC)


def test_noise_is_seeded_and_looks_like_texts() -> None:
    noise = INPUT.noise(SPEC, 200, seed=3)
    assert (noise.shape, noise.dtype) == ((200, 6), np.int32)
    assert noise.min() >= 0 and noise.max() == SPEC.numbers - 1
    assert (np.diff((noise != 0).astype(int), axis=1) <= 0).all()  # padding is behind all else
    assert (noise == INPUT.noise(SPEC, 200, seed=3)).all() and (noise != INPUT.noise(SPEC, 200, seed=4)).any()


def test_slices_tell_lengths_and_what_is_unknown() -> None:
    found = INPUT.sliced(INPUT.arrays(pa.array(["not good", "never ever good at", ""]), SPEC))
    assert set(found) == set(INPUT.slices)
    assert found["length"].tolist() == [2, 4, 0]
    assert found["unknown"].tolist() == [0, 0.5, 0]


def test_the_summary_says_what_numbers_can_say() -> None:
    declared = TextDeclaration(unit="word", length=8, least=1, lower=False)
    spec = spec_of(declared, "Good 42 ! né")
    found = INPUT.summary(INPUT.arrays(pa.array(["Good 42 ! never", "né"]), spec), spec)
    assert found["upper"].tolist() == pytest.approx([1 / 7, 0])
    assert found["digits"].tolist() == pytest.approx([2 / 7, 0])
    assert found["punctuation"].tolist() == pytest.approx([1 / 7, 0])
    assert found["non_ascii"].tolist() == pytest.approx([0, 0.5])
    assert found["word_length"].tolist() == [3, 2]  # Good, 42; né
    assert "upper" not in INPUT.summary(np.zeros((1, 6), np.int32), SPEC)


@pytest.mark.parametrize("unit", ["byte", "character"])
def test_words_are_measured_between_blanks_where_they_are_no_units(unit: str) -> None:
    spec = spec_of(TextDeclaration.model_validate({"unit": unit, "length": 20, "least": 1}), "good day1 !Ü")
    found = INPUT.summary(INPUT.arrays(pa.array(["good  day1 !", ""]), spec), spec)
    assert found["word_length"].tolist() == [3, 0]
    assert found["digits"][0] == pytest.approx(1 / 12)
    assert found["punctuation"][0] == pytest.approx(1 / 12)
    wide = INPUT.summary(INPUT.arrays(pa.array(["Ü!"]), spec), spec)["non_ascii"][0]
    assert wide == pytest.approx(2 / 3 if unit == "byte" else 1 / 2)


@pytest.mark.parametrize("kind", INPUT.corruptions)
@pytest.mark.parametrize("severity", [1, 5])
def test_corruptions_touch_about_their_share_and_never_the_padding(kind: str, severity: int) -> None:
    random = np.random.default_rng(0)
    values = np.zeros((50, 200), np.int32)
    values[:, :150] = random.integers(2, 10_000, (50, 150))
    changed = INPUT.corruptions[kind](values, severity, np.random.default_rng(1))
    assert (changed.shape, changed.dtype) == (values.shape, values.dtype)
    assert (changed == INPUT.corruptions[kind](values, severity, np.random.default_rng(1))).all()
    lengths = (changed != 0).sum(axis=1)
    assert (np.diff((changed != 0).astype(int), axis=1) <= 0).all()
    share = SHARES[severity - 1]
    moved = {
        "dropped": 1 - lengths.mean() / 150,
        "repeated": lengths.mean() / 150 - 1,
        "unknown": (changed == 1).sum() / (50 * 150),
        "swapped": (changed != values).sum() / 2 / (50 * 150) / (1 - share),
    }
    assert moved[kind] == pytest.approx(share, rel=0.2)


def test_corruptions_of_a_short_text() -> None:
    values = np.array([[5, 6, 7, 0], [5, 6, 7, 8], [0, 0, 0, 0]], np.int32)
    every = np.ones_like(values, bool) & (values != 0)
    from components.inputs import text_corruptions as done

    assert done.dropped(values, every & (values != 6)).tolist() == [[6, 0, 0, 0]] * 2 + [[0] * 4]
    assert done.swapped(values, every & (values == 7)).tolist() == [[5, 6, 7, 0], [5, 6, 8, 7], [0] * 4]
    assert done.repeated(values, every & (values == 6)).tolist() == [[5, 6, 6, 7], [5, 6, 6, 7], [0] * 4]
    assert done.unknown(values, every).tolist() == [[1, 1, 1, 0], [1] * 4, [0] * 4]


def test_expectations_want_readable_texts_and_warn_of_empty_ones() -> None:
    readable, long = INPUT.expectations(DECLARED)
    assert (readable.severity, long.severity) == ("error", "warning")
    assert {readable.arguments["column"], long.arguments["column"]} <= {name for name, _ in INPUT.facts}
