"""Any number of labels a sample, however a source writes them: as cells, lists, columns, folders or objects."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from components.config import ManifestSource
from components.data.checking.check import Wanted, check, look
from components.data.errors import DataError
from components.data.sources import registry
from components.data.sources.base import limits
from components.data.sources.base.form import SourceData
from components.data.sources.digit_sheets import DigitSheetsSource
from components.data.sources.topics import TOPICS, TopicsSource
from tests.components.data.sources.source_builders import parse

NAMES = ("food", "price", "room")
ROWS = [("note one", ["food", "price"]), ("note two", []), ("note three", ["price"]), ("note four", ["room", "food"])]


def read(source: dict[str, Any], project: Path) -> tuple[SourceData, list[set[str]]]:
    """What a source gives, and the labels of each sample by their names."""
    data = registry.read(parse(source), project)
    targets = [target for table in data.tables for target in table.column("target").to_pylist()]
    return data, [{data.classes[label] for label in target} for target in targets]


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def table(folder: Path, form: str) -> tuple[str, dict[str, Any]]:
    """`ROWS` as a table of that form, and the keys by which it is read."""
    texts = [text for text, _ in ROWS]
    labels: list[Any] = [names for _, names in ROWS]
    keys: dict[str, Any] = {"text": "text", "labels": "topics"}
    lines = ["text,topics"]
    if form == "columns":
        marks = [",".join(str(int(name in names)) for name in NAMES) for _, names in ROWS]
        lines = [f"text,{','.join(NAMES)}", *map(",".join, zip(texts, marks, strict=True))]
        keys = {"text": "text", "labels": list(NAMES)}
    elif form == "lines":
        lines = [json.dumps({"text": text, "topics": names}) for text, names in ROWS]
    elif form == "separator":
        lines += [f"{text},{' ; '.join(names)}" for text, names in ROWS]
        keys["separator"] = ";"
    elif form == "tabs":
        lines = ["text\ttopics", *(f"{text}\t{'|'.join(names)}" for text, names in ROWS)]
        keys["separator"] = "|"
    elif form == "python":
        lines += [f'{text},"{names}"' for text, names in ROWS]
    elif form == "numbers":
        labels = [[NAMES.index(name) for name in names] for names in labels]
        keys["names"] = list(NAMES)
    name = {"lines": "t.jsonl", "tabs": "t.tsv", "lists": "t.parquet", "numbers": "t.parquet"}.get(form, "t.csv")
    if name == "t.parquet":
        pq.write_table(pa.table({"text": texts, "topics": labels}), folder / name)
    else:
        (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return name, keys


FORMS = ["separator", "tabs", "python", "lines", "lists", "numbers", "columns"]


@pytest.mark.parametrize("form", FORMS)
def test_a_table_has_them_in_cells_lists_or_columns(tmp_path: Path, form: str) -> None:
    name, keys = table(tmp_path, form)
    data, found = read({"kind": "manifest", "path": name, **keys}, tmp_path)
    assert (data.target, data.classes, data.given) == ("labels", ("food", "price", "room"), "text")
    assert found == [set(names) for _, names in ROWS]


@pytest.mark.parametrize("form", [form for form in FORMS if form != "numbers"])
def test_the_check_proposes_what_reads_them(tmp_path: Path, form: str) -> None:
    name, keys = table(tmp_path, form)
    looked = look(str(tmp_path / name), Wanted(name="notes"), tmp_path)
    assert looked.entry["task"] == "multilabel"
    proposed = {key: value for key, value in looked.entry["source"].items() if key not in ("kind", "path")}
    assert proposed == {key: value for key, value in keys.items() if (key, value) != ("text", "path")}
    assert {name: sum(splits.values()) for name, splits in looked.survey.classes.items()} == {
        "food": 2,
        "price": 2,
        "room": 1,
    }


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (pa.array([["x" * 60_000] * 5_000]), "labels are names, not texts"),
        (pa.array([np.zeros(limits.LABELS + 1, np.int8)]), f"expected at most {limits.LABELS:,} labels"),
    ],
)
def test_a_few_kilobytes_that_stand_for_gigabytes_are_refused(tmp_path: Path, labels: pa.Array, says: str) -> None:
    pq.write_table(pa.table({"text": ["one"], "topics": labels}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 200_000
    with pytest.raises(DataError, match=says):
        read({"kind": "manifest", "path": "t.parquet", "text": "text", "labels": "topics"}, tmp_path)


def test_lists_stand_where_labels_are_expected_and_nowhere_else(tmp_path: Path) -> None:
    rows = pa.table({"text": ["one"], "topics": [["a"]], "group_x": [["b"]]})
    pq.write_table(rows, tmp_path / "t.parquet")
    source = {"kind": "manifest", "path": "t.parquet", "text": "text", "labels": "topics"}
    with pytest.raises(DataError, match=r"expected one value per row in column 'group_x', received lists"):
        read(source, tmp_path)
    pq.write_table(rows.drop_columns(["group_x"]).append_column("n", pa.array([[[1]]])), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"expected one value per row in column 'n', received lists"):
        read(source | {"labels": "n"}, tmp_path)


def test_a_class_a_row_stays_one_whatever_its_name(tmp_path: Path) -> None:
    lines = ["text,label", "one,red car", "two,blue car", "three,red bus", "four,blue bus", 'five,"Paris, France"']
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    assert look(str(tmp_path / "t.csv"), Wanted(name="t"), tmp_path).entry["task"] == "classification"


@pytest.mark.parametrize(
    ("cells", "keys", "says"),
    [
        (["a", "['b'"], {"labels": "topics"}, r"row 2 has .*\['b'.* in 'topics'"),
        (["[1.5]", "[2]"], {"labels": "topics"}, "row 1 has 1.5 in 'topics'"),
        (
            ["0;7", "1"],
            {"labels": "topics", "separator": ";", "names": ["a", "b"]},
            "row 1 has '?7'?, expected a number",
        ),
        (["1", "-1"], {"labels": ["topics"]}, "row 2 has '?-1'? in 'topics'"),
        (["", ""], {"labels": "topics"}, "expected labels in 'topics'"),
        (["a", "b"], {"labels": "other"}, r"expected a column 'other' \(source.labels\)"),
    ],
)
def test_what_is_none_is_named(tmp_path: Path, cells: list[str], keys: dict[str, Any], says: str) -> None:
    lines = ["text,topics", *(f'text {number},"{cell}"' for number, cell in enumerate(cells))]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=says):
        read({"kind": "manifest", "path": "t.csv", "text": "text", **keys}, tmp_path)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"labels": "a", "target": "b"}, "either `labels` or `target`"),
        ({"labels": "a", "mask": "b"}, "either `labels`, or `mask`"),
        ({"labels": ["a", "b"], "separator": ";"}, "`separator` beside one column"),
        ({"labels": ["a", "b"], "names": ["x"]}, "as many `names`"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ManifestSource.model_validate({"kind": "manifest", "path": "t.csv", **keys})


def test_a_file_in_several_folders_is_one_sample(tmp_path: Path) -> None:
    for place in ("grain/1.txt", "corn/1.txt", "corn/2.txt"):
        path = tmp_path / "news" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"news of {path.name}", encoding="utf-8")
    source = {"kind": "texts", "path": "news", "take": "labels"}
    data, found = read(source, tmp_path)
    assert data.classes == ("corn", "grain") and found == [{"corn", "grain"}, {"corn"}]
    (tmp_path / "news/grain/1.txt").write_text("other news", encoding="utf-8")
    with pytest.raises(DataError, match=r"of the same content as those of their name.*grain/1.txt, unlike corn/1.txt"):
        read(source, tmp_path)


def test_a_picture_has_the_categories_of_its_objects(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    document = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 12, "height": 12} for n in (1, 2, 3)],
        "categories": [{"id": 5, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 1, 4, 4], "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 9, "iscrowd": 1},
            {"id": 3, "image_id": 1, "category_id": 5, "bbox": [5, 5, 4, 4], "iscrowd": 0},
            {"id": 4, "image_id": 2, "category_id": 9, "iscrowd": 0},
        ],
    }
    (tmp_path / "objects.json").write_text(json.dumps(document), encoding="utf-8")
    data, found = read({"kind": "coco", "path": ".", "annotations": "objects.json", "take": "labels"}, tmp_path)
    assert data.classes == ("cat", "dog") and found == [{"cat", "dog"}, {"dog"}, set()]


def test_a_feature_that_is_a_list_of_class_labels_is_read(tmp_path: Path) -> None:
    image = pa.array([{"bytes": png(n), "path": None} for n in range(3)])
    about = {"info": {"features": {"image": {"_type": "Image"}, "tags": {}}}}
    for feature in (
        {"feature": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "_type": "Sequence"},
        [{"names": ["cat", "dog"], "_type": "ClassLabel"}],
    ):
        about["info"]["features"]["tags"] = feature
        rows = pa.table({"image": image, "tags": [[1, 0], [], [1]]})
        named = rows.replace_schema_metadata({"huggingface": json.dumps(about)})
        pq.write_table(named, tmp_path / "rows.parquet")
        data, found = read({"kind": "huggingface", "path": "rows.parquet", "label": "tags"}, tmp_path)
        assert data.classes == ("cat", "dog") and found == [{"cat", "dog"}, set(), {"dog"}]
    features = datasets.Features(
        {"image": datasets.Image(), "tags": datasets.Sequence(datasets.ClassLabel(names=["cat", "dog"]))}
    )
    pictures = [Image.open(io.BytesIO(png(n))) for n in range(3)]
    saved = datasets.Dataset.from_dict({"image": pictures, "tags": [[1, 0], [], [1]]}, features=features)
    saved.save_to_disk(tmp_path / "saved")
    data, found = read({"kind": "huggingface", "path": "saved", "label": "tags"}, tmp_path)
    assert data.classes == ("cat", "dog") and found == [{"cat", "dog"}, set(), {"dog"}]
    looked = look(str(tmp_path / "rows.parquet"), Wanted(name="tags"), tmp_path)
    assert looked.entry["task"] == "multilabel" and looked.entry["source"]["label"] == "tags"


def test_copies_with_other_labels_are_named_with_both(tmp_path: Path) -> None:
    lines = ["text,topics"]
    lines += [f"the {n} soup of the {n * 7} day,{'food;price' if n % 2 else 'room'}" for n in range(40)]
    lines += ["the 3 soup of the 21 day,food"]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    checked = check(str(tmp_path / "t.csv"), Wanted(name="t"), tmp_path, tmp_path / "temporary")
    says = [row["says"] for row in checked.findings.to_pylist() if row["kind"] == "duplicate"]
    assert len(says) == 1 and says[0].endswith(", but labelled food, not food, price")
    assert any("a sample has several labels" in note for note in checked.inspection.notes)


def test_sheets_and_notes_are_the_same_each_time_and_have_what_they_say() -> None:
    sheets = registry.read(DigitSheetsSource(kind="digit-sheets", sheets=50), Path())
    (first,) = sheets.tables
    assert {len(target) for target in first.column("target").to_pylist()} <= {0, 1, 2, 3, 4}
    notes = [registry.read(TopicsSource(kind="topics", notes=count), Path()) for count in (300, 50)]
    (many,), (few,) = (list(each.tables) for each in notes)
    assert notes[0].classes == tuple(TOPICS) and many.slice(0, 50).equals(few)
    labels = many.column("target").to_pylist()
    assert [] in labels and max(map(len, labels)) >= 4
    assert len(set(many.column("text").to_pylist())) > 295
