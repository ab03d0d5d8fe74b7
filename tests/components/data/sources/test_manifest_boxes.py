"""Boxes in tables, one row per object or a list a row: the same pictures and objects however they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.errors import DataError
from tests.components.data.sources.source_builders import SCENE, parse, read, save

SIDES = ("left", "top", "right", "bottom")
# Picture → its split, and its objects: class, corners.
TOLD: dict[str, tuple[str, list[tuple[str, list[float]]]]] = {
    "a.png": ("train", [("cat", [1, 2, 11, 12]), ("dog", [5.5, 5, 40, 30])]),
    "b.png": ("test", []),
    "c.png": ("train", [("dog", [0, 0, 8, 9])]),
}


def pictures(base: Path) -> None:
    for number, name in enumerate(TOLD):
        save(base / "i" / name, number, SCENE)


def shown(source: dict[str, Any]) -> dict[str, Any]:
    data, rows = read(source)
    assert (data.target, data.classes) == ("boxes", ("cat", "dog"))
    return {
        Path(row["id"]).name: (
            row["published"],
            [(data.classes[each["label"]], [each[side] for side in SIDES]) for each in row["target"]],
        )
        for row in rows
    }


def a_row_an_object(base: Path, suffix: str) -> dict[str, Any]:
    rows = []
    for name, (split, objects) in TOLD.items():
        for label, corners in objects or [(None, [None] * 4)]:
            rows.append([f"i/{name}", split, label, *corners])
    frame = pd.DataFrame(rows, columns=["path", "split", "class", *SIDES])
    path = base / f"table{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    return {"kind": "manifest", "path": str(path), "target": "class", "box": list(SIDES)}


def a_list_a_row(base: Path, form: str) -> dict[str, Any]:
    rows = []
    for name, (split, objects) in TOLD.items():
        listed: Any = [
            {"label": label, "bbox": [left, top, right - left, bottom - top]}
            for label, (left, top, right, bottom) in objects
        ]
        if form == "corners":
            listed = [
                {"class": label, **dict(zip(("xmin", "ymin", "xmax", "ymax"), at, strict=True))}
                for label, at in objects
            ]
        elif form == "columns":
            listed = {"bbox": [each["bbox"] for each in listed], "categories": [each["label"] for each in listed]}
        rows.append({"path": f"i/{name}", "split": split, "objects": listed})
    (base / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"kind": "manifest", "path": str(base / "table.jsonl"), "objects": "objects"}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_row_an_object_is_a_sample_a_picture(tmp_path: Path, suffix: str) -> None:
    pictures(tmp_path)
    assert shown(a_row_an_object(tmp_path, suffix)) == TOLD


@pytest.mark.parametrize("form", ["lists", "corners", "columns"])
def test_a_list_a_row_has_the_same_objects(tmp_path: Path, form: str) -> None:
    pictures(tmp_path)
    assert shown(a_list_a_row(tmp_path, form)) == TOLD


def test_parquet_holds_the_pictures_themselves_and_lists_as_json(tmp_path: Path) -> None:
    pictures(tmp_path)
    table = pa.table(
        {
            "image": [{"bytes": (tmp_path / "i" / name).read_bytes(), "path": name} for name in TOLD],
            "name": list(TOLD),
            "split": [split for split, _ in TOLD.values()],
            "objects": [
                json.dumps(
                    [{"label": label, **dict(zip(SIDES, at, strict=True)), "iscrowd": 0} for label, at in objects]
                )
                for _, objects in TOLD.values()
            ],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    source = {"kind": "manifest", "path": str(tmp_path / "t.parquet"), "image": "image", "id": "name"}
    assert shown({**source, "objects": "objects"}) == TOLD


def test_flags_names_and_shares_are_understood(tmp_path: Path) -> None:
    pictures(tmp_path)
    objects = [
        {"category_id": 1, "box": [0.5, 0.5, 0.25, 0.2], "iscrowd": 1},
        {"category_id": 0, "box": [0.25, 0.5, 0.25, 0.2], "visible": 0.25},
    ]
    (tmp_path / "t.jsonl").write_text(json.dumps({"path": "i/a.png", "o": objects, "group_site": "x"}))
    keys = {"objects": "o", "boxes": "cxcywh", "unit": "shares", "names": ["cat", "dog"]}
    data, rows = read({"kind": "manifest", "path": str(tmp_path / "t.jsonl"), **keys})
    assert data.classes == ("cat", "dog") and rows[0]["group_site"] == "x"
    assert [list(each.values()) for each in rows[0]["target"]] == [
        [1, 15, 12, 25, 18, True, 1],
        [0, 5, 12, 15, 18, False, 0.25],
    ]


def test_what_is_wrong_is_named_by_its_row(tmp_path: Path) -> None:
    pictures(tmp_path)
    lines = [
        *("i/a.png,train,cat,1,1,9,9", "i/a.png,train,cat,1,1,41.5,9", "i/a.png,train,dog,5,5,5,9"),
        *("i/a.png,test,dog,5,5,9,9", "i/b.png,test,,5,5,9,9", "i/c.png,train,dog,5,,9,9", "i/d.png,train,dog,1,1,9,9"),
    ]
    (tmp_path / "t.csv").write_text("\n".join(["path,split,class,left,top,right,bottom", *lines]))
    source = {"kind": "manifest", "path": str(tmp_path / "t.csv"), "target": "class", "box": list(SIDES)}
    with pytest.raises(DataError) as raised:
        read(source)
    said = str(raised.value)
    assert "received 1 outside of the picture: row 2, 1, 1 to 41.5, 9 of 40×30" in said
    assert "received 1 without an area: row 3, 5, 5 to 5, 9" in said
    assert "received 1 that say otherwise than its first row: row 4, of i/a.png" in said
    assert "received 1 without one, or of another: row 5" in said
    assert "received 1 with something else: row 6, ['5', None, '9', '9']" in said
    assert "received 1 missing: row 7, i/d.png" in said
    data, rows = read({**source, "faulty": "skip"})
    assert {row["id"]: len(row["target"]) for row in rows} == {"i/a.png": 1, "i/b.png": 0, "i/c.png": 0}
    assert len(data.notes()) == 6


@pytest.mark.parametrize(
    "keys",
    [{"mask": "m"}, {"numbers": ["n"]}, {"objects": "o"}, {"target": ["a", "b"]}, {"encoding": "base64"}],
)
def test_boxes_stand_alone(tmp_path: Path, keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"either `box`|`box` with one"):
        parse({"kind": "manifest", "path": str(tmp_path), "box": list(SIDES), **keys})
    with pytest.raises(ValueError, match="beside them `boxes`"):
        parse({"kind": "manifest", "path": str(tmp_path), "unit": "shares"})
