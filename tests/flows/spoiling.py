"""What a full disk, a killed process or a half restored back-up leaves in a file's place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Spoil = Callable[[Path], None]


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: max(len(content) // 2, len(content) - 1000)])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def rubbish(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 4)


def other(file: Path) -> None:
    file.write_text("[1, 2]", encoding="utf-8")


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


SPOILS: tuple[Spoil, ...] = (cut, empty, rubbish, other, folder)
