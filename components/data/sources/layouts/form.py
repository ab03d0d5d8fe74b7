"""The form in which a source says which layouts of data are its own: one table a source, a row a layout.

A source's module has `LAYOUTS`, a tuple of `Layout`; `registry.layouts` gathers them, and `checking.detect` asks each
what it sees. To recognise one more layout is one more row in the source that reads it, or that says what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.artifacts import Split
from components.data.sources.base.faults import as_yaml
from components.data.sources.base.formats import SUFFIXES
from components.data.sources.base.rows import split_named
from components.data.sources.layouts.listing import Contents, Folder

_SPLITS: tuple[tuple[Split, re.Pattern[str]], ...] = (
    ("train", re.compile(r"(?<![a-z])train(ing)?(?![a-z])", re.IGNORECASE)),
    ("validation", re.compile(r"(?<![a-z])(val|valid|validation|dev)(?![a-z])", re.IGNORECASE)),
    ("test", re.compile(r"(?<![a-z])(test|testing|t10k)(?![a-z])", re.IGNORECASE)),
)


@dataclass(frozen=True)
class Found:
    """A layout that can be read: `keys` are what its section needs besides the path."""

    kind: str
    says: str
    keys: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """A layout that was recognised and is not read as it lies: what it is, and what to do."""

    says: str


@dataclass(frozen=True)
class Layout:
    """One row: how data may lie, and how that is read or what is said of it.

    `recognise` looks at a folder (the second argument, of the contents), `of_file` at a single file by its path below
    them. What a `sure` layout sees is meant, whatever the less sure ones see beside it: annotated pictures also look
    like folders of classes.
    """

    looks: str  # names of files and folders, as the documentation shows them
    known_from: str  # who lays data out so
    recognise: Callable[[Contents, Folder], Iterable[Found | Told]] = lambda _, __: ()
    of_file: Callable[[Contents, str], Found | Told | None] = lambda _, __: None
    sure: bool = False


def images_in(folder: Folder) -> int:
    """Images that lie in the folder itself."""
    return sum(count for suffix, count in folder.suffixes.items() if suffix in SUFFIXES)


def images_below(folder: Folder) -> int:
    """The same, with those in folders in it."""
    return sum(map(images_in, folder.walk()))


def split_in(name: str) -> tuple[Split | None, str]:
    """The split that a name speaks of (`instances_val2017` of validation), and the name without that word."""
    for split, pattern in _SPLITS:
        if pattern.search(name):
            return split, pattern.sub("", name)
    return None, name


def splits_of(top: Folder) -> dict[Split, Folder]:
    """The folders in it that are called after splits, one each."""
    named = [(split_named(name), folder) for name, folder in top.folders.items()]
    found = {split: folder for split, folder in named if split is not None}
    return found if len(found) == sum(split is not None for split, _ in named) else {}


def keys(names: Mapping[str, Any]) -> str:
    """Keys as a command line takes them."""
    return " ".join(f"-S '{key}={_yaml(value)}'" for key, value in names.items())


def _yaml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return as_yaml(value)
    return "{" + ", ".join(f"{key}: {each}" for key, each in value.items()) + "}" if isinstance(value, dict) else value


def below(contents: Contents, top: Folder, folder: Folder) -> str:
    """The path of a folder below another."""
    return folder.path.removeprefix(f"{top.path}/") if top.path else folder.path
