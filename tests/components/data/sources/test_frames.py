"""Pictures that lie on their side in their files: one upright size everywhere, and annotations that turn with them.

What is expected comes from Pillow's own transpositions of a picture whose pixels are all different.
"""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from components import decoding
from components.data.checking.check import Wanted, look
from components.data.errors import DataError
from components.data.inspection.base.findings import Inspection
from components.data.sources.annotations import frames
from tests.components.data.data_builders import build
from tests.components.data.sources.source_builders import read, voc_xml

WIDTH, HEIGHT = 48, 32  # upright
STORE = {  # EXIF's orientation → what lays an upright picture as it is stored
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
FORMATS = ("JPEG", "TIFF", "PNG", "WEBP", "AVIF")
SIDEWAYS = (5, 6, 7, 8)


def _pixels(number: int = 0) -> npt.NDArray[np.uint8]:
    """`(H, W)`, upright: smooth, so that a lossy format keeps them, and different in every corner."""
    across, down = np.meshgrid(np.linspace(0, 150, WIDTH), np.linspace(0, 80, HEIGHT))
    return (across + down + number % 20).astype(np.uint8)


def _stored(pixels: npt.NDArray[np.uint8], orientation: int) -> Image.Image:
    image, turn = Image.fromarray(pixels), STORE[orientation]
    return image if turn is None else image.transpose(turn)


def _file(pixels: npt.NDArray[np.uint8], orientation: int, kind: str = "PNG", tagged: bool = True) -> bytes:
    """A picture that is stored as `orientation` says, and says so where it is `tagged`."""
    exif = Image.Exif()
    if tagged:
        exif[0x0112] = orientation
    stream = io.BytesIO()
    options = {"JPEG": {"quality": 100}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}, "WEBP": {"lossless": True}}
    _stored(pixels, orientation).save(stream, kind, exif=exif, **options.get(kind, {}))
    return stream.getvalue()


def _upright(content: bytes) -> npt.NDArray[np.int16]:
    return np.asarray(decoding.load(content).convert("L")).astype(np.int16)


