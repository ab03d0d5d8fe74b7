"""Entities as a version writes them: in the characters of the request, whatever became of it for the network."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components import tokenizing
from components.registry import telling
from components.registry.answers import spans
from components.registry.readers import text

CARD: dict[str, Any] = {
    "classes": ["person", "place"],
    "input": {"unit": "word", "length": 4, "lower": True, "vocabulary": ["ann", "in"]},
}


def written(value: str, tags: list[int]) -> list[dict[str, Any]]:
    reader = text.Reader(Path(), CARD, lambda _: SimpleNamespace(Tokenizer=tokenizing.Tokenizer))
    numbers, place = reader.read(value)
    probabilities = np.full((5, len(numbers)), 0.1, np.float32)
    probabilities[tags, np.arange(len(tags))] = 0.6
    found = spans.write((probabilities, np.array(tags)), place, CARD)
    json.dumps(found)  # plain values
    return found["entities"]  # type: ignore[no-any-return]


def test_ends_are_those_of_the_text_as_it_was_sent() -> None:
    first, second = written("\ufeffAnn  Lee in Zu\u0308rich", [1, 2, 0, 3])
    assert (first["start"], first["end"], first["label"], first["text"]) == (1, 9, "person", "Ann  Lee")
    assert (second["start"], second["end"], second["text"]) == (13, 20, "Zu\u0308rich")
    assert first["score"] == pytest.approx(0.7)  # of its class: as a beginning, or inside


def test_entities_end_where_another_begins_and_behind_the_text_is_none() -> None:
    assert [each["text"] for each in written("Ann Ann", [1, 1, 1, 1])] == ["Ann", "Ann"]
    assert [each["text"] for each in written("a b c d e f", [0, 0, 1, 2])] == ["c d"]
    assert written("", [1, 1, 1, 1]) == [] == written("a b", [0, 0, 0, 0])


def test_words_name_the_first_of_them() -> None:
    entity = {"start": 0, "end": 3, "label": "person", "text": "Ann", "score": 0.987}
    assert telling.said({"entities": [entity]}) == "Ann person 0.99"
    assert telling.said({"entities": []}) == "nothing"
    assert telling.said({"entities": [entity] * 10}).endswith(", 2 more")
