"""Tables with one row per image, compared with what pandas reads from the same files."""

from __future__ import annotations

import io
import tracemalloc
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.data.errors import DataError
from components.data.sources import registry
from components.data.sources.base import rows
from components.data.sources.tables import parquet, tabular
from tests.components.data.sources.source_builders import parse, read, save, write_manifest


def _frame(base: Path) -> pd.DataFrame:
    write_manifest(base)
    return pd.read_csv(base / "manifest.csv", dtype=str, keep_default_na=False)


def _written(frame: pd.DataFrame, base: Path, suffix: str) -> dict[str, Any]:
    path = base / f"table{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix in tabular.RECORDS:
        frame.to_json(path, orient="records", lines=suffix != ".json")
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    return {"kind": "manifest", "path": str(path), "time": "taken"}


@pytest.mark.parametrize("suffix", tabular.SUFFIXES)
def test_every_form_of_table_gives_what_pandas_reads(tmp_path: Path, suffix: str) -> None:
    frame = _frame(tmp_path)
    data, found = read(_written(frame, tmp_path, suffix))
    assert (data.classes, data.groups, data.time) == (("cat", "dog"), ("group_site",), True)
    assert [row["id"] for row in found] == list(frame.path)
    assert [data.classes[row["target"]] for row in found] == list(frame.target)
    assert [row["published"] for row in found] == list(frame.split)
    assert [row["group_site"] for row in found] == list(frame.group_site)
    assert [row["time"] for row in found] == [pd.Timestamp(day, tz="UTC").timestamp() for day in frame.taken]
    assert [row["image"] for row in found] == [(tmp_path / name).read_bytes() for name in frame.path]


def test_a_folder_with_one_table_is_that_table(tmp_path: Path) -> None:
    source = write_manifest(tmp_path)
    assert read({**source, "path": str(tmp_path)})[1] == read(source)[1]
    (tmp_path / "other.tsv").write_text("path\n")
    with pytest.raises(DataError, match=r"expected one table.*manifest\.csv, other\.tsv"):
        read({**source, "path": str(tmp_path)})


def test_columns_may_have_any_name(tmp_path: Path) -> None:
    frame = _frame(tmp_path).rename(columns={"path": "file", "target": "species", "split": "fold"})
    frame["key"] = [f"k{number}" for number in range(len(frame))]
    source = _written(frame.rename(columns={"group_site": "site"}), tmp_path, ".csv")
    keys = {"image": "file", "target": "species", "split": "fold", "id": "key", "groups": ["site"]}
    data, found = read({**source, **keys})
    assert data.groups == ("group_site",)
    assert [row["id"] for row in found] == list(frame.key)
    assert {row["published"] for row in found} == {"train", "validation", "test"}


def test_classes_that_are_numbers_are_in_order_of_number_and_named_as_written(tmp_path: Path) -> None:
    frame = _frame(tmp_path)
    frame["target"] = ["10", "9", "2"] * 4
    assert read(_written(frame, tmp_path, ".csv"))[0].classes == ("2", "9", "10")
    frame["target"] = ["007", "1", "NA"] * 4
    assert read(_written(frame, tmp_path, ".csv"))[0].classes == ("007", "1", "NA")
    frame["target"] = np.array([10.0, 9.0, 2.0] * 4)  # as pandas leaves whole numbers behind
    assert read(_written(frame, tmp_path, ".parquet"))[0].classes == ("2", "9", "10")


def test_numbered_classes_may_be_named(tmp_path: Path) -> None:
    frame = _frame(tmp_path)
    frame["target"] = np.arange(len(frame)) % 2
    source = {**_written(frame, tmp_path, ".csv"), "names": ["cat", "dog", "owl"]}
    data, found = read(source)
    assert data.classes == ("cat", "dog", "owl") and [row["target"] for row in found] == list(frame.target)
    with pytest.raises(DataError, match="received 6 of another: row 2 has '1', expected a number below 1"):
        read({**source, "names": ["cat"]})


