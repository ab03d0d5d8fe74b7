"""Sentences from a small grammar: what somebody thinks of something is good, bad or neither. Nothing is downloaded.

Whether it is depends on words that stand next to each other: `not good`, `hardly bad`, `neither good nor bad`. All of
these words are in sentences of every class, so that counting words tells little. Sentence `i` depends on the seed and
on `i` alone, and no two are alike but by chance: each has a number of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from components.config.section import Section, Seed, Share
from components.data.sources.base.form import BATCH_ROWS, SourceData, schema

CLASSES = ("bad", "neutral", "good")
BAD, NEUTRAL, GOOD = range(3)
GROUP = "group_style"
STYLES = ("plain", "shouted", "chatty")

_PRAISE = ("good", "great", "lovely", "tasty", "pleasant", "fresh", "friendly", "perfect")
_BLAME = ("bad", "awful", "boring", "bland", "rude", "stale", "slow", "horrible")
_PLAIN = ("usual", "average", "ordinary", "plain", "standard", "common")
_TURNS = ("not", "never", "hardly")  # into its opposite what follows
_DEGREES = ("very", "really", "quite", "so", "rather")
_THINGS = (
    "the soup",
    "our waiter",
    "the room",
    "the film",
    "her song",
    "the coffee",
    "this book",
    "the tour",
    "the bread",
)
_VERBS = ("was", "seemed", "is", "felt", "turned out")
# What says nothing about the thing, with all the words that would elsewhere.
_ASIDES = (
    *("we did not wait", "they never called", "it hardly rained", "my good friend came along", "the weather was bad"),
    *("i do not mind", "bad luck with the bus", "good morning to all", "she is neither old nor young", "very early"),
    *("the usual crowd", "never mind the price", "hardly anybody came", "a rather long way", "so we went there"),
)
_OPENINGS = ("table {}", "order {}", "room {}", "visit {}", "ticket {}", "seat {}")
_CHATTER = ("well", "lol", "honestly", "you know", "haha", "ok", "hmm", "anyway")
_LAST = 100_000  # number


class GrammarSource(Section):
    """Sentences that are good, bad or neutral about something, by words that stand next to each other."""

    kind: Literal["grammar"]
    sentences: Annotated[int, Field(ge=1, le=1_000_000)] = 3_000  # how many
    typos: Share = 0.02  # of words, in which two letters change places, or one is missing or doubled
    seed: Seed = 0  # of all that is drawn by chance


@dataclass(frozen=True)
class Sentence:
    """A text, the number of its class and the style that it is written in."""

    text: str
    label: int
    style: str


def read(source: GrammarSource, project: Path) -> SourceData:
    return SourceData(CLASSES, "class", _tables(source), (GROUP,), given="text")


def _tables(source: GrammarSource) -> Iterator[pa.Table]:
    for start in range(0, source.sentences, BATCH_ROWS):
        numbers = range(start, min(start + BATCH_ROWS, source.sentences))
        composed = [compose(source, number) for number in numbers]
        columns = {
            "id": [f"sentence-{number:06d}" for number in numbers],
            "text": [sentence.text for sentence in composed],
            "target": [sentence.label for sentence in composed],
            "published": [None] * len(composed),
            GROUP: [sentence.style for sentence in composed],
        }
        yield pa.table(columns, schema=schema("class", (GROUP,), given="text"))


def compose(source: GrammarSource, number: int) -> Sentence:
    """The sentence of that number."""
    random = np.random.default_rng([source.seed, number])
    label = int(random.integers(len(CLASSES)))
    said = f"{_one(random, _THINGS)} {_one(random, _VERBS)} {_judgement(random, label)}"
    parts = [_one(random, _OPENINGS).format(random.integers(1, _LAST)), said]
    for _ in range(int(random.integers(0, 3))):
        parts.insert(int(random.integers(1, len(parts) + 1)), _one(random, _ASIDES))
    style = _one(random, STYLES)
    if style == "chatty":
        parts.insert(int(random.integers(0, len(parts) + 1)), _one(random, _CHATTER))
    words = " , ".join(parts).split()
    text = " ".join(_slip(random, word) if random.random() < source.typos else word for word in words)
    return Sentence(_written(text.replace(" ,", ","), style), label, style)


def _judgement(random: np.random.Generator, label: int) -> str:
    """What is good, bad or neither, in the words for it or as the opposite of the others."""
    degree = f"{_one(random, _DEGREES)} " if random.random() < 0.3 else ""
    if label == NEUTRAL:
        both = [_one(random, _PRAISE), _one(random, _BLAME)]
        random.shuffle(both)
        said = (f"neither {both[0]} nor {both[1]}", f"{degree}{_one(random, _PLAIN)}")
        return said[int(random.integers(len(said)))]
    own, other = (_PRAISE, _BLAME) if label == GOOD else (_BLAME, _PRAISE)
    if random.random() < 0.5:
        return f"{_one(random, _TURNS)} {degree}{_one(random, other)}"
    return f"{degree}{_one(random, own)}"


def _one(random: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(random.integers(len(words)))]


def _slip(random: np.random.Generator, word: str) -> str:
    """The word as it comes out of hurried fingers."""
    place = int(random.integers(len(word)))
    kind = int(random.integers(3))
    if kind == 0:
        return word[:place] + word[place] + word[place:]
    if kind == 1 and len(word) > 1:
        return word[:place] + word[place + 1 :]
    return word[:place] + word[place : place + 2][::-1] + word[place + 2 :]


def _written(text: str, style: str) -> str:
    if style == "shouted":
        return f"{text.upper()}!"
    return text if style == "chatty" else f"{text[0].upper()}{text[1:]}."
