"""What is wrong with a source is found in one pass, written down whole, and the same each time."""

from __future__ import annotations

import csv
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from components.data.errors import DataError
from components.data.inspection import describing, label_noise
from components.data.inspection.eyes import hashing
from components.data.inspection.findings import KINDS, Decisions, Inspection, load_findings
from components.data.inspection.inspect import inspect
from components.data.sources.base.form import SourceData
from components.files import digest_folder
from components.inputs import png
from tests.components.data.inspection.inspection_builders import (
    altered,
    config,
    crops,
    digits,
    encoded,
    photographs,
    source,
)

PHOTOGRAPHS = {"image": {"height": 64, "width": 64, "channels": 3, "resize": True}}


def findings(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [row for row in load_findings(folder).to_pylist() if row["kind"] == kind]


def looked_at(folder: Path, data: SourceData, **changes: Any) -> Inspection:
    return inspect(data, config(**changes), folder, folder / "inspected")


def test_digits_are_counted_and_hardly_anything_is_found(tmp_path: Path) -> None:
    pixels, labels = digits()

    inspection = looked_at(tmp_path, source(pixels, labels.tolist()))

    assert inspection == Inspection.load(tmp_path / "inspected")
    assert inspection.samples == 1797
    assert inspection.classes == {str(label): int(np.sum(labels == label)) for label in range(10)}
    assert inspection.sizes == {"8x8": 1797}
    assert inspection.modes == {"L": 1797}
    assert set(inspection.found) <= {"outlier", "label-noise"}
    assert sum(inspection.found.values()) <= 9
    assert inspection.notes == ()
    assert Decisions.load(tmp_path / "inspected") == Decisions()
    assert not (tmp_path / "inspected" / "review.csv").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["inspected"]


def test_everything_that_was_planted_is_found_and_drawn(tmp_path: Path) -> None:
    pixels, labels = digits()
    planted = [
        encoded(pixels[3]),
        encoded(altered(pixels[4:5], "jpeg")[0]),
        encoded(np.full((8, 8), 77, dtype=np.uint8)),
        encoded(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)),
        encoded(pixels[5])[:-30],
        b"no image",
        None,
        encoded(pixels[9]),
    ]
    contents = [*png.encode(pixels).to_pylist(), *planted]
    targets = [*labels.tolist(), labels[3], labels[4], 0, 0, 0, 0, 0, (labels[9] + 1) % 10]

    inspection = looked_at(tmp_path, source(contents, targets))

    folder = tmp_path / "inspected"
    assert [(row["id"], row["other"]) for row in findings(folder, "duplicate")] == [
        ("s1797", "s0003"),
        ("s1804", "s0009"),
    ]
    assert f"labelled {(labels[9] + 1) % 10}, not {labels[9]}" in findings(folder, "duplicate")[1]["says"]
    assert ("s1798", "s0004") in {(row["id"], row["other"]) for row in findings(folder, "near-duplicate")}
    assert [row["id"] for row in findings(folder, "blank")] == ["s1799"]
    assert "s1800" in {row["id"] for row in findings(folder, "outlier")}
    assert [row["id"] for row in findings(folder, "corrupt")] == ["s1801", "s1802", "s1803"]
    assert "s1804" in {row["id"] for row in findings(folder, "label-noise")}
    assert inspection.found == {kind: len(findings(folder, kind)) for kind in KINDS if findings(folder, kind)}
    drawn = {path.stem for path in (folder / "pictures").glob("*.png")}
    assert drawn == {"duplicate", "near-duplicate", "blank", "outlier", "label-noise"}
    for path in (folder / "pictures").glob("*.png"):
        with Image.open(path) as sheet:
            sheet.load()
            assert np.asarray(sheet).std() > 5


