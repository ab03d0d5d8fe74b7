"""Sentences of the grammar: what they say is what their class is, and counting words does not tell it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from components.data.sources import grammar
from components.data.sources.grammar import BAD, CLASSES, GOOD, NEUTRAL, GrammarSource, compose

SOURCE = GrammarSource(kind="grammar", typos=0.0)


def judged(text: str) -> int:
    """The class of a sentence without typos, by the rules that a reader would give."""
    praise, blame, plain = ("|".join(words) for words in (grammar._PRAISE, grammar._BLAME, grammar._PLAIN))
    degree = rf"(?:(?:{'|'.join(grammar._DEGREES)}) )?"
    about = rf"(?:{'|'.join(grammar._THINGS)}) (?:{'|'.join(grammar._VERBS)}) "
    turned = rf"(?:{'|'.join(grammar._TURNS)}) "
    said = text.lower()
    for rule, label in (
        (rf"{about}{degree}(?:{praise})", GOOD),
        (rf"{about}{degree}(?:{blame})", BAD),
        (rf"{about}{turned}{degree}(?:{blame})", GOOD),
        (rf"{about}{turned}{degree}(?:{praise})", BAD),
        (rf"{about}neither (?:{praise}|{blame}) nor (?:{praise}|{blame})", NEUTRAL),
        (rf"{about}{degree}(?:{plain})", NEUTRAL),
    ):
        if re.search(rule, said):
            return label
    raise AssertionError(text)


def test_what_a_sentence_says_is_what_its_class_is() -> None:
    for number in range(500):
        sentence = compose(SOURCE, number)
        assert judged(sentence.text) == sentence.label, sentence


def test_a_sentence_depends_on_its_number_and_the_seed_only() -> None:
    (few,), (more,) = (list(grammar.read(SOURCE.model_copy(update={"sentences": n}), Path()).tables) for n in (10, 50))
    assert few.equals(more.slice(0, 10))
    assert compose(SOURCE, 5) != compose(SOURCE.model_copy(update={"seed": 1}), 5)


def test_sentences_are_spread_over_classes_and_styles_and_none_is_there_twice() -> None:
    data = grammar.read(SOURCE.model_copy(update={"sentences": 12_000}), Path())
    tables = list(data.tables)
    assert [len(table) for table in tables] == [10_000, 2_000]
    assert all(table.schema == data.schema for table in tables)
    rows = [row for table in tables for row in table.to_pylist()]
    assert len({row["text"].lower() for row in rows}) == 12_000
    assert len({row["id"] for row in rows}) == 12_000
    for column, names in (("target", range(3)), (grammar.GROUP, grammar.STYLES)):
        counted = Counter(row[column] for row in rows)
        assert set(counted) == set(names)
        assert min(counted.values()) > 3_700
    shouted = next(row["text"] for row in rows if row[grammar.GROUP] == "shouted")
    assert shouted == shouted.upper()


def test_every_word_that_turns_or_judges_is_in_every_class_but_what_is_plain() -> None:
    words: list[set[str]] = [set(), set(), set()]
    for number in range(4_000):
        sentence = compose(SOURCE, number)
        words[sentence.label] |= set(re.findall(r"\w+", sentence.text.lower()))
    shared = words[BAD] & words[NEUTRAL] & words[GOOD]
    assert {*grammar._PRAISE, *grammar._BLAME, *grammar._TURNS, "neither", "nor"} <= shared
    assert CLASSES == ("bad", "neutral", "good")


def test_neighbours_tell_the_class_and_words_alone_do_not() -> None:
    sentences = [compose(SOURCE, number) for number in range(3_000)]
    texts, labels = [each.text for each in sentences], [each.label for each in sentences]

    def right(neighbours: int) -> float:
        """Accuracy of a linear model of counts on the last third."""
        counts = CountVectorizer(ngram_range=(1, neighbours)).fit_transform(texts)
        return float(
            LogisticRegression(max_iter=500).fit(counts[:2_000], labels[:2_000]).score(counts[2_000:], labels[2_000:])
        )

    assert right(1) < 0.75
    assert right(2) > 0.85


@pytest.mark.parametrize(("typos", "least", "most"), [(0.0, 0.0, 0.0), (0.2, 0.1, 0.3)])
def test_as_many_words_are_misspelt_as_declared(typos: float, least: float, most: float) -> None:
    source = GrammarSource(kind="grammar", typos=typos)
    known = {word for number in range(3_000) for word in re.findall(r"[a-z]+", compose(SOURCE, number).text.lower())}
    found = [word for number in range(300) for word in re.findall(r"[a-z]+", compose(source, number).text.lower())]
    assert least <= sum(word not in known for word in found) / len(found) <= most
