"""LeCun's idx files, compared with the arrays that they were written from."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components import decoding
from components.data.errors import DataError
from components.data.sources import fashion_mnist, idx, registry
from tests.components.data.sources.source_builders import EACH, idx_bytes, parse, pixels, read, write_idx


def _stored(rows: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    return np.stack([decoding.to_array(decoding.load(row["image"]))[..., 0] for row in rows])


def test_images_and_labels_are_those_of_the_arrays(tmp_path: Path) -> None:
    data, rows = read(write_idx(tmp_path))
    expected = [pixels(number, label=number % 2)[..., 0] for number in (*range(2 * EACH), *range(EACH))]
    assert data.classes == ("cat", "dog")
    assert (_stored(rows) == np.stack(expected)).all()
    assert [row["target"] for row in rows] == [number % 2 for number in (*range(2 * EACH), *range(EACH))]
    assert [row["published"] for row in rows] == ["train"] * 2 * EACH + ["test"] * EACH
    assert (rows[0]["id"], rows[-1]["id"]) == ("train-00000", f"test-{EACH - 1:05d}")


def test_a_pair_alone_publishes_no_split(tmp_path: Path) -> None:
    source = write_idx(tmp_path)
    for keys in ({"test_images": None, "test_labels": None}, {"test_images": "absent", "test_labels": "absent too"}):
        _, rows = read({**source, **keys})
        assert {row["published"] for row in rows} == {None} and len(rows) == 2 * EACH
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte, received none"):
        read(source)


def test_without_names_classes_are_numbers(tmp_path: Path) -> None:
    source = {**write_idx(tmp_path), "names": None}
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.array([0, 1, 2, 3, 11, 0], dtype=np.uint8)))
    assert read(source)[0].classes == tuple(str(number) for number in range(12))
    with pytest.raises(DataError, match=r"expected labels below 2 \(source.names\), received 11"):
        read({**source, "names": ["cat", "dog"]})


def test_tables_are_bounded_and_colours_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "BATCH_BYTES", 5 * 12 * 10 * 3)
    colours = np.stack([pixels(number) for number in range(12)])
    (tmp_path / "train-images-idx4-ubyte").write_bytes(idx_bytes(colours))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(12, np.uint8)))
    data = registry.read(parse({"kind": "idx", "path": str(tmp_path), "images": "train-images-idx4-ubyte"}), tmp_path)
    tables = list(data.tables)
    assert [len(table) for table in tables] == [5, 5, 2]
    first = decoding.to_array(decoding.load(tables[1]["image"][0].as_py()))
    assert (first == colours[5]).all()


@pytest.mark.parametrize(
    ("kind", "dtype", "says"),
    [
        (0x09, np.int8, "int8"),
        (0x0B, ">i2", "int16"),
        (0x0C, ">i4", "int32"),
        (0x0D, ">f4", "float32"),
        (0x0E, ">f8", "float64"),
    ],
)
def test_other_types_of_element_are_refused_by_name(tmp_path: Path, kind: int, dtype: Any, says: str) -> None:
    source = write_idx(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((12, 4, 4), dtype), kind))
    with pytest.raises(DataError, match=f"train-images-idx3-ubyte: .*received one of {says}"):
        read(source)


def _pair(change: str) -> tuple[bytes, bytes]:
    pictures, labels = idx_bytes(np.zeros((6, 4, 4), np.uint8)), idx_bytes(np.zeros(6, np.uint8))
    return {
        "short": (pictures[:-1], labels),
        "long": (pictures + b"\0", labels),
        "gzip cut": (gzip.compress(pictures)[:-9], labels),
        "gzip damaged": (gzip.compress(pictures)[:15] + b"\xff" * 20, labels),
        "no idx": (b"<html>404</html>", labels),
        "empty": (b"", labels),
        "sizes cut": (pictures[:9], labels),
        "fewer labels": (pictures, idx_bytes(np.zeros(5, np.uint8))),
        "labels of two dimensions": (pictures, idx_bytes(np.zeros((6, 1), np.uint8))),
        "images of two dimensions": (idx_bytes(np.zeros((6, 16), np.uint8)), labels),
        "four channels": (idx_bytes(np.zeros((6, 4, 4, 4), np.uint8)), labels),
        "bomb": (gzip.compress(pictures + bytes(30_000_000)), labels),
    }[change]


@pytest.mark.parametrize(
    "change",
    ["short", "long", "gzip cut", "gzip damaged", "no idx", "empty", "sizes cut", "fewer labels",
     "labels of two dimensions", "images of two dimensions", "four channels", "bomb"],
)  # fmt: skip
def test_a_file_that_is_not_what_it_says_is_named(tmp_path: Path, change: str) -> None:
    pictures, labels = _pair(change)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(pictures)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(DataError, match=r"train-(images-idx3|labels-idx1)-ubyte: expected"):
        read({"kind": "idx", "path": str(tmp_path)})


def test_fashion_mnist_is_read_by_the_same_parser(tmp_path: Path) -> None:
    # given what `fetch` hands over, in small
    content = {}
    for stem, count in (("train", 5), ("t10k", 3)):
        content[f"{stem}-images-idx3-ubyte"] = idx_bytes(np.stack([pixels(n, (28, 28))[..., 0] for n in range(count)]))
        content[f"{stem}-labels-idx1-ubyte"] = idx_bytes(np.arange(count, dtype=np.uint8))
    tables = list(fashion_mnist._tables(content))
    # when the same files are read as a source of kind idx
    for name, value in content.items():
        (tmp_path / name).write_bytes(value)
    source = {"kind": "idx", "path": str(tmp_path), "names": list(fashion_mnist.CLASSES)}
    data, rows = read(source)
    # then both say the same
    assert data.classes == fashion_mnist.CLASSES
    assert [row for table in tables for row in table.to_pylist()] == rows