def test_findings_are_in_order_of_kind_and_then_the_worst_first(tmp_path: Path) -> None:
    pixels, labels = digits()
    changed = labels.copy()
    changed[:60] = (changed[:60] + 1) % 10

    looked_at(tmp_path, source(np.concatenate([pixels, pixels[:9]]), [*changed.tolist(), *labels[:9].tolist()]))

    rows = load_findings(tmp_path / "inspected").to_pylist()
    assert len({row["kind"] for row in rows}) > 1
    assert len(rows) > 25
    keys = [(KINDS.index(row["kind"]), -row["score"], row["id"], row["other"]) for row in rows]
    assert keys == sorted(keys)


def test_the_same_data_is_inspected_to_the_same_bytes_in_tables_of_whatever_size(tmp_path: Path) -> None:
    pixels, labels = digits()
    contents = np.concatenate([pixels, altered(pixels[:40], "noisy")])
    targets = [*labels.tolist(), *labels[:40].tolist()]

    digests = set()
    for number, rows in enumerate((500, 500, 1837, 77)):
        inspect(source(contents, targets, rows=rows), config(), tmp_path, tmp_path / str(number))
        digests.add(digest_folder(tmp_path / str(number)))

    assert len(digests) == 1


# -- images -----------------------------------------------------------------------------------------------------------


