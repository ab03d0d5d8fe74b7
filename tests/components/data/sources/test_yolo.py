"""YOLO's text files, compared with what was written into them, and all the ways in which they are laid out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.config import read_yaml
from components.data.checking.detect import choose
from components.data.errors import DataError
from components.data.sources import registry
from tests.components.data.sources.source_builders import SCENE, parse, read, save

SIDES = ("left", "top", "right", "bottom")
WIDTH, HEIGHT = SCENE
TEXTS = {
    "1": "0 0.25 0.5 0.5 0.2\n1 0.9 0.9 0.2 0.2\n",
    "2": "",
    "3": "1 0.1 0.1 0.5 0.1 0.3 0.4\n",  # an outline: a triangle
    "4": None,  # no text at all
}
BOXES = {
    "1": [("cat", [0.0, 12.0, 20.0, 18.0]), ("dog", [32.0, 24.0, 40.0, 30.0])],
    "2": [],
    "3": [("dog", [4.0, 3.0, 20.0, 12.0])],
    "4": [],
}


def write(base: Path, pictures: str = "images/{}.png", texts: str = "labels/{}.txt", yaml: str = "") -> Path:
    for number, (name, text) in enumerate(TEXTS.items()):
        save(base / pictures.format(name), number, SCENE)
        if text is not None:
            (base / texts.format(name)).parent.mkdir(parents=True, exist_ok=True)
            (base / texts.format(name)).write_text(text)
    if yaml:
        (base / "data.yaml").write_text(yaml)
    return base


def shown(source: dict[str, Any]) -> tuple[dict[str, list[Any]], dict[str, str | None]]:
    data, rows = read(source)
    assert data.target == "boxes"
    found = {
        Path(row["id"]).stem: [
            (data.classes[each["label"]], pytest.approx([each[side] for side in SIDES], abs=1e-4))
            for each in row["target"]
        ]
        for row in rows
    }
    return found, {Path(row["id"]).stem: row["published"] for row in rows}


@pytest.mark.parametrize(
    ("laid", "splits"),
    [
        ({"yaml": "names: [cat, dog]\n"}, None),
        ({"pictures": "{}.png", "texts": "{}.txt", "yaml": "names: {0: cat, 1: dog}\n"}, None),
        ({"pictures": "images/train/{}.png", "texts": "labels/train/{}.txt", "yaml": "names: [cat, dog]\n"}, "train"),
        (
            {
                "pictures": "valid/images/{}.png",
                "texts": "valid/labels/{}.txt",
                "yaml": "val: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n",
            },
            "validation",
        ),
        (
            {
                "pictures": "images/a/{}.png",
                "texts": "labels/a/{}.txt",
                "yaml": "path: ../elsewhere/set\ntest: images/a\ntrain:\nnames: {0: cat, 1: dog}\n",
            },
            "test",
        ),
    ],
)
def test_boxes_are_those_of_the_texts_wherever_these_lie(
    tmp_path: Path, laid: dict[str, str], splits: str | None
) -> None:
    write(tmp_path, **laid)
    found, published = shown({"kind": "yolo", "path": str(tmp_path)})
    assert found == BOXES
    assert set(published.values()) == {splits}
    assert choose({"path": str(tmp_path)}, tmp_path).source == {"kind": "yolo", "path": str(tmp_path)}


def test_a_yaml_can_be_the_path_and_pictures_be_listed(tmp_path: Path) -> None:
    # given lists as darknet has them, of paths on another machine
    write(tmp_path, pictures="obj_train_data/{}.png", texts="obj_train_data/{}.txt")
    (tmp_path / "train.txt").write_text("data/obj_train_data/1.png\n./obj_train_data/2.png\n")
    (tmp_path / "valid.txt").write_text("/home/she/data/obj_train_data/3.png\n\n")
    (tmp_path / "set.yaml").write_text("train: train.txt\nval: [valid.txt]\nnames: [cat, dog]\n")
    found, published = shown({"kind": "yolo", "path": str(tmp_path / "set.yaml")})
    assert found == {name: BOXES[name] for name in "123"}
    assert published == {"1": "train", "2": "train", "3": "validation"}
    source = parse({"kind": "yolo", "path": str(tmp_path / "set.yaml")})
    before = registry.listing(source, tmp_path)
    (tmp_path / "obj_train_data" / "1.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    assert before is not None and registry.listing(source, tmp_path) != before
    (tmp_path / "valid.txt").write_text("gone.png\n")
    with pytest.raises(DataError, match=r"received 1 missing: valid\.txt, line 1, 'gone\.png'"):
        read({"kind": "yolo", "path": str(tmp_path / "set.yaml")})


def test_names_come_from_a_text_or_the_entry_and_else_are_numbers(tmp_path: Path) -> None:
    base = write(tmp_path / "set")
    source = {"kind": "yolo", "path": str(base)}
    assert read(source)[0].classes == ("0", "1")
    (base / "classes.txt").write_text("cat\ndog\n")
    assert read(source)[0].classes == ("cat", "dog")
    assert read({**source, "names": ["zebra", "ant", "never"]})[0].classes == ("zebra", "ant")
    assert read({**source, "without": ["dog"]})[1][0]["target"][0]["label"] == 0


def test_what_is_wrong_is_named_by_file_and_line(tmp_path: Path) -> None:
    base = write(tmp_path, yaml="names: [cat, dog]\n")
    (base / "labels" / "2.txt").write_text("0 0.5 0.5 0.1 0.1\n\n7 0.5 0.5 0.1 0.1\nx 1 2\n0 0.5 0.5 0 0.1\n")
    (base / "labels" / "3.txt").write_text("1 1.5 0.5 0.1 0.1\n0.5 0.5 0.5 0.1 0.1\n")
    (base / "labels" / "4.txt").write_bytes(b"\xff\xfe\xfd")
    source = {"kind": "yolo", "path": str(base)}
    with pytest.raises(DataError) as raised:
        read(source)
    said = str(raised.value)
    assert "received 2 of another class: labels/2.txt, line 3, '7' of 2; labels/3.txt, line 2, '0.5' of 2" in said
    assert "received 1 of something else: labels/2.txt, line 4, 'x 1 2'" in said
    assert "received 1 without an area: labels/2.txt, line 5, 20, 13.5 to 20, 16.5" in said
    assert "received 1 outside of the picture: labels/3.txt, line 1, 58, 13.5 to 62, 16.5 of 40×30" in said
    assert "received 1 that cannot be read: labels/4.txt" in said
    data, rows = read({**source, "faulty": "skip"})
    assert [len(row["target"]) for row in rows] == [2, 1, 0, 0]
    assert len(data.notes()) == 5


def test_points_of_a_body_are_no_outline(tmp_path: Path) -> None:
    save(tmp_path / "images" / "1.png", 1, SCENE)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "1.txt").write_text("0 0.5 0.5 0.2 0.2 0.9 0.9 2 0.1 0.1 1\n")
    (tmp_path / "data.yaml").write_text("names: [person]\nkpt_shape: [2, 3]\n")
    assert shown({"kind": "yolo", "path": str(tmp_path)})[0] == {"1": [("person", [16.0, 12.0, 24.0, 18.0])]}


def test_what_cannot_be_meant_is_told(tmp_path: Path) -> None:
    base = write(tmp_path / "set", yaml="train: images/gone\nnames: [cat, dog]\n")
    with pytest.raises(DataError, match=r"pictures of train in 'images/gone', as the YAML says.*source\.images"):
        read({"kind": "yolo", "path": str(base)})
    assert len(read({"kind": "yolo", "path": str(base), "images": {"train": "images"}})[1]) == 4
    (base / "data.yaml").write_text("train: images\nval: images\nnames: [cat, dog]\n")
    with pytest.raises(DataError, match=r"an id of its own, received 'images/1\.png', which .*train has too"):
        read({"kind": "yolo", "path": str(base)})
    (base / "data.yaml").write_text("names: [cat, cat]\n")
    with pytest.raises(DataError, match="different names, received 'cat' again"):
        read({"kind": "yolo", "path": str(base)})
    assert read_yaml((base / "data.yaml").read_bytes()) == {"names": ["cat", "cat"]}
    for path in base.rglob("*.txt"):
        path.unlink()
    (base / "data.yaml").unlink()
    with pytest.raises(DataError, match="received 4 pictures and no such text"):
        read({"kind": "yolo", "path": str(base)})


def test_a_photograph_on_its_side_is_labelled_upright(tmp_path: Path) -> None:
    pixels = np.zeros((30, 40, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "1.jpg", exif=exif)
    (tmp_path / "labels" / "1.txt").write_text("0 0.5 0.25 1 0.5\n")
    assert shown({"kind": "yolo", "path": str(tmp_path)})[0] == {"1": [("0", [0.0, 0.0, 30.0, 20.0])]}