def test_missing_groups_and_splits_are_null(tmp_path: Path) -> None:
    frame = _frame(tmp_path)
    frame.loc[3, ["group_site", "split"]] = ""
    for suffix in tabular.SUFFIXES:
        row = read(_written(frame, tmp_path, suffix))[1][3]
        assert (row["group_site"], row["published"]) == (None, None)


def test_images_and_masks_may_be_inside_of_a_parquet(tmp_path: Path) -> None:
    frame = _frame(tmp_path)
    contents = [(tmp_path / name).read_bytes() for name in frame.path]
    for kind in ("bytes", "struct"):
        values: list[Any] = contents if kind == "bytes" else [{"bytes": each, "path": None} for each in contents]
        pq.write_table(pa.table({"picture": values, "target": list(frame.target)}), tmp_path / "t.parquet")
        source = {"kind": "manifest", "path": str(tmp_path / "t.parquet"), "image": "picture"}
        found = read(source)[1]
        assert [row["image"] for row in found] == contents
        assert [row["id"] for row in found[:2]] == ["row-0000000", "row-0000001"]


def _mask(values: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.array(values, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("inside", [True, False])
def test_masks_are_targets(tmp_path: Path, inside: bool) -> None:
    frame = _frame(tmp_path)
    masks = [_mask([[0, 1, 2] * 4, [number % 3] * 12, *([[0] * 12] * 8)]) for number in range(len(frame))]
    for number, content in enumerate(masks):
        (tmp_path / f"mask-{number}.png").write_bytes(content)
    frame["mask"] = masks if inside else [f"mask-{number}.png" for number in range(len(frame))]
    source = {**_written(frame.drop(columns="target"), tmp_path, ".parquet" if inside else ".csv"), "mask": "mask"}
    data, found = read({**source, "names": ["background", "cat", "dog"]})
    assert (data.target, data.classes) == ("mask", ("background", "cat", "dog"))
    assert [row["target"] for row in found] == masks
    assert read(source)[0].classes == ("0", "1", "2")  # without names, as many as the masks have


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("target", "", "received 1 without one: row 4 has nothing in 'target'; .*faulty: skip"),
        ("path", "", "received 1 without its name: row 4 has nothing in 'path'"),
        ("path", "images/absent.png", "expected files of all images, received 1 missing: row 4, images/absent.png"),
        ("path", "../secret.png", "row 4: expected a path below"),
        ("path", "/etc/passwd", "row 4: expected a path below"),
        ("path", "images", "row 4: expected a file .*images, received a folder"),
        (
            "path",
            "images/00.png",
            "row 1, which row 4 contradicts; row 4 is images/00.png again, as row 1, and 'dog' instead of 'cat'",
        ),
        ("split", "holdout", "row 4: expected a split"),
        ("taken", "soon", "row 4: expected a time"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_row_that_cannot_be_meant_is_named(tmp_path: Path, suffix: str, column: str, value: str, says: str) -> None:
    save(tmp_path / "secret.png", 1)
    frame = _frame(tmp_path / "set")
    frame.loc[3, column] = value
    with pytest.raises(DataError, match=says) as caught:
        read(_written(frame, tmp_path / "set", suffix))
    assert f"table{suffix}" in str(caught.value)


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "secret.png", 1)
    source = write_manifest(tmp_path / "set")
    (tmp_path / "set" / "images" / "03.png").unlink()
    (tmp_path / "set" / "images" / "03.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match=r"row 4: expected a file inside .*received a link"):
        read(source)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be read"),
        (b"path,target\n\xff\xfe,cat\n", "cannot be read"),
        (b"path,target\na,b,c\n", "cannot be read"),
        (b"path,path,target\na,b,c\n", "'path' twice"),
        (b"file,target\na,cat\n", "expected a column 'path'"),
        (b"path,label\na,cat\n", "expected a column 'target'"),
    ],
)
def test_a_table_that_is_none_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        read({"kind": "manifest", "path": str(tmp_path / "table.csv")})
    assert "table.csv" in str(caught.value)


def test_a_header_without_rows_gives_no_samples(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("path,target\n")
    assert read({"kind": "manifest", "path": str(tmp_path / "table.csv")})[1] == []


def test_a_byte_order_mark_and_quoted_names_are_read(tmp_path: Path) -> None:
    save(tmp_path / "a, b.png", 1)
    (tmp_path / "table.csv").write_bytes(b'\xef\xbb\xbfpath,target\r\n"a, b.png","big ""cat"""\r\n')
    data, found = read({"kind": "manifest", "path": str(tmp_path / "table.csv")})
    assert (data.classes, found[0]["id"]) == (('big "cat"',), "a, b.png")


@pytest.mark.parametrize("kind", ["half", "list"])
def test_targets_that_are_no_classes_are_refused(tmp_path: Path, kind: str) -> None:
    frame = _frame(tmp_path)
    frame["target"] = [0.5] * len(frame) if kind == "half" else [["cat"]] * len(frame)
    with pytest.raises(DataError, match="'target'"):
        read(_written(frame, tmp_path, ".parquet"))


def test_times_of_a_parquet_may_be_timestamps(tmp_path: Path) -> None:
    frame = _frame(tmp_path)
    frame["taken"] = pd.to_datetime(frame.taken)
    assert (
        read(_written(frame, tmp_path, ".parquet"))[1][0]["time"]
        == datetime.fromisoformat("2024-01-01T00:00Z").timestamp()
    )


def test_memory_does_not_grow_with_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given 60 MB of images in one row group, of pages as Parquet means them, and tables of 2 MB
    monkeypatch.setattr(rows, "BATCH_BYTES", 2 * 2**20)
    monkeypatch.setattr(parquet, "BATCH_BYTES", 2 * 2**20)
    random = np.random.default_rng(0)
    contents = [random.bytes(100_000) for _ in range(600)]
    table = pa.table({"id": [f"{number}" for number in range(600)], "path": contents, "target": ["a", "b"] * 300})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=600, write_batch_size=10)
    del table, contents
    before = pa.total_allocated_bytes()
    most = 0
    tracemalloc.start()
    data = registry.read(parse({"kind": "manifest", "path": str(tmp_path / "t.parquet"), "id": "id"}), tmp_path)
    total = 0
    for part in data.tables:
        total += len(part)
        most = max(most, pa.total_allocated_bytes() - before)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 600
    assert most < 20 * 2**20 and peak < 20 * 2**20


@pytest.mark.parametrize("suffix", tabular.SUFFIXES)
def test_columns_of_numbers_are_answers_with_units(tmp_path: Path, suffix: str) -> None:
    frame = _frame(tmp_path)
    frame["age"], frame["weight"] = range(len(frame)), np.linspace(0.5, 3.0, len(frame))
    source = _written(frame, tmp_path, suffix) | {"numbers": {"weight": "kg", "age": ""}}
    data, found = read(source)
    assert (data.target, data.classes) == ("values", ())
    assert data.about == {"names": ("weight", "age"), "units": ("kg", "")}
    np.testing.assert_allclose([row["target"] for row in found], frame[["weight", "age"]].to_numpy(float))
    assert [row["group_site"] for row in found] == list(frame.group_site)
    data, _ = read(_written(frame, tmp_path, suffix) | {"numbers": ["weight"]})
    assert data.about == {"names": ("weight",), "units": ("",)}


@pytest.mark.parametrize("value", ["", "3,5", "nan", "inf", "heavy", "1e999"])
def test_a_row_of_no_finite_number_is_named_or_left_out(tmp_path: Path, value: str) -> None:
    frame = _frame(tmp_path)
    frame["weight"] = "1.5"
    frame.loc[3, "weight"] = value
    source = _written(frame, tmp_path, ".csv") | {"numbers": ["weight"]}
    with pytest.raises(DataError, match=r"expected rows of finite numbers, received 1 .*: row 4 has .* in 'weight'"):
        read(source)
    data, found = read(source | {"faulty": "skip"})
    assert len(found) == len(frame) - 1
    assert "left out: 1 row with something else" in data.notes()[0]


@pytest.mark.parametrize("other", [{"mask": "mask"}, {"target": "label"}, {"names": ["a", "b"]}])
def test_numbers_stand_alone(tmp_path: Path, other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either `numbers`"):
        parse({"kind": "manifest", "path": str(tmp_path), "numbers": ["weight"], **other})