def test_a_large_jpeg_that_breaks_off_is_found_though_it_shrinks_while_it_is_decoded(tmp_path: Path) -> None:
    large = [encoded(np.asarray(Image.fromarray(one).resize((1400, 1100))), "JPEG") for one in photographs(6)]
    contents = [*large, large[0][: len(large[0]) * 2 // 3], large[1], encoded(photographs(6)[2])]

    inspection = looked_at(tmp_path, source(contents, [0] * 9, classes=("one",)), **PHOTOGRAPHS)

    folder = tmp_path / "inspected"
    assert [row["id"] for row in findings(folder, "corrupt")] == ["s0006"]
    assert [(row["id"], row["other"]) for row in findings(folder, "duplicate")] == [("s0007", "s0001")]
    assert [(row["id"], row["other"]) for row in findings(folder, "near-duplicate")] == [("s0008", "s0002")]
    assert inspection.sizes == {"1400x1100": 7, "80x80": 1}
    assert "outliers: not looked for among 8 pictures, too few to know what is usual" in inspection.notes


def test_modes_and_orientations_are_stated_as_they_are_in_the_files(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    grey = random.integers(0, 256, (20, 30), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    contents = [
        encoded(grey),
        encoded(random.integers(0, 2**16, (20, 30), dtype=np.uint16)),
        encoded(random.integers(0, 256, (20, 30, 4), dtype=np.uint8)),
        encoded(random.integers(0, 256, (20, 30, 3), dtype=np.uint8), "JPEG", exif=exif),
    ]

    inspection = looked_at(tmp_path, source(contents, [0] * 4, classes=("one",)), **PHOTOGRAPHS)

    assert inspection.modes == {"L": 1, "I;16": 1, "RGBA": 1, "RGB": 1}
    assert inspection.sizes == {"30x20": 3, "20x30": 1}
    assert "corrupt" not in inspection.found


def test_a_faint_spot_is_a_picture_and_a_noisy_page_is_blank(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    page = np.clip(250 + random.normal(0, 1.5, (4, 200, 200)), 0, 255).astype(np.uint8)
    page[1, 60:63, 80:83] = 90

    looked_at(tmp_path, source([encoded(one, "JPEG", quality=85) for one in page], [0] * 4, classes=("one",)))

    assert {row["id"] for row in findings(tmp_path / "inspected", "blank")} == {"s0000", "s0002", "s0003"}


# -- counts -----------------------------------------------------------------------------------------------------------


def test_classes_that_splits_cannot_share_out_are_named_with_what_they_need(tmp_path: Path) -> None:
    pixels, labels = digits()
    kept = np.concatenate([np.flatnonzero(labels != 7), np.flatnonzero(labels == 7)[:6]])
    classes = [*"0123456789", "ten"]

    looked_at(tmp_path, source(pixels[kept], labels[kept].tolist(), classes=classes), split={"validation": 0.1})

    small = {row["id"]: row for row in findings(tmp_path / "inspected", "small-class")}
    assert {name: row["score"] for name, row in small.items()} == {"7": 4.0, "ten": 10.0}
    assert "at least 10 (0.1 of them for validation, 0.2 of them for test)" in small["7"]["says"]


def test_a_published_split_without_a_class_is_named(tmp_path: Path) -> None:
    pixels, labels = digits()
    published = ["test" if index % 5 == 0 and label != 4 else "train" for index, label in enumerate(labels.tolist())]

    looked_at(tmp_path, source(pixels, labels.tolist(), published=published))

    assert [(row["id"], row["other"]) for row in findings(tmp_path / "inspected", "small-class")] == [("4", "test")]


def test_missing_groups_are_found_and_values_counted(tmp_path: Path) -> None:
    pixels, labels = digits(200)
    writers = ["anna" if index % 2 else "ben" for index in range(200)]
    given: list[str | None] = [None if index in (7, 70) else writer for index, writer in enumerate(writers)]

    inspection = looked_at(tmp_path, source(pixels, labels.tolist(), groups={"group_writer": given}))

    assert inspection.groups == {"group_writer": {"anna": 99, "ben": 99}}
    missing = findings(tmp_path / "inspected", "missing-group")
    assert [(row["id"], row["other"]) for row in missing] == [("s0007", "group_writer"), ("s0070", "group_writer")]


def test_a_group_that_tells_the_class_is_named_unless_splits_are_drawn_by_it(tmp_path: Path) -> None:
    pixels, labels = digits(600)
    groups = {
        "group_scanner": [f"scanner {label}" for label in labels],
        "group_writer": [f"writer {index % 12}" for index in range(600)],
        "group_patient": [f"patient {index}" for index in range(600)],
    }

    looked_at(tmp_path, source(pixels, labels.tolist(), groups=groups))

    (found,) = findings(tmp_path / "inspected", "confounded-group")
    assert found["id"] == "group_scanner"
    assert found["score"] == 1.0
    looked_at(tmp_path, source(pixels, labels.tolist(), groups=groups), split={"group": "group_scanner"})
    assert findings(tmp_path / "inspected", "confounded-group") == []
    small = findings(tmp_path / "inspected", "small-class")  # each class is one scanner's, and there are three splits
    assert {row["id"] for row in small} == set("0123456789")
    assert {row["other"] for row in small} == {"group_scanner"}


def test_masks_are_counted_by_what_they_show(tmp_path: Path) -> None:
    pictures = photographs(120, side=32)[..., 0]
    masks = np.zeros((120, 32, 32), dtype=np.uint8)
    masks[:50, 4:9] = 1
    masks[:20, 20:22] = 2
    table = pa.table(
        {
            "id": [f"s{number:04d}" for number in range(120)],
            "image": png.encode(np.concatenate([pictures[:119], pictures[:1]])),
            "target": png.encode(masks),
            "published": pa.nulls(120, pa.string()),
            "group_site": [f"site {number % 3}" for number in range(120)],
        }
    )
    data = SourceData(("background", "road", "sign"), "mask", iter([table]), ("group_site",))

    inspection = looked_at(tmp_path, data)

    assert inspection.classes == {"background": 120, "road": 50, "sign": 20}
    assert inspection.found["duplicate"] == 1
    assert len([note for note in inspection.notes if "mask" in note]) == 2


# -- decisions --------------------------------------------------------------------------------------------------------


def test_families_of_twins_are_handed_on_for_the_splits_to_be_drawn_by(tmp_path: Path) -> None:
    pictures = photographs(70, side=64)
    contents = [encoded(one) for one in np.concatenate([pictures, altered(pictures[:5], "brighter"), pictures[:2]])]

    looked = looked_at(tmp_path, source(contents, [0] * len(contents), classes=("one",)), **PHOTOGRAPHS)

    again, copied = 70, 75
    assert Decisions.load(tmp_path / "inspected").twins == (
        ("s0000", f"s{again:04d}", f"s{copied:04d}"),
        ("s0001", f"s{again + 1:04d}", f"s{copied + 1:04d}"),
        *((f"s{index:04d}", f"s{again + index:04d}") for index in range(2, 5)),
    )
    assert looked.notes[-1] == "twins: 12 samples in 5 families; a family stays together where splits are drawn"


def test_empty_pictures_of_any_size_are_twins_since_they_become_the_same_pixels(tmp_path: Path) -> None:
    pictures = [encoded(one) for one in crops(70)[:20]]
    first = len(pictures)
    empty = [np.zeros((side, side, 3), dtype=np.uint8) for side in (20, 30, 40)] + [np.zeros((30, 30), dtype=np.uint8)]
    contents = [*pictures, *map(encoded, empty), encoded(np.full((30, 30, 3), 9, dtype=np.uint8))]

    looked_at(tmp_path, source(contents, [0] * len(contents), classes=("one",)), **PHOTOGRAPHS)

    assert Decisions.load(tmp_path / "inspected").twins == (tuple(f"s{first + index:04d}" for index in range(4)),)


def test_a_class_of_copies_is_too_small_to_be_split(tmp_path: Path) -> None:
    pictures = crops(70)[:40]
    # given a class of twelve copies of two pictures
    copies = [encoded(one) for one in np.repeat(pictures[:2], 6, axis=0)]
    contents, targets = [*map(encoded, pictures[2:]), *copies], [0] * (len(pictures) - 2) + [1] * 12

    looked_at(tmp_path, source(contents, targets, classes=("many", "few")), **PHOTOGRAPHS)

    (row,) = findings(tmp_path / "inspected", "small-class")
    assert row["id"] == "few"
    assert row["says"] == "of 12 samples 2 differ, and each of 3 splits and folds needs its own"
    # and drawn as if they were different pictures, they are enough
    split = {"twins": "ignore"}
    looked_at(tmp_path, source(contents, targets, classes=("many", "few")), **PHOTOGRAPHS, split=split)
    assert findings(tmp_path / "inspected", "small-class") == []


def test_a_review_is_asked_for_filled_in_and_obeyed(tmp_path: Path) -> None:
    pixels, labels = digits()
    random = np.random.default_rng(0)
    contents = np.concatenate([pixels, random.integers(0, 256, (6, 8, 8), dtype=np.uint8)])
    targets = [*labels.tolist(), *[0] * 6]
    checks = {"outliers": "review", "reviewed": "reviewed.csv"}
    (tmp_path / "reviewed.csv").write_text("id,verdict\n")

    first = looked_at(tmp_path, source(contents, targets), checks=checks)

    with (tmp_path / "inspected" / "review.csv").open(newline="") as file:
        asked = list(csv.DictReader(file))
    assert {row["verdict"] for row in asked} == {""}
    assert first.unreviewed == tuple(sorted(row["id"] for row in asked))
    assert set(first.unreviewed) >= {f"s{index}" for index in range(1797, 1803)}

    filled = "".join(f"{row['id']},{'drop' if row['id'] >= 's1797' else 'keep'}\n" for row in asked)
    (tmp_path / "reviewed.csv").write_text("id,verdict\n" + filled)
    second = looked_at(tmp_path, source(contents, targets), checks=checks)

    assert second.unreviewed == ()
    assert sorted(Decisions.load(tmp_path / "inspected").verdicts) == [f"s{index}" for index in range(1797, 1803)]


def test_a_review_of_other_data_leaves_what_was_there(tmp_path: Path) -> None:
    pixels, labels = digits(120)
    looked_at(tmp_path, source(pixels, labels.tolist()))
    before = digest_folder(tmp_path / "inspected")
    (tmp_path / "reviewed.csv").write_text("id,verdict\nsomebody,drop\n")

    with pytest.raises(DataError, match=r"reviewed\.csv, line 2: expected the id of a sample, received 'somebody'"):
        looked_at(tmp_path, source(pixels, labels.tolist()), checks={"reviewed": "reviewed.csv"})

    assert digest_folder(tmp_path / "inspected") == before
    assert {path.name for path in tmp_path.iterdir()} == {"inspected", "reviewed.csv"}


# -- streams ----------------------------------------------------------------------------------------------------------


def test_a_source_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    def tables() -> Iterator[pa.Table]:
        yield next(iter(source(*digits(50)).tables))
        raise OSError("the disk has gone")

    with pytest.raises(OSError, match="the disk has gone"):
        looked_at(tmp_path, replace(source(*digits(50)), tables=tables()))

    assert not list(tmp_path.iterdir())


def test_an_empty_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected images, received none"):
        looked_at(tmp_path, SourceData(("one",), "class", iter([])))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_handful_of_images_is_inspected_too(count: int, tmp_path: Path) -> None:
    inspection = looked_at(tmp_path, source(digits(count)[0], [0] * count, classes=("one",)))

    assert inspection.samples == count


def test_nothing_but_broken_or_blank_images_is_inspected_too(tmp_path: Path) -> None:
    inspection = looked_at(
        tmp_path, source([b"broken", encoded(np.zeros((9, 9), np.uint8)), b""], [0, 0, None], classes=("one",))
    )

    assert inspection.found["corrupt"] == 2
    assert inspection.found["blank"] == 1
    assert inspection.classes == {"one": 2}


@pytest.mark.parametrize(
    ("few", "sample"), [(4000, 2000), pytest.param(24_000, describing.SAMPLE, marks=pytest.mark.slow)]
)
def test_memory_grows_by_some_words_an_image_and_not_by_its_pixels(
    few: int, sample: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each image has 2,304 bytes; thumbnail, 16×16 picture, embedding and probabilities would be 2 kB more."""
    for module in (describing, hashing):  # what is known by a sample takes as much as that has pictures
        monkeypatch.setattr(module, "SAMPLE", sample)
    monkeypatch.setattr(label_noise, "FITTED", sample)

    def tables(count: int) -> Iterator[pa.Table]:
        random = np.random.default_rng(0)
        for start in range(0, count, 500):
            coarse = random.integers(0, 128, (500, 6, 6), dtype=np.uint8)
            noise = random.integers(0, 40, (500, 48, 48), dtype=np.uint8)
            yield pa.table(
                {
                    "id": [f"s{index:06d}" for index in range(start, start + 500)],
                    "image": png.encode(coarse.repeat(8, axis=1).repeat(8, axis=2) + noise),
                    "target": random.integers(0, 3, 500),
                    "published": pa.nulls(500, pa.string()),
                }
            )

    def peak(count: int) -> int:
        data = SourceData(("a", "b", "c"), "class", tables(count))
        tracemalloc.start()
        inspect(data, config(), tmp_path, tmp_path / "inspected")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(500)  # what is imported and kept once

    assert peak(3 * few) - peak(few) < 400 * 2 * few  # 300 bytes


@pytest.mark.parametrize("sample", [200, 20_000])
def test_what_is_known_by_a_sample_finds_the_same_copies(
    sample: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describing, "SAMPLE", sample)
    monkeypatch.setattr(hashing, "SAMPLE", sample)
    pixels, labels = digits()
    contents = np.concatenate([pixels, altered(pixels[:200], "noisy")])

    looked_at(tmp_path, source(contents, [*labels.tolist(), *labels[:200].tolist()]))

    pairs = {(row["id"], row["other"]) for row in findings(tmp_path / "inspected", "near-duplicate")}
    assert len(pairs & {(f"s{1797 + index}", f"s{index:04d}") for index in range(200)}) >= 190
