"""COCO's JSON, compared with what pycocotools reads from the same file."""

from __future__ import annotations

import io
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coding
from pycocotools.coco import COCO

from components import decoding
from components.data.errors import DataError
from tests.components.data.sources.source_builders import EACH, SCENE, coco_content, pixels, read, save, write_coco


def _decoded(row: dict[str, Any]) -> np.ndarray[Any, Any]:
    return decoding.to_array(decoding.load(row["image"]))


def _mask(row: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(decoding.load(row["target"]))


def _written(base: Path, change: Callable[[dict[str, Any]], None] = lambda _: None, **keys: Any) -> dict[str, Any]:
    content = coco_content(base)
    change(content)
    (base / "annotations.json").write_text(json.dumps(content))
    return {"kind": "coco", "path": str(base), **keys}


def test_crops_are_the_boxes_of_every_object_that_is_no_crowd(tmp_path: Path) -> None:
    data, rows = read(write_coco(tmp_path))
    known = COCO(tmp_path / "annotations.json")
    expected = known.loadAnns(known.getAnnIds(iscrowd=False))
    assert (data.classes, data.groups, len(rows)) == (("cat", "dog"), ("group_image",), len(expected))
    for row, annotation in zip(rows, expected, strict=True):
        image = known.loadImgs(annotation["image_id"])[0]
        left, top, width, height = annotation["bbox"]
        whole = np.asarray(Image.open(tmp_path / "images" / image["file_name"]))
        assert (_decoded(row) == whole[top : top + height, left : left + width]).all()
        assert data.classes[row["target"]] == known.loadCats(annotation["category_id"])[0]["name"]
        assert row["id"] == f"{image['file_name']}#{annotation['id']}"
        assert (row["group_image"], row["published"]) == (image["file_name"], None)


def _random_scene(random: np.random.Generator, content: dict[str, Any]) -> None:
    """Polygons and both forms of run lengths, over each other, some of them crowds."""
    content["annotations"] = []
    for number in range(60):
        image = content["images"][number % EACH]
        left, top = random.integers(0, 25), random.integers(0, 15)
        corners = random.integers(0, 15, (4, 2)) + np.array([left, top])
        polygon = [float(value) for value in np.concatenate([corners, [[left, top]]]).ravel()]
        coded = coding.merge(coding.frPyObjects([polygon], SCENE[1], SCENE[0]))
        outline: Any = [polygon, [float(value) for value in (corners + 2).ravel()]]
        if number % 3 == 1:
            outline = {"size": [SCENE[1], SCENE[0]], "counts": coded["counts"].decode()}
        elif number % 3 == 2:
            flat = np.concatenate([[0], coding.decode(coded).ravel(order="F"), [2]])
            changes = np.flatnonzero(np.diff(flat.astype(int)))
            counts = np.diff(np.concatenate([[0], changes]))
            outline = {"size": [SCENE[1], SCENE[0]], "counts": [int(count) for count in counts]}
        content["annotations"].append(
            {
                "id": number + 1,
                "image_id": image["id"],
                "category_id": (3, 7)[number // 5 % 2],
                "bbox": [0, 0, 1, 1],
                "segmentation": outline,
                "iscrowd": int(number % 3 != 0 and number % 7 == 0),
            }
        )


@pytest.mark.parametrize("seed", range(5))
def test_masks_are_what_pycocotools_draws_crowds_below_and_the_smallest_on_top(tmp_path: Path, seed: int) -> None:
    source = _written(tmp_path, lambda content: _random_scene(np.random.default_rng(seed), content), take="masks")
    data, rows = read(source)
    known = COCO(tmp_path / "annotations.json")
    assert (data.classes, data.target) == (("background", "cat", "dog"), "mask")
    for row, (key, image) in zip(rows, known.imgs.items(), strict=True):
        # pixel by pixel: whoever covers it, is no crowd if one is none, and is smallest
        annotations = known.loadAnns(known.getAnnIds(imgIds=key))
        covers = np.stack([known.annToMask(each) for each in annotations]).astype(bool)
        areas = [int(cover.sum()) for cover in covers]
        expected = np.zeros((SCENE[1], SCENE[0]), int)
        for y, x in zip(*np.nonzero(covers.any(axis=0)), strict=True):
            there = [index for index in range(len(annotations)) if covers[index, y, x]]
            best = min(there, key=lambda index: (annotations[index]["iscrowd"], areas[index]))
            ties = [
                i for i in there if (annotations[i]["iscrowd"], areas[i]) == (annotations[best]["iscrowd"], areas[best])
            ]
            labels = {{3: 1, 7: 2}[annotations[index]["category_id"]] for index in ties}
            found = int(_mask(row)[y, x])
            assert found in labels
            expected[y, x] = found
        assert (_mask(row) == expected).all()
        assert row["image"] == (tmp_path / "images" / image["file_name"]).read_bytes()
        assert row["id"] == image["file_name"]


def test_an_image_without_objects_is_background_as_a_mask_and_gives_no_crop(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotations"] = [each for each in content["annotations"] if each["image_id"] != 11]

    masks = {row["id"]: _mask(row) for row in read(_written(tmp_path, change, take="masks"))[1]}
    assert len(masks) == EACH and not masks["001.png"].any()
    assert "001.png" not in {row["group_image"] for row in read(_written(tmp_path, change))[1]}


def test_categories_without_an_object_are_left_out(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["categories"] = [{"id": 0, "name": "animals"}, *content["categories"], {"id": 9, "name": "owl"}]

    assert read(_written(tmp_path, change))[0].classes == ("cat", "dog")


def test_one_json_a_split_publishes_the_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        base = tmp_path / split
        write_coco(base)
        (base / "images").rename(tmp_path / f"{split}2017")
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (base / "annotations.json").rename(tmp_path / "annotations" / f"instances_{split}2017.json")
    source = {
        "kind": "coco",
        "path": str(tmp_path),
        "annotations": {
            "train": "annotations/instances_train2017.json",
            "validation": "annotations/instances_val2017.json",
        },
        "images": {"train": "train2017", "validation": "val2017"},
    }
    rows = read(source)[1]
    assert [row["published"] for row in rows] == ["train"] * 2 * EACH + ["validation"] * 2 * EACH
    assert (rows[0]["id"], rows[-1]["id"]) == ("train/000.png#100", "validation/005.png#111")
    assert {row["group_image"].split("/")[0] for row in rows} == {"train", "validation"}


def test_groups_of_images_are_groups(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for number, image in enumerate(content["images"][1:]):
            image["group_site"] = number % 2

    data, rows = read(_written(tmp_path, change))
    assert data.groups == ("group_image", "group_site")
    assert [row["group_site"] for row in rows[:4:2]] == [None, "0"]
    assert read(_written(tmp_path, change, take="masks"))[0].groups == ("group_site",)


@pytest.mark.parametrize("layout", ["beside", "images beside", "path is the json", "named", "annotations folder"])
def test_images_are_found_where_they_usually_lie(tmp_path: Path, layout: str) -> None:
    source = write_coco(tmp_path)
    if layout == "beside":
        for path in (tmp_path / "images").iterdir():
            path.rename(tmp_path / path.name)
    elif layout == "path is the json":
        source["path"] = str(tmp_path / "annotations.json")
    elif layout == "named":
        (tmp_path / "images").rename(tmp_path / "photos")
        source["images"] = "photos"
    elif layout == "annotations folder":
        (tmp_path / "annotations").mkdir()
        (tmp_path / "annotations.json").rename(tmp_path / "annotations" / "all.json")
    assert len(read(source)[1]) == 2 * EACH


def test_a_box_may_end_between_pixels_and_touch_the_edge(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotations"] = content["annotations"][:3]
        content["annotations"][0]["bbox"] = [2.4, 3.6, 5.2, 4.9]  # to 7.6, 8.5
        content["annotations"][1]["bbox"] = [-0.4, -0.6, 40.8, 30.9]  # a rounded outline of the whole image
        content["annotations"][2]["bbox"] = [10.000000001, 5, 9.999999999, 5]

    crops = [_decoded(row) for row in read(_written(tmp_path, change))[1]]
    whole = pixels(0, SCENE)
    assert (crops[0] == whole[3:9, 2:8]).all()
    assert (crops[1] == whole).all()
    assert crops[2].shape == (5, 10, 3)


@pytest.mark.parametrize("take", ["crops", "masks"])
def test_coordinates_are_those_of_the_upright_image(tmp_path: Path, take: str) -> None:
    # given a photograph that was taken sideways: its pixels lie on their side, and EXIF says so
    def change(content: dict[str, Any]) -> None:
        content["images"] = content["images"][:1]
        content["annotations"] = content["annotations"][:1]

    source = _written(tmp_path, change, take=take)
    upright = Image.fromarray(pixels(0, SCENE))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90°
    upright.rotate(90, expand=True).save(tmp_path / "images" / "000.png", exif=exif)
    # when it is read, then the object is where people see it
    row = read(source)[1][0]
    if take == "crops":
        assert (_decoded(row) == pixels(0, SCENE)[4:13, 3:11]).all()
    else:
        assert decoding.load(row["image"]).size == _mask(row).shape[::-1] == SCENE


def test_greys_stay_greys_and_colours_colours(tmp_path: Path) -> None:
    source = write_coco(tmp_path)
    Image.open(tmp_path / "images" / "000.png").convert("L").save(tmp_path / "images" / "000.png")
    rows = read(source)[1]
    assert (_decoded(rows[0]).shape[2], _decoded(rows[-1]).shape[2]) == (1, 3)


# -- what is refused -------------------------------------------------------------------------------------------------


def _annotation(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["annotations"][3].update(changes)


def _image(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["images"][2].update(changes)


BAD: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "box outside": (
        _annotation(bbox=[38, 2, 10, 5]),
        r"boxes inside their pictures, received 1 .*annotation 103 of image 11 \(001.png\), 38, 2 to 48, 7 of 40×30",
    ),
    "box before": (_annotation(bbox=[-3, 2, 10, 5]), "boxes inside .*annotation 103 .*-3, 2 to 7, 7 of 40×30"),
    "box beside": (_annotation(bbox=[-1, 2, 1, 5]), "boxes inside .*annotation 103 .*-1, 2 to 0, 7 of 40×30"),
    "box far away": (_annotation(bbox=[1e300, 2, 1e300, 5]), r"boxes inside .*annotation 103 .*1e\+300"),
    "box without area": (_annotation(bbox=[3, 2, 0, 5]), "boxes with an area, received 1 .*annotation 103"),
    "box turned": (_annotation(bbox=[9, 9, -3, 5]), "boxes with an area, received 1 .*annotation 103"),
    "box of a sliver": (_annotation(bbox=[5, 2, 0.0005, 9]), "boxes with an area, received 1 .*annotation 103"),
    "box of less than a pixel": (_annotation(bbox=[5, 2, 0.5, 0.5]), "boxes of a pixel at least, .*annotation 103"),
    "box of three": (_annotation(bbox=[3, 2, 5]), r"boxes of four numbers, received 1 .*annotation 103 .*\[3, 2, 5\]"),
    "box of text": (_annotation(bbox=["3", 2, 5, 5]), "boxes of four numbers, received 1 .*annotation 103"),
    "box not a number": (_annotation(bbox=[float("nan"), 2, 5, 5]), "boxes of four numbers, .*annotation 103 .*nan"),
    "box of a flag": (_annotation(bbox=[True, 2, 5, 5]), "boxes of four numbers, .*annotation 103"),
    "box beyond any float": (_annotation(bbox=[10**400, 2, 5, 5]), "boxes of four numbers, .*annotation 103"),
    "no box": (_annotation(bbox=[]), "objects with a bbox to cut them out by, received 1 .*annotation 103"),
    "unknown category": (
        _annotation(category_id=5),
        r"annotations of categories that are listed, .*annotation 103 of image 11 \(001.png\), category_id 5",
    ),
    "unknown image": (
        _annotation(image_id=99),
        "annotations of images that are listed, received 1 .*annotation 103 of image_id 99",
    ),
    "annotation twice": (
        _annotation(id=100),
        r"id of their own.* 100 of image 11 \(001.png\) has that of annotation 100 of image 10 \(000.png\)",
    ),
    "annotation without id": (_annotation(id=None), "an annotation: expected a whole number or a text as id"),
    "image twice": (_image(id=10), "image 10: expected an id of its own"),
    "file twice": (_image(file_name="000.png"), r"expected an id of its own, received '000.png', which .*image 10"),
    "image missing": (_image(file_name="absent.png"), r"files of all images, received 1 .*image 12 \(absent.png\)"),
    "image above": (_image(file_name="../secret.png"), "image 12 .*expected a path below"),
    "image of another size": (
        _image(width=41),
        r"pictures of the size that is stated, .*image 12 \(002.png\) is 40×30, stated 41×30",
    ),
    "image of no size": (_image(width=-40), "image 12 .*is 40×30, stated -40×30"),
    "image of any size": (_image(width=1e300), "image 12 .*is 40×30, stated 1"),
    "image of a size in words": (_image(height="high"), "image 12 .*is 40×30, stated 40×'high'"),
    "category twice": (
        lambda content: content["categories"].append({"id": 3, "name": "owl"}),
        "category 'owl': expected an id and a name of its own",
    ),
    "name twice": (
        lambda content: content["categories"].append({"id": 8, "name": "cat"}),
        "category 'cat': expected an id and a name of its own",
    ),
    "no categories": (lambda content: content.update(categories=[]), "expected categories, received none"),
    "no annotations": (
        lambda content: content.update(annotations=[]),
        "expected annotations of objects, received none",
    ),
    "no list": (lambda content: content.pop("images"), "received none of images"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_is_named_by_its_id(tmp_path: Path, kind: str) -> None:
    save(tmp_path / "secret.png", 1, SCENE)
    change, says = BAD[kind]
    with pytest.raises(DataError, match=says) as caught:
        read(_written(tmp_path / "set", change))
    assert "annotations.json" in str(caught.value)


_LONG = coding.encode(np.ones((300, 400), np.uint8, order="F"))["counts"].decode()
BAD_OUTLINES: dict[str, tuple[Any, str]] = {
    "none": ([], "outlines of polygons of at least three points"),
    "missing": (None, "outlines of polygons of at least three points"),
    "two points": ([[1, 1, 5, 5]], "polygons of at least three points"),
    "odd": ([[1, 1, 5, 5, 9, 9, 3]], "polygons of at least three points"),
    "infinite": ([[1, 1, 5, 5, 9, float("inf")]], "polygons of at least three points"),
    "flags": ([[1, 1, 5, 5, 9, True]], "polygons of at least three points"),
    "beyond any float": ([[1, 1, 5, 5, 9, 10**400]], "polygons of at least three points"),
    "text": ("polygon", "polygons of at least three points"),
    "far away": ([[2, 2, 1e300, 2, 6, 6]], r"outlines inside their pictures, .*2, 2 to 1e\+300, 6 of 40×30"),
    "far before": ([[2, 2, -1e9, 2, 6, 6]], "outlines inside their pictures, .*-1e.09, 2 to 6, 6 of 40×30"),
    "beside": ([[2, 2, 43.5, 2, 6, 6]], "outlines inside their pictures, .*2, 2 to 43.5, 6 of 40×30"),
    "too long around": ([[0, 0, 40, 30] * 20_000], "outlines of at most .* received 1 beyond that"),
    "too many": ([[1, 1, 5, 5, 9, 9]] * 3000, "outlines of at most .* received 1 beyond that: .*3,000 that are"),
    "another size": ({"size": [40, 30], "counts": [1200]}, r"of size \[40, 30\] instead of \[30, 40\]"),
    "no size": ({"counts": [1200]}, r"of size None instead of \[30, 40\]"),
    "too short": ({"size": [30, 40], "counts": [600, 100]}, "run lengths cover .*700 of 1,200 pixels"),
    "too long": ({"size": [30, 40], "counts": [600, 10**9]}, "run lengths cover .*counts of"),
    "negative": ({"size": [30, 40], "counts": [1300, -100]}, "run lengths cover .*counts of"),
    "many": ({"size": [30, 40], "counts": [0] * 5000 + [1200]}, "run lengths cover .*counts of"),
    "compressed, cut": ({"size": [30, 40], "counts": "d"}, "run lengths cover .*counts of 'd'"),
    "compressed, nothing": ({"size": [30, 40], "counts": ""}, "run lengths cover .*counts of ''"),
    "compressed, too long": ({"size": [30, 40], "counts": _LONG}, "run lengths cover .*counts of"),
    "compressed, without end": ({"size": [30, 40], "counts": "o" * 1_000_000}, "run lengths cover .*counts of 'ooo"),
    "compressed, other letters": ({"size": [30, 40], "counts": "ü€" * 9}, "run lengths cover .*counts of"),
}


@pytest.mark.parametrize("kind", BAD_OUTLINES)
def test_an_outline_that_pycocotools_would_take_for_another_is_named(tmp_path: Path, kind: str) -> None:
    outline, says = BAD_OUTLINES[kind]
    started = time.monotonic()
    with pytest.raises(DataError, match=says) as caught:
        read(_written(tmp_path, _annotation(segmentation=outline), take="masks"))
    assert "annotation 103 of image 11 (001.png)" in str(caught.value) and len(str(caught.value)) < 600
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_json_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "annotations.json").write_bytes(content)
    with pytest.raises(DataError, match=r"annotations\.json: expected COCO's JSON"):
        read({"kind": "coco", "path": str(tmp_path)})


@pytest.mark.parametrize("take", ["crops", "masks"])
def test_an_image_that_is_none_is_named_before_anything_of_the_stated_size_is_made(tmp_path: Path, take: str) -> None:
    # given a file that is no image, which is said to be 30,000 pixels wide and high
    source = _written(tmp_path, _image(width=30_000, height=30_000), take=take)
    (tmp_path / "images" / "002.png").write_bytes(b"no image")
    # when it is read, then the file is named, and no mask of that size (900 MB) was made
    tracemalloc.start()
    with pytest.raises(DataError, match=r"received 1 unreadable: image 12 \(002.png\) is text, not a picture"):
        read(source)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    # and when what is faulty is left out, then the other images are there, and it is said
    data, rows = read({**source, "faulty": "skip"})
    assert len({row["group_image"] for row in rows} if take == "crops" else rows) == EACH - 1
    assert data.notes() == (
        "left out: 1 picture unreadable: image 12 (002.png) is text, not a picture: 'no image' (`faulty: skip`)",
    )


def test_several_jsons_are_not_guessed_among(tmp_path: Path) -> None:
    source = write_coco(tmp_path)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match=r"annotations\.json, other\.json; name it as source\.annotations"):
        read(source)
    assert read({**source, "annotations": "annotations.json"})[1]


def test_masks_have_room_for_254_categories(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        first = content["annotations"][0]
        content["categories"] = [{"id": number, "name": f"c{number:03d}"} for number in range(255)]
        content["annotations"] = [{**first, "id": number, "category_id": number} for number in range(255)]

    with pytest.raises(DataError, match="at most 254 categories for masks, received 255"):
        read(_written(tmp_path, change, take="masks"))


def test_crops_are_read_back_by_any_viewer(tmp_path: Path) -> None:
    row = read(write_coco(tmp_path))[1][0]
    assert Image.open(io.BytesIO(row["image"])).format == "PNG"


def test_boxes_are_those_of_every_object_and_crowds_are_ignored(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotations"][0]["bbox"] = [-0.5, 4, 8, 9]  # over the edge, by less than a pixel
        content["images"].append({"id": 99, "file_name": "empty.png", "width": SCENE[0], "height": SCENE[1]})
        content["categories"].append({"id": 8, "name": "crowded"})
        content["annotations"].append(
            {"id": 901, "image_id": 10, "category_id": 8, "bbox": [1, 1, 2, 2], "iscrowd": 1, "segmentation": []}
        )

    save(tmp_path / "images" / "empty.png", 99, SCENE)
    source = _written(tmp_path, change, take="boxes")
    data, rows = read(source)
    known = COCO(tmp_path / "annotations.json")
    # categories of crowds alone cannot be learnt
    assert (data.target, data.classes, data.groups) == ("boxes", ("cat", "dog"), ())
    assert [row["id"] for row in rows] == [image["file_name"] for image in known.dataset["images"]]
    for row, image in zip(rows, known.dataset["images"], strict=True):
        annotations = [each for each in known.imgToAnns[image["id"]] if each["category_id"] != 8]
        expected = []
        for each in annotations:
            left, top, width, height = each["bbox"]
            sides = {"left": max(0, left), "top": top, "right": left + width, "bottom": top + height}
            label = data.classes.index(known.cats[each["category_id"]]["name"])
            expected.append({"label": label, **sides, "ignored": bool(each["iscrowd"]), "visible": 1.0})
        assert row["target"] == expected
        assert row["image"] == (tmp_path / "images" / row["id"]).read_bytes()
    assert [len(row["target"]) for row in rows] == [3, *[2] * (EACH - 1), 0]


def test_bad_boxes_are_told_or_left_out_of_pictures_that_stay(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotations"][0]["bbox"] = [3, 4, 0, 9]
        content["annotations"][2]["bbox"] = [30, 4, 20, 9]
        content["annotations"][4]["bbox"] = None
        content["annotations"][6]["bbox"] = [3, 4, 0.25, 9]  # narrow, and still a box

    source = _written(tmp_path, change, take="boxes", boxes="xywh")
    with pytest.raises(DataError) as raised:
        read(source)
    assert "received 1 without an area: annotation 100 of image 10 (000.png), 3, 4 to 3, 13" in str(raised.value)
    assert "received 1 outside of the picture: annotation 102 of image 11 (001.png)" in str(raised.value)
    assert "expected objects with a box, received 1 without one: annotation 104" in str(raised.value)
    data, rows = read({**source, "faulty": "skip"})
    assert [len(row["target"]) for row in rows] == [2, 1, 1, 2, 2, 2]
    assert len(data.notes()) == 3


def test_boxes_over_stored_pixels_are_turned_with_them(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by a quarter: what was the left edge is the top
        Image.fromarray(pixels(0, SCENE)).save(tmp_path / "images" / "000.png", exif=exif)

    _, rows = read(_written(tmp_path, change, take="boxes"))
    upright = rows[0]["target"][0]
    whole = np.asarray(Image.open(tmp_path / "images" / "000.png"))[4:13, 3:11]
    turned = decoding.to_array(decoding.decode(rows[0]["image"]).image)
    sides = [int(upright[side]) for side in ("left", "top", "right", "bottom")]
    assert (turned[sides[1] : sides[3], sides[0] : sides[2]] == np.rot90(whole, -1)).all()
