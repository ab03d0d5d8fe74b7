"""Boxes in whatever unit and form they are written: the same crops, or one sentence that says what to declare."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components import decoding
from components.data.errors import DataError
from components.data.preparing.ingest import RawCard, ingest, ingested
from tests.components.data.data_builders import build
from tests.components.data.sources.source_builders import EACH, SCENE, parse, pixels, read, save, write_coco

WIDTH, HEIGHT = SCENE
Box = list[float]


def _xyxy(box: Box) -> Box:
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]]


def _cxcywh(box: Box) -> Box:
    return [box[0] + box[2] / 2, box[1] + box[3] / 2, box[2], box[3]]


def _scaled(full: float) -> Callable[[Box], Box]:
    return lambda box: [value * full / side for value, side in zip(box, (WIDTH, HEIGHT, WIDTH, HEIGHT), strict=True)]


# Name → x, y, width, height in pixels as they would be written, and the keys that say so.
WRITTEN: dict[str, tuple[Callable[[Box], Box], dict[str, str]]] = {
    "corners": (_xyxy, {"boxes": "xyxy"}),
    "centres": (_cxcywh, {"boxes": "cxcywh"}),
    "shares": (_scaled(1.0), {"unit": "shares"}),
    "percent": (_scaled(100.0), {"unit": "percent"}),
    "shares of corners": (lambda box: _xyxy(_scaled(1.0)(box)), {"boxes": "xyxy", "unit": "shares"}),
    "YOLO's": (lambda box: _cxcywh(_scaled(1.0)(box)), {"boxes": "cxcywh", "unit": "shares"}),
    "percent of centres": (lambda box: _cxcywh(_scaled(100.0)(box)), {"boxes": "cxcywh", "unit": "percent"}),
}


def _coco(base: Path, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    source = write_coco(base)
    content = json.loads((base / "annotations.json").read_text())
    change(content)
    (base / "annotations.json").write_text(json.dumps(content))
    return source


def _everywhere(content: dict[str, Any]) -> None:
    """Boxes in all corners of the pictures, as objects lie in a real set."""
    random = np.random.default_rng(0)
    for each in content["annotations"]:
        width, height = random.integers(4, 16), random.integers(4, 12)
        left, top = random.integers(0, WIDTH - width + 1), random.integers(0, HEIGHT - height + 1)
        each["bbox"] = [int(left), int(top), int(width), int(height)]


@pytest.mark.parametrize("kind", WRITTEN)
def test_boxes_in_another_unit_or_form_are_recognised_and_read_where_it_is_declared(tmp_path: Path, kind: str) -> None:
    # given the same boxes in pixels, and as others write them
    _, expected = read(_coco(tmp_path / "plain", _everywhere))
    write, keys = WRITTEN[kind]

    def change(content: dict[str, Any]) -> None:
        _everywhere(content)
        for each in content["annotations"]:
            each["bbox"] = write(each["bbox"])

    source = _coco(tmp_path / "other", change)
    # when nothing is declared, even where faults are left out, then it is one sentence about the whole file
    for faulty in ("refuse", "skip"):
        with pytest.raises(DataError, match=r"annotations\.json: expected boxes .*, received .*; say ") as caught:
            read({**source, "faulty": faulty})
        assert "\n" not in str(caught.value) and "annotation 1" not in str(caught.value)
    # when what it says is declared, then the crops are the same to the pixel
    _, rows = read({**source, **keys})
    assert rows == expected
    for key, value in keys.items():
        if key == "unit" or len(keys) == 1:
            assert f"`{key}: {value}`" in str(caught.value) and f"-S {key}={value}" in str(caught.value)


def test_shares_make_no_crops_of_one_pixel(tmp_path: Path) -> None:
    # given boxes [0.625, 0.0625, 0.333…, 0.5], all alike, as a converter writes them
    def change(content: dict[str, Any]) -> None:
        for each in content["annotations"]:
            each["bbox"] = [0.625, 0.1, 0.25, 0.5]

    source = _coco(tmp_path, change)
    with pytest.raises(
        DataError, match=r"received 12 boxes in shares .* say `unit: shares` under `source:` \(`-S unit"
    ):
        read(source)
    _, rows = read({**source, "unit": "shares"})
    first = decoding.to_array(decoding.load(rows[0]["image"]))
    assert (first == pixels(0, SCENE)[3:18, 25:35]).all()


def test_percent_of_large_pictures_are_recognised_though_they_would_fit(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for number, image in enumerate(content["images"]):
            save(tmp_path / "images" / image["file_name"], number, (500, 400))
            image.update(width=500, height=400)
        for number, each in enumerate(content["annotations"]):
            each["bbox"] = [5 * number, 40, 20, 50]

    source = _coco(tmp_path, change)
    with pytest.raises(DataError, match=r"say `unit: percent` .* if they are, `unit: pixels` if not"):
        read(source)
    sizes = {decoding.header(row["image"]).size for row in read({**source, "unit": "percent"})[1]}
    assert sizes == {(100, 200)}
    assert len({decoding.header(row["image"]).size for row in read({**source, "unit": "pixels"})[1]}) == 1


def test_a_slip_among_boxes_in_pixels_is_no_other_form(tmp_path: Path) -> None:
    # given boxes in pixels of which one reaches far outside
    def change(content: dict[str, Any]) -> None:
        _everywhere(content)
        content["annotations"][4]["bbox"] = [30, 5, 30, 10]

    source = _coco(tmp_path, change)
    with pytest.raises(DataError, match=r"boxes inside their pictures, received 1 .*annotation 104 .*30, 5 to 60, 15"):
        read(source)
    assert len(read({**source, "faulty": "skip"})[1]) == 2 * EACH - 1


# -- all at once, or left out ----------------------------------------------------------------------------------------


def _spoilt(content: dict[str, Any]) -> None:
    """Faults of several kinds, of some of them many."""
    content["images"][5]["file_name"] = "absent.png"
    for number, box in (
        (0, [3, 3, 12, 0]),
        (1, [3, 3, 0, 12]),
        (2, [3, 3, 0, 0]),
        (3, [3, 3, -4, 5]),
        (5, [90, 3, 9, 9]),
    ):
        content["annotations"][number]["bbox"] = box
    content["annotations"][7]["id"] = 106
    content["annotations"][8]["image_id"] = 77
    content["annotations"][9]["category_id"] = 77


def test_all_faults_are_told_at_once_with_the_first_of_each_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(_coco(tmp_path, _spoilt))
    lines = str(caught.value).splitlines()
    assert [line.partition("expected ")[2].partition(":")[0] for line in lines[:-1]] == [
        "annotations with an id of their own, received 1 with the id of another",
        "annotations of images that are listed, received 1 of another image",
        "annotations of categories that are listed, received 1 of another category",
        "files of all images, received 1 missing",
        "boxes with an area, received 4 without an area",
        "boxes inside their pictures, received 1 outside of the picture",
    ]
    area = lines[4]
    assert area.count("annotation 10") == 3 and area.endswith("; 1 more")
    assert "annotation 107" not in str(caught.value)  # whose id is another's: both images are named
    assert "annotation 106 of image 13 (003.png) has that of annotation 106 of image 13 (003.png)" in lines[0]
    assert lines[-1].endswith("leave them out by `faulty: skip` under `source:` (`-S faulty=skip`)")


def test_what_is_faulty_is_left_out_where_the_entry_says_so_and_counted_wherever_the_set_is_described(
    tmp_path: Path,
) -> None:
    # given a set with faults, which are to be left out
    source = _coco(tmp_path / "set", _spoilt) | {"faulty": "skip"}
    # when it is read, then the sound objects are there: 12, less 5 boxes, 3 annotations, and 2 of the absent image
    data, rows = read(source)
    assert len(rows) == 2 * EACH - 5 - 3 - 2
    expected = (
        "left out: 4 boxes without an area: annotation 100 of image 10 (000.png), 3, 3 to 15, 3; annotation 101 of "
        "image 10 (000.png), 3, 3 to 3, 15; annotation 102 of image 11 (001.png), 3, 3 to 3, 3; 1 more (`faulty: skip`)"
    )
    assert expected in data.notes() and len(data.notes()) == 6
    # and when it is ingested and inspected, then it is said there too
    raw = tmp_path / "raw"
    ingest(parse(source), tmp_path, raw)
    assert RawCard.load(raw).notes == ingested(raw).notes() == data.notes()


def test_what_was_left_out_is_on_the_data_sets_card(tmp_path: Path) -> None:
    source = _coco(tmp_path / "set", lambda content: content["annotations"][0].update(bbox=[3, 3, 12, 0]))
    image = {"height": 10, "width": 12, "channels": 3, "resize": True}
    build(tmp_path, "mine", task="classification", source={**source, "faulty": "skip"}, image=image)
    inspection = json.loads((tmp_path / "inspected" / "mine" / "inspection.json").read_text())
    assert inspection["notes"][0].startswith("left out: 1 box without an area: annotation 100 of image 10 (000.png)")


def test_the_images_own_size_counts_where_none_is_stated(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for number, image in enumerate(content["images"]):
            nothing = [("width", "height"), ("width",), ("height",), (), (), ()][number]
            for key in nothing:
                del image[key]
        content["images"][3].update(width=0, height=0)
        content["images"][4].update(width="40", height="30")
        content["images"][5].update(width=40.0, height=None)

    source = _coco(tmp_path / "without", change)
    _, expected = read(write_coco(tmp_path / "with"))
    assert read(source)[1] == expected
    masks = [row["target"] for row in read({**source, "take": "masks"})[1]]
    assert masks == [row["target"] for row in read({**write_coco(tmp_path / "with"), "take": "masks"})[1]]
