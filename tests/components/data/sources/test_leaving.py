"""Classes that are left out of any source: its other samples stay what they are, and what went is counted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.data.errors import DataError
from tests.components.data.sources import source_builders as sources
from tests.components.data.sources.source_builders import WRITERS, read


@pytest.mark.parametrize("kind", WRITERS)
def test_every_source_can_be_without_a_class(tmp_path: Path, kind: str) -> None:
    source = WRITERS[kind](tmp_path / "set")
    whole, every = read(source, tmp_path)
    data, rows = read({**source, "without": ["cat"]}, tmp_path)
    assert (whole.classes, data.classes) == (("cat", "dog"), ("dog",))
    assert rows == [{**row, "target": 0} for row in every if row["target"] == 1]
    gone = len(every) - len(rows)
    said = "left out: the folder 'cat'" if kind == "folder" else f"left out: {gone} samples of class 'cat'"
    assert gone > 0 and [said in note for note in data.notes()] == [True]


def test_in_masks_its_pixels_become_the_background(tmp_path: Path) -> None:
    source = {**sources.write_coco(tmp_path), "take": "masks"}
    _, every = read(source, tmp_path)
    data, rows = read({**source, "without": ["cat"]}, tmp_path)
    assert data.classes == ("background", "dog") and len(rows) == len(every)
    for before, after in zip(every, rows, strict=True):
        mask = np.asarray(Image.open(io.BytesIO(before["target"])))
        assert (np.asarray(Image.open(io.BytesIO(after["target"]))) == np.array([0, 0, 1])[mask]).all()
    assert data.notes() == ("left out: 6 masks of class 'cat' (`without`)",)


def test_a_folder_that_is_no_class_can_be_left_out(tmp_path: Path) -> None:
    source = sources.write_folder(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "run.txt").write_text("x")
    with pytest.raises(
        DataError, match=r"logs: expected images in a class's folder, received none; .*without=\[logs\]"
    ):
        read(source)
    data, rows = read({**source, "without": ["logs"]})
    assert data.classes == ("cat", "dog") and len(rows) == 12


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["cow"], r"source\.without: expected classes of the source \(cat, dog\), received 'cow', which is none"),
        (["cat", "dog"], r"source\.without: expected a class to be left, received all of them: cat, dog"),
    ],
)
def test_what_cannot_be_left_out_is_named(tmp_path: Path, names: list[str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read({**sources.write_manifest(tmp_path), "without": names})


def test_the_background_cannot_be_left_out(tmp_path: Path) -> None:
    source: dict[str, Any] = {**sources.write_coco(tmp_path), "take": "masks", "without": ["background"]}
    with pytest.raises(DataError, match="expected classes other than the first, 'background'"):
        read(source, tmp_path)


def test_names_that_were_joined_are_left_out_by_the_name_that_they_have(tmp_path: Path) -> None:
    for number, name in enumerate(("cat", "Cat ", "cat", "dog", "owl")):
        sources.save(tmp_path / "i" / f"{number}.png", number)
        with (tmp_path / "t.csv").open("a") as file:
            file.write(("path,target\n" if not number else "") + f"i/{number}.png,{name}\n")
    source = {"kind": "manifest", "path": str(tmp_path / "t.csv"), "spellings": "join", "without": ["cat"]}
    data, rows = read(source)
    assert (data.classes, [row["id"] for row in rows]) == (("dog", "owl"), ["i/3.png", "i/4.png"])


def test_pictures_that_nothing_can_read_are_left_out_and_counted(tmp_path: Path) -> None:
    source = sources.write_folder(tmp_path)
    whole = (tmp_path / "cat" / "00.png").read_bytes()
    (tmp_path / "cat" / "cut.png").write_bytes(whole[:-40])
    (tmp_path / "dog" / "empty.png").write_bytes(b"")
    assert len(read(source)[1]) == 14  # they are the inspection's to judge
    data, rows = read({**source, "faulty": "skip"})
    assert len(rows) == 12 and not {"cat/cut.png", "dog/empty.png"} & {row["id"] for row in rows}
    assert data.notes()[0].startswith("left out: 2 pictures unreadable: cat/cut.png is damaged or cut short")
