"""Pixels of no class: from a source's masks to the data set's card, its checks and its pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from PIL import Image

from components import decoding
from components.artifacts import Dataset
from components.config import ConfigurationError, parse_entry
from components.data.card.page import write_card
from components.data.card.summary import summarise
from components.data.checking.check import Wanted, check
from components.data.drift.profile import profile
from components.data.errors import DataError
from components.data.reading.loading import load_split
from components.data.stages import stages
from components.inputs import png
from components.targets import mask as kinds
from components.targets import registry as targets
from tests.components.data.data_builders import build, judge
from tests.components.data.sources.source_builders import EACH, pixels, read, write_coco, write_voc

SIZE = (24, 16)  # width, height
NAMES = ["background", "cat", "dog"]
BORDER = 255
ENTRY: dict[str, Any] = {
    "task": "segmentation",
    "image": {"height": 16, "width": 24, "channels": 3},
    "split": {"validation": 0.2, "test": 0.2},
}


def drawn(number: int) -> npt.NDArray[np.uint8]:
    """`(H, W)`: a cat and a dog, each with a border of no class, wide as in half of all pixels."""
    found = np.zeros(SIZE[::-1], dtype=np.uint8)
    found[:, 12:] = BORDER
    found[2 : 5 + number % 4, 1:6], found[1:5, 8:10], found[12:14, 14:18] = 1, 2, 2
    return found


def written(base: Path, masks: Callable[[int], npt.NDArray[np.uint8]] = drawn, count: int = 40) -> dict[str, Any]:
    """Pictures and their masks, in folders beside each other."""
    for number in range(count):
        for folder, values in (("images", pixels(number, SIZE)), ("masks", masks(number))):
            (base / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(base / folder / f"{number:02d}.png")
    return {"kind": "masks", "path": str(base)}


def stored(rows: list[dict[str, Any]]) -> npt.NDArray[np.uint8]:
    return np.stack([decoding.indices(row["target"]) for row in rows])


# -- sources ---------------------------------------------------------------------------------------------------------


def test_a_value_that_is_ignored_is_no_class_and_is_kept_as_255(tmp_path: Path) -> None:
    source = written(tmp_path)
    with pytest.raises(DataError, match=r"received values of 0, 1, 2, 255 in its masks .* said as `ignore: 255`"):
        read(source)
    data, rows = read({**source, "ignore": 255})
    assert (data.classes, data.about) == (("0", "1", "2"), {"ignore": 255})
    assert (stored(rows) == [drawn(number) for number in range(40)]).all()


def test_any_value_or_colour_can_be_ignored_beside_those_of_the_classes(tmp_path: Path) -> None:
    table = np.zeros(256, np.uint8)
    table[[0, 1, 2, BORDER]] = 10, 20, 30, 7
    source = written(tmp_path / "numbers", lambda number: table[drawn(number)])
    said = {"names": NAMES, "values": [10, 20, 30]}
    with pytest.raises(DataError, match=r"received 40 of another value: masks/00\.png has 7"):
        read({**source, **said})
    for ignored in (7, [7], [7, 8]):
        _, rows = read({**source, **said, "ignore": ignored})
        assert (stored(rows) == [drawn(number) for number in range(40)]).all()
    palette = np.zeros((256, 3), np.uint8)
    palette[[1, 2, BORDER]] = (255, 0, 0), (0, 0, 255), (224, 224, 192)
    source = written(tmp_path / "colours", lambda number: palette[drawn(number)])
    said = {"names": NAMES, "values": ["#000000", "#ff0000", "#0000ff"]}
    with pytest.raises(DataError, match=r"masks/00\.png has #e0e0c0"):
        read({**source, **said})
    _, rows = read({**source, **said, "ignore": "#E0E0C0"})
    assert (stored(rows) == [drawn(number) for number in range(40)]).all()


def test_a_255_that_nobody_has_named_is_not_taken_for_what_is_ignored(tmp_path: Path) -> None:
    source = written(tmp_path, lambda number: np.where(drawn(number) == 2, BORDER, drawn(number) % 250))
    with pytest.raises(DataError, match=r"masks/00\.png has 255"):
        read({**source, "names": ["background", "cat"], "ignore": 5})


def test_a_table_of_masks_and_vocs_border_and_cocos_categories_are_ignored_where_it_is_asked_for(
    tmp_path: Path,
) -> None:
    # given a table
    written(tmp_path)
    lines = ["path,mask", *(f"images/{number:02d}.png,masks/{number:02d}.png" for number in range(40))]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    source = {"kind": "manifest", "path": str(tmp_path / "table.csv"), "mask": "mask", "ignore": 255}
    data, rows = read(source)
    assert (data.classes, data.about) == (("0", "1", "2"), {"ignore": 255})
    assert (stored(rows) == [drawn(number) for number in range(40)]).all()
    # given Pascal VOC, whose border is background unless it is asked for
    source = {**write_voc(tmp_path / "voc"), "take": "masks"}
    (plain, before), (asked, after) = read(source), read({**source, "ignore": 255})
    assert (plain.about, asked.about) == ({}, {"ignore": 255})
    originals = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "voc" / "SegmentationClass").iterdir())]
    assert (stored(after) == originals).all() and (np.stack(originals) == BORDER).any()
    assert (stored(before) == np.where(stored(after) == BORDER, 0, stored(after))).all()
    # given COCO, of whose categories one is not to be learnt
    source = {**write_coco(tmp_path / "coco"), "take": "masks"}
    (plain, before), (asked, after) = read(source), read({**source, "ignore": "dog"})
    assert (asked.classes, asked.about) == (tuple(name for name in plain.classes if name != "dog"), {"ignore": 255})
    dog = plain.classes.index("dog")
    assert ((stored(before) == dog) == (stored(after) == BORDER)).all() and (stored(after) == BORDER).any()
    with pytest.raises(DataError, match=r"expected categories of .*, received 'wolf', which is none"):
        read({**source, "ignore": ["wolf"]})


def test_a_mask_of_nothing_else_is_a_fault_that_can_be_left_out(tmp_path: Path) -> None:
    def masks(number: int) -> npt.NDArray[np.uint8]:
        return np.full(SIZE[::-1], BORDER, np.uint8) if number in (3, 7) else drawn(number)

    source = {**written(tmp_path, masks), "ignore": 255}
    with pytest.raises(
        DataError,
        match=r"with a pixel that is not ignored, received 2 ignored as a whole: masks/03\.png; masks/07\.png",
    ):
        read(source)
    data, rows = read({**source, "faulty": "skip"})
    assert len(rows) == 38 and data.notes()[0].startswith("left out: 2 masks ignored as a whole")
    voc = {**write_voc(tmp_path / "voc"), "take": "masks", "ignore": 255}
    Image.new("L", (40, 30), BORDER).save(tmp_path / "voc" / "SegmentationClass" / "2007_000001.png")
    with pytest.raises(DataError, match=r"received 1 ignored as a whole: SegmentationClass/2007_000001\.png"):
        read(voc)
    assert len(read({**voc, "faulty": "skip"})[1]) == EACH - 1


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"kind": "manifest", "path": "t.csv", "ignore": 255}, "`ignore` beside `mask`"),
        ({"kind": "voc", "path": "v", "ignore": 255}, "`ignore` beside `take: masks`"),
        ({"kind": "coco", "path": "c", "ignore": ["void"]}, "`ignore` beside `take: masks`"),
        ({"kind": "masks", "path": "m", "ignore": 256}, "less than or equal to 255|at most 255"),
        ({"kind": "masks", "path": "m", "ignore": [9, 9]}, "differ from each other"),
        ({"kind": "masks", "path": "m", "ignore": "#00ff00"}, "beside the `values` of the classes"),
        ({"kind": "masks", "path": "m", "names": ["a", "b"], "values": [0, 9], "ignore": 9}, "differ from each other"),
        (
            {"kind": "masks", "path": "m", "names": ["a", "b"], "values": [0, 9], "ignore": "#00ff00"},
            "all numbers, or all colours",
        ),
        ({"kind": "masks", "path": "m", "names": [str(each) for each in range(255)], "ignore": 255}, "at most 254"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_configuration(source: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        parse_entry("mine", {**ENTRY, "source": source})


def test_an_entry_that_ignores_nothing_is_the_one_it_was() -> None:
    config = parse_entry("mine", {**ENTRY, "source": {"kind": "masks", "path": "m"}})
    assert "ignore" not in config.source.model_dump()
    asked = parse_entry("mine", {**ENTRY, "source": {"kind": "masks", "path": "m", "ignore": 255}})
    assert asked.source.model_dump()["ignore"] == (255,)
    assert asked.digest() != config.digest()


# -- the data set ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ignoring(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Any]:
    base = tmp_path_factory.mktemp("ignoring")
    source = {**written(base / "set"), "names": NAMES, "ignore": 255}
    return build(base, "mine", **ENTRY, source=source)


def test_the_card_says_it_and_what_is_ignored_is_in_no_count_and_no_share(ignoring: tuple[Dataset, Any]) -> None:
    dataset, config = ignoring
    assert dataset.card.target == {"kind": "mask", "ignore": 255}
    assert Dataset.load(dataset.folder).card == dataset.card
    kind, column = targets.of(dataset), dataset.table("train", ["target"]).column("target").combine_chunks()
    masks = load_split(dataset, "train").targets
    # counts and strata, against counting what is left
    shown = kind.shown(column, 3)
    assert shown.counts(3).tolist() == [(masks == number).any(axis=(1, 2)).sum() for number in range(3)]
    largest = [np.bincount(mask[(mask > 0) & (mask != BORDER)], minlength=3).argmax() for mask in masks]
    assert shown.strata.tolist() == largest
    # what is followed for drift
    shares = profile(dataset, sample=100)[[f"share_{name}" for name in NAMES]].to_numpy()
    expected = [[(mask[mask != BORDER] == number).mean() for number in range(3)] for mask in masks]
    np.testing.assert_allclose(sorted(shares.tolist()), sorted(expected))
    assert kind.described(NAMES, dataset.card.target) == "in 3 classes and pixels of none, which are ignored"
    # what it is held to
    facts = kind.facts(column, dataset.card)
    assert set(facts["mask_max"]) == {2}
    assert facts["mask_judged"] == [(mask != BORDER).sum() for mask in masks]
    report = judge(dataset, config, dataset.folder.parent.parent / "validated")
    assert not [each.expectation for each in report.results if each.severity == "error" and not each.success]


def test_a_class_that_is_not_declared_is_still_a_mistake_beside_what_is_ignored(tmp_path: Path) -> None:
    source = {**written(tmp_path / "set"), "names": NAMES, "ignore": 255}
    dataset, config = build(tmp_path, "mine", **ENTRY, source=source, classes=["cat", "background"])
    masks = load_split(dataset, "train").targets
    assert set(np.unique(masks)) == {0, 1, 254, BORDER}
    failed = [each.expectation for each in judge(dataset, config, tmp_path / "validated").results if not each.success]
    assert any(says.startswith("every pixel of a mask is one of the 2 known classes") for says in failed)


def test_masks_of_which_resizing_leaves_nothing_are_named_by_the_check_and_by_validation(tmp_path: Path) -> None:
    # given masks of which two have a single pixel that is not ignored, at a place that a smaller size passes over
    def masks(number: int) -> npt.NDArray[np.uint8]:
        if number not in (3, 7):
            return drawn(number)
        found = np.full(SIZE[::-1], BORDER, np.uint8)
        found[0, 0] = 1
        return found

    source = {**written(tmp_path / "set", masks), "names": NAMES, "ignore": 255}
    entry = {**ENTRY, "image": {"height": 8, "width": 12, "channels": 3, "resize": True}}
    # when the data is checked
    wanted = Wanted(
        settings=('names=["background","cat","dog"]', "ignore=255", "checks.leakage=keep"),
        height=8,
        width=12,
        resize=True,
    )
    checked = check(str(tmp_path / "set"), wanted, tmp_path, tmp_path / "temporary")
    # then both are named, as they are by validation
    (said,) = [each for each in checked.refusals if "ignored as a whole" in each]
    assert "images/03.png" in said and "images/07.png" in said
    dataset, config = build(tmp_path, "mine", **entry, source=source)
    results = judge(dataset, config, tmp_path / "validated").results
    (failed,) = [each for each in results if "ignored as a whole" in each.expectation]
    assert (failed.severity, failed.success, failed.unexpected_count) == ("error", False, 2)
    assert checked.looked.entry["source"]["ignore"] == 255


def test_what_is_ignored_is_hatched_in_grey_and_named(tmp_path: Path) -> None:
    mask = np.zeros((12, 12), np.uint8)
    mask[:, 6:], mask[:, 3:6] = BORDER, 1
    target = png.encode(mask[None])[0].as_py()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8))
    about = {"kind": "mask", "ignore": 255}
    plain, hatched = (np.asarray(kinds.TARGET.drawn(picture, target, each)).astype(int) for each in ({}, about))
    assert (plain[:, :6] == hatched[:, :6]).all() and (plain[:, 6:] != hatched[:, 6:]).any(axis=2).all()
    grey = kinds.TARGET.colours(NAMES, about)[kinds.IGNORED]
    lines = (hatched[:, 6:] == grey).all(axis=2)
    assert 0.2 < lines.mean() < 0.3  # one pixel in four
    assert list(kinds.TARGET.colours(NAMES, about)) == [*list(kinds.TARGET.colours(NAMES, {})), "(ignored)"]


def test_the_page_of_a_data_set_names_what_is_hatched_where_anything_is(tmp_path: Path) -> None:
    said = {}
    for name, ignored in (("asked", [255]), ("plain", [])):
        root = tmp_path / name
        made = written(root / "set", drawn if ignored else lambda number: drawn(number) % BORDER)
        entry = {**ENTRY, "source": {**made, "path": "set", "names": NAMES, **({"ignore": ignored} if ignored else {})}}
        said[name] = page_of(root, entry)
    assert "(ignored), pixels of no class, are hatched" in said["asked"]
    assert "ignored" not in said["plain"]


def page_of(root: Path, entry: dict[str, Any]) -> str:
    (root / "params.yaml").write_text(yaml.safe_dump({"datasets": {"mine": entry}}), encoding="utf-8")
    for stage in ("watch", "ingest", "inspect", "prepare"):
        stages.run(stage, "mine", root)
    return write_card(summarise(root, "mine")).read_text(encoding="utf-8")
