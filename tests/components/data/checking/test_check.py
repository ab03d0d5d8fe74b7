"""A look before ingesting says what ingesting would come to, and leaves nothing behind."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from PIL import Image

from components.config import ConfigurationError
from components.data.checking.check import INSPECTED, Checked, Wanted, check, command, look
from components.data.checking.surveys.image import Pictures as Surveyed
from components.data.errors import DataError
from components.data.inspection.base.findings import Decisions
from components.data.preparing.ingest import ingest
from components.data.preparing.prepare import prepare

Pictures = Callable[..., Path]


def surveyed(given: dict[str, int], *images: tuple[str, tuple[int, int]]) -> Surveyed:
    survey = Surveyed(given)
    for mode, size in images:
        file = io.BytesIO()
        Image.new(mode, size).save(file, format="PNG")
        survey.add(pa.chunked_array([[file.getvalue()]], pa.binary()))
    return survey


def everything_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


# -- the entry -------------------------------------------------------------------------------------------------------


def test_the_entry_says_what_most_images_are(pictures: Pictures, tmp_path: Path) -> None:
    base = pictures(each=20)
    Image.new("RGBA", (30, 20), (1, 2, 3, 4)).save(base / "cat" / "other.png")

    looked = look(str(base), Wanted(), tmp_path)

    assert looked.entry == {
        "task": "classification",
        "source": {"kind": "folder", "path": "pictures"},  # it lies in the project
        "image": {"height": 10, "width": 12, "channels": 3, "resize": True},
    }
    assert any("1 of 41 images are of another size" in reason for reason in looked.reasons)
    assert any("1 of 41 images (RGBA) must be converted" in reason for reason in looked.reasons)
    assert looked.survey.samples == 41
    assert {name: sum(splits.values()) for name, splits in looked.survey.classes.items()} == {"cat": 21, "dog": 20}
    assert looked.survey.inputs.size == sum(path.stat().st_size for path in base.rglob("*.png"))


def test_a_photograph_on_its_side_counts_as_it_is_seen(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90° when shown
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.new("RGB", (40, 20)).save(tmp_path / "photos" / label / "1.jpg", exif=turned)
    assert look(str(tmp_path / "photos"), Wanted(), tmp_path).entry["image"] == {
        "height": 40,
        "width": 20,
        "channels": 3,
    }


@pytest.mark.parametrize(
    ("images", "given", "section"),
    [
        ([("L", (8, 6))] * 2, {}, {"height": 6, "width": 8, "channels": 1}),
        ([("RGB", (8, 6)), ("L", (8, 6))], {}, {"height": 6, "width": 8, "channels": 3}),
        ([("L", (8, 6)), ("LA", (8, 6))], {}, {"height": 6, "width": 8, "channels": 1, "resize": True}),
        ([("I;16", (8, 6))] * 2, {}, {"height": 6, "width": 8, "channels": 1, "resize": True}),
        ([("L", (8, 6)), ("L", (80, 60))], {}, {"height": 60, "width": 80, "channels": 1, "resize": True}),
        ([("L", (80, 60))], {"height": 30}, {"height": 30, "width": 40, "channels": 1, "resize": True}),
        ([("L", (80, 60))], {"width": 20}, {"height": 15, "width": 20, "channels": 1, "resize": True}),
        ([("RGB", (8, 6))], {"channels": 1}, {"height": 6, "width": 8, "channels": 1, "resize": True}),
        ([("L", (8, 6)), ("L", (9, 6))], {"resize": False}, {"height": 6, "width": 9, "channels": 1}),
    ],
)
def test_the_size_and_channels_that_fit(
    images: list[tuple[str, tuple[int, int]]], given: dict[str, int], section: dict[str, int]
) -> None:
    assert surveyed(given, *images).fitting("stretch").section == section


def test_what_fits_passes_the_form_that_prepare_gives(tmp_path: Path) -> None:
    """Every mode that Pillow writes: the declared form is met by all of them."""
    for label, modes in {"grey": ("1", "L", "LA", "I;16"), "colour": ("P", "RGB", "RGBA")}.items():
        (tmp_path / "photos" / label).mkdir(parents=True)
        for mode in modes:
            name = mode.replace(";", "")
            pixels = np.random.default_rng(0).integers(0, 255, (10, 12), dtype=np.uint16)
            image = (
                Image.fromarray(pixels) if mode == "I;16" else Image.fromarray(pixels.astype(np.uint8)).convert(mode)
            )
            image.save(tmp_path / "photos" / label / f"{name}.png")
    looked = look(str(tmp_path / "photos"), Wanted(), tmp_path)
    assert set(looked.survey.inputs.modes) == {"1", "L", "LA", "I;16", "P", "RGB", "RGBA"}

    ingest(looked.config.source, tmp_path, tmp_path / "raw")
    dataset = prepare("photos", looked.config, tmp_path / "raw", tmp_path / "prepared")

    for split in ("train", "validation", "test"):
        table = dataset.table(split)  # type: ignore[arg-type]
        assert set(table.column("mode").to_pylist()) <= {"RGB"}
        assert set(table.column("width").to_pylist()) <= {12}


def test_settings_reach_the_source_and_the_entry(tmp_path: Path, pictures: Pictures) -> None:
    base = pictures(each=10)
    names = sorted(path.relative_to(base).as_posix() for path in base.rglob("*.png"))
    table = pa.table({"file": names, "is": ["a", "b"] * 10, "site": [str(number % 4) for number in range(20)]})
    pyarrow.csv.write_csv(table, base / "labels.csv")
    wanted = Wanted(
        kind="manifest",
        group="site",
        test=0.3,
        settings=("image=file", "target=is", "checks.outliers=drop", "classes=[b, a]"),
    )

    looked = look(str(base / "labels.csv"), wanted, tmp_path)

    assert looked.config.split.group == "group_site"
    assert looked.config.split.test == 0.3
    assert looked.config.checks.outliers == "drop"
    assert looked.config.classes == ("b", "a")
    assert looked.entry["source"] == {
        "kind": "manifest",
        "path": "pictures/labels.csv",
        "image": "file",
        "target": "is",
        "groups": ["site"],
    }
    assert {name: dict(values) for name, values in looked.survey.groups.items()} == {
        "group_site": {"0": 5, "1": 5, "2": 5, "3": 5}
    }
    words = command(looked, str(base), wanted)
    assert words[:5] == ["convoy", "data", "add", "NAME", str(base)]
    assert words[-8:] == [word for setting in wanted.settings for word in ("-S", setting)]


def test_a_group_that_is_not_there_is_told_those_that_are(pictures: Pictures, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--group: expected a group of the source \(it has none\), received 'patient'"):
        look(str(pictures()), Wanted(group="patient"), tmp_path)


def test_every_mistake_of_the_command_line_is_told_at_once(pictures: Pictures, tmp_path: Path) -> None:
    wanted = Wanted(name="mine", channels=2, height=0, validation=2.0, settings=("colour=red",))
    with pytest.raises(ConfigurationError) as told:
        look(str(pictures()), wanted, tmp_path)
    for key in ("image.channels", "image.height", "split.validation", "source.colour"):
        assert f"datasets.mine.{key}" in str(told.value)


def test_an_archive_that_is_not_the_one_meant_is_refused(pictures: Pictures, tmp_path: Path) -> None:
    packed = shutil.make_archive(str(tmp_path / "animals"), "zip", pictures(each=3))
    with pytest.raises(ConfigurationError, match=r"datasets\.NAME\.source\.sha256"):
        look(packed, Wanted(settings=("sha256=abc",)), tmp_path)
    with pytest.raises(DataError, match=r"expected SHA-256 0000.*source\.sha256"):
        look(packed, Wanted(settings=(f"sha256={'0' * 64}",)), tmp_path)


def test_an_address_with_a_secret_in_it_is_not_repeated(pictures: Pictures, tmp_path: Path) -> None:
    looked = look(str(pictures(each=3)), Wanted(), tmp_path)
    assert "secret" not in " ".join(command(looked, "https://me:secret@example.org/a.zip?token=secret", Wanted()))


@pytest.mark.parametrize("text", ["target", "=x", "a..b=1", "x={"])
def test_a_setting_that_is_none_is_refused(text: str, pictures: Pictures, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^-S "):
        look(str(pictures()), Wanted(settings=(text,)), tmp_path)


# -- what is wrong ---------------------------------------------------------------------------------------------------


def test_a_look_at_an_archive_leaves_nothing_behind(pictures: Pictures, tmp_path: Path) -> None:
    """What is unpacked lies in the folder that the caller throws away."""
    project = tmp_path / "project"
    project.mkdir()
    packed = Path(shutil.make_archive(str(tmp_path / "animals"), "zip", pictures(each=20)))
    before = everything_below(tmp_path)

    checked = check(str(packed), Wanted(), project, tmp_path / "temporary")

    assert everything_below(tmp_path) - everything_below(tmp_path / "temporary") - {tmp_path / "temporary"} == before
    assert checked.errors == 0
    assert checked.inspection.samples == checked.looked.survey.samples == 40
    assert checked.looked.entry["source"] == {"kind": "folder", "path": str(packed)}


def test_damage_and_small_classes_are_errors_and_blank_pictures_are_not(pictures: Pictures, tmp_path: Path) -> None:
    base = pictures(each=20)
    (base / "cat" / "torn.png").write_bytes((base / "cat" / "000.png").read_bytes()[:90])
    Image.new("RGB", (12, 10), "white").save(base / "dog" / "white.png")
    (base / "newt").mkdir()
    shutil.copy(base / "dog" / "white.png", base / "newt" / "only.png")
    Image.new("RGB", (12, 10), "black").save(base / "newt" / "only.png")

    checked = check(str(base), Wanted(), tmp_path, tmp_path / "temporary")

    found = {(row["kind"], row["id"]): row["error"] for row in checked.findings.to_pylist()}
    assert found["corrupt", "cat/torn.png"]
    assert found["small-class", "newt"]
    assert not found["blank", "dog/white.png"]
    assert checked.errors == sum(found.values())


def _apart(checked: Checked, tmp_path: Path) -> list[bool]:
    """The independent word: whether each pair of twins is in two splits once `prepare` has done the same entry."""
    config = checked.looked.config
    ingest(config.source, tmp_path, tmp_path / "raw")
    decisions = Decisions.load(tmp_path / "temporary" / INSPECTED)
    dataset = prepare("pictures", config, tmp_path / "raw", tmp_path / "prepared", decisions)
    splits = {
        name: split
        for split in ("train", "validation", "test")
        for name in dataset.table(split, ["id"]).column("id").to_pylist()
    }
    return [splits[row["id"]] != splits[row["other"]] for row in _duplicates(checked)]


def _duplicates(checked: Checked) -> list[dict[str, Any]]:
    return [row for row in checked.findings.to_pylist() if row["kind"] == "duplicate"]


def test_twins_are_no_errors_where_convoy_draws_the_splits(pictures: Pictures, tmp_path: Path) -> None:
    base = pictures(each=20)
    for number in range(12):
        shutil.copy(base / "cat" / f"{number:03d}.png", base / "cat" / f"copy-{number:03d}.png")

    checked = check(str(base), Wanted(), tmp_path, tmp_path / "temporary")

    assert [row["error"] for row in _duplicates(checked)] == _apart(checked, tmp_path) == [False] * 12
    assert checked.errors == 0
    assert (
        "twins: 24 samples in 12 families; a family stays together where splits are drawn" in checked.inspection.notes
    )


def test_twins_are_errors_where_the_source_has_put_them_into_two_splits(pictures: Pictures, tmp_path: Path) -> None:
    base = pictures(each=20, under="train")
    pictures(each=8, under="test")
    for number in range(12):
        place = base / ("train" if number < 7 else "test") / "cat" / f"copy-{number:03d}.png"
        shutil.copy(base / "train" / "cat" / f"{number:03d}.png", place)

    checked = check(str(base), Wanted(), tmp_path, tmp_path / "temporary")

    apart = _apart(checked, tmp_path)
    assert [row["error"] for row in _duplicates(checked)] == apart
    assert apart.count(True) == 5


def test_splits_that_cannot_be_drawn_are_an_error_as_in_the_line(pictures: Pictures, tmp_path: Path) -> None:
    base = pictures(each=1)
    for number in range(20):  # the same picture everywhere
        shutil.copy(base / "cat" / "000.png", base / "cat" / f"copy-{number:03d}.png")
        shutil.copy(base / "cat" / "000.png", base / "dog" / f"{number:03d}.png")

    checked = check(str(base), Wanted(), tmp_path, tmp_path / "temporary")

    assert "received 41 samples of 1, since copies" in checked.refusals[0]
    assert checked.errors == 3  # that, and two classes that are too small
    assert any("one family has 41 of 41 samples" in note for note in checked.inspection.notes)
    with pytest.raises(DataError) as told:
        _apart(checked, tmp_path)
    assert str(told.value) == checked.refusals[0]
    # and the way that it offers is one
    ignoring = Wanted(settings=("split.twins=ignore", "checks.leakage=keep"))
    assert check(str(base), ignoring, tmp_path, tmp_path / "again").errors == 0


def test_a_class_that_is_in_no_new_picture_is_an_error_where_the_newest_are_tested_on(tmp_path: Path) -> None:
    # given cats from the whole year and dogs from January
    random, lines = np.random.default_rng(0), ["path,target,taken"]
    (tmp_path / "photos").mkdir()
    for number in range(60):
        name = f"{number:03d}.png"
        Image.fromarray(random.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(tmp_path / "photos" / name)
        lines.append(f"{name},{'cat' if number >= 20 else 'dog'},2026-{max(1, (number - 8) // 4):02d}-01")
    (tmp_path / "photos" / "table.csv").write_text("\n".join(lines), encoding="utf-8")

    settings = ("time=taken", "split.order=time")
    checked = check(str(tmp_path / "photos" / "table.csv"), Wanted(settings=settings), tmp_path, tmp_path / "temporary")

    assert "received none of 'dog' for validation and test; set other shares" in checked.refusals[0]
    assert checked.errors == 1


@pytest.mark.parametrize("leakage", ["drop", "move", "keep"])
def test_twins_are_no_errors_where_the_catalogue_deals_with_them(
    leakage: str, pictures: Pictures, tmp_path: Path
) -> None:
    base = pictures(each=40, under="train")
    pictures(each=8, under="test")
    for number in range(12):
        shutil.copy(base / "train" / "cat" / f"{number:03d}.png", base / "test" / "cat" / f"copy-{number:03d}.png")
    checked = check(str(base), Wanted(settings=(f"checks.leakage={leakage}",)), tmp_path, tmp_path / "temporary")
    assert checked.errors == 0
    assert len(checked.findings) >= 12


def test_masks_are_counted_by_the_classes_they_show(tmp_path: Path) -> None:
    checked = check("digit-scenes", Wanted(settings=("scenes=40",)), tmp_path, tmp_path / "temporary")
    shown = {name: sum(splits.values()) for name, splits in checked.looked.survey.classes.items()}
    assert shown == checked.inspection.classes
    assert shown["background"] == 40
    assert checked.looked.config.task == "segmentation"


def test_an_empty_source_says_so(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
    with pytest.raises(DataError, match="expected images, received none"):
        look(str(tmp_path / "photos"), Wanted(kind="folder"), tmp_path)
