"""One's own images: `PATH/CLASS/*`, or `PATH/{train,validation,test}/CLASS/*`, or other words for these splits.

A class is named after its folder. Files are taken as they are; whether they are images is found out in `prepare` and
judged in validation. Nothing outside the folder is read, whatever its links say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import decoding
from components.config import FolderSource
from components.data.errors import DataError
from components.data.sources import place, rows
from components.data.sources.registry import SourceData, schema

# By these names files are known as images; which format each is in is told by its content.
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".j2k"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
)


@dataclass(frozen=True)
class Entry:
    """One file: its path below the folder, its class, and the split its folder gives it."""

    path: str
    label: str
    published: str | None


def read(source: FolderSource, project: Path) -> SourceData:
    folder = place.local(source, project)
    classes, entries = scan(folder)
    return SourceData(classes, "class", rows.tables(schema("class"), _rows(folder, rows.numbers(classes), entries)))


def scan(folder: Path) -> tuple[tuple[str, ...], list[Entry]]:
    """Class names and files, in order of name; raises DataError for a layout or a file that cannot be meant."""
    if not folder.is_dir():
        raise DataError(f"source.path: expected a folder with one folder a class, received {folder}, which is none")
    top = _folders(folder, folder)
    splits = {path: rows.split_named(path.name) for path in top}
    if splits and all(splits.values()):
        labelled: list[tuple[str | None, Path]] = [
            (splits[path], label) for path in top for label in _folders(path, folder)
        ]
    else:
        labelled = [(None, label) for label in top]
    if not labelled:
        raise DataError(
            f"{folder}: expected one folder a class, or train, validation and test with such folders, found none"
        )
    entries = [
        Entry(file.relative_to(folder).as_posix(), label.name, published)
        for published, label in labelled
        for file in _files(label, folder)
    ]
    return tuple(sorted({label.name for _, label in labelled})), entries


def _children(directory: Path, folder: Path) -> list[Path]:
    children = sorted(path for path in directory.iterdir() if not rows.is_leftover(path.name))
    for path in children:
        if path.is_symlink() and not path.exists():
            raise DataError(f"{path}: expected a file, received a link to nothing or to itself; remove it")
        if path.is_symlink() and not path.resolve().is_relative_to(folder):
            raise DataError(
                f"{path}: expected a file inside {folder}, received a link to {path.resolve()}; copy it instead"
            )
        try:
            path.name.encode()
        except UnicodeEncodeError:
            raise DataError(f"{directory}: expected names in UTF-8, received {path.name!r}; rename it") from None
    return children


def _folders(directory: Path, folder: Path) -> list[Path]:
    children = _children(directory, folder)
    loose = [path for path in children if not path.is_dir() and path.suffix.lower() in SUFFIXES]
    if loose:
        raise DataError(
            f"{loose[0]}: expected images inside a folder named after their class, received one beside them"
        )
    return [path for path in children if path.is_dir()]


def _files(label: Path, folder: Path) -> list[Path]:
    files = _children(label, folder)
    for path in files:
        if not path.is_file() or path.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"{path}: expected only images ({', '.join(SUFFIXES)}) in a class's folder, received {_told(path)}"
            )
    return files


def _told(path: Path) -> str:
    """What is in the place of an image, and what to do."""
    if path.is_dir():
        return "a folder; move it elsewhere"
    if not path.is_file():  # reading a pipe waits for whoever writes into it
        return "a pipe, a socket or a device; remove it"
    try:
        return f"a file that is {decoding.header(path.read_bytes()).format}; name it so"
    except decoding.UndecodableError as error:
        return f"a file that {error}; or move it elsewhere"


def _rows(folder: Path, number: dict[str, int], entries: list[Entry]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        yield {
            "id": entry.path,
            "image": (folder / entry.path).read_bytes(),
            "target": number[entry.label],
            "published": entry.published,
        }
