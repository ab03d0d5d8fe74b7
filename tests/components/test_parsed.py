"""What is remembered of parsed files: never more than they say now."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from components import parsed
from components.parsed import Parsed, remembering

SOURCE = "from components.leaf import A\nB = A\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    return path


def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every file had been there for long."""
    monkeypatch.setattr(parsed, "SETTLED", -(10**12))


def never(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(module: str, path: Path) -> Parsed:
        raise AssertionError(f"{module} is parsed again")

    monkeypatch.setattr(parsed, "_parse", parse)


def test_a_file_that_stays_as_it_is_is_parsed_once(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    with remembering(tmp_path / "code.json"):
        first = parsed.parsed("components.module", file)
    never(monkeypatch)
    with remembering(tmp_path / "code.json"):
        assert parsed.parsed("components.module", file) == first
    assert first.names == ("components.leaf", "components.leaf.A")
    with pytest.raises(AssertionError, match="parsed again"):  # outside nothing is remembered
        parsed.parsed("components.module", file)


def test_another_content_is_seen_even_at_the_same_size_and_time(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(monkeypatch)
    about = file.stat()
    with remembering(tmp_path / "code.json"):
        first = parsed.parsed("components.module", file)
        time.sleep(0.02)  # a tick of the file system's clock
        file.write_text(SOURCE.replace("B =", "C ="))
        os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
        assert file.stat().st_size == about.st_size
        assert parsed.parsed("components.module", file).meaning != first.meaning


def test_what_was_written_a_moment_ago_is_not_remembered_yet(file: Path, tmp_path: Path) -> None:
    with remembering(tmp_path / "code.json"):
        parsed.parsed("components.module", file)
    assert not (tmp_path / "code.json").exists()


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"release": "another", "modules": {"components.module": []}}', "\x00"]
)
def test_a_memory_that_is_none_is_made_again(
    content: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(monkeypatch)
    memory = tmp_path / "code.json"
    memory.write_text(content)
    with remembering(memory):
        first = parsed.parsed("components.module", file)
    never(monkeypatch)
    with remembering(memory):
        assert parsed.parsed("components.module", file) == first


def test_where_it_cannot_be_kept_it_is_parsed_all_the_same(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(monkeypatch)
    (tmp_path / "no-folder").write_text("")
    with remembering(tmp_path / "no-folder" / "code.json"):
        assert parsed.parsed("components.module", file).names
