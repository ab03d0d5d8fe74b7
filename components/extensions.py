"""What other installed packages add to the members of this project, by entry points: tasks, networks, sources, ….

A package says in its `pyproject.toml` which of its modules is what, one line each:

    [project.entry-points."convoy.tasks"]
    direction = "my_package.direction"

So a member is known without being imported, as one that is a file here. Which groups there are, and what a module of
each must hold, says `members`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path

from components import texts

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class ExtensionError(ValueError):
    """An installed package adds what cannot be used: which, what was expected, and the way out."""


@dataclass(frozen=True)
class Extension:
    """A module of another package that is a member of a group here."""

    group: str
    name: str
    module: str
    file: Path
    package: str  # as it is installed: its name and version

    def wrong(self, expected: str, received: str) -> ExtensionError:
        """The error that names it."""
        return _wrong(self.group, self.name, self.package, expected, received)


@cache
def of(group: str) -> Mapping[str, Extension]:
    """What installed packages add to a group: name, as a file here would have it → the module.

    Read once a process. Raises ExtensionError for a name that is none, for one that two packages add, and for a module
    that is not there.
    """
    found: dict[str, Extension] = {}
    for entry in entry_points(group=group):
        added = _checked(entry)
        if added.name in found:
            raise added.wrong("a name that no other package adds", f"one that {found[added.name].package} adds too")
        found[added.name] = added
    return found


@cache
def place(module: str) -> Path | None:
    """The file of an installed package's module, found without importing it; None where there is none."""
    top, *below = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return None
    if spec.submodule_search_locations is None:
        return Path(spec.origin) if spec.origin and not below else None
    for folder in spec.submodule_search_locations:
        whole = Path(folder, *below)
        files = (whole.with_name(f"{whole.name}.py"), whole / "__init__.py") if below else (whole / "__init__.py",)
        for file in files:
            if file.is_file():
                return file
    return None


def _checked(entry: EntryPoint) -> Extension:
    about = entry.dist
    package = texts.shown(f"{about.name} {about.version}") if about is not None else "an installed package"
    name = texts.shown(entry.name)
    if not _NAME.fullmatch(entry.name) or iskeyword(entry.name):
        expected = "a name as a file's: small letters and digits, with `_` where the configuration has `-`"
        raise _wrong(entry.group, name, package, expected, texts.exact(entry.name))
    file = place(entry.value) if _MODULE.fullmatch(entry.value) else None
    if file is None:
        expected = "a module that is installed"
        raise _wrong(entry.group, name, package, expected, texts.exact(entry.value))
    return Extension(entry.group, entry.name, entry.value, file, package)


def _wrong(group: str, name: str, package: str, expected: str, received: str) -> ExtensionError:
    return ExtensionError(
        f"{group}.{name} of {package}: expected {expected}, received {received}; correct the package, or uninstall it"
    )
