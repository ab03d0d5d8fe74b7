"""NumPy arrays, compared with the arrays themselves."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components import decoding
from components.data.errors import DataError
from components.data.sources import arrays, registry
from tests.components.data.sources.source_builders import EACH, arrays_content, parse, read, write_arrays


def _folder(base: Path, **changes: Any) -> dict[str, Any]:
    """A folder of `.npy`; a change to None leaves an array away."""
    base.mkdir(exist_ok=True)
    for name, values in {**arrays_content(), **changes}.items():
        if values is not None:
            np.save(base / f"{name}.npy", values)
    return {"kind": "arrays", "path": str(base)}


@pytest.mark.parametrize("form", ["npz", "folder", "folder with an npz"])
def test_every_form_gives_the_arrays(tmp_path: Path, form: str) -> None:
    source = _folder(tmp_path / "set") if form == "folder" else write_arrays(tmp_path / "set")
    if form == "folder with an npz":
        source["path"] = str(tmp_path / "set")
    data, rows = read({**source, "names": ["cat", "dog"]}, tmp_path)
    content = arrays_content()
    assert (data.classes, data.groups, data.time) == (("cat", "dog"), ("group_site",), True)
    decoded = np.stack([decoding.to_array(decoding.load(row["image"])) for row in rows])
    assert (decoded == content["images"]).all()
    assert [row["target"] for row in rows] == content["labels"].tolist()
    assert [row["published"] for row in rows] == [{"val": "validation"}.get(name, name) for name in content["split"]]
    assert [row["group_site"] for row in rows] == content["group_site"].tolist()
    assert [row["time"] for row in rows] == content["time"].tolist()
    assert rows[3]["id"] == "image-0000003"


def test_arrays_are_mapped_and_tables_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BATCH_BYTES", 5 * 10 * 12 * 3)
    source = _folder(tmp_path / "set")
    assert isinstance(arrays._loaded(tmp_path / "set", "images"), np.memmap)
    tables = list(registry.read(parse(source), tmp_path).tables)
    assert [len(table) for table in tables] == [5, 5, 2]


@pytest.mark.parametrize(
    ("labels", "names", "classes", "targets"),
    [
        (np.array(["b", "a", "c"] * 4), None, ("a", "b", "c"), [1, 0, 2] * 4),
        (np.array([b"b", b"a", b"c"] * 4), None, ("a", "b", "c"), [1, 0, 2] * 4),
        (np.array([10, 9, -1] * 4), None, ("-1", "9", "10"), [2, 1, 0] * 4),
        (np.array([2, 0, 1] * 4, np.uint8), ["x", "y", "z"], ("x", "y", "z"), [2, 0, 1] * 4),
        (np.array(["b", "a", "c"] * 4), ["c", "b", "a", "d"], ("c", "b", "a", "d"), [1, 2, 0] * 4),
        (np.array([[1], [0], [1]] * 4), None, ("0", "1"), [1, 0, 1] * 4),
    ],
)
def test_labels_may_be_numbers_or_texts(
    tmp_path: Path, labels: Any, names: list[str] | None, classes: tuple[str, ...], targets: list[int]
) -> None:
    data, rows = read({**_folder(tmp_path / "set", labels=labels), "names": names})
    assert (data.classes, [row["target"] for row in rows]) == (classes, targets)


def test_ids_dates_and_missing_groups_are_read(tmp_path: Path) -> None:
    days = np.array(["2024-01-01"] * 2 * EACH, dtype="datetime64[D]")
    ids = np.array([f"patient-{number}" for number in range(2 * EACH)])
    site = np.array([np.nan, 1.0] * EACH)
    _, rows = read(_folder(tmp_path / "set", time=days, id=ids, group_site=site))
    assert rows[1]["id"] == "patient-1" and rows[0]["time"] == 1704067200.0
    assert [row["group_site"] for row in rows[:2]] == [None, "1"]


def _object(values: Any) -> Any:
    return np.array(values, dtype=object)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": np.zeros((12, 4, 4), np.uint16)}, r"images\.npy: expected uint8, received uint16; save .*// 257"),
        ({"images": np.zeros((12, 4, 4), np.float32)}, r"received float32; save .*\* 255"),
        ({"images": np.zeros((12, 4, 4), bool)}, r"received bool; save .*\* 255"),
        ({"images": np.zeros((12, 3, 4, 5), np.uint8)}, r"received \(12, 3, 4, 5\); save images\.transpose"),
        ({"images": np.zeros((12, 4, 4, 4), np.uint8)}, r"expected images \(N, H, W\)"),
        ({"images": np.zeros((12, 16), np.uint8)}, r"expected images \(N, H, W\)"),
        ({"images": np.uint8(3)}, "a single value"),
        ({"images": _object([b"x"] * 12)}, "Python objects are not read"),
        ({"labels": _object(["cat"] * 12)}, r"labels\.npy: .*labels\.astype\(str\)"),
        ({"labels": np.zeros(11, int)}, r"labels\.npy: expected a value for each of 12 images, received 11"),
        ({"labels": np.full(12, 0.5)}, "expected whole numbers or texts"),
        (
            {"labels": np.eye(12, 2)},
            r"received \(12, 2\) with 10 other rows, the first of them row 2, \[0. 0.\]",
        ),
        ({"labels": np.ones((12, 2), int)}, "several classes of one picture are not learnt"),
        ({"labels": np.array(["cat"] * 5 + [""] + ["dog"] * 6)}, "row 5: expected a class"),
        ({"split": np.array(["train", "holdout"] * 6)}, "row 1: expected a split"),
        ({"time": np.array([0.0] * 5 + [np.nan] * 7)}, "row 5: expected a time"),
        ({"id": np.array(["a"] * 12)}, "row 1: expected an id of its own, received 'a', which .*row 0 has too"),
        ({"id": np.array(["a", ""] * 6)}, "row 1: expected an id, received none"),
        ({"group_site": np.zeros((12, 2))}, r"group_site\.npy: expected values \(N,\)"),
        ({"labels": None}, r"labels\.npy, received none"),
        ({"images": None}, r"expected images\.npy or one \.npz"),
    ],
)
def test_what_cannot_be_meant_is_named_with_what_to_do(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read(_folder(tmp_path / "set", **changes))


def test_a_label_without_a_name_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1: expected one of the 1 classes of source.names, received 1"):
        read({**_folder(tmp_path / "set"), "names": ["cat"]})


class _Mark:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize("form", ["npy", "pickle alone"])
def test_nothing_is_unpickled(tmp_path: Path, form: str) -> None:
    mark = tmp_path / "unpickled"
    source = _folder(tmp_path / "set", labels=_object([_Mark(str(mark))] * 12))
    if form == "pickle alone":
        (tmp_path / "set" / "labels.npy").write_bytes(pickle.dumps(_Mark(str(mark))))
    with pytest.raises(DataError, match="Python objects are not read"):
        read(source)
    assert not mark.exists()
    np.load(tmp_path / "set" / "labels.npy", allow_pickle=True)  # which would have left it
    assert mark.exists()


def test_an_npz_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "data.npz", "w") as file:
        file.writestr("../images.npy", b"x")
    with pytest.raises(DataError, match="expected names inside the folder"):
        read({"kind": "arrays", "path": str(tmp_path / "data.npz")}, tmp_path)
