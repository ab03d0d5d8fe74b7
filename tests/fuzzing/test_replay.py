"""What fuzzing has found stays mended: every kept input ends in a value or in a sentence of ours, quickly."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import pytest

from components.data.errors import DataError
from tests.fuzzing.corpus import CORPUS, entries
from tests.fuzzing.judging import judge
from tests.fuzzing.targets import TARGETS, Target

SLOW = 20.0  # seconds that an input may take


@pytest.mark.parametrize("name", TARGETS)
def test_every_kept_input_ends_well(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    target.ready(tmp_path)
    for number, content in enumerate(entries(name)):
        began = time.monotonic()
        try:
            judge(target, content, tmp_path)
        except Exception as error:
            raise AssertionError(f"input {number} of {name}: {content[:80]!r}") from error
        assert time.monotonic() - began < SLOW, f"input {number} of {name}"


def test_the_corpus_is_small() -> None:
    sizes = {path.name: path.stat().st_size for path in CORPUS.glob("*.zip")}
    assert sum(sizes.values()) < 1_500_000
    assert {name.removesuffix(".zip") for name in sizes} == set(TARGETS)
    for name in sizes:
        with zipfile.ZipFile(CORPUS / name) as file:
            assert file.testzip() is None


def test_a_finding_is_found(tmp_path: Path) -> None:
    def raw(content: bytes, folder: Path) -> None:
        raise struct_error

    struct_error = OSError("not ours")
    with pytest.raises(OSError, match="not ours"):
        judge(Target(raw, list), b"", tmp_path)

    def refused(content: bytes, folder: Path) -> None:
        raise DataError("table.csv: expected a table, received none")

    judge(Target(refused, list), b"", tmp_path)
