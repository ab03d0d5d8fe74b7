"""What a library makes of a damaged file is one sentence with its name; numbers are held against the file."""

from __future__ import annotations

import errno
import io
import json
import struct
import tarfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.errors import DataError
from components.data.sources.base import boundary, limits
from components.data.sources.places import archive
from components.data.sources.tables import parquet, thrift
from tests.components.data.sources import source_builders as builders


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RecursionError(), OverflowError("too large"), KeyError("x"), struct.error("short"), UnicodeError()],
)
def test_any_exception_becomes_a_sentence_and_stays_behind_it(error: Exception) -> None:
    with (
        pytest.raises(DataError, match=r"^a\.csv: expected a table, received one that cannot be read: .+; put") as told,
        boundary.reading("a.csv", "a table"),
    ):
        raise error
    assert told.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full"), NameError("x"), DataError("own")]
)
def test_what_no_file_is_to_blame_for_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as told, boundary.reading("a.csv", "a table"):
        raise error
    assert told.value is error


def test_a_new_source_is_within_the_boundary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.data.sources.base import class_folders

    source = builders.write_folder(tmp_path / "pets")

    def broken(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(class_folders._Reading, "entries", broken)
    with pytest.raises(DataError, match=r"pets \(folder\): expected a source of kind folder, .*ZeroDivisionError"):
        builders.read(source)


def test_what_fails_while_rows_are_read_is_within_it_too(tmp_path: Path) -> None:
    source = builders.write_folder(tmp_path / "pets")
    data = builders.registry.read(builders.parse(source), tmp_path)
    (tmp_path / "pets" / "cat" / "00.png").unlink()
    with pytest.raises(DataError, match=r"00\.png: No such file or directory"):
        list(data.tables)


# -- numbers ---------------------------------------------------------------------------------------------------------


def a_table(folder: Path, **columns: object) -> dict[str, object]:
    names = [builders.save(folder / f"{number}.png", number).name for number in range(4)]
    pq.write_table(
        pa.table({"path": names, "target": list("abab"), **columns}), folder / "t.parquet", compression="zstd"
    )
    return {"kind": "manifest", "path": str(folder / "t.parquet")}


def test_a_page_that_is_packed_beyond_belief_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    one = pa.array(["x" * (limits.PIECE + 1000)])
    source = a_table(tmp_path, group_x=pa.DictionaryArray.from_arrays(pa.array([0] * 4, pa.int32()), one))
    assert (tmp_path / "t.parquet").stat().st_size < 20_000
    with pytest.raises(DataError, match=r"t\.parquet: expected pages of at most .* received 134,2"):
        builders.read(source)


def test_rows_that_share_one_long_value_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    one = pa.array(["x" * (limits.VALUES // 2 - 100)])
    a_table(tmp_path, group_x=pa.DictionaryArray.from_arrays(pa.array([0] * 4, pa.int32()), one))
    assert [len(part) for part in parquet.parts(tmp_path / "t.parquet", ["group_x"])] == [2, 2]


def test_a_document_is_no_name(tmp_path: Path) -> None:
    source = a_table(tmp_path, group_x=["a", "b", "x" * (limits.NAME + 1), "d"])
    with pytest.raises(DataError, match=r"expected names of at most 65,536 bytes in 'group_x', received one of 65,537"):
        builders.read(source)


def test_dates_of_a_table_are_times(tmp_path: Path) -> None:
    days = pa.array([date(1970, 1, 2), date(9999, 12, 31), date(1, 1, 1), date(2024, 2, 29)], pa.date32())
    _, rows = builders.read({**a_table(tmp_path, day=days), "time": "day"})
    assert [row["time"] for row in rows] == [86_400.0, 253402214400.0, -62135596800.0, 1709164800.0]


def test_lists_in_a_column_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected one value per row in column 'group_x', received lists"):
        builders.read(a_table(tmp_path, group_x=[["a"], [], ["b"], None]))


def test_columns_with_fewer_rows_than_the_footer_states_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    names = [f"{number}.png" for number in range(4)]
    table = pa.table({"path": names, "target": ["a", "b", "a", "b"]})
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)
    content = path.read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    four, five = b"\x16\x08", b"\x16\x0a"  # numbers of 64 bits, as Thrift writes them
    assert four in content[start:]
    path.write_bytes(content[:start] + content[start:].replace(four, five))
    with pytest.raises(DataError, match="its footer states 5 rows, and these columns have 4"):
        builders.read({"kind": "manifest", "path": str(path)})


def test_a_footer_over_which_pyarrow_ends_the_process_is_refused() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        thrift.structure(b"\x1c" * 100)
    with pytest.raises(ValueError, match="cut short"):
        thrift.structure(b"\x15")
    assert thrift.structure(b"\x15\x02\x19\x25\x02\x04\x00rest") == ({1: 1, 2: [1, 2]}, 7)


@pytest.mark.parametrize(
    ("kind", "shape", "says"),
    [
        ("|u1", (10**12, 1, 1), "bytes, and 0 follow"),
        ("<U0", (10**12,), "states the shape"),
        ("|u1", (10**30, 10**30, 2), "bytes, and 0 follow"),
        ("|u1", (2, -1, 2), "-1"),
    ],
)
def test_an_array_that_is_not_as_long_as_it_says_is_refused(
    tmp_path: Path, kind: str, shape: tuple[int, ...], says: str
) -> None:
    with (tmp_path / "images.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=rf"images\.npy: expected an array .*{says}"):
        builders.read({"kind": "arrays", "path": str(tmp_path)})


def test_labels_without_end_are_refused_by_their_header(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + struct.pack(">III", 2**32 - 1, 1, 1))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + struct.pack(">I", 2**32 - 1))
    with pytest.raises(DataError, match=r"idx1-ubyte: expected at most 400,000 pictures .* received 4,294,967,295"):
        builders.read({"kind": "idx", "path": str(tmp_path)})


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda notes: notes[0].update(category_id=int("9" * 400)), "category_id 9999"),
        (lambda notes: notes[0].update(bbox=[int("9" * 400), 1, 1, 1]), "of something else"),
    ],
)
def test_numbers_of_400_digits_are_told(
    tmp_path: Path, write: Callable[[list[dict[str, object]]], None], says: str
) -> None:
    content = builders.coco_content(tmp_path)
    write(content["annotations"])
    (tmp_path / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=says) as told:
        builders.read({"kind": "coco", "path": str(tmp_path)})
    assert len(str(told.value)) < 500


