"""What a source file of this project means and what it names, parsed once for as long as the file stays as it is.

Parsing all that a run's steps are made of takes a second; `remembering` keeps what it came to in a file of the
project's cache. A file is the same where its size, its times and its inode are; one that was written a moment ago may
be written again within the clock's tick, and is not remembered yet.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.files import writing

PACKAGES = ("components",)  # whose modules have a part in keys
_NAMED = re.compile(r"[A-Za-z_]\w*(\.[a-z0-9_]+)+$")  # a module, in full
SETTLED = 2_000_000_000  # nanoseconds after which a file's times tell it from the same file, written again
_RELEASE = f"{sys.version} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}"  # what was made otherwise is void


@dataclass(frozen=True)
class Parsed:
    """A module, as far as its part in a key goes."""

    meaning: str  # SHA-256 of `meaning`
    # What it imports, or has in full in a string, of this project and of its own package: modules, and what is in them.
    names: tuple[str, ...]


def meaning(source: str) -> str:
    """Python source as its syntax tree, without positions, comments and docstrings."""
    return _meaning(ast.parse(source))


def parsed(module: str, path: Path) -> Parsed:
    """The module in that file."""
    about = path.stat()
    state = [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]
    if (known := _memory.get(module, state)) is None:
        known = _parse(module, path)
        if time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) > SETTLED:
            _memory.keep(module, state, known)
    return known


@contextmanager
def remembering(file: Path) -> Iterator[None]:
    """What is parsed within the block is taken from a file where it is there, and kept in it for the next time."""
    global _memory  # noqa: PLW0603 — who asks for a digest does not know where a project remembers
    before, _memory = _memory, _Memory.read(file)
    try:
        yield
    finally:
        with suppress(OSError):  # a full disk, a project that can only be read: it is parsed again
            _memory.write(file)
        _memory = before


@dataclass
class _Memory:
    """Module → the state of its file, its meaning, its names."""

    modules: dict[str, Any] = field(default_factory=dict)
    new: bool = False  # whether there is anything to be written

    @classmethod
    def read(cls, file: Path) -> _Memory:
        """Nothing where there is no file, or one that this release has not written."""
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return cls()
        if not isinstance(content, Mapping) or content.get("release") != _RELEASE:
            return cls()
        return cls(dict(content["modules"]))

    def write(self, file: Path) -> None:
        if self.new:
            with writing(file) as temporary:
                temporary.write_text(json.dumps({"release": _RELEASE, "modules": self.modules}), encoding="utf-8")

    def get(self, module: str, state: list[Any]) -> Parsed | None:
        entry = self.modules.get(module)
        if entry is None or entry[0] != state:
            return None
        return Parsed(entry[1], tuple(entry[2]))

    def keep(self, module: str, state: list[Any], known: Parsed) -> None:
        self.modules[module] = [state, known.meaning, list(known.names)]
        self.new = True


_memory = _Memory()


def _parse(module: str, path: Path) -> Parsed:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(module, path, node)
            names.add(origin)
            names.update(f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAMED.match(node.value):
            names.add(node.value)
    counted = {*PACKAGES, module.partition(".")[0]}
    ours = sorted(name for name in names if name.partition(".")[0] in counted)
    return Parsed(hashlib.sha256(_meaning(tree).encode()).hexdigest(), tuple(ours))


def _meaning(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def _origin(module: str, path: Path, node: ast.ImportFrom) -> str:
    """The absolute name of what `node` imports from; a dot more is a package higher."""
    if node.level == 0:
        return node.module or ""
    parts = module.split(".")
    inside = len(parts) + (path.name == "__init__.py") - node.level
    return ".".join([*parts[:inside], *([node.module] if node.module else [])])
