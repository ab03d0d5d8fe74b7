"""Entities in tables and in CoNLL's files: the same texts and entities however they are written, and what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.config import DatasetConfig
from components.data.checking.detect import choose
from components.data.errors import DataError
from components.data.sources import grammar_entities, registry
from components.data.sources.conll import Sentence
from components.data.sources.grammar_entities import CLASSES, GROUP, NEW, GrammarEntitiesSource, compose

Entities = list[tuple[int, int, str]]
# Text → its entities: first character, the one behind the last, class.
TOLD: dict[str, Entities] = {
    "Ann Lee went to Rome .": [(0, 7, "PER"), (16, 20, "LOC")],
    "Rome Oslo and so on": [(0, 4, "LOC"), (5, 9, "LOC")],
    "nobody came": [],
}
TEXT = {"text": {"length": 8}}


def read(path: Path, **keys: Any) -> tuple[dict[str, Entities], list[str | None]]:
    """What is recognised at a path, read by its source; as the command does with further keys."""
    section = {**choose({"path": str(path), **keys}, path.parent).source, **keys}
    source = DatasetConfig.model_validate({"task": "tagging", "source": section, **TEXT}).source
    data = registry.read(source, path.parent)
    assert (data.target, data.given) == ("tags", "text")
    rows = [row for table in data.tables for row in table.cast(data.schema).to_pylist()]
    assert len({row["id"] for row in rows}) == len(rows)
    found = {
        row["text"]: [(each["start"], each["end"], data.classes[each["label"]]) for each in row["target"]]
        for row in rows
    }
    return found, [row["published"] for row in rows]


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def objects(spans: Entities) -> list[dict[str, Any]]:
    return [dict(zip(("start", "end", "label"), each, strict=True)) for each in spans]


def prodigy(base: Path) -> Path:
    return lines(base / "a.jsonl", [{"text": text, "spans": objects(spans)} for text, spans in TOLD.items()])


def doccano(base: Path) -> Path:
    """Lists of three values each, out of order, in a column that elsewhere is a class."""
    return lines(
        base / "a.jsonl",
        [{"id": n, "text": text, "label": spans[::-1]} for n, (text, spans) in enumerate(TOLD.items())],
    )


def csv(base: Path) -> Path:
    """Lists as JSON, nothing where there is no entity."""
    rows = [{"sentence": text, "entities": json.dumps(spans) if spans else ""} for text, spans in TOLD.items()]
    pd.DataFrame(rows).to_csv(base / "a.csv", index=False)
    return base / "a.csv"


def parquet(base: Path) -> Path:
    rows = [{"text": text, "entities": json.dumps(objects(spans))} for text, spans in TOLD.items()]
    pd.DataFrame(rows).to_parquet(base / "a.parquet")
    return base / "a.parquet"


def conll(base: Path) -> Path:
    told = (
        "# sentence 1\nAnn NNP B-PER\nLee NNP I-PER\nwent VBD O\nto TO O\nRome NNP B-LOC\n. . O\n\n-DOCSTART- -X- O\n\n"
    )
    told += "Rome NNP B-LOC\nOslo NNP B-LOC\nand CC O\nso RB O\non IN O\n\n\nnobody NN O\ncame VBD O"
    (base / "a.conll").write_text(told, encoding="utf-8")
    return base / "a.conll"


@pytest.mark.parametrize("write", [prodigy, doccano, csv, parquet, conll])
def test_all_ways_to_write_it_are_recognised_and_read_alike(tmp_path: Path, write: Any) -> None:
    found, published = read(write(tmp_path))
    assert found == TOLD
    assert set(published) == {None}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-X I-X O B-X", [(0, 3, "X"), (6, 7, "X")]),
        ("I-X I-X O I-X", [(0, 3, "X"), (6, 7, "X")]),  # IOB1: a B only where another entity of the class is before
        ("I-X B-X I-Y I-Y", [(0, 1, "X"), (2, 3, "X"), (4, 7, "Y")]),
        ("B-X E-X S-X O", [(0, 3, "X"), (4, 5, "X")]),
        ("B-X L-X U-X U-Y", [(0, 3, "X"), (4, 5, "X"), (6, 7, "Y")]),
        ("B-X-Y I-X-Y O O", [(0, 3, "X-Y")]),
    ],
)
def test_each_scheme_of_tags_is_understood(tags: str, expected: Entities) -> None:
    spans = Sentence("", "", None, ["a", "b", "c", "d"], tags.split()).spans()
    assert [(each.start, each.end, each.label) for each in spans] == expected


def test_one_file_a_split_publishes_the_splits(tmp_path: Path) -> None:
    folder = tmp_path / "news"
    folder.mkdir()
    for name in ("eng.train", "eng.dev", "test"):
        (folder / f"{name}.txt").write_text(f"Ann B-PER\n{name} O\n", encoding="utf-8")
    found, published = read(folder)
    assert sorted(map(str, published)) == ["test", "train", "validation"]
    assert set(found) == {"Ann eng.train", "Ann eng.dev", "Ann test"}


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ("ann", "with a list of entities"),
        ([{"start": 0, "label": "PER"}], "with a start and an end in characters"),
        ([[0, 1.5, "PER"]], "with a start and an end in characters"),
        ([[0, 3, None]], "with a class"),
        ([[3, 3, "PER"]], "with a character at least, received 1 without one: row 2, entity 1, 3 to 3"),
        ([[0, 300, "PER"]], "within their text, received 1 that are not: row 2, entity 1, 0 to 300 of 7"),
        ([[0, 7, "PER"], [4, 7, "LOC"]], "apart from each other, received 1 that overlap the one before: row 2"),
    ],
)
def test_what_is_no_entity_is_named_with_its_row_or_left_out(tmp_path: Path, spans: Any, said: str) -> None:
    rows = [{"text": "Ann Lee", "spans": [[0, 3, "PER"]]}, {"text": "Bob Lee", "spans": spans}]
    path = lines(tmp_path / "a.jsonl", rows)
    with pytest.raises(DataError) as caught:
        read(path, kind="manifest", text="text", spans="spans")
    assert said in str(caught.value)
    found, _ = read(path, kind="manifest", text="text", spans="spans", faulty="skip")
    assert found["Ann Lee"] == [(0, 3, "PER")] and len(found["Bob Lee"]) == len(spans) - 1 if spans != "ann" else True


def test_a_line_that_is_no_token_is_named_and_its_sentence_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("Ann B-PER\n\nLee PER\nran O\n\nso O\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"the last column, received 1 of something else: a\.conll, line 3, 'Lee PER'"):
        read(path, kind="conll")
    assert set(read(path, kind="conll", faulty="skip")[0]) == {"Ann", "so"}


# -- the grammar -----------------------------------------------------------------------------------------------------

SOURCE = GrammarEntitiesSource(kind="grammar-entities")


def test_entities_of_the_grammar_are_where_it_says_and_new_names_are_in_no_other_sentence() -> None:
    known: set[str] = set()
    new: set[str] = set()
    for number in range(4_000):
        sentence = compose(SOURCE, number)
        for each in sentence.entities:
            said = sentence.text[each["start"] : each["end"]]
            if CLASSES[each["label"]] == "money":
                assert any(char.isdigit() for char in said) or said.split()[1] in ("hundred", "thousand", "million")
            else:
                assert said[0].isupper()
                (new if sentence.names == NEW else known).update(said.split())
        assert sentence.names != NEW or sentence.published == "test"
    shared = new & known
    assert shared <= {*grammar_entities._TITLES, *grammar_entities._BEFORE_PLACES}
    assert len(new) > 200 < len(known)


def test_a_name_alone_does_not_say_whether_it_is_of_a_person() -> None:
    of: dict[str, set[int]] = {}
    for number in range(4_000):
        sentence = compose(SOURCE, number)
        for each in sentence.entities:
            of.setdefault(sentence.text[each["start"] : each["end"]], set()).add(each["label"])
    assert sum(len(labels) > 1 for labels in of.values()) > 10


def test_sentences_depend_on_their_number_and_the_seed_only() -> None:
    (few,), (more,) = (
        list(grammar_entities.read(SOURCE.model_copy(update={"sentences": n}), Path()).tables) for n in (10, 50)
    )
    assert few.equals(more.slice(0, 10)) and GROUP in few.column_names
    assert compose(SOURCE, 5) != compose(SOURCE.model_copy(update={"seed": 1}), 5)