def test_check_suggests_what_the_line_makes_of_pictures_on_their_side(tmp_path: Path) -> None:
    # given pictures of every format in all eight orientations, all of one size when upright
    suffixes = dict(zip(FORMATS, (".jpg", ".tif", ".png", ".webp", ".png"), strict=True))  # AVIF by its content
    for number, (kind, orientation) in enumerate(itertools.product(FORMATS, STORE)):
        path = tmp_path / "set" / ("one", "zero")[number % 2] / f"{number:02d}{suffixes[kind]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 90, (HEIGHT, WIDTH)).astype(np.uint8)
        path.write_bytes(_file(_pixels() // 2 + noise, orientation, kind))
    # when check looks at them, then it sees the one upright size, and suggests it
    looked = look(str(tmp_path / "set"), Wanted(), tmp_path)
    assert dict(looked.survey.inputs.sizes) == {(WIDTH, HEIGHT): 40}
    assert (looked.entry["image"]["width"], looked.entry["image"]["height"]) == (WIDTH, HEIGHT)
    # and what the line makes of them by that entry is of that size, the entry's
    dataset, _ = build(tmp_path, "mine", **looked.entry)
    assert Inspection.load(tmp_path / "inspected" / "mine").sizes == {f"{WIDTH}x{HEIGHT}": 40}
    for split in ("train", "validation", "test"):
        table = dataset.table(split)
        assert set(zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True)) == {(WIDTH, HEIGHT)}


@pytest.mark.parametrize("orientation", STORE)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_header_knows_how_its_pixels_lie(kind: str, orientation: int) -> None:
    content = _file(_pixels(), orientation, kind)
    header = decoding.header(content)
    assert (header.size, header.orientation) == ((WIDTH, HEIGHT), orientation)
    assert header.stored == ((HEIGHT, WIDTH) if orientation in SIDEWAYS else (WIDTH, HEIGHT))
    assert np.abs(_upright(content) - _pixels()).max() <= 6
    assert (frames.turned(np.asarray(_stored(_pixels(), orientation)), orientation) == _pixels()).all()


# -- objects ---------------------------------------------------------------------------------------------------------

BOX = (7, 3, 19, 21)  # left, top, right, bottom, upright


def _box_in_stored(orientation: int) -> tuple[int, int, int, int]:
    """Where the box lies in the stored pixels: found by marking it in a picture, and laying that as it is stored."""
    marked = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    marked[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 255
    found = _stored(marked, orientation).getbbox()
    assert found is not None
    return found


def _annotated(base: Path, kind: str, content: bytes, size: tuple[int, int], box: tuple[int, ...]) -> dict[str, Any]:
    """One picture with one object, in COCO's JSON or VOC's XML."""
    left, top, right, bottom = box
    folder = base / ("images" if kind == "coco" else "JPEGImages")
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(content)
    if kind == "voc":
        (base / "Annotations").mkdir()
        xml = voc_xml("1", [("cat", (left + 1, top + 1, right, bottom), 0)])
        xml = xml.replace("<width>40", f"<width>{size[0]}").replace("<height>30", f"<height>{size[1]}")
        (base / "Annotations" / "1.xml").write_text(xml)
        return {"kind": "voc", "path": str(base)}
    outline = [left, top, right, top, right, bottom, left, bottom]
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [outline]}
    annotation["bbox"] = [left, top, right - left, bottom - top]
    content_ = {
        "images": [{"id": 1, "file_name": "1.png", "width": size[0], "height": size[1]}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [annotation],
    }
    (base / "a.json").write_text(json.dumps(content_))
    return {"kind": "coco", "path": str(base)}


@pytest.mark.parametrize("orientation", STORE)
@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_boxes_and_outlines_of_the_stored_pixels_are_turned_with_them(
    tmp_path: Path, kind: str, orientation: int
) -> None:
    # given a picture in each orientation, annotated as people see it, and over its pixels as they are stored
    content, crop = _file(_pixels(), orientation), _pixels()[BOX[1] : BOX[3], BOX[0] : BOX[2]]
    stored = (HEIGHT, WIDTH) if orientation in SIDEWAYS else (WIDTH, HEIGHT)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 1
    sources = [_annotated(tmp_path / "upright", kind, content, (WIDTH, HEIGHT), BOX)]
    if orientation in SIDEWAYS:  # of the others both sizes are one, and upright is meant
        sources.append(_annotated(tmp_path / "stored", kind, content, stored, _box_in_stored(orientation)))
    # when they are read, then both give the same object, and its mask lies where it does
    for source in sources:
        (row,) = read(source)[1]
        assert (_upright(row["image"]) == crop).all()
        if kind == "coco":
            (row,) = read({**source, "take": "masks"})[1]
            assert (decoding.indices(row["target"]) == mask).all()
    # and a size that is neither is named
    wrong = _annotated(tmp_path / "wrong", kind, content, (WIDTH, HEIGHT + 1), BOX)
    with pytest.raises(DataError, match=f"is {WIDTH}×{HEIGHT}, stated 48×33"):
        read(wrong)


def test_run_lengths_of_the_stored_pixels_are_turned_with_them(tmp_path: Path) -> None:
    source = _annotated(tmp_path, "coco", _file(_pixels(), 6), (HEIGHT, WIDTH), _box_in_stored(6))
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 1
    flat = np.asarray(_stored(mask, 6)).ravel(order="F")  # run lengths go down the columns
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    content = json.loads((tmp_path / "a.json").read_text())
    content["annotations"][0]["segmentation"] = {"size": [WIDTH, HEIGHT], "counts": counts}
    (tmp_path / "a.json").write_text(json.dumps(content))
    (row,) = read({**source, "take": "masks"})[1]
    assert (decoding.indices(row["target"]) == mask).all()
