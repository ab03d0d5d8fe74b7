"""One's own images: `PATH/CLASS/*`, with folders of splits above the classes or in them, where there are some.

A class is named after its folder. Files are taken as they are; whether they are images is found out in `prepare` and
judged in validation. Nothing outside the folder is read, whatever its links say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import decoding, texts
from components.artifacts import Split
from components.config import FolderSource
from components.data.errors import DataError
from components.data.sources.base import rows
from components.data.sources.base.faults import Fault, Faults, Kind, as_yaml, named
from components.data.sources.base.form import SourceData, schema
from components.data.sources.base.formats import SUFFIXES
from components.data.sources.layouts import folder as layouts
from components.data.sources.places import place

LAYOUTS = layouts.LAYOUTS

NO_IMAGE = Kind("file", "files", "that are images by their names in classes' folders", "of another kind")
GROUP = "group_folder"


@dataclass(frozen=True)
class Entry:
    """One file: its path below the folder, its class, and the split and the folder in its class's that it lies in."""

    path: str
    label: str
    published: Split | None
    folder: str | None = None


def read(source: FolderSource, project: Path) -> SourceData:
    folder = place.local(source, project)
    faults = Faults(str(folder), source.faulty)
    found = _Reading(folder, source, faults)
    entries = list(found.entries())
    faults.tell()
    classes = tuple(sorted(found.classes))
    groups = (GROUP,) if any(entry.folder is not None for entry in entries) else ()
    number = rows.numbers(classes)
    taken = rows.tables(schema("class", groups), (_row(folder, number, groups, entry) for entry in entries))
    left = tuple(name for name in source.without if name in found.left)
    told = tuple(f"left out: the folder {texts.exact(name)} (`without`)" for name in left)
    return SourceData(classes, "class", taken, groups, notes=lambda: (*faults.notes(), *told), left=left)


class _Reading:
    """A look through the folder: which classes it has, and which folders are left out."""

    def __init__(self, folder: Path, source: FolderSource, faults: Faults) -> None:
        self.classes: set[str] = set()
        self.left: set[str] = set()
        self._folder, self._source, self._faults = folder, source, faults
        self._others = 0  # files of other kinds so far

    def entries(self) -> Iterator[Entry]:
        """The files, in order of name; raises DataError for a layout or a file that cannot be meant."""
        folder = self._folder
        if not folder.is_dir():
            raise DataError(f"source.path: expected a folder with one folder a class, received {folder}, which is none")
        top = self._folders(folder)
        splits = {path: rows.split_named(path.name) for path in top}
        labelled: list[tuple[Split | None, Path]] = [(None, label) for label in top]
        if splits and all(splits.values()):
            labelled = [(splits[path], label) for path in top for label in self._folders(path)]
        if not labelled:
            raise DataError(
                f"{folder}: expected one folder a class, or train, validation and test with such folders, found none"
            )
        below = None not in {split for split, _ in labelled} or not _are_splits(labelled, folder)
        for split, label in labelled:
            self.classes.add(label.name)
            if below:
                yield from self._of_class(label, split)
            else:
                for inner in self._folders(label):
                    yield from self._images(inner, label.name, rows.split_named(inner.name))

    def _of_class(self, label: Path, split: Split | None) -> Iterator[Entry]:
        """Its images; raises DataError for a folder that holds something, and no image."""
        first, others = None, self._others
        for entry in self._images(label, label.name, split):
            first = entry
            yield entry
        if first is None and self._others > others:
            left = as_yaml([label.name])
            raise DataError(
                f"{label}: expected images in a class's folder, received none; leave the folder out by `without: "
                f"{left}` "
                f"under `source:` (`-S 'without={left}'`)"
            )

    def _folders(self, directory: Path) -> list[Path]:
        """The folders in it that are not to be left out; raises DataError for images beside them."""
        children = _children(directory, self._folder)
        loose = [path for path in children if not path.is_dir() and path.suffix.lower() in SUFFIXES]
        if loose:
            raise DataError(
                f"{loose[0]}: expected images inside a folder named after their class, received one beside them"
            )
        folders = [path for path in children if path.is_dir()]
        self.left |= {path.name for path in folders if path.name in self._source.without}
        return [path for path in folders if path.name not in self._source.without]

    def _images(self, directory: Path, label: str, split: Split | None, inner: str | None = None) -> Iterator[Entry]:
        for path in _children(directory, self._folder):
            if path.is_dir() and self._source.nested == "join":
                yield from self._images(path, label, split, path.name if inner is None else f"{inner}/{path.name}")
            elif path.is_dir():
                raise DataError(
                    f"{path}: expected only images in a class's folder, received a folder; take what lies in it for "
                    f"{texts.shown(label)} by `nested: join` under `source:` (`-S nested=join`), or move it elsewhere"
                )
            elif not path.is_file() or path.suffix.lower() not in SUFFIXES:
                self._others += 1
                said = named(path.relative_to(self._folder).as_posix())
                self._faults.add(Fault(NO_IMAGE, f"{said} {_told(path)}"))
            else:
                yield Entry(path.relative_to(self._folder).as_posix(), label, split, inner)


def _are_splits(labelled: list[tuple[Split | None, Path]], folder: Path) -> bool:
    """Whether what lies in the classes' folders are folders of splits, and nothing else."""
    inner = [path for _, label in labelled for path in _children(label, folder)]
    return bool(inner) and all(path.is_dir() and rows.split_named(path.name) for path in inner)


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


def _told(path: Path) -> str:
    """What is in the place of an image."""
    if not path.is_file():  # reading a pipe waits for whoever writes into it
        return "is a pipe, a socket or a device"
    try:
        return f"is {decoding.header(path.read_bytes()).format}, and should be named so"
    except decoding.UndecodableError as error:
        return str(error)


def _row(folder: Path, number: dict[str, int], groups: tuple[str, ...], entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.path,
        "image": (folder / entry.path).read_bytes(),
        "target": number[entry.label],
        "published": entry.published,
        **({GROUP: entry.folder} if groups else {}),
    }
