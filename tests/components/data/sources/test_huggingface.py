"""Data sets of Hugging Face's `datasets`, compared with what that library itself reads."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.errors import DataError
from components.data.sources import huggingface, registry
from components.data.sources.base import limits
from tests.components.data.sources.source_builders import (
    EACH,
    LABELS,
    huggingface_content,
    parse,
    read,
    write_huggingface,
)

ROOT = Path(__file__).parents[4]


def _expected(splits: Any) -> list[tuple[Any, ...]]:
    """Image, label and site of every row, by the library."""
    rows = []
    for split, each in splits.items():
        for row in each.cast_column("image", datasets.Image(decode=False)):
            label = each.features["label"].int2str(row["label"])
            rows.append((split, row["image"]["bytes"], label, row["site"]))
    return rows


def _found(source: dict[str, Any]) -> list[tuple[Any, ...]]:
    data, rows = read(source)
    return [(row["published"], row["image"], data.classes[row["target"]], row["group_site"]) for row in rows]


def _hub(base: Path, content: Any, shards: int = 1) -> dict[str, Any]:
    """Parquet files as they lie on the hub."""
    (base / "data").mkdir(parents=True)
    for split, each in content.items():
        for shard in range(shards):
            part = each.shard(shards, shard, contiguous=True)
            part.to_parquet(base / "data" / f"{split}-{shard:05d}-of-{shards:05d}.parquet")
    return {"kind": "huggingface", "path": str(base), "groups": ["site"]}


def test_what_was_saved_to_disk_is_what_the_library_loads(tmp_path: Path) -> None:
    source = write_huggingface(tmp_path)
    data, rows = read(source)
    assert _found(source) == _expected(datasets.load_from_disk(source["path"]))
    assert (data.classes, data.groups) == (LABELS, ("group_site",))
    assert [row["id"] for row in rows[EACH : EACH + 2]] == ["validation-0000000", "validation-0000001"]


@pytest.mark.parametrize("shards", [1, 3])
def test_parquet_files_are_what_the_library_loads(tmp_path: Path, shards: int) -> None:
    source = _hub(tmp_path / "hub", huggingface_content(tmp_path), shards)
    known = datasets.load_dataset("parquet", data_dir=str(tmp_path / "hub"), cache_dir=str(tmp_path / "cache"))
    by_split = {split: [row for row in _found(source) if row[0] == split] for split in known}
    assert by_split == {split: _expected({split: each}) for split, each in known.items()}
    assert sorted(by_split) == ["test", "train", "validation"]


def test_one_data_set_without_splits_publishes_none(tmp_path: Path) -> None:
    content = huggingface_content(tmp_path)["train"]
    content.save_to_disk(str(tmp_path / "saved"))
    content.to_parquet(tmp_path / "animals.parquet")
    for path in ("saved", "animals.parquet"):
        rows = read({"kind": "huggingface", "path": str(tmp_path / path)})[1]
        assert {row["published"] for row in rows} == {None}
        assert rows[1]["id"] == "row-0000001"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00001.parquet", "train"),
        ("valid/0000.parquet", "validation"),
        ("dev.parquet", "validation"),
        ("my_test_set.parquet", "test"),
        ("Validation-0.parquet", "validation"),
        ("training_images.parquet", "train"),
        ("contrain/devil.parquet", None),
        ("data-00000-of-00001.parquet", None),
    ],
)
def test_a_split_is_a_word_of_the_files_name(name: str, split: str | None) -> None:
    assert huggingface._split(name, Path(name)) == split


def test_a_selection_that_was_saved_is_what_was_selected(tmp_path: Path) -> None:
    chosen = huggingface_content(tmp_path)["train"].select([4, 1, 3])
    chosen.save_to_disk(str(tmp_path / "saved"))
    rows = read({"kind": "huggingface", "path": str(tmp_path / "saved")})[1]
    assert [row["image"] for row in rows] == [row[1] for row in _expected({"x": chosen})]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [(["b", "a", "b"] * 2, ("a", "b")), ([10, 9, 10] * 2, ("9", "10")), (["10", "9", "1"] * 2, ("1", "9", "10"))],
)
def test_labels_may_be_texts_or_numbers(tmp_path: Path, labels: list[Any], classes: tuple[str, ...]) -> None:
    content = huggingface_content(tmp_path)["train"].remove_columns("label").add_column("label", labels)
    content.save_to_disk(str(tmp_path / "saved"))
    data, rows = read({"kind": "huggingface", "path": str(tmp_path / "saved")})
    assert data.classes == classes
    assert [data.classes[row["target"]] for row in rows] == [str(label) for label in labels]


def test_images_may_be_plain_bytes_and_features_have_other_names(tmp_path: Path) -> None:
    content = huggingface_content(tmp_path)["train"].rename_columns({"image": "img", "label": "fine_label"})
    pq.write_table(
        pa.table({"img": [row["img"]["bytes"] for row in content.cast_column("img", datasets.Image(decode=False))],
                  "fine_label": content["fine_label"][:]}),
        tmp_path / "plain.parquet",
    )  # fmt: skip
    source = {"kind": "huggingface", "path": str(tmp_path / "plain.parquet"), "image": "img", "label": "fine_label"}
    assert [row["target"] for row in read(source)[1]] == content["fine_label"][:]


def test_a_group_that_is_a_class_label_is_named_and_may_be_missing(tmp_path: Path) -> None:
    feature = datasets.ClassLabel(names=["north", "south"])
    content = huggingface_content(tmp_path)["train"].remove_columns("site")
    content = content.add_column("group_side", [0, 1, -1] * 2, feature=feature)
    content.save_to_disk(str(tmp_path / "saved"))
    rows = read({"kind": "huggingface", "path": str(tmp_path / "saved")})[1]
    assert [row["group_side"] for row in rows[:3]] == ["north", "south", None]


def test_tables_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_huggingface(tmp_path)
    monkeypatch.setattr("components.data.sources.base.rows.BATCH_ROWS", 4)
    assert {len(table) for table in registry.read(parse(source), tmp_path).tables} == {4, 2}


# -- what is refused -------------------------------------------------------------------------------------------------


def _relabelled(content: Any, label: Any) -> Any:
    """The training split with a label of its own for the fourth row."""
    table = content["train"].data.table
    labels = table.column("label").to_pylist()
    labels[3] = label
    changed = table.set_column(table.column_names.index("label"), "label", pa.array(labels, pa.int64()))
    return datasets.Dataset(changed, info=content["train"].info)


@pytest.mark.parametrize("label", [-1, None])
def test_a_row_without_a_label_is_named(tmp_path: Path, label: int | None) -> None:
    content = huggingface_content(tmp_path)
    content["train"] = _relabelled(content, label)
    content.save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match=f"received 1 without one: train row 3 has {label} in 'label'; .*faulty: skip"):
        read({"kind": "huggingface", "path": str(tmp_path / "saved")})
    data, found = read({"kind": "huggingface", "path": str(tmp_path / "saved"), "faulty": "skip"})
    assert "train-0000003" not in [row["id"] for row in found] and len(found) == 17
    assert "left out: 1 row without one: train row 3" in data.notes()[0]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"image": "photo"}, r"expected a feature 'photo' \(source\.image\), received image, label, site"),
        ({"label": "species"}, r"expected a feature 'species' \(source\.label\)"),
        ({"image": "site"}, "expected 'site' to be an Image or bytes"),
        ({"label": "image"}, "expected 'image' to be a ClassLabel, a text or a whole number"),
        ({"groups": ["clinic"]}, "expected a column 'clinic'"),
    ],
)
def test_features_that_are_not_there_are_named(tmp_path: Path, keys: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read({**write_huggingface(tmp_path), **keys})


def test_a_split_of_another_name_is_named(tmp_path: Path) -> None:
    content = huggingface_content(tmp_path)
    content["unsupervised"] = content.pop("test")
    content.save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(
        DataError,
        match=r"expected splits of train, .* received 'unsupervised'; save .* give the folder of a single split",
    ):
        read({"kind": "huggingface", "path": str(tmp_path / "saved")})
    _hub(tmp_path / "hub", content)
    with pytest.raises(DataError, match=r"unsupervised-00000-of-00001\.parquet: expected the name of a split"):
        read({"kind": "huggingface", "path": str(tmp_path / "hub")})


def test_splits_that_differ_in_their_classes_are_refused(tmp_path: Path) -> None:
    content = huggingface_content(tmp_path)
    content["test"] = content["test"].cast_column("label", datasets.ClassLabel(names=["dog", "cat"]))
    content.save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match="expected 'label' to be the same in every split"):
        read({"kind": "huggingface", "path": str(tmp_path / "saved")})


def test_an_image_that_is_only_a_path_is_refused_and_not_followed(tmp_path: Path) -> None:
    table = pa.table({"image": [{"bytes": None, "path": "/etc/passwd"}], "label": ["a"]},
                     schema=pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
                                       ("label", pa.string())]))  # fmt: skip
    pq.write_table(table, tmp_path / "paths.parquet")
    with pytest.raises(
        DataError, match=r"their pictures' bytes .* received 1 without: row 0 has only its path, '/etc/passwd'"
    ):
        read({"kind": "huggingface", "path": str(tmp_path / "paths.parquet")})


@pytest.mark.parametrize("kind", ["empty folder", "damaged", "damaged parquet", "shards that differ"])
def test_what_is_no_data_set_is_named(tmp_path: Path, kind: str) -> None:
    base = tmp_path / "set"
    base.mkdir()
    if kind == "damaged":
        (base / "dataset_dict.json").write_text("{")
    elif kind == "damaged parquet":
        (base / "train.parquet").write_bytes(b"PAR1 no")
    elif kind == "shards that differ":
        for number, name in enumerate("ab"):
            pq.write_table(pa.table({name: [1]}), base / f"train-{number}.parquet")
    with pytest.raises(DataError, match=str(base)):
        read({"kind": "huggingface", "path": str(base)})


def test_the_hub_is_never_asked(tmp_path: Path) -> None:
    # given a process in which nobody can open a connection
    saved = write_huggingface(tmp_path / "one")
    hub = _hub(tmp_path / "two", huggingface_content(tmp_path))
    script = f"""
        import socket, sys
        from pathlib import Path
        def refuse(*_, **__):
            raise AssertionError("a connection was opened")
        socket.socket.connect = socket.socket.connect_ex = refuse
        socket.getaddrinfo = refuse
        from components.data.sources import registry
        from components.config import HuggingFaceSource
        for source in ({saved!r}, {hub!r}):
            data = registry.read(HuggingFaceSource(**source), Path("."))
            print(sum(len(table) for table in data.tables))
        print("torch" in sys.modules)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    # then both are read all the same, without a deep-learning library
    assert run.stdout.split() == [str(3 * EACH), str(3 * EACH), "False"], run.stderr


