"""JSON as a table: values are texts as in a CSV, and whatever cannot be meant is refused by file and row."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.data.errors import DataError
from components.data.sources.base import limits
from components.data.sources.tables import plain_json, records, tabular
from tests.components.data.sources import source_builders as builders
from tests.components.test_strangers import MEGABYTES

ROWS = [{"path": "0.png", "target": "cat"}, {"path": "1.png", "target": "dög"}]
TEXT = {".json": json.dumps(ROWS, ensure_ascii=False), ".jsonl": "\n".join(map(json.dumps, ROWS)) + "\n\n"}


def table(folder: Path, suffix: str, content: str | bytes) -> dict[str, Any]:
    for number in range(2):
        builders.save(folder / f"{number}.png", number)
    path = folder / f"t{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return {"kind": "manifest", "path": str(path)}


@pytest.mark.parametrize("suffix", TEXT)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_encoding_that_json_has_is_read(tmp_path: Path, suffix: str, encoding: str) -> None:
    data, rows = builders.read(table(tmp_path, suffix, TEXT[suffix].encode(encoding)))
    assert data.classes == ("cat", "dög") and [row["target"] for row in rows] == [0, 1]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_utf_16_file_is_recognised(tmp_path: Path, suffix: str) -> None:
    from components.data.checking import detect

    source = table(tmp_path, suffix, TEXT[suffix].encode("utf-16"))
    assert detect.choose({"path": source["path"]}, tmp_path).kind == "manifest"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("0.10", "0.10"),
        ("1e3", "1e3"),
        ("7", "7"),
        ("-0.0", "-0.0"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("1e999", "1e999"),
        ("true", "true"),
        ("null", None),
        ('""', None),
        ("NaN", None),
        ("Infinity", "Infinity"),
        ('["a", 1.50, null]', '["a", 1.5, null]'),
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_value_is_the_text_that_stands_there(tmp_path: Path, suffix: str, written: str, text: str | None) -> None:
    row = f'{{"a": {written}, "b": 1}}'
    (tmp_path / f"t{suffix}").write_text(f"[{row}]" if suffix == ".json" else row, encoding="utf-8")
    assert list(records.rows(tmp_path / f"t{suffix}", ["a", "c"])) == [{"a": text, "c": None}]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('{"path": "1.png", "target": "a", "target": "b"}', "expected one value per name, .* 'target' in one object"),
        ('{"path": "1.png", "target": "\\ud800"}', r"expected whole characters in 'target', received '\\ud800'"),
        ('{"path": "1.png", "target": "a", "\\ud800": 1}', "expected whole characters in a name"),
        ('{"path": "1.png", "target": ' + "9" * 5000 + "}", "at most 4,000 digits, received one of 5,000"),
        ('{"path": "1.png", "target": "a", "x": ' + "[" * 50_000 + "]" * 50_000 + "}", "nested too deeply"),
        ('{"path": "1.png", "target": ', r"received something else at .*column \d+ \(Expecting value\)"),
        ('{"path": "1.png" "target": "a"}', r"received something else at .*column 18 \(Expecting ',' delimiter\)"),
        ('["1.png", "a"]', "expected an object with one value per column, received"),
        ("3", "expected an object with one value per column, received 3"),
    ],
)
def test_a_row_that_cannot_be_meant_is_named(tmp_path: Path, suffix: str, row: str, says: str) -> None:
    whole = json.dumps(ROWS[0])
    content = f"[{whole},\n{row}]" if suffix == ".json" else f"{whole}\n{row}\n"
    with pytest.raises(DataError, match=says) as told:
        builders.read(table(tmp_path, suffix, content))
    said = str(told.value)
    assert said.startswith(f"{tmp_path}/t{suffix}") and len(said) < 400 + len(str(tmp_path))
    assert said.removeprefix(f"{tmp_path}/t{suffix}, ").startswith(("row 2: ", "line 2: ")) or "a name" in said


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", r"column 1 \(Expecting value\)"),
        (b"{}", "expected a list of objects, one an image, received {}"),
        (b'[{"path": "0.png", "target": "a"}', "Expecting ',' delimiter"),
        (b'[{"path": "0.png", "target": "a"}]]', "Extra data"),
        (b'[{"path": "0.png", "target": "a"},]', "Expecting value"),
        (b'[{"path": "\xff"}]', "byte 11: expected JSON in UTF-8 or UTF-16, .* no text in UTF-8; save it as UTF-8"),
        (b"\xff\xfe[\x00{\x00}", "no text in UTF-16"),
    ],
)
def test_a_list_that_is_none_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(DataError, match=rf"t\.json.*{says}"):
        builders.read(table(tmp_path, ".json", content))


def test_an_empty_list_has_no_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.json: expected a column 'path' .*received none"):
        builders.read(table(tmp_path, ".json", " [ ] "))


def test_a_line_that_is_no_text_is_placed(tmp_path: Path) -> None:
    content = TEXT[".jsonl"].encode() + b'{"path": "\xff"}\n'
    with pytest.raises(DataError, match=r"t\.jsonl, after line \d: expected JSON in UTF-8 or UTF-16"):
        builders.read(table(tmp_path, ".jsonl", content))


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LONGEST", 1000)
    with pytest.raises(DataError, match=r"t\.jsonl, line 1: expected rows of at most 1,000 characters"):
        builders.read(table(tmp_path, ".jsonl", '{"path": "' + "a" * 1000))


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet"])
def test_tables_without_end_of_columns_are_refused(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas as pd

    monkeypatch.setattr(limits, "COLUMNS", 50)
    names = [f"c{number}" for number in range(51)]
    path = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        pd.DataFrame([dict.fromkeys(names, "x")]).to_parquet(path)
    elif suffix == ".csv":
        path.write_text(",".join(names) + "\n", encoding="utf-8")
    else:
        rows = [json.dumps({name: 0}) for name in names]
        path.write_text(f"[{','.join(rows)}]" if suffix == ".json" else "\n".join(rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"expected at most 50 columns, received more; a row is an image"):
        tabular.columns(path)


def test_of_a_list_one_element_at_a_time_is_in_memory(tmp_path: Path) -> None:
    parts = plain_json.elements('[{"a": 1.5}, [2], broken', "t.json")
    assert parts is not None and next(parts) == {"a": 1.5} and next(parts) == [2]
    with pytest.raises(DataError, match=r"t\.json, row 3: expected JSON"):
        next(parts)
    assert plain_json.elements(' {"a": 1}', "t.json") is None


HOSTILE = """
import sys
from pathlib import Path
from components.data.errors import DataError
from tests.components.data.sources import source_builders as builders
from tests.components.strangers import fresh_peak, peak
path, before = Path(sys.argv[1]), fresh_peak()
try:
    builders.read({"kind": "manifest", "path": str(path)}, path.parent)
except DataError as error:
    print((peak() - before) // 1024, error)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured by /proc")
@pytest.mark.parametrize("head", ["[[", '[["😀",'])
def test_20_megabytes_take_less_than_a_gigabyte(tmp_path: Path, head: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(head + '{"":{}},' * 2_500_000 + "0]]", encoding="utf-8")
    root = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE, str(path)], cwd=root, capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split()[0]) < MEGABYTES
    assert "row 1: expected an object with one value per column" in done.stdout
