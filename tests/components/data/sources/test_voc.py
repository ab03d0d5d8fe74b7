"""Pascal VOC's folder, compared with an independent reading of its XML and its masks."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components import decoding
from components.data.errors import DataError
from components.data.sources import voc
from tests.components.data.sources.source_builders import EACH, SCENE, read, save, voc_xml, write_voc

XML = "Annotations/2007_000002.xml"


def _decoded(row: dict[str, Any]) -> np.ndarray[Any, Any]:
    return decoding.to_array(decoding.load(row["image"]))


def test_crops_are_the_boxes_of_the_xml(tmp_path: Path) -> None:
    data, rows = read(write_voc(tmp_path))
    expected = []
    for path in sorted((tmp_path / "Annotations").iterdir()):
        whole = np.asarray(Image.open(tmp_path / "JPEGImages" / f"{path.stem}.jpg"))
        for index, item in enumerate(ET.parse(path).findall("object")):  # noqa: S314  (our own file)
            box = [int(item.find("bndbox").findtext(key)) for key in ("xmin", "ymin", "xmax", "ymax")]  # type: ignore
            crop = whole[box[1] - 1 : box[3], box[0] - 1 : box[2]]
            expected.append((f"{path.stem}#{index}", item.findtext("name"), item.findtext("difficult"), crop))
    assert (data.classes, data.groups) == (("cat", "dog"), ("group_difficult", "group_image"))
    for row, (name, label, difficult, crop) in zip(rows, expected, strict=True):
        assert (row["id"], data.classes[row["target"]]) == (name, label)
        assert row["group_difficult"] == {"0": "no", "1": "yes"}[str(difficult)]
        assert row["group_image"] == name.split("#")[0]
        assert (_decoded(row) == crop).all()


@pytest.mark.parametrize("kind", ["nowhere", "in one file"])
def test_the_flag_difficult_is_a_group_where_some_file_has_it(tmp_path: Path, kind: str) -> None:
    # given annotations as tools write them that know no such flag; or in which one file has it
    source = write_voc(tmp_path)
    for path in sorted((tmp_path / "Annotations").iterdir())[0 if kind == "nowhere" else 2 :]:
        path.write_text(re.sub("<difficult>.</difficult>", "", path.read_text()))
    data, rows = read(source)
    # then nothing is missing: there is no such group; or what has no flag is not difficult, as VOC's own reader has it
    assert len(rows) == 2 * EACH
    if kind == "nowhere":
        assert data.groups == ("group_image",) and "group_difficult" not in rows[0]
    else:
        assert data.groups == ("group_difficult", "group_image")
        assert [row["group_difficult"] for row in rows] == ["no", "no", "no", "yes", *["no"] * (2 * EACH - 4)]


def test_faulty_objects_are_left_out_where_the_entry_says_so(tmp_path: Path) -> None:
    source = write_voc(tmp_path)
    boxes = [("cat", (1, 1, 10, 8), 0), ("cat", (5, 9, 5, 8), 0), ("", (1, 1, 10, 8), 0), ("dog", (1, 1, 99, 8), 0)]
    (tmp_path / XML).write_text(voc_xml("x", boxes))
    (tmp_path / "Annotations" / "2007_000003.xml").write_text("<annotation>")
    (tmp_path / "JPEGImages" / "2007_000004.jpg").unlink()
    data, rows = read({**source, "faulty": "skip"})
    assert [row["id"] for row in rows] == [
        *(f"2007_00000{number}#{index}" for number in (0, 1) for index in (0, 1)),
        "2007_000002#0",
        *("2007_000005#0", "2007_000005#1"),
    ]
    assert [note.partition(":")[2].partition(":")[0].strip() for note in data.notes()] == [
        "1 object without a name",
        "1 file that cannot be read",
        "1 file missing",
        "1 box without an area",
        "1 box outside of the picture",
    ]


def test_boxes_that_count_from_0_or_in_shares_are_read_as_meant(tmp_path: Path) -> None:
    # given boxes from 0: the first pixel of all is one before VOC's, within what is cut off
    source = write_voc(tmp_path)
    (tmp_path / XML).write_text(voc_xml("x", [("cat", (0, 0, 10, 8), 0), ("dog", (3, 3, 39, 29), 0)]))
    row = next(row for row in read(source)[1] if row["id"] == "2007_000002#0")
    assert decoding.header(row["image"]).size == (10, 8)
    # and boxes as shares of the picture, in every file
    for path in (tmp_path / "Annotations").iterdir():
        path.write_text(
            re.sub(
                r"<xmin>.*?</ymax>", "<xmin>0.25</xmin><ymin>0.5</ymin><xmax>1</xmax><ymax>1</ymax>", path.read_text()
            )
        )
    with pytest.raises(DataError, match="expected boxes in pixels, received 12 boxes in shares"):
        read(source)
    assert {decoding.header(row["image"]).size for row in read({**source, "unit": "shares"})[1]} == {(30, 15)}


@pytest.mark.parametrize("take", ["crops", "masks"])
def test_image_sets_publish_the_splits(tmp_path: Path, take: str) -> None:
    rows = read({**write_voc(tmp_path), "take": take})[1]
    images_ = {row["id"].split("#")[0]: row["published"] for row in rows}
    assert list(images_.values()) == ["train"] * 3 + ["validation"] * 2 + [None]


def test_trainval_stands_for_train_where_there_is_no_train(tmp_path: Path) -> None:
    source = write_voc(tmp_path)
    for name in ("train.txt", "val.txt"):
        (tmp_path / "ImageSets" / "Main" / name).unlink()
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("2007_000005\n")
    rows = read(source)[1]
    assert [row["published"] for row in rows[::2]] == ["train"] * 5 + ["test"]


def test_a_set_of_a_class_names_images_and_flags(tmp_path: Path) -> None:
    source = write_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("2007_000000  1\n2007_000001 -1\n\n")
    assert [row["published"] for row in read(source)[1][:6:2]] == ["train", "train", None]


def test_without_image_sets_nothing_is_published(tmp_path: Path) -> None:
    source = write_voc(tmp_path)
    for path in (tmp_path / "ImageSets").rglob("*.txt"):
        path.unlink()
    assert {row["published"] for row in read(source)[1]} == {None}


def test_masks_are_the_palettes_indices_with_the_border_as_background(tmp_path: Path) -> None:
    data, rows = read({**write_voc(tmp_path), "take": "masks"})
    assert data.classes == voc.TWENTY and len(rows) == EACH
    for row in rows:
        published = np.array(Image.open(tmp_path / "SegmentationClass" / f"{row['id']}.png"))
        assert set(np.unique(published)) == {0, 8, 12, 255}
        mask = np.asarray(decoding.load(row["target"]))
        assert (mask == np.where(published == 255, 0, published)).all()
        assert {data.classes[index] for index in np.unique(mask)} == {"background", "cat", "dog"}
        assert row["image"] == (tmp_path / "JPEGImages" / f"{row['id']}.jpg").read_bytes()


def test_masks_of_other_classes_are_named(tmp_path: Path) -> None:
    source = {**write_voc(tmp_path), "take": "masks", "names": ["background", *"abcdefghijkl"]}
    assert read(source)[0].classes[12] == "l"
    with pytest.raises(DataError, match=r"that `source\.names` names, .*2007_000000\.png has 12 of 3"):
        read({**source, "names": ["background", "a", "b"]})


def test_a_mask_in_colours_is_refused(tmp_path: Path) -> None:
    source = {**write_voc(tmp_path), "take": "masks"}
    path = tmp_path / "SegmentationClass" / "2007_000001.png"
    Image.open(path).convert("RGB").save(path)
    with pytest.raises(DataError, match=r"masks of one channel .*SegmentationClass/2007_000001\.png has mode RGB"):
        read(source)


# -- what is refused -------------------------------------------------------------------------------------------------

CAT = ("cat", (1, 1, 10, 8), 0)
_BOMB = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BAD: dict[str, tuple[str, str]] = {
    "entities that grow": (
        f'<!DOCTYPE a [<!ENTITY l0 "lol">{_BOMB}]><annotation><object><name>&l9;</name></object></annotation>',
        "received 1 that cannot be read: .* a document type, which is not read",
    ),
    "an entity from a file": (
        '<!DOCTYPE a [<!ENTITY secret SYSTEM "file:///etc/passwd">]><annotation>&secret;</annotation>',
        "received 1 that cannot be read: .* a document type, which is not read",
    ),
    "not closed": ("<annotation><object>", "expected files of Pascal VOC's XML"),
    "no xml": ("{}", "expected files of Pascal VOC's XML"),
    "no name": (voc_xml("x", [("", CAT[1], 0)]), "objects with a name, received 1 .*object 0"),
    "no box": (voc_xml("x", [CAT]).replace("bndbox", "box"), "objects with a bbox .*object 0"),
    "box of text": (
        voc_xml("x", [CAT]).replace("<xmax>10", "<xmax>ten"),
        "boxes of four numbers, .*object 0, .*'ten'",
    ),
    "box cut": (
        voc_xml("x", [CAT]).replace("<xmax>10</xmax>", ""),
        "boxes of four numbers, .*object 0, .*None",
    ),
    "box not a number": (
        voc_xml("x", [CAT]).replace("<xmax>10", "<xmax>nan"),
        "four numbers, .*object 0, .*'nan'",
    ),
    "box outside": (
        voc_xml("x", [CAT, ("dog", (1, 1, 42, 8), 0)]),
        "boxes inside their pictures, .*object 1, 0, 0 to 42, 8 of 40×30",
    ),
    "box turned": (voc_xml("x", [("cat", (10, 8, 1, 1), 0)]), "boxes with an area, .*object 0, 9, 7 to 1, 1"),
    "another size": (
        voc_xml("x", [CAT]).replace("<width>40", "<width>30"),
        "of the size that is stated, .*2007_000002.jpg is 40×30, stated 30×30",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_annotation_that_cannot_be_meant_is_named(tmp_path: Path, kind: str) -> None:
    source = write_voc(tmp_path)
    content, says = BAD[kind]
    (tmp_path / XML).write_text(content)
    started = time.monotonic()
    with pytest.raises(DataError, match=says) as caught:
        read(source)
    assert "2007_000002" in str(caught.value)
    assert time.monotonic() - started < 5 and "root:" not in str(caught.value)


@pytest.mark.parametrize("kind", ["no image", "two images", "no folder", "in two splits", "unknown in a split"])
def test_files_that_do_not_belong_together_are_named(tmp_path: Path, kind: str) -> None:
    source = write_voc(tmp_path)
    sets = tmp_path / "ImageSets" / "Main"
    if kind == "no image":
        (tmp_path / "JPEGImages" / "2007_000003.jpg").unlink()
        says = r"expected files of all images, received 1 missing: JPEGImages/2007_000003"
    elif kind == "two images":
        save(tmp_path / "JPEGImages" / "2007_000003.png", 1, SCENE)
        says = r"2007_000003\.png: expected one file of this name, received 2007_000003\.jpg too"
    elif kind == "no folder":
        (tmp_path / "Annotations").rename(tmp_path / "annotations")
        says = "expected Pascal VOC's folder Annotations"
    elif kind == "in two splits":
        (sets / "val.txt").write_text("2007_000000\n")
        says = r"val\.txt: expected an image in one split, received 2007_000000, which is train too"
    else:
        (sets / "val.txt").write_text("2007_999999\n")
        says = r"val\.txt: expected names of annotated images, received 2007_999999"
    with pytest.raises(DataError, match=says):
        read(source)


def test_boxes_are_those_of_the_xml_and_difficult_ones_are_ignored(tmp_path: Path) -> None:
    source = {**write_voc(tmp_path), "take": "boxes"}
    empty = tmp_path / "Annotations" / "2007_000003.xml"
    empty.write_text(voc_xml("2007_000003", []))
    data, rows = read(source)
    assert (data.target, data.classes, data.groups) == ("boxes", ("cat", "dog"), ())
    assert [row["published"] for row in rows] == ["train"] * 3 + ["validation"] * 2 + [None]
    for row, path in zip(rows, sorted((tmp_path / "Annotations").iterdir()), strict=True):
        expected = []
        for item in ET.parse(path).findall("object"):  # noqa: S314  (our own file)
            box = [int(item.find("bndbox").findtext(key)) for key in ("xmin", "ymin", "xmax", "ymax")]  # type: ignore
            sides = {"left": box[0] - 1, "top": box[1] - 1, "right": box[2], "bottom": box[3]}
            label = data.classes.index(str(item.findtext("name")))
            expected.append({"label": label, **sides, "ignored": item.findtext("difficult") == "1", "visible": 1.0})
        assert (row["id"], row["target"]) == (path.stem, expected)
    assert rows[3]["target"] == []
    empty.write_text(voc_xml("2007_000003", [("cat", (5, 5, 60, 9), 0)]))
    with pytest.raises(DataError, match=r"outside of the picture: 2007_000003\.xml, object 0, 4, 4 to 60, 9 of 40×30"):
        read(source)
