"""Names in a table or JSON → files below a folder, however the names were written; and why there is none.

What does not depend on a person's word is understood as it is: separators of Windows, Unicode's two spellings of `é`,
a suffix that is left away. Whatever could be meant otherwise has a key, and `way` finds what that key would have to be.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from components.data.errors import DataError
from components.data.sources.base import rows
from components.data.sources.base.faults import as_yaml, shown
from components.data.sources.base.formats import SUFFIXES, is_image

_DEEP = 3  # folders below each other that are looked into for a name
_MOST = 500  # folders that are
_LONGEST = 255  # bytes of a file's name, on every file system
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_DRIVE = re.compile(r"^[A-Za-z]:(?=[\\/])")
# How PNG, JPEG, GIF, WEBP and BMP begin in base64.
BASE64 = re.compile(
    r"(data:image/[\w.+-]+;base64,)?(iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk[0-3])[A-Za-z0-9+/\s]{40,}={0,2}\s*"
)
_LITERAL = re.compile(r"""b(['"]).*""", re.DOTALL)


@dataclass(frozen=True)
class Names:
    """Where names lead: `roots` are absolute and resolved, the first that has the file counts."""

    roots: tuple[Path, ...]
    prefix: str = ""

    def path(self, name: str) -> Path | None:
        """The file of a name, if there is one; nothing is said of whether it may be read."""
        return next((root / form for root, form in self._forms(name) if os.path.isfile(root / form)), None)  # noqa: PTH113

    def file(self, name: str, where: str) -> Path:
        """The same, checked; raises DataError that says why there is none, or why it is not read."""
        for root, form in self._forms(name):
            if os.path.lexists(root / form):
                return rows.inside(root, form, where)
        raise DataError(f"{where}: {self.hint([name]) or self._absent(name)}")

    def hint(self, names: Sequence[str]) -> str | None:
        """What is wrong with all of these names, and what to do; None where their files are missing and no more."""
        name, root = names[0], self.roots[0]
        said = no_name(name)
        if said is not None:
            return said
        if os.path.isdir(root / name):  # noqa: PTH112 — also of a name that no file can have
            return f"expected a file {root / name}, received a folder"
        found = way(names, root)
        pure = PurePosixPath(self._cut(name))
        if pure.is_absolute() or ".." in pure.parts or _DRIVE.match(name):
            said = f"expected a path below {root}, received {shown(name)}"
        elif found is not None or (said := _nearly(root, name)):
            said = f"{self._absent(name)}{said or ''}"
        if said is None or found is None:
            return said
        return f"{said}; it is found with {found.said()} under `source:`"

    def _absent(self, name: str) -> str:
        return f"expected a file {self.roots[0] / PurePosixPath(self._cut(name))}, received none"

    def _cut(self, name: str) -> str:
        return name.removeprefix(self.prefix)

    def _forms(self, name: str) -> Iterator[tuple[Path, str]]:
        """Each root with each path that the name could be, none of which leads out of it by its words."""
        plain = self._cut(name)
        for root in self.roots:
            for form in spellings(plain):
                if form and not PurePosixPath(form).is_absolute():
                    yield root, form
            if not is_image(plain):
                found = [f"{form}{suffix}" for form in spellings(plain) for suffix in _suffixes() if form]
                there = [form for form in found if os.path.isfile(root / form)]  # noqa: PTH113
                if len(there) > 1:
                    raise DataError(
                        f"expected one file of the name {shown(name)} in {root}, received {there[0]} and {there[1]}; "
                        "write the names with their suffixes"
                    )
                yield from ((root, form) for form in there)


def spellings(name: str) -> list[str]:
    """The name as it is, with `/` for `\\`, and in Unicode's composed and decomposed forms; each once."""
    forms = [name, name.replace("\\", "/")]
    if not name.isascii():
        forms += [unicodedata.normalize(form, each) for form in ("NFC", "NFD") for each in list(forms)]
    return list(dict.fromkeys(forms))


def no_name(value: str) -> str | None:
    """What a value is that stands where the name of a file should, and what to do; None for what may be one."""
    if _URL.match(value):
        return (
            f"expected a file's name, received the address {shown(value)}, and addresses are not fetched; fetch the "
            "files, and write the names that they have here"
        )
    if BASE64.match(value):
        return (
            f"expected a file's name, received {len(value):,} characters that are a picture in base64; say "
            "`encoding: base64` under `source:` (`-S encoding=base64`)"
        )
    if _LITERAL.fullmatch(value):
        return (
            f"expected a file's name, received {len(value):,} characters that are Python's notation of bytes, which "
            "is not read; write the table as Parquet (`DataFrame.to_parquet`), where bytes stay bytes"
        )
    if "\0" in value or any(len(part.encode(errors="replace")) > _LONGEST for part in re.split(r"[\\/]", value)):
        return f"expected a file's name, received {len(value):,} characters that are none: {shown(value)}"
    return None


@dataclass(frozen=True)
class Way:
    """Keys that make names lead to files: folders below a base ("" for itself), and what names start with."""

    roots: tuple[str, ...]
    prefix: str = ""

    def keys(self) -> dict[str, object]:
        """As a `source:` section has them."""
        found: dict[str, object] = {} if self.prefix == "" else {"prefix": self.prefix}
        if self.roots != ("",):
            found["root"] = self.roots[0] if len(self.roots) == 1 else list(self.roots)
        return found

    def said(self, key: str = "root", itself: str = "") -> str:
        """The keys, and how a command line says them; `itself` is what the base is called, if it must be named."""
        roots = [root or itself for root in self.roots]
        keys = {"prefix": self.prefix, key: roots[0] if len(roots) == 1 else as_yaml(roots)}
        written = {key: value for key, value in keys.items() if value}
        options = " ".join(f"-S '{key}={value}'" for key, value in written.items())
        return f"{' and '.join(f'`{key}: {value}`' for key, value in written.items())} ({options})"


def way(names: Sequence[str], base: Path) -> Way | None:
    """How all of these names lead to files in or below `base`; None where they do not, or already do as they are."""
    found = [_ways(name, base) for name in names]
    if not found or not all(found):
        return _elsewhere(names)
    prefixes = [prefix for prefix in found[0] if all(prefix in each for each in found)]
    for prefix in sorted(prefixes, key=len):
        roots = set.intersection(*(set(each[prefix]) for each in found))
        if roots:
            best = (min(roots, key=lambda root: (root.count("/") if root else -1, root)),)
        else:
            best = tuple(sorted({root for each in found for root in each[prefix][:1]}))  # type: ignore[assignment]
        return Way(best, prefix) if (best, prefix) != (("",), "") else None
    return None


def _elsewhere(names: Sequence[str]) -> Way | None:
    """Files that lie where their whole paths say, apart from their table."""
    if not all(os.path.isabs(name) and os.path.isfile(name) for name in names):  # noqa: PTH113, PTH117
        return None
    folder = os.path.commonpath([os.path.dirname(name) for name in names])  # noqa: PTH120
    return Way((folder,), f"{folder.rstrip('/')}/")


def _ways(name: str, base: Path) -> dict[str, list[str]]:
    """What could be cut off a name's beginning → the folders below `base` in which the rest is a file."""
    found: dict[str, list[str]] = {}
    cuts = [0, *(match.end() for match in re.finditer(r"[\\/]|\?d=", name))]
    folders = list(_folders(base))
    for cut in cuts:
        rest = name[cut:]
        if not rest or PurePosixPath(rest).is_absolute() or ".." in PurePosixPath(rest).parts or no_name(name):
            continue
        for below, folder in folders:
            names = Names((folder,))
            try:
                if names.path(rest) is not None:
                    found.setdefault(name[:cut], []).append(below)
            except DataError:
                continue  # several files of the name: no way
    return found


def _folders(base: Path) -> Iterable[tuple[str, Path]]:
    """`base` itself and the folders below it, nearest first; hidden ones aside."""
    waiting = [("", base)]
    for count, (below, folder) in enumerate(waiting):
        if count >= _MOST:
            return
        yield below, folder
        if below.count("/") + bool(below) < _DEEP:
            try:
                inner = sorted(each.name for each in os.scandir(folder) if each.is_dir(follow_symlinks=False))
            except OSError:
                continue
            waiting += [
                (f"{below}/{name}" if below else name, folder / name) for name in inner if not rows.is_leftover(name)
            ]


def _nearly(root: Path, name: str) -> str | None:
    """That there is a file whose name differs in case only."""
    path = root / name.replace("\\", "/")
    try:
        there = [each for each in os.listdir(path.parent) if each.lower() == path.name.lower()]  # noqa: PTH208
    except (OSError, ValueError):
        return None
    return f"; there is {shown(there[0])}, and case counts in names" if there else None


def _suffixes() -> tuple[str, ...]:
    return (*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES))
