"""Folders called after classes: `PATH/CLASS/*`, with folders of splits above the classes or in them, where there are.

Nothing outside the folder is read, whatever its links say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import texts
from components.artifacts import Split
from components.config import ClassFolders
from components.data.errors import DataError
from components.data.sources.base import rows
from components.data.sources.base.faults import Fault, Faults, Kind, as_yaml, named
from components.data.sources.base.form import SourceData, schema

GROUP = "group_folder"

Content = bytes | str


NO_NAMESAKE = Kind("file", "files", "of the same content as those of their name in other classes", "of another")


@dataclass(frozen=True)
class Files:
    """Which files are samples, by how their names end; and what becomes of them and of others."""

    given: str  # the kind of input
    suffixes: tuple[str, ...]
    many: str
    others: Kind  # of faults: files in a class's folder that are named otherwise
    told: Callable[[Path], str]  # what such a file is
    content: Callable[[Path], Content | Fault]
    beside: bool = False  # whether such files may lie beside the folders of classes, and are no samples there


@dataclass(frozen=True)
class Entry:
    """One file: its path below the folder, its class, and the split and the folder in its class's that it lies in."""

    path: str
    label: str
    published: Split | None
    folder: str | None = None


def samples(source: ClassFolders, folder: Path, files: Files) -> SourceData:
    """What lies in a folder, a class of it named after each folder in it."""
    faults = Faults(str(folder), source.faulty)
    found = _Reading(folder, source, faults, files)
    entries = list(found.entries())
    faults.tell()
    classes = tuple(sorted(found.classes))
    groups = (GROUP,) if any(entry.folder is not None for entry in entries) else ()
    number, kind = rows.numbers(classes), "class" if source.take == "classes" else "labels"
    every = (_row(folder, files, number, groups, entry) for entry in entries)
    if kind == "labels":
        every = (_labelled(folder, files, number, groups, named) for named in _by_name(entries))
    taken = rows.tables(schema(kind, groups, given=files.given), faults.sound(every))
    left = tuple(name for name in source.without if name in found.left)
    told = tuple(f"left out: the folder {texts.exact(name)} (`without`)" for name in left)
    return SourceData(
        *(classes, kind, taken, groups), notes=lambda: (*faults.notes(), *told), left=left, given=files.given
    )


class _Reading:
    """A look through the folder: which classes it has, and which folders are left out."""

    def __init__(self, folder: Path, source: ClassFolders, faults: Faults, files: Files) -> None:
        self.classes: set[str] = set()
        self.left: set[str] = set()
        self._folder, self._source, self._faults, self._files = folder, source, faults, files
        self._others = 0  # files of other kinds so far

    def entries(self) -> Iterator[Entry]:
        """The files, in order of name; raises DataError for a layout or a file that cannot be meant."""
        folder = self._folder
        if not folder.is_dir():
            raise DataError(
                f"source.path: expected one folder per class below it, received {folder}, which is no folder"
            )
        top = self._folders(folder)
        splits = {path: rows.split_named(path.name) for path in top}
        labelled: list[tuple[Split | None, Path]] = [(None, label) for label in top]
        if splits and all(splits.values()):
            labelled = [(splits[path], label) for path in top for label in self._folders(path)]
        if not labelled:
            raise DataError(
                f"{folder}: expected one folder per class, or train, validation and test with such folders, found none"
            )
        below = None not in {split for split, _ in labelled} or not _are_splits(labelled, folder)
        for split, label in labelled:
            self.classes.add(label.name)
            if below:
                yield from self._of_class(label, split)
            else:
                for inner in self._folders(label):
                    yield from self._taken(inner, label.name, rows.split_named(inner.name))

    def _of_class(self, label: Path, split: Split | None) -> Iterator[Entry]:
        """Its files; raises DataError for a folder that holds something, and none of these."""
        first, others = None, self._others
        for entry in self._taken(label, label.name, split):
            first = entry
            yield entry
        if first is None and self._others > others:
            left = as_yaml([label.name])
            raise DataError(
                f"{label}: expected {self._files.many} in a class's folder, received none; leave the folder out by "
                f"`without: {left}` under `source:` (`-S 'without={left}'`)"
            )

    def _folders(self, directory: Path) -> list[Path]:
        """The folders in it that are not to be left out; raises DataError for such files beside them."""
        children = _children(directory, self._folder)
        loose = [path for path in children if not path.is_dir() and path.suffix.lower() in self._files.suffixes]
        if loose and not self._files.beside:
            raise DataError(
                f"{loose[0]}: expected {self._files.many} inside a folder named after their class, received one beside "
                "them"
            )
        folders = [path for path in children if path.is_dir()]
        self.left |= {path.name for path in folders if path.name in self._source.without}
        return [path for path in folders if path.name not in self._source.without]

    def _taken(self, directory: Path, label: str, split: Split | None, inner: str | None = None) -> Iterator[Entry]:
        for path in _children(directory, self._folder):
            if path.is_dir() and self._source.nested == "join":
                yield from self._taken(path, label, split, path.name if inner is None else f"{inner}/{path.name}")
            elif path.is_dir():
                raise DataError(
                    f"{path}: expected only {self._files.many} in a class's folder, received a folder; take what lies "
                    f"in it for {texts.shown(label)} by `nested: join` under `source:` (`-S nested=join`), or move it "
                    "elsewhere"
                )
            elif not path.is_file() or path.suffix.lower() not in self._files.suffixes:
                self._others += 1
                said = named(path.relative_to(self._folder).as_posix())
                self._faults.add(Fault(self._files.others, f"{said} {self._files.told(path)}"))
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


def _row(
    folder: Path, files: Files, number: dict[str, int], groups: tuple[str, ...], entry: Entry
) -> dict[str, Any] | Fault:
    content = files.content(folder / entry.path)
    if isinstance(content, Fault):
        return content
    return {
        "id": entry.path,
        files.given: content,
        "target": number[entry.label],
        "published": entry.published,
        **({GROUP: entry.folder} if groups else {}),
    }


def _by_name(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Files of one name, split and inner folder, whatever their class."""
    found: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        found.setdefault((entry.published or "", entry.folder or "", Path(entry.path).name), []).append(entry)
    yield from found.values()


def _labelled(
    folder: Path, files: Files, number: dict[str, int], groups: tuple[str, ...], named: list[Entry]
) -> dict[str, Any] | Fault:
    """One sample with the labels of all of its files."""
    first, *others = named
    row = _row(folder, files, number, groups, first)
    if isinstance(row, Fault):
        return row
    for other in others:
        if files.content(folder / other.path) != row[files.given]:
            return Fault(NO_NAMESAKE, f"{texts.shown(other.path)}, unlike {texts.shown(first.path)}")
    place = [first.published, first.folder, Path(first.path).name]
    labels = sorted({number[entry.label] for entry in named})
    return row | {"id": "/".join(part for part in place if part), "target": labels}
