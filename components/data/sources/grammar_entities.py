"""Sentences from a small grammar that name people, places and sums of money. Nothing is downloaded.

What a name is depends on what stands around it: some are of people and of places (`Corton paid`, `in Corton`), and
numbers without a currency are no sums. Sentence `i` depends on the seed and on `i` alone. Of the sentences that are
published as the test split a part names people and places that no other sentence does (group `names`, `new`): a network
that has learnt names by heart finds none of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from components.config.section import Section, Seed, Share
from components.data.sources.base.form import BATCH_ROWS, SourceData, schema

CLASSES = ("money", "person", "place")
GROUP = "group_names"
KNOWN, NEW = "known", "new"

_SLOT = {"$": "money", "@": "person", "#": "place"}
_BEGINNINGS = (
    "Al",
    "Bren",
    "Cor",
    "Dar",
    "El",
    "Fin",
    "Gar",
    "Hol",
    "Is",
    "Jor",
    "Kel",
    "Lor",
    "Mar",
    "Nor",
    "Os",
    "Per",
)
_MIDDLES = ("", "a", "be", "di", "en", "li", "mo", "ra", "su", "ti", "va", "wi")
_OF_FIRST = ("a", "an", "in", "is", "ela", "o", "us")
_OF_LAST = ("berg", "field", "ford", "ley", "man", "ric", "ster", "ton")
_OF_PLACES = ("burg", "ford", "ham", "ley", "mouth", "stad", "ton", "ville")
_BEFORE_PLACES = ("New", "Port", "San", "Lake", "Upper")
_TITLES = ("Dr.", "Mrs.", "Mr.", "Ms.")
_CURRENCIES = ("euros", "dollars", "pounds", "crowns", "francs")
_SIGNS = ("€", "$", "£")
_WORDS = ("two", "five", "seven", "ten", "twelve", "twenty", "fifty", "ninety")
_MANY = ("hundred", "thousand", "million")
# A slot is what stands for it alone: `@` a person, `#` a place, `$` a sum.
_SENTENCES = (
    "@ paid $ for a house in #",
    "@ moved from # to # last year",
    "the ticket to # costs $",
    "after {n} years @ left #",
    "the mayor of # , @ , asked for $",
    "@ and @ met in room {n}",
    "nobody in # had heard of @",
    "it rained for {n} days in #",
    "the museum bought {n} pictures for $",
    "@ owes @ $",
    "on page {n} @ describes the harbour of #",
    "a train leaves # at {n} o'clock",
    "$ were found in a bag near #",
    "according to @ the bridge will cost $",
    "we waited for {n} minutes , and then @ called from #",
    "the team won by {n} points",
    "she wrote {n} letters to @",
    "in # , a room is $ a night",
    "the price fell from $ to $ within {n} weeks",
    "everybody was late , as usual",
)
_OPENINGS = ("yesterday", "in the end", "they say that", "as far as we know ,", "", "", "")


class GrammarEntitiesSource(Section):
    """Sentences that name people, places and sums of money, with where each of them stands."""

    kind: Literal["grammar-entities"]
    sentences: Annotated[int, Field(ge=1, le=1_000_000)] = 4_000  # how many there are
    test: Share = 0.2  # of the sentences, which are published as the test split
    new: Share = 0.5  # of those, in which all names are ones that no other sentence has
    seed: Seed = 0  # of all that is drawn by chance


@dataclass(frozen=True)
class Sentence:
    """A text, its entities as the kind `tags` stores them, the split that it is of and whether its names are new."""

    text: str
    entities: tuple[dict[str, int], ...]
    published: str | None
    names: str


@dataclass(frozen=True)
class _Names:
    first: tuple[str, ...]
    last: tuple[str, ...]
    places: tuple[str, ...]


def read(source: GrammarEntitiesSource, project: Path) -> SourceData:
    return SourceData(CLASSES, "tags", _tables(source), (GROUP,), given="text")


def _tables(source: GrammarEntitiesSource) -> Iterator[pa.Table]:
    for start in range(0, source.sentences, BATCH_ROWS):
        numbers = range(start, min(start + BATCH_ROWS, source.sentences))
        composed = [compose(source, number) for number in numbers]
        columns: dict[str, list[Any]] = {
            "id": [f"sentence-{number:06d}" for number in numbers],
            "text": [sentence.text for sentence in composed],
            "target": [list(sentence.entities) for sentence in composed],
            "published": [sentence.published for sentence in composed],
            GROUP: [sentence.names for sentence in composed],
        }
        yield pa.table(columns, schema=schema("tags", (GROUP,), given="text"))


def compose(source: GrammarEntitiesSource, number: int) -> Sentence:
    """The sentence of that number."""
    random = np.random.default_rng([source.seed, number])
    tested = bool(random.random() < source.test)
    new = tested and bool(random.random() < source.new)
    names = _stock()[new]
    words = f"{_one(random, _OPENINGS)} {_one(random, _SENTENCES)}".split()
    text, entities = "", list[dict[str, int]]()
    for place, word in enumerate(words):
        said = _said(random, word, names)
        if place == 0 and word not in _SLOT:
            said = f"{said[0].upper()}{said[1:]}"
        text += said if not text or word == "," else f" {said}"
        if word in _SLOT:
            label = CLASSES.index(_SLOT[word])
            entities.append({"start": len(text) - len(said), "end": len(text), "label": label})
    return Sentence(f"{text}.", tuple(entities), "test" if tested else None, NEW if new else KNOWN)


def _said(random: np.random.Generator, word: str, names: _Names) -> str:
    if word == "@":
        return _person(random, names)
    if word == "#":
        return _place(random, names)
    if word == "$":
        return _sum(random)
    return word.format(n=random.integers(2, 90))


def _person(random: np.random.Generator, names: _Names) -> str:
    first, last = _one(random, names.first), _one(random, names.last)
    kind = int(random.integers(4))
    return (f"{first} {last}", first, f"{_one(random, _TITLES)} {last}", last)[kind]


def _place(random: np.random.Generator, names: _Names) -> str:
    """A fourth are called as people are."""
    name = _one(random, names.last if random.random() < 0.25 else names.places)
    return f"{_one(random, _BEFORE_PLACES)} {name}" if random.random() < 0.25 else name


def _sum(random: np.random.Generator) -> str:
    number = int(random.integers(2, 900))
    kind = int(random.integers(4))
    if kind == 0:
        return f"{_one(random, _SIGNS)}{number}"
    if kind == 1:
        return f"{_one(random, _SIGNS)}{number}.{random.integers(10, 100)}"
    if kind == 2:
        return f"{number} {_one(random, _CURRENCIES)}"
    return f"{_one(random, _WORDS)} {_one(random, _MANY)} {_one(random, _CURRENCIES)}"


@lru_cache(maxsize=1)
def _stock() -> tuple[_Names, _Names]:
    """Names that are known, and those that are new: a fifth of all that can be made of their syllables."""

    def halves(endings: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        every = ["".join(parts) for parts in product(_BEGINNINGS, _MIDDLES, endings)]
        order = np.random.default_rng(0).permutation(len(every)).tolist()
        return tuple(every[at] for at in order if at % 5), tuple(every[at] for at in order if not at % 5)

    parts = [halves(endings) for endings in (_OF_FIRST, _OF_LAST, _OF_PLACES)]
    known = {name for names, _ in parts for name in names}  # some are of people and of places
    return (
        _Names(*(names for names, _ in parts)),
        _Names(*(tuple(name for name in names if name not in known) for _, names in parts)),
    )


def _one(random: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(random.integers(len(words)))]
