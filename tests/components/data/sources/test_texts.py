"""Texts in folders called after classes, and in tables: read as they are, and what is none is named by its place."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.config import ConfigurationError, parse_entry
from components.data.checking.detect import choose
from components.data.errors import DataError
from components.data.preparing.ingest import ingest, raw_tables
from components.data.sources import registry
from components.data.sources.base import limits

TEXTS = {"good/a.txt": "Not bad.\r\nGood!", "good/b.txt": "日本語 👍🏽", "bad/c.txt": "naïve \x00", "bad/d.txt": ""}


def put(base: Path, contents: dict[str, bytes | str]) -> Path:
    for name, content in contents.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return base


def read(source: dict[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
    """What a source gives, with all of its rows, in the columns that it promises."""
    entry = parse_entry("texts", {"task": "classification", "source": source, "text": {}})
    data = registry.read(entry.source, Path("/nowhere"))
    rows = []
    for table in data.tables:
        assert table.schema == data.schema
        rows += table.to_pylist()
    return data, rows


def found(path: Path) -> dict[str, Any]:
    """The section by which what lies there is read, as `convoy data check` finds it."""
    return dict(choose({"path": str(path)}, Path("/nowhere")).source)


# -- folders ---------------------------------------------------------------------------------------------------------


def test_files_are_texts_of_their_folders_classes(tmp_path: Path) -> None:
    source = {"kind": "texts", "path": str(put(tmp_path / "reviews", TEXTS | {"README.txt": "Not a sample."}))}
    assert found(tmp_path / "reviews") == source
    data, rows = read(source)
    assert (data.given, data.target, data.classes, data.groups) == ("text", "class", ("bad", "good"), ())
    assert {row["id"]: row["text"] for row in rows} == TEXTS
    assert [row["target"] for row in rows] == [0, 0, 1, 1]
    assert {row["published"] for row in rows} == {None}


def test_utf8_and_utf16_are_one_text(tmp_path: Path) -> None:
    said = "Größe 👍"
    forms = {
        "a/1.txt": said.encode(),
        "a/2.txt": codecs.BOM_UTF8 + said.encode(),
        "b/3.txt": codecs.BOM_UTF16_LE + said.encode("utf-16-le"),
        "b/4.txt": codecs.BOM_UTF16_BE + said.encode("utf-16-be"),
    }
    _, rows = read({"kind": "texts", "path": str(put(tmp_path / "forms", forms))})
    assert [row["text"] for row in rows] == [said] * 4


@pytest.mark.parametrize("name", ["{split}/{label}/{n}.txt", "{label}/{split}/{n}.txt"])
def test_folders_of_splits_publish_them_above_the_classes_or_in_them(tmp_path: Path, name: str) -> None:
    splits = ("train", "test", "dev")
    contents = {
        name.format(split=split, label=label, n=number): f"{label} {number}"
        for number, (split, label) in enumerate((split, label) for split in splits for label in ("neg", "pos"))
    }
    source = found(put(tmp_path / "imdb", contents))
    data, rows = read(source)
    assert data.classes == ("neg", "pos")
    assert {row["published"] for row in rows} == {"train", "test", "validation"}
    assert all(row["text"].startswith(data.classes[row["target"]]) for row in rows)


def test_folders_in_a_classs_folder_can_be_its_own(tmp_path: Path) -> None:
    source = found(put(tmp_path / "news", {"sport/2024/a.txt": "Goal.", "sport/b.txt": "Match.", "trade/c.txt": "Up."}))
    assert source["nested"] == "join"
    data, rows = read(source)
    assert data.groups == ("group_folder",)
    assert [row["group_folder"] for row in rows] == ["2024", None, None]
    with pytest.raises(DataError, match=r"expected only texts \(\.txt\) in a class's folder, received a folder"):
        read({"kind": "texts", "path": str(tmp_path / "news")})


def test_what_is_no_text_is_named_or_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TEXT", 40)
    wrong = {"bad/latin.txt": b"caf\xe9", "bad/long.txt": b"x" * 41, "bad/wide.txt": codecs.BOM_UTF16_LE + b"odd"}
    base = put(tmp_path / "reviews", TEXTS | wrong)
    with pytest.raises(DataError) as told:
        read({"kind": "texts", "path": str(base)})
    assert "received 2 in something else: bad/latin.txt from byte 3 on; bad/wide.txt" in str(told.value)
    assert "bad/long.txt has 41" in str(told.value)
    data, rows = read({"kind": "texts", "path": str(base), "faulty": "skip"})
    assert [row["id"] for row in rows] == sorted(TEXTS)
    assert len(data.notes()) == 2
    put(base, {"good/scan.pdf": b"%PDF"})
    with pytest.raises(
        DataError, match=r"files named `\.txt` in classes' folders, .*good/scan\.pdf is named otherwise"
    ):
        read({"kind": "texts", "path": str(base)})


@pytest.mark.parametrize("beside", [{}, {"images/train/1.txt": "", "images/val/2.txt": ""}], ids=["alone", "beside"])
def test_texts_of_annotations_are_no_samples(tmp_path: Path, beside: dict[str, bytes | str]) -> None:
    """YOLO's texts lie in a folder that says so, in folders of splits without classes."""
    put(tmp_path / "shop", {"labels/train/1.txt": "0 .5 .5 .1 .1", "labels/val/2.txt": "0 .5 .5 .1 .1", **beside})
    with pytest.raises(DataError, match="expected one of the layouts"):
        found(tmp_path / "shop")


