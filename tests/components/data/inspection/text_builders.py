"""Texts on three subjects, and what becomes of a text that somebody copies and edits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from components.config import DatasetConfig
from components.data.sources.base.form import SourceData, schema

CLASSES = ("cooking", "sailing", "weaving")
_SUBJECTS = {
    "common": "the a and then with from into before after slowly quickly until again over under when where there some "
    "more most every other little long short first last good new old small large ready",
    "cooking": "onion butter simmer flour oven whisk garlic pepper dough saucepan vinegar broth season knead parsley "
    "cream lemon skillet roast yeast batter cinnamon basil spoon kettle",
    "sailing": "mast rudder harbour anchor tack starboard keel breeze jib halyard buoy hull compass tide mooring gust "
    "spinnaker deck port helm reef boom chart lighthouse ballast",
    "weaving": "loom shuttle warp weft thread bobbin linen pattern selvage wool spindle dye heddle treadle fringe "
    "cotton twill fabric yarn skein hem tapestry reed knot fibre",
}
_WORDS = {name: words.split() for name, words in _SUBJECTS.items()}


def subjects(count: int, seed: int = 0, words: tuple[int, int] = (12, 40)) -> tuple[list[str], list[int]]:
    """`count` texts and their classes in turn; two in five words are the subject's."""
    random = np.random.default_rng(seed)
    written, labels = [], []
    for number in range(count):
        label = number % len(CLASSES)
        own, common = _WORDS[CLASSES[label]], _WORDS["common"]
        chosen = [str(random.choice(own if random.random() < 0.4 else common)) for _ in range(random.integers(*words))]
        written.append(" ".join(chosen).capitalize() + ".")
        labels.append(label)
    return written, labels


def source(contents: Sequence[str | bytes | None], labels: Sequence[int | None], rows: int = 500) -> SourceData:
    """As a source gives them; ids are s0000, s0001, …"""
    column = pa.array([text.encode() if isinstance(text, str) else text for text in contents], pa.binary())
    count = len(column)
    table = pa.table(
        {
            "id": [f"s{number:04d}" for number in range(count)],
            "text": column.view(pa.string()),  # Arrow does not look whether bytes are UTF-8
            "target": pa.array(labels, pa.int64()),
            "published": pa.nulls(count, pa.string()),
        },
        schema=schema("class", given="text"),
    )
    tables = (table.slice(start, rows) for start in range(0, count, rows))
    return SourceData(CLASSES, "class", tables, given="text")


def config(**changes: Any) -> DatasetConfig:
    """No source of texts is asked: the data is handed over."""
    entry = {"task": "classification", "source": {"kind": "digits"}, "text": {"unit": "word", "length": 40}}
    return DatasetConfig.model_validate(entry | changes)


# -- copies -----------------------------------------------------------------------------------------------------------


def _slips(text: str, random: np.random.Generator, number: int = 1) -> str:
    for _ in range(number):
        place = int(random.integers(len(text)))
        text = text[:place] + "qxzj"[random.integers(4)] + text[place + int(random.integers(2)) :]
    return text


def _shorter(text: str, random: np.random.Generator) -> str:
    words = text.split()
    del words[random.integers(len(words))]
    return " ".join(words)


def _another(text: str, random: np.random.Generator) -> str:
    words = text.split()
    words[random.integers(len(words))] = "somewhere"
    return " ".join(words)


EDITED: dict[str, Callable[[str, np.random.Generator], str]] = {
    "a slip": _slips,
    "three slips": lambda text, random: _slips(text, random, 3),
    "a word less": _shorter,
    "another word": _another,
    "exclaimed": lambda text, random: f"{text.upper()}!!",
}