def test_json_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text('{"images":' + "[" * 100_000 + "]" * 100_000 + "}", encoding="utf-8")
    with pytest.raises(DataError, match=r"annotations\.json: expected COCO's JSON, .* nested too deeply"):
        builders.read({"kind": "coco", "path": str(tmp_path)})


# -- archives --------------------------------------------------------------------------------------------------------


def test_a_tar_with_a_negative_size_is_refused(tmp_path: Path) -> None:
    head = bytearray(tarfile.TarInfo("a.png").tobuf())
    head[124:136] = (2**96 - 512).to_bytes(12, "big")  # which leads back to this very header
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    (tmp_path / "a.tar").write_bytes(bytes(head) + bytes(1024))
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=r"a\.tar: expected files of a size, received a\.png of -512 bytes"):
        archive.unpack(tmp_path / "a.tar", tmp_path / "out")


def test_links_that_lead_to_links_are_followed_once(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        last = tarfile.TarInfo("0")
        last.size = 3
        file.addfile(last, io.BytesIO(b"abc"))
        for number in range(1, 2000):
            link = tarfile.TarInfo(str(number))
            link.type, link.linkname = tarfile.SYMTYPE, str((number + 1) % 2000)
            file.addfile(link)
    (tmp_path / "out").mkdir()
    archive.unpack(tmp_path / "a.tar", tmp_path / "out")
    assert {path.read_bytes() for path in (tmp_path / "out").iterdir()} == {b"abc"}
    assert len(list((tmp_path / "out").iterdir())) == 2000


def test_an_archive_with_a_name_that_no_file_system_takes_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        file.addfile(tarfile.TarInfo("d/" * 3000 + "a.png"))
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=r"a\.tar: expected an archive .* received one that cannot be read"):
        archive.unpack(tmp_path / "a.tar", tmp_path / "out")