# -- tables ----------------------------------------------------------------------------------------------------------

ROWS = [
    {"review": 'Not good, "hardly" worth it.', "label": "bad", "split": "train", "group_site": "north"},
    {"review": "Pas mal du tout\nvraiment", "label": "good", "split": "train", "group_site": "south"},
    {"review": "とても良い", "label": "good", "split": "test", "group_site": "north"},
    {"review": "とても良い", "label": "good", "split": "test", "group_site": "south"},  # a text may be there twice
]


def table(base: Path, suffix: str, rows: list[dict[str, Any]]) -> Path:
    base.mkdir(parents=True, exist_ok=True)
    path = base / f"reviews{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    else:
        import pandas as pd

        pd.DataFrame(rows).to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_with_a_row_a_text_is_recognised_and_read(tmp_path: Path, suffix: str) -> None:
    source = found(table(tmp_path / "shop", suffix, ROWS))
    assert source == {
        "kind": "manifest",
        "path": str(tmp_path / "shop" / f"reviews{suffix}"),
        "text": "review",
        "target": "label",
    }
    data, rows = read(source)
    assert (data.given, data.classes, data.groups) == ("text", ("bad", "good"), ("group_site",))
    assert [row["text"] for row in rows] == [row["review"] for row in ROWS]
    assert [data.classes[row["target"]] for row in rows] == [row["label"] for row in ROWS]
    assert [row["published"] for row in rows] == ["train", "train", "test", "test"]
    assert len({row["id"] for row in rows}) == 4


def test_ids_are_used_where_they_are_unique(tmp_path: Path) -> None:
    numbered = [row | {"id": f"r{number}"} for number, row in enumerate(ROWS)]
    source = found(table(tmp_path / "unique", ".csv", numbered))
    assert [row["id"] for row in read(source)[1]] == ["r0", "r1", "r2", "r3"]
    twice = [row | {"id": "r"} for row in ROWS]
    assert "id" not in found(table(tmp_path / "twice", ".csv", twice))
    with pytest.raises(DataError, match=r"rows with an id of their own, received .* whose id another row has too"):
        read({**source, "path": str(tmp_path / "twice" / "reviews.csv")})


def test_a_number_may_be_learnt_from_a_text(tmp_path: Path) -> None:
    rated = [{"text": row["review"], "score": 1.5 + number} for number, row in enumerate(ROWS)]
    source = found(table(tmp_path / "rated", ".csv", rated))
    data, rows = read(source)
    assert (data.given, data.target) == ("text", "values")
    assert [row["target"] for row in rows] == [[1.5], [2.5], [3.5], [4.5]]


def test_rows_without_a_text_are_named_or_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TEXT", 60)
    some = [*ROWS, ROWS[0] | {"review": None}, ROWS[0] | {"review": "x" * 61}]
    source = {"kind": "manifest", "path": str(table(tmp_path, ".csv", some)), "text": "review", "target": "label"}
    with pytest.raises(DataError) as told:
        read(source)
    assert "expected rows with a text, received 1 without one: row 5" in str(told.value)
    assert "row 6 has 61" in str(told.value)
    assert len(read(source | {"faulty": "skip"})[1]) == 4


def test_a_column_of_something_else_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, ".parquet", [{"review": 3, "label": "a"}])
    source = {"kind": "manifest", "path": str(path), "target": "label"}
    with pytest.raises(DataError, match=r"expected texts in column 'review' \(source.text\), received int64"):
        read(source | {"text": "review"})
    with pytest.raises(DataError, match=r"expected a column 'said' \(source.text\), received review, label"):
        read(source | {"text": "said"})
    with pytest.raises(ConfigurationError, match="either `text`, or `image`"):
        read(source | {"text": "review", "mask": "label"})


def test_raw_texts_are_stored_as_they_are(tmp_path: Path) -> None:
    source = {"kind": "texts", "path": str(put(tmp_path / "reviews", TEXTS))}
    entry = parse_entry("texts", {"task": "classification", "source": source, "text": {}})
    card = ingest(entry.source, tmp_path, tmp_path / "raw")
    assert (card.samples, card.given) == (4, "text")
    stored = [row for rows in raw_tables(tmp_path / "raw") for row in rows.to_pylist()]
    assert {row["id"]: row["text"] for row in stored} == TEXTS
