"""Notes about a stay: which topics each is about, none or several at once. Nothing is downloaded.

A topic is there where one of its things is spoken of, and not where it is denied by what stands before it (`we liked
the warm soup`, `not a word about the warm soup`): counting words tells less than half of that. Note `i` depends on the
seed and on `i` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from components.config.section import Section, Seed
from components.data.sources.base.form import BATCH_ROWS, SourceData, schema

GROUP = "group_length"
LENGTHS = ("short", "long")
TOPICS = {
    "food": ("soup", "bread", "coffee", "fish", "breakfast"),
    "place": ("street", "beach", "station", "view", "garden"),
    "price": ("bill", "rate", "deposit", "fee", "offer"),
    "room": ("bath", "bed", "balcony", "shower", "carpet"),
    "service": ("waiter", "porter", "cook", "welcome", "desk"),
}
SHARES = (0.5, 0.35, 0.3, 0.45, 0.25)  # of the notes that are about each topic, before what they have in common
DENIED = 0.4  # share of the notes that deny a topic
_WORDS = ("warm", "cold", "clean", "small", "large", "fine", "plain", "odd", "bright", "slow", "quiet", "loud")
_SAID = (
    "we liked the {}",
    "there was a {}",
    "the {} again",
    "just as well the {}",
    "i remember the {}",
    "about the {}",
)
_DENIED = ("not a word about the {}", "there was no {}", "i leave out the {}", "we never saw the {}", "without the {}")
_ASIDES = (
    *("we came on a monday", "it was our second visit", "the children were happy", "it rained all week"),
    *("i would come again", "my sister wrote this", "see my other notes", "we left early", "a quiet week"),
)
_OPENINGS = ("note {}", "stay {}", "visit {}", "guest {}")
_LAST = 100_000  # number of a note


class TopicsSource(Section):
    """Notes about a stay, each with the topics that it is about."""

    kind: Literal["topics"]
    notes: Annotated[int, Field(ge=1, le=1_000_000)] = 3_000  # how many there are
    seed: Seed = 0  # by which topics and words are drawn


def read(source: TopicsSource, project: Path) -> SourceData:
    return SourceData(tuple(TOPICS), "labels", _tables(source), (GROUP,), given="text")


def _tables(source: TopicsSource) -> Iterator[pa.Table]:
    for start in range(0, source.notes, BATCH_ROWS):
        numbers = range(start, min(start + BATCH_ROWS, source.notes))
        composed = [compose(source.seed, number) for number in numbers]
        columns = {
            "id": [f"note-{number:06d}" for number in numbers],
            "text": [text for text, _ in composed],
            "target": [labels for _, labels in composed],
            "published": [None] * len(composed),
            GROUP: [LENGTHS[text.count(",") > 3] for text, _ in composed],
        }
        yield pa.table(columns, schema=schema("labels", (GROUP,), given="text"))


def compose(seed: int, number: int) -> tuple[str, list[int]]:
    """The note of that number, and the numbers of its topics."""
    random = np.random.default_rng([seed, number])
    names = list(TOPICS)
    about = [bool(random.random() < share) for share in SHARES]
    about[4] |= about[0] and bool(random.random() < 0.4)  # who eats is served
    parts = [_told(random, _SAID, name) for name, there in zip(names, about, strict=True) if there]
    absent = [name for name, there in zip(names, about, strict=True) if not there]
    if absent and random.random() < DENIED:
        parts.append(_told(random, _DENIED, _one(random, absent)))
    parts += [_one(random, _ASIDES) for _ in range(int(random.integers(0, 3)))]
    ordered = [parts[place] for place in random.permutation(len(parts))]
    opening = _one(random, _OPENINGS).format(random.integers(1, _LAST))
    return ", ".join([opening, *ordered]), [place for place, there in enumerate(about) if there]


def _told(random: np.random.Generator, ways: Sequence[str], topic: str) -> str:
    return _one(random, ways).format(f"{_one(random, _WORDS)} {_one(random, TOPICS[topic])}")


def _one(random: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(random.integers(len(words)))]
