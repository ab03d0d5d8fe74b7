"""Entities as tags of units: what a text is cut into decides, and what cannot be meant is named by its row."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.artifacts import DatasetCard, TextSpec
from components.targets.protocol import UnreadableTargetError
from components.targets.tags import NOT_ASKED, STORED, TARGET

NAMES = ("person", "place")
OUT, B_PERSON, I_PERSON, B_PLACE, I_PLACE = range(5)


def card(unit: str = "word", length: int = 8) -> DatasetCard:
    spec = TextSpec(kind="text", unit=unit, length=length, lower=True, vocabulary=())  # type: ignore[arg-type]
    facts: dict[str, Any] = {"name": "n", "task": "tagging", "groups": (), "splits": {}, "fingerprint": ""}
    return DatasetCard(**facts, classes=NAMES, input=spec, target={"kind": "tags"})


def column(*rows: list[tuple[int, int, int]] | None) -> pa.Array:
    keys = ("start", "end", "label")
    return pa.array(
        [None if row is None else [dict(zip(keys, each, strict=True)) for each in row] for row in rows], STORED
    )


def tags(text: str, spans: list[tuple[int, int, int]], **form: Any) -> list[int]:
    (found,) = TARGET.beside(pa.array([text])).arrays(column(spans), card(**form))
    return [int(each) for each in found]


def test_an_entity_begins_with_its_first_unit_and_goes_on_to_its_last() -> None:
    assert tags("Ann Lee left Rome", [(13, 17, 1), (0, 7, 0)]) == [B_PERSON, I_PERSON, OUT, B_PLACE, *[NOT_ASKED] * 4]
    assert tags("Rome Oslo", [(0, 4, 1), (5, 9, 1)], length=2) == [B_PLACE, B_PLACE]
    assert tags("", [], length=2) == [NOT_ASKED] * 2
    assert tags("Zürich", [(0, 6, 1)], unit="byte") == [B_PLACE, *[I_PLACE] * 6, NOT_ASKED]
    assert tags("in Rome", [(3, 7, 1)], unit="character") == [OUT, OUT, OUT, B_PLACE, *[I_PLACE] * 3, NOT_ASKED]


def test_characters_are_those_of_the_text_as_it_was_written() -> None:
    decomposed = "In Zu\u0308rich\r\nAnn"
    assert tags(decomposed, [(3, 10, 1), (12, 15, 0)], length=3) == [OUT, B_PLACE, B_PERSON]


def test_within_a_unit_all_of_it_is_meant_and_the_earlier_entity_has_it() -> None:
    assert tags("Lee's hat", [(0, 3, 0)], length=2) == [B_PERSON, OUT]
    assert tags("RomeOslo Bonn", [(0, 4, 1), (4, 13, 0)], length=2) == [B_PLACE, B_PERSON]
    assert tags("RomeOslo", [(0, 4, 1), (4, 8, 0)], length=1) == [B_PLACE]


def test_behind_the_cut_nothing_is_asked() -> None:
    assert tags("Ann Lee", [(0, 7, 0)], length=1) == [B_PERSON]
    assert tags("so Ann", [(3, 6, 0)], length=1) == [OUT]


def test_tags_are_those_of_a_plain_loop_over_units_on_random_texts() -> None:
    random = np.random.default_rng(0)
    for _ in range(100):
        text = " ".join(random.choice(["Ann", "b", ",", "x2", "Rome"], random.integers(1, 12)))
        cuts = np.unique(random.integers(0, len(text) + 1, 6)).tolist()
        spans = [(start, end, int(random.integers(2))) for start, end in zip(cuts[::2], cuts[1::2], strict=False)]
        expected, before = [], None
        for unit in list(re.finditer(r"\w+|,", text))[:8]:
            inside = next((span for span in spans if span[0] < unit.end() and span[1] > unit.start()), None)
            expected.append(OUT if inside is None else 1 + 2 * inside[2] + (inside is before))
            before = inside
        assert tags(text, spans) == expected + [NOT_ASKED] * (8 - len(expected))


@pytest.mark.parametrize(
    ("spans", "rule"),
    [
        ([(2, 2, 0)], "entity_empty"),
        ([(-1, 3, 0)], "entity_outside"),
        ([(0, 99, 0)], "entity_outside"),
        ([(0, 3, 5)], "entity_of_no_class"),
        ([(0, 7, 0), (4, 7, 1)], "entity_overlaps"),
        ([(4, 7, 1), (4, 7, 1)], "entity_overlaps"),
        ([(0, 2, 0)], "entity_within_unit"),
        ([(3, 4, 0)], "entity_within_unit"),
        ([(22, 25, 0)], "entity_not_given"),
        ([], None),
        ([(0, 3, 0), (4, 7, 0)], None),
    ],
)
def test_what_cannot_be_meant_is_named_in_words_and_errors_become_no_array(
    spans: list[tuple[int, int, int]], rule: str | None
) -> None:
    texts, rows = pa.array(["Ann", "Ann Lee went to Rome, Ann"]), column([], spans)
    form = card(length=6)
    facts = TARGET.beside(texts).facts(rows, form)
    broken = {name for name in facts if name.startswith("entity_") and facts[name][1] is not None}
    assert broken == ({rule} if rule else set())
    assert facts["entities"] == [0, len(spans)] and facts["target"] == ["tags", "tags"]
    severity = {each.arguments["column"]: each.severity for each in TARGET.expectations(form)}
    if rule is None or severity[rule] == "warning":
        TARGET.beside(texts).arrays(rows, form)
        return
    with pytest.raises(UnreadableTargetError, match="expected entities of 2 classes, apart from each other") as raised:
        TARGET.beside(texts).arrays(rows, form)
    assert raised.value.row == 1


def test_where_texts_are_not_known_only_what_needs_none_is_said() -> None:
    facts = TARGET.facts(column([(0, 99, 0)], [(2, 2, 0)]), card())
    assert facts["entity_outside"] == [None, None] and facts["entity_within_unit"] == [None, None]
    assert facts["entity_empty"][1] == "entity 1 of class 0, 2 to 2"


def test_people_see_entities_in_brackets_in_their_texts() -> None:
    texts = pa.array(["Ann Lee left Rome", "so what", None])
    told = TARGET.captioned(column([(13, 17, 1), (0, 7, 0), (17, 99, 1)], [], [(0, 1, 0)]), texts, NAMES)
    assert told.to_pylist() == ["[Ann Lee|person] left [Rome|place]", "so what", None]


def test_drift_follows_how_many_there_are_how_long_and_of_which_class() -> None:
    texts = pa.array(["Ann Lee left Rome", "so"])
    arrays = TARGET.beside(texts).arrays(column([(0, 7, 0), (13, 17, 1)], []), card())
    told = TARGET.summary(arrays, card())
    assert told["value_entities"].tolist() == [2, 0]
    assert told["value_length"][0] == 1.5 and np.isnan(told["value_length"][1])
    assert (told["share_person"].tolist(), told["share_place"].tolist()) == ([1, 0], [1, 0])


def test_strata_are_which_classes_a_text_has_and_the_order_of_entities_is_none() -> None:
    rows = column([(0, 1, 0), (2, 3, 1)], [(0, 1, 1), (2, 3, 0)], [(0, 1, 0)], [], [(2, 3, 1), (0, 1, 0)])
    first, second, third, fourth, fifth = TARGET.shown(rows, 2).strata.tolist()
    assert first == second == fifth and len({first, third, fourth}) == 3
    digests = TARGET.digests(rows, NAMES).to_pylist()
    assert digests[0] == digests[4] != digests[1]