def test_the_library_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_huggingface(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert len(read(source)[1]) == 3 * EACH


def test_the_folder_of_a_split_of_another_name_can_be_given(tmp_path: Path) -> None:
    content = huggingface_content(tmp_path)
    content["unsupervised"] = content.pop("test")
    content.save_to_disk(str(tmp_path / "saved"))
    _, rows = read({"kind": "huggingface", "path": str(tmp_path / "saved" / "unsupervised")})
    assert len(rows) == EACH and {row["published"] for row in rows} == {None}


# -- folders that were not saved by the library ----------------------------------------------------------------------


def _stream(path: Path, table: pa.Table, **options: Any) -> None:
    written = pa.ipc.IpcWriteOptions(**options)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema, options=written) as writer:
        writer.write_table(table)


def _escaping(base: Path) -> None:
    (base.parent.parent / "secret.arrow").write_bytes((base / "data-00000-of-00001.arrow").read_bytes())
    _state(base, "../../secret.arrow")


def _linked(base: Path) -> None:
    file = base / "data-00000-of-00001.arrow"
    file.rename(base.parent.parent / "secret.arrow")
    file.symlink_to(base.parent.parent / "secret.arrow")


def _state(base: Path, name: Any) -> None:
    (base / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}), encoding="utf-8")


