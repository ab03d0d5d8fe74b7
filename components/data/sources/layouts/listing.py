"""The names in a folder, gathered once, and its files to be opened: what `detect` looks at.

Pictures are counted and not named: a folder of a million of them is a few nodes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO

from components.data.sources.base.formats import SUFFIXES
from components.data.sources.base.rows import is_leftover

_NAMES = 100  # names kept of a folder's files that are no images: more would tell nothing new


@dataclass
class Folder:
    """One folder: those in it, and its files by suffix; names of what is not an image, the first ones."""

    path: str  # below the top, `/` between; "" for the top itself
    folders: dict[str, Folder] = field(default_factory=dict)
    suffixes: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def walk(self) -> Iterator[Folder]:
        """This folder and all below it."""
        yield self
        for folder in self.folders.values():
            yield from folder.walk()


@dataclass(frozen=True)
class Contents:
    """What lies in a folder on this machine."""

    base: Path
    top: Folder  # `base` itself, or a folder below it

    def open(self, path: str) -> IO[bytes]:
        """A file by its path below `base`."""
        return (self.base / path).open("rb")

    def below(self, folder: Folder) -> Contents:
        """The same, seen from a folder in it."""
        return replace(self, top=folder)

    @staticmethod
    def path_of(folder: Folder, name: str) -> str:
        """The path below `base` of a file in the folder."""
        return f"{folder.path}/{name}" if folder.path else name


def contents(base: Path) -> Contents:
    """Everything below a folder; no file is opened."""
    return Contents(base, tree(_walk(base)))


def tree(paths: Iterable[str]) -> Folder:
    """Folders and counts from files' paths, one ending with `/` being an empty folder. Hidden names are left out."""
    top = Folder("")
    nodes = {"": top}
    for path in paths:
        parts = PurePosixPath(path).parts
        if any(map(is_leftover, parts)):
            continue
        if path.endswith("/"):
            _folder("/".join(parts), nodes)
        else:
            _add(_folder("/".join(parts[:-1]), nodes), parts[-1])
    return top


def _folder(path: str, nodes: dict[str, Folder]) -> Folder:
    if path not in nodes:
        nodes[path] = Folder(path)
        parent, _, name = path.rpartition("/")
        _folder(parent, nodes).folders[name] = nodes[path]
    return nodes[path]


def _add(folder: Folder, name: str) -> None:
    suffix = PurePosixPath(name).suffix.lower()
    folder.suffixes[suffix] += 1
    if suffix not in SUFFIXES and len(folder.names) < _NAMES:
        folder.names.append(name)


def _walk(base: Path) -> Iterator[str]:
    """Paths below the folder in order of name; folders too, so that an empty one is seen."""
    for at, folders, files in os.walk(base):
        folders[:] = sorted(name for name in folders if not is_leftover(name))
        below = Path(at).relative_to(base).as_posix()
        before = "" if below == "." else f"{below}/"
        yield from (f"{before}{name}/" for name in folders)
        yield from (f"{before}{name}" for name in sorted(files))
