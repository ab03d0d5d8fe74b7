"""Masks in files of their own: of their pictures' size and turned as these are, or named before anything is resized."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from components import decoding
from components.config import ConfigurationError, DatasetConfig, parse_entry
from components.data.errors import DataError
from components.data.inspection.base.findings import Decisions
from components.data.preparing.ingest import RawCard, ingest
from components.data.preparing.prepare import prepare
from components.data.preparing.shards import ShardWriter
from components.data.sources.annotations import mask_files
from components.data.sources.annotations.mask_files import File
from components.data.sources.base.form import schema
from components.data.sources.base.rows import tables
from tests.components.data.data_builders import SCENES, build
from tests.components.data.sources.source_builders import parse, pixels, read, save, write_coco, write_voc
from tests.components.data.sources.test_frames import SIDEWAYS, STORE, _file, _stored

WIDTH, HEIGHT = 48, 32
NAMES = ["background", "cat", "dog"]


def _mask(number: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> npt.NDArray[np.uint8]:
    """`(H, W)` classes, one in each corner."""
    mask = np.zeros((size[1], size[0]), dtype=np.uint8)
    mask[: size[1] // 2, : size[0] // 3] = 1
    mask[size[1] // 2 :, number % 5 + size[0] // 2 :] = 2
    return mask


def _png(values: Any, mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(values)
    (image if mode is None else image.convert(mode)).save(stream, "PNG")
    return stream.getvalue()


def _manifest(base: Path, sizes: dict[int, tuple[int, int]], count: int = 12) -> dict[str, Any]:
    """Pictures of 48×32 with masks, those of the rows in `sizes` being of another size."""
    lines = ["path,mask"]
    for number in range(count):
        save(base / "images" / f"{number:02d}.png", number, (WIDTH, HEIGHT))
        path = base / "masks" / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_png(_mask(number, sizes.get(number, (WIDTH, HEIGHT)))))
        lines.append(f"images/{number:02d}.png,masks/{number:02d}.png")
    (base / "table.csv").write_text("\n".join(lines) + "\n")
    return {"kind": "manifest", "path": str(base / "table.csv"), "mask": "mask", "names": NAMES}


@pytest.mark.parametrize("resize", [True, False])
def test_masks_of_another_size_are_named_with_their_pictures_before_anything_is_resized(
    tmp_path: Path, resize: bool
) -> None:
    # given twelve pictures of 48×32, of whose masks five are of other sizes: smaller, larger, and lying on their side
    sizes = {1: (31, 20), 2: (96, 64), 3: (32, 48), 4: (48, 31), 5: (1, 1)}
    source = _manifest(tmp_path, sizes)
    entry = {"task": "segmentation", "image": {"height": 8, "width": 12, "channels": 3, "resize": resize}}
    # when they are ingested, whatever becomes of their sizes later, then how many and the first of them are named
    with pytest.raises(DataError) as caught:
        build(tmp_path, "mine", source=source, **entry)
    assert str(caught.value) == (
        f"{tmp_path / 'table.csv'}: expected masks of the size of their pictures, received 5 of another size: "
        "masks/01.png is 31×20, images/01.png 48×32; masks/02.png is 96×64, images/02.png 48×32; masks/03.png is "
        "32×48, images/03.png 48×32; 2 more; put them right, or leave them out by `faulty: skip` under `source:` "
        "(`-S faulty=skip`)"
    )
    # and where the entry leaves them out, then the others are there, and their masks are the files' own bytes
    data, rows = read({**source, "faulty": "skip"})
    assert [row["target"] for row in rows] == [
        (tmp_path / "masks" / f"{number:02d}.png").read_bytes() for number in (0, *range(6, 12))
    ]
    assert data.notes()[0].startswith("left out: 5 masks of another size: masks/01.png is 31×20")


def _sources(base: Path) -> dict[str, dict[str, Any]]:
    """Every kind of source that gives masks."""
    voc, coco = write_voc(base / "voc"), write_coco(base / "coco")
    return {
        "manifest": _manifest(base / "manifest", {}),
        "voc": {**voc, "take": "masks"},
        "coco": {**coco, "take": "masks"},
        "digit-scenes": SCENES["source"],  # type: ignore[dict-item]
    }


@pytest.mark.parametrize("kind", ["manifest", "voc", "coco", "digit-scenes"])
def test_every_source_gives_masks_of_their_pictures_sizes(tmp_path: Path, kind: str) -> None:
    _, rows = read(_sources(tmp_path)[kind])
    assert rows
    for row in rows:
        assert decoding.header(row["target"]).size == decoding.header(row["image"]).size


def test_a_mask_of_vocs_of_another_size_is_named(tmp_path: Path) -> None:
    source = {**write_voc(tmp_path), "take": "masks"}
    Image.fromarray(_mask(size=(31, 20))).save(tmp_path / "SegmentationClass" / "2007_000001.png")
    with pytest.raises(DataError, match=r"2007_000001\.png is 31×20, JPEGImages/2007_000001\.jpg 40×30"):
        read(source)


# -- turning ---------------------------------------------------------------------------------------------------------


def _aligned(image: bytes, mask: bytes) -> npt.NDArray[np.uint8]:
    found = mask_files.aligned(File(image, "1.png"), File(mask, "1-mask.png"))
    assert isinstance(found, bytes), found
    return decoding.indices(found)


@pytest.mark.parametrize("orientation", STORE)
def test_a_mask_lies_as_its_picture_does(orientation: int) -> None:
    # given a picture in each orientation
    picture = _file(pixels(1, (WIDTH, HEIGHT))[..., 0], orientation)
    # when its mask is upright, or lies and says so as the picture does, then it is as people see it
    assert (_aligned(picture, _png(_mask())) == _mask()).all()
    assert (_aligned(picture, _file(_mask(), orientation)) == _mask()).all()
    # when it was drawn over the stored pixels, which its size tells, then it is turned with these
    as_stored = _file(_mask(), orientation, tagged=False)
    expected = _mask() if orientation in SIDEWAYS else np.asarray(_stored(_mask(), orientation))
    assert (_aligned(picture, as_stored) == expected).all()  # otherwise upright is meant: nothing tells it
    # when only the mask says that it lies on its side, but has the picture's size as it is stored, then it is upright
    if orientation in SIDEWAYS:
        exif = Image.Exif()
        exif[0x0112] = orientation
        stream = io.BytesIO()
        Image.fromarray(_mask()).save(stream, "PNG", exif=exif)
        assert (_aligned(_png(pixels(1, (WIDTH, HEIGHT))), stream.getvalue()) == _mask()).all()


def test_of_a_square_picture_on_its_side_the_mask_is_upright() -> None:
    mask = _mask(size=(20, 20))
    assert (_aligned(_file(pixels(1, (20, 20))[..., 0], 6), _png(mask)) == mask).all()


# -- what a mask is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (_png(_mask()), _mask()),
        (_png(_mask(), "P"), None),
        (_png(_mask() > 0), _mask() > 0),
        (_png(_mask().astype(np.uint16)), _mask()),
    ],
    ids=["L", "P", "1", "I;16"],
)
def test_a_mask_has_one_channel_of_whole_numbers(mask: bytes, expected: npt.NDArray[np.uint8] | None) -> None:
    found = _aligned(_png(pixels(1, (WIDTH, HEIGHT))), mask)
    assert (found == (np.asarray(Image.open(io.BytesIO(mask))) if expected is None else expected)).all()


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (_png(np.stack([_mask()] * 3, axis=2)), "1-mask.png has mode RGB"),
        (_png(np.stack([_mask()] * 4, axis=2)), "1-mask.png has mode RGBA"),
        (_png(_mask(), "LA"), "1-mask.png has mode LA"),
        (_png(np.full((HEIGHT, WIDTH), 40_000, dtype=np.uint16)), "1-mask.png has numbers to 40,000"),
        (b"no mask", "1-mask.png is text, not a picture: 'no mask'"),
        (_png(_mask(size=(400, 300)))[:200], "1-mask.png is damaged or cut short"),
    ],
    ids=["RGB", "RGBA", "LA", "I;16", "none", "cut"],
)
def test_what_is_no_mask_is_named_with_what_it_is(mask: bytes, says: str) -> None:
    found = mask_files.aligned(File(_png(pixels(1, (WIDTH, HEIGHT))), "1.png"), File(mask, "1-mask.png"))
    if not isinstance(found, bytes):
        assert says in found.says
        assert found.kind.many == "masks"
        return
    pytest.fail("it was taken for a mask")


def test_what_is_no_picture_is_left_to_the_inspection() -> None:
    assert mask_files.aligned(File(b"no picture", "1.png"), File(_png(_mask()), "1-mask.png")) == _png(_mask())


# -- which value is which class --------------------------------------------------------------------------------------


def _valued(base: Path, values: list[int]) -> dict[str, Any]:
    """As `_manifest`, the classes 0, 1 and 2 being written as other values, and without names."""
    source = _manifest(base, {})
    for path in (base / "masks").iterdir():
        path.write_bytes(_png(np.array(values, dtype=np.uint8)[decoding.indices(path.read_bytes())]))
    return {key: value for key, value in source.items() if key != "names"}


@pytest.mark.parametrize("values", [[0, 255, 255], [0, 128, 255], [10, 20, 30], [0, 0, 5]])
def test_masks_of_other_values_than_numbers_of_classes_are_told_and_read_by_a_key(
    tmp_path: Path, values: list[int]
) -> None:
    # given masks of 0 and 255, as most tools write one class; or of other values
    source = _valued(tmp_path, values)
    used = sorted(set(values))
    # when nothing says which class they are, then it is one sentence with a mask, its values, and the keys
    with pytest.raises(DataError) as caught:
        read(source)
    said = str(caught.value)
    assert (
        f"expected masks whose pixels are numbers of classes, 0, 1, 2 and so on, received values of {used[0]}" in said
    )
    assert f"`values: {used}` under `source:` (`-S 'names=[background, class-1" in said
    # when it is said, then each value is its class, and several may be one
    names = NAMES[: len(used)]
    data, rows = read({**source, "names": names, "values": used})
    expected = [np.searchsorted(used, np.array(values)[_mask(number)]) for number in range(len(rows))]
    assert data.classes == tuple(names)
    assert all((decoding.indices(row["target"]) == mask).all() for row, mask in zip(rows, expected, strict=True))
    data, rows = read({**source, "names": ["background", "rest"], "values": [used[0], used[1:]]})
    assert all((decoding.indices(row["target"]) == (mask > 0)).all() for row, mask in zip(rows, expected, strict=True))


def test_a_value_that_is_not_listed_is_named(tmp_path: Path) -> None:
    source = _valued(tmp_path, [0, 128, 255])
    with pytest.raises(
        DataError, match=r"that `source\.values` lists, received 12 of another value: masks/00\.png has 128"
    ):
        read({**source, "names": ["background", "cat"], "values": [0, 255]})


@pytest.mark.parametrize(
    "keys",
    [
        {"values": [0, 255]},
        {"names": NAMES, "values": [0, 255]},
        {"names": ["background", "cat"], "values": [0, 0]},
        {"names": ["background", "cat"], "values": [0, 256]},
    ],
)
def test_values_that_cannot_be_meant_are_refused_with_the_configuration(tmp_path: Path, keys: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="values"):
        parse_entry(
            "mine",
            {
                "task": "segmentation",
                "source": {"kind": "manifest", "path": "table.csv", "mask": "mask", **keys},
                "image": {"height": 8, "width": 8, "channels": 3},
            },
        )


def test_masks_of_one_bit_are_two_classes(tmp_path: Path) -> None:
    source = _manifest(tmp_path, {})
    for path in (tmp_path / "masks").iterdir():
        path.write_bytes(_png(decoding.indices(path.read_bytes()) > 0))
    data, rows = read({key: value for key, value in source.items() if key != "names"})
    assert data.classes == ("0", "1")
    assert (decoding.indices(rows[0]["target"]) == (_mask() > 0)).all()


# -- prepare, whoever wrote the raw data -----------------------------------------------------------------------------


def test_a_mask_that_is_not_of_its_pictures_size_is_never_stretched(tmp_path: Path) -> None:
    # given raw data in which one mask is not its picture's, as no source of this version gives it
    source = _manifest(tmp_path / "set", {}, count=40)
    raw = tmp_path / "raw" / "mine"
    card = ingest(parse(source), tmp_path, raw)
    _, rows = read(source)
    rows[7]["target"] = _png(_mask(size=(31, 20)))
    for path in raw.glob("raw-*.parquet"):
        path.unlink()
    with ShardWriter(raw, "raw", schema("mask"), "image") as writer:
        for table in tables(schema("mask"), rows):
            writer.add(table)
    assert RawCard.load(raw) == card
    # when it is prepared with resizing, then the others have the new size, and that one its own: validation names it
    entry = {
        "task": "segmentation",
        "source": source,
        "image": {"height": 16, "width": 24, "channels": 3, "resize": True},
        "split": {"validation": 0.2, "test": 0.2},
    }
    config = DatasetConfig.model_validate(entry)
    dataset = prepare("mine", config, raw, tmp_path / "prepared" / "mine", Decisions())
    found = {
        name: decoding.indices(mask)
        for split in ("train", "validation", "test")
        for name, mask in zip(*(dataset.table(split)[key].to_pylist() for key in ("id", "target")), strict=True)
    }
    assert found.pop("images/07.png").shape == (20, 31)
    for name, mask in found.items():
        whole = Image.fromarray(_mask(int(name[7:9])))
        assert (mask == np.asarray(whole.resize((24, 16), Image.Resampling.NEAREST))).all()