def _packed(base: Path) -> None:
    rows = pa.table({"image": [bytes(50_000_000)], "label": [0]})
    _stream(base / "data-00000-of-00001.arrow", rows, compression="zstd")
    assert (base / "data-00000-of-00001.arrow").stat().st_size < 10_000


def _shared(base: Path) -> None:
    rows = pa.table({"image": [b"a"] * 9, "label": pa.array(["x"] * 9).dictionary_encode()})
    _stream(base / "data-00000-of-00001.arrow", rows)


def _run_length(base: Path) -> None:
    label = pa.RunEndEncodedArray.from_arrays(pa.array([2**30], pa.int32()), pa.array(["x"]))
    _stream(base / "data-00000-of-00001.arrow", pa.table({"label": label, "image": pa.nulls(2**30)}))


def _offsets(base: Path) -> None:
    """The image of a row ends far behind the file."""
    path = base / "data-00000-of-00001.arrow"
    _stream(path, pa.table({"image": [bytes(0xBEEF)], "label": ["x"]}))
    content = bytearray(path.read_bytes())
    at = content.rindex(b"\0\0\0\0\xef\xbe\0\0")
    content[at + 4 : at + 8] = (2**30).to_bytes(4, "little")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_escaping, r"train/state\.json: expected a path below .*/train, received '\.\./\.\./secret\.arrow'"),
        (_linked, r"train/state\.json: expected a file inside .*received a link to .*secret\.arrow; copy it instead"),
        (lambda base: _state(base, "/etc/passwd"), r"state\.json: expected a path below .*received '/etc/passwd'"),
        (lambda base: _state(base, 7), r"state\.json: expected a list of `_data_files`"),
        (lambda base: _state(base, "lost.arrow"), r"state\.json: expected a file .*lost\.arrow, received none"),
        (lambda base: _state(base, "state.json"), r"state\.json: expected an Arrow stream of `save_to_disk`"),
        (lambda base: (base / "state.json").write_text("[" * 9999), r"state\.json: .* nested too deeply"),
        (lambda base: (base / "state.json").unlink(), r"train: expected a file .*state\.json, received none"),
        (_packed, r"data-00000-of-00001\.arrow: expected columns as they are, received packed ones"),
        (_shared, r"arrow: expected one value per row in column 'label', received dictionary<"),
        (_run_length, r"expected 'image' to be an Image or bytes, received null"),
        (_offsets, r"\.arrow: expected an Arrow stream of `save_to_disk`, received one that cannot be read: "),
    ],
)
def test_a_folder_that_was_not_saved_so_is_refused(tmp_path: Path, spoil: Callable[[Path], Any], says: str) -> None:
    source = write_huggingface(tmp_path)
    base = Path(source["path"])
    (base / "dataset_dict.json").write_text('{"splits": ["train"]}', encoding="utf-8")
    spoil(base / "train")
    with pytest.raises(DataError, match=says) as told:
        read({"kind": "huggingface", "path": str(base)})
    assert len(str(told.value)) < 400 + 2 * len(str(tmp_path))


@pytest.mark.parametrize("names", ['["../train"]', '["/etc"]', '["train\\u0000"]', "[7]", "[]", '"train"', "null"])
def test_splits_that_are_no_folders_of_it_are_refused(tmp_path: Path, names: str) -> None:
    base = Path(write_huggingface(tmp_path)["path"])
    (base / "dataset_dict.json").write_text(f'{{"splits": {names}}}', encoding="utf-8")
    with pytest.raises(DataError, match=r"dataset_dict\.json: expected a (folder|list)"):
        read({"kind": "huggingface", "path": str(base)})


def test_more_rows_than_a_file_can_mean_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_huggingface(tmp_path)
    monkeypatch.setattr(limits, "PICTURES", EACH - 1)
    monkeypatch.setattr(limits, "PICTURE", 10**9)
    with pytest.raises(DataError, match=r"\.arrow: expected at most 5 pictures"):
        read(source)
