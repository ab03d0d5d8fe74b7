"""Prepared data: what is kept, what is converted, what is merely described."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from components.artifacts import SPLITS, Dataset
from components.config import DatasetConfig, ImageDeclaration
from components.data.errors import DataError
from components.data.inspection.base.findings import Decisions
from components.data.preparing.ingest import RawCard, fingerprint, newest, raw_tables
from components.data.preparing.prepare import prepare
from components.data.reading.loading import load_split
from tests.components.data.data_builders import DIGITS, SCENES, build, folder_entry, prepared


def _rows(dataset: Dataset) -> dict[str, dict[str, object]]:
    table = pa.concat_tables([dataset.table(split) for split in SPLITS])
    return {str(row["id"]): row for row in table.to_pylist()}


@pytest.mark.parametrize("entry", [DIGITS, SCENES], ids=["classes", "masks"])
def test_the_same_source_gives_the_same_bytes_twice(tmp_path: Path, entry: dict[str, object]) -> None:
    digests = [build(tmp_path / str(turn), "data", **entry)[0].digest for turn in (0, 1)]
    assert digests[0] == digests[1]


def test_digits_are_scikit_learns_pixels_and_labels(digits: tuple[Dataset, DatasetConfig]) -> None:
    published = load_digits()
    for split in SPLITS:
        arrays = load_split(digits[0], split)
        numbers = [int(sample.removeprefix("digit-")) for sample in arrays.ids]
        assert np.array_equal(arrays.targets, published.target[numbers])
        difference = arrays.inputs[..., 0] / 255.0 - published.images[numbers] / 16.0
        assert np.abs(difference).max() <= 0.5 / 255.0 + 1e-9


def test_mean_and_deviation_are_those_of_the_training_split_alone(digits: tuple[Dataset, DatasetConfig]) -> None:
    train = load_split(digits[0], "train").inputs / 255.0
    assert digits[0].card.input.mean == pytest.approx([train.mean()])
    assert digits[0].card.input.std == pytest.approx([train.std()])


def test_facts_agree_with_the_pixels(pictures: Callable[..., Path], tmp_path: Path) -> None:
    folder = pictures(each=5)
    dataset, _ = build(tmp_path, "mine", **folder_entry(folder))
    for sample, row in _rows(dataset).items():
        pixels = np.asarray(Image.open(folder / sample)) / 255.0
        assert (row["width"], row["height"], row["mode"], row["decodable"]) == (12, 10, "RGB", True)
        assert row["mean"] == pytest.approx(pixels.mean())
        assert row["std"] == pytest.approx(pixels.std())


def test_batches_and_single_images_have_equal_facts(digits: tuple[Dataset, DatasetConfig]) -> None:
    row = next(iter(_rows(digits[0]).values()))
    _, facts, _ = prepared(row["image"], digits[1].image)  # type: ignore[arg-type]
    assert facts == pytest.approx({key: row[key] for key in facts})


def test_a_picture_that_cannot_be_decoded_is_kept_and_said_to_be(pictures: Callable[..., Path], tmp_path: Path) -> None:
    folder = pictures()
    (folder / "cat" / "007.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    dataset, _ = build(tmp_path, "mine", **folder_entry(folder))
    row = _rows(dataset)["cat/007.png"]
    assert row["decodable"] is False
    assert row["pixels_sha256"] is None
    assert sum(dataset.card.splits.values()) == 60


def test_original_bytes_stay_where_they_are_what_was_declared(pictures: Callable[..., Path], tmp_path: Path) -> None:
    folder = pictures(each=3)
    dataset, _ = build(tmp_path, "mine", **folder_entry(folder))
    assert all(row["image"] == (folder / sample).read_bytes() for sample, row in _rows(dataset).items())


def _file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def test_a_turned_photograph_is_stored_upright() -> None:
    # given a square picture whose EXIF asks for a quarter turn: neither size nor mode gives it away
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    exif = Image.Exif()
    exif[0x0112] = 6
    content = _file(Image.fromarray(pixels), exif=exif)
    # when it is prepared
    stored, _, _ = prepared(content, ImageDeclaration(height=4, width=4, channels=3))
    # then a decoder that ignores EXIF sees it upright
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(stored))), np.rot90(pixels, -1))


def test_other_sizes_and_colours_wait_for_validation_unless_resize_is_declared() -> None:
    content = _file(Image.new("RGBA", (9, 7), (10, 20, 30, 255)))
    strict = ImageDeclaration(height=10, width=12, channels=3)
    kept, facts, _ = prepared(content, strict)
    assert kept == content
    assert (facts["mode"], facts["width"], facts["height"]) == ("RGBA", 9, 7)
    converted, facts, pixels = prepared(content, strict.model_copy(update={"resize": True}))
    assert (facts["mode"], facts["width"], facts["height"]) == ("RGB", 12, 10)
    assert pixels is not None
    assert (pixels == (10, 20, 30)).all()
    assert Image.open(io.BytesIO(converted)).size == (12, 10)


def test_grey_pictures_of_a_colour_set_are_converted_since_nothing_is_lost() -> None:
    _, facts, pixels = prepared(_file(Image.new("L", (2, 2), 7)), ImageDeclaration(height=2, width=2, channels=3))
    assert facts["mode"] == "RGB"
    assert pixels is not None
    assert (pixels == 7).all()


def test_the_same_picture_in_another_format_has_the_same_digest() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8))
    declared = ImageDeclaration(height=6, width=5, channels=3)
    digests = {prepared(_file(image, kind), declared)[1]["pixels_sha256"] for kind in ("PNG", "BMP", "TIFF")}
    assert len(digests) == 1


def test_masks_index_the_declared_classes_by_name(tmp_path: Path) -> None:
    classes = ["background", *(str(digit) for digit in reversed(range(10)))]
    plain, _ = build(tmp_path / "a", "scenes", **SCENES)
    turned, _ = build(tmp_path / "b", "scenes", **SCENES, classes=classes)
    before, after = load_split(plain, "test"), load_split(turned, "test")
    shared = np.intersect1d(before.ids, after.ids)
    one, other = before.targets[before.ids == shared[0]], after.targets[after.ids == shared[0]]
    assert np.array_equal(np.where(one > 0, 11 - one.astype(int), 0), other)


def test_the_fingerprint_is_of_the_content(pictures: Callable[..., Path], tmp_path: Path) -> None:
    folder = pictures(each=3)
    _, config = build(tmp_path, "mine", **folder_entry(folder))
    written = RawCard.load(tmp_path / "raw" / "mine").fingerprint
    assert fingerprint(config.source, tmp_path) == written
    (folder / "cat" / "new.png").write_bytes((folder / "dog" / "000.png").read_bytes())
    assert fingerprint(config.source, tmp_path) != written


def test_a_full_disk_leaves_the_old_data_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, _ = build(tmp_path, "digits", **DIGITS)
    before = hashlib.sha256((dataset.folder / "dataset.json").read_bytes()).hexdigest()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("components.data.preparing.shards.pq.write_table", full)
    with pytest.raises(OSError, match="No space left"):
        build(tmp_path, "digits", **DIGITS)
    assert [path.name for path in dataset.folder.parent.iterdir()] == ["digits"]
    assert hashlib.sha256((dataset.folder / "dataset.json").read_bytes()).hexdigest() == before


# -- groups, times, folds, and what is dropped ------------------------------------------------------------------------


def _manifest(folder: Path, rows: int = 120) -> dict[str, object]:
    """Pictures of 20 patients over a year, as a manifest."""
    folder.mkdir()
    random = np.random.default_rng(0)
    lines = ["path,target,group_patient,time"]
    for index in range(rows):
        name = f"{index:03d}.png"
        Image.fromarray(random.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(folder / name)
        lines.append(f"{name},{('cat', 'dog')[index % 2]},p{index % 20},2024-{1 + index * 12 // rows:02d}-01")
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    return {"kind": "manifest", "path": str(folder / "manifest.csv"), "time": "time"}


def test_no_patient_is_in_two_splits_or_two_folds(tmp_path: Path) -> None:
    split = {"validation": 0.2, "test": 0.2, "group": "group_patient", "folds": 3}
    entry = folder_entry(tmp_path, source=_manifest(tmp_path / "source"), split=split)
    dataset, _ = build(tmp_path, "mine", **entry)
    rows = _rows(dataset).values()
    for patient in {row["group_patient"] for row in rows}:
        places = {(row["split"], row["fold"]) for row in rows if row["group_patient"] == patient}
        assert len(places) == 1
    assert {row["fold"] for row in rows if row["split"] == "train"} == {0, 1, 2}
    assert {row["fold"] for row in rows if row["split"] != "train"} == {-1}
    assert dataset.card.folds == 3


def test_the_newest_pictures_are_tested_on(tmp_path: Path) -> None:
    split = {"validation": 0.2, "test": 0.2, "order": "time"}
    entry = folder_entry(tmp_path, source=_manifest(tmp_path / "source"), split=split)
    dataset, _ = build(tmp_path, "mine", **entry)
    numbers = {part: sorted(int(name[:3]) for name in dataset.table(part)["id"].to_pylist()) for part in SPLITS}
    assert max(numbers["train"]) < min(numbers["validation"])
    assert max(numbers["validation"]) < min(numbers["test"])
    taken = pa.concat_tables(raw_tables(tmp_path / "raw" / "mine", ["time"]))["time"].to_pylist()
    assert newest(tmp_path / "raw" / "mine") == max(taken)


def test_where_no_times_are_known_nothing_is_called_new(tmp_path: Path, digits: tuple[Dataset, DatasetConfig]) -> None:
    assert newest(tmp_path / "nothing") is None
    build(tmp_path, "data", **DIGITS)
    assert newest(tmp_path / "raw" / "data") is None


def test_a_group_that_the_source_does_not_have_is_refused(pictures: Callable[..., Path], tmp_path: Path) -> None:
    entry = folder_entry(pictures(each=3), split={"group": "group_patient"})
    with pytest.raises(DataError, match=r"split.group: expected one of the source's groups \(it has none\)"):
        build(tmp_path, "mine", **entry)


def test_what_is_dropped_leaves_the_training_split_alone_and_is_listed(
    pictures: Callable[..., Path], tmp_path: Path
) -> None:
    # given decisions about a sample of each split, and twins in two splits
    plain, config = build(tmp_path, "mine", **folder_entry(pictures(each=30), checks={"leakage": "drop"}))
    config = config.model_copy(update={"split": config.split.model_copy(update={"twins": "ignore"})})
    ids = {split: plain.table(split)["id"].to_pylist() for split in SPLITS}
    drop = {ids[split][0]: "an outlier" for split in SPLITS}
    twins = ((ids["train"][1], ids["validation"][1]), (ids["validation"][2], ids["test"][2]))
    # when
    raw = tmp_path / "raw" / "mine"
    dataset = prepare("mine", config, raw, tmp_path / "dropped", Decisions(drop=drop, twins=twins))
    # then the training ones are gone, and of twins the one that is not tested on; nothing else has moved
    gone = {ids["train"][0], ids["train"][1], ids["validation"][2]}
    assert set(dataset.card.dropped) == gone
    assert dataset.card.dropped[ids["train"][0]] == "an outlier"
    assert f"the same picture as {ids['test'][2]}" in dataset.card.dropped[ids["validation"][2]]
    for split in SPLITS:
        assert dataset.table(split)["id"].to_pylist() == [name for name in ids[split] if name not in gone]
    (shard,) = dataset.folder.glob("dropped-*.parquet")
    assert set(pq.read_table(shard)["id"].to_pylist()) == gone
    train = load_split(dataset, "train").inputs / 255.0
    assert dataset.card.input.mean == pytest.approx(train.mean(axis=(0, 1, 2)))


def test_masks_come_to_the_size_of_their_images_without_new_classes(tmp_path: Path) -> None:
    entry = {**SCENES, "image": {"height": 20, "width": 24, "channels": 1, "resize": True}}
    dataset, _ = build(tmp_path, "scenes", **entry)
    arrays = load_split(dataset, "train")
    assert arrays.targets.shape[1:] == arrays.inputs.shape[1:3] == (20, 24)
    assert set(np.unique(arrays.targets)) <= set(range(11))


def test_many_small_pictures_are_prepared_by_processes_to_the_same_bytes(
    pictures: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = folder_entry(pictures(each=60))
    alone, _ = build(tmp_path / "alone", "mine", **entry)
    monkeypatch.setattr("components.data.preparing.prepare.MANY", 1)
    monkeypatch.setattr("components.data.preparing.prepare.SHARD_ROWS", 25)
    together, _ = build(tmp_path / "together", "mine", **entry)
    assert together.digest == alone.digest
