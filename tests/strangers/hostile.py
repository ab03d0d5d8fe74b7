"""Hostile inputs: each costs a sentence, and neither the process nor the machine's memory."""

from __future__ import annotations

import json
import tarfile
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.data.sources.base import limits
from tests.strangers import making
from tests.strangers.judging import Case, Read, Refused
from tests.strangers.making import EACH, label, put

BOTH = {"one": EACH, "zero": EACH}
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n{} loop\n"


def first(**changes: Any) -> Any:
    """COCO's JSON whose first annotation says something else."""

    def change(each: dict[str, Any], number: int) -> None:
        each.update(changes if number == 0 else {})

    return lambda base: making.coco(base, annotation=change)


def stated(base: Path) -> Path:
    """Sizes of 30,000 × 30,000 for files that are no pictures."""
    making.coco(base, image=lambda each, number: each.update(width=30_000, height=30_000))
    for path in (base / "images").iterdir():
        path.write_bytes(b"no image")
    return base


def nested_json(base: Path) -> Path:
    text = '{"annotations": [], "categories": [], "images":' + "[" * 10_000 + "]" * 10_000 + "}"
    return put(base / "nested.json", text.encode())


def nested_lines(base: Path) -> Path:
    making.pictures(base)
    return put(base / "t.jsonl", b'{"path": "i/000.png", "target": ' + b"[" * 10_000 + b"]" * 10_000 + b"}\n")


def deep(base: Path) -> Path:
    """1,500 folders in each other."""
    making.folder(base)
    folder = base / "one"
    for _ in range(1500):
        folder = folder / "d"
        folder.mkdir()  # `mkdir(parents=True)` goes down by recursion
    return base


def table_of(**columns: Any) -> Any:
    def make(base: Path) -> Path:
        rows = {"path": making.pictures(base), "target": [label(number) for number in making.NUMBERS]}
        more = {name: each() if callable(each) else each for name, each in columns.items()}
        pq.write_table(pa.table({**rows, **more}), base / "t.parquet", compression="zstd")
        return base / "t.parquet"

    return make


def one_value_for_all() -> pa.Array:
    places = pa.array([0] * 2 * EACH, pa.int32())
    return pa.DictionaryArray.from_arrays(places, pa.array(["x" * (limits.PIECE + 1000)]))


def days() -> pa.Array:
    return pa.array([date(9999, 12, 31), *[date(2024, 1, 1 + number) for number in range(2 * EACH - 1)]], pa.date32())


def postscript(base: Path) -> Path:
    making.folder(base)
    put(base / "one" / "postscript.png", POSTSCRIPT)
    return base


def negative_size(base: Path) -> Path:
    head = bytearray(tarfile.TarInfo("a.png").tobuf())
    head[124:136] = (2**96 - 512).to_bytes(12, "big")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return put(base / "a.tar", bytes(head) + bytes(1024))


def twice(base: Path) -> Path:
    making.pictures(base)
    return put(base / "t.jsonl", b'{"path": "i/000.png", "target": "one", "target": "zero"}\n')


def halves(base: Path) -> Path:
    rows = [{"path": name, "target": "\ud800"} for name in making.pictures(base)]
    return put(base / "t.json", json.dumps(rows).encode())


ALIASES = "[&a [1, 1, 1], &b [*a, *a, *a], [*b, *b, *b]]"

CASES = (
    # Numbers in a file are believed before they are held against the file.
    Case("polygon", "S1", first(segmentation=[[2, 2, 1e300, 2, 6, 6]]), Read(BOTH)),
    Case(
        "polygon",
        "S1",
        first(segmentation=[[2, 2, 1e300, 2, 6, 6]]),
        Refused(("annotations.json", "annotation 0", "1e+300")),
        task="segmentation",
    ),
    Case("dictionary.parquet", "S1", table_of(group_x=one_value_for_all), Refused(("t.parquet", "134,21")), slow=True),
    Case("stated", "S1", stated, Refused(("000.png",)), task="segmentation"),
    Case("stated", "S1", stated, Refused(("000.png",))),
    # One room has the right limits, the others their own.
    Case("postscript", "S2", postscript, Refused(("postscript.png: is PostScript, a program, which is not run",))),
    # Readers list the exceptions they have met.
    Case("nested.json", "S8", nested_json, Refused(("nested.json", "nested too deeply"))),
    Case("nested.jsonl", "S8", nested_lines, Refused(("t.jsonl, line 1", "nested too deeply"))),
    Case("1,500 folders deep", "S8", deep, Refused(("data/strange", "nested too deeply"))),
    Case("date.parquet", "S8", table_of(day=days), Read(BOTH), ("time=day",)),
    Case("bigint", "S8", first(category_id=int("9" * 400)), Refused(("annotations.json", "annotation 0", "category"))),
    Case("a tar with a negative size", "S8", negative_size, Refused(("a.tar", "a.png of -512 bytes"))),
    Case("one name twice", "S8", twice, Refused(("t.jsonl, line 1", "several for 'target'"))),
    Case("half a character", "S8", halves, Refused(("t.json, row 1", "whole characters in 'target'"))),
    # YAML is more than its library's own errors.
    Case("a day that is none", "S9", making.folder, Refused(("classes", "2024-13-45")), ("classes=2024-13-45",)),
    Case(
        "aliases of aliases",
        "S9",
        making.folder,
        Refused(("-S without=", "received an anchor")),
        (f"without={ALIASES}",),
    ),
)
