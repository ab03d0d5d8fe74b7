"""No source lies where Convoy keeps things: the one door that every way to a source goes through.

What Convoy keeps it replaces and removes; originals there would go with it. A path is refused that is at, below or
above the project's state, DVC's or its cache, with links followed on both sides. What a source means is its reader's
business.
"""

from __future__ import annotations

import configparser
import os
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from components import offered
from components.config import ArraysSource, DatasetConfig, FashionMnistSource, IdxSource, Located, ScenesSource, Source
from components.data.errors import DataError
from components.data.places import DOWNLOADS, FOLDERS, KEPT, STATE

_WHOLE = "the project's state"
_SHOWN = 200  # characters of a path that a sentence repeats


def check_entry(name: str, config: DatasetConfig, project: Path) -> None:
    """Raises DataError where anything that the entry names of the user's own lies where Convoy keeps things."""
    check_source(config.source, project, name)
    for key in ("expectations", "reviewed"):
        named = getattr(config.checks, key)
        if named is not None:
            check_path(project / named, project, f"datasets.{name}.checks.{key}", above=False)


def check_source(source: Source | Located, project: Path, name: str = "NAME") -> None:
    """The same of all the places that a `source:` section names; addresses are not looked at."""
    if isinstance(source, FashionMnistSource | ScenesSource):
        for key, value in (("source.mirror", source.mirror), ("CONVOY_MIRROR", os.environ.get("CONVOY_MIRROR"))):
            if value is not None and (mirror := here(value, Path.cwd())) is not None:
                check_path(mirror, project, key, name, above=False)  # four files of it are read
    if not isinstance(source, Located):
        return
    path = here(source.path, project)
    if path is not None:
        check_path(path, project, "source.path", name)
    for key, value in _further(source):
        base = project if path is None else path if path.is_dir() else path.parent
        # The files in it are named one by one: only what lies in a state can be lost.
        if path is not None or Path(value).is_absolute():
            check_path(here(value, base) or base, project, key, name, above=False)


def check_path(path: Path, project: Path, key: str, name: str = "NAME", *, above: bool = True) -> None:
    """Raises DataError for a path at or below what Convoy keeps, and with `above` for one that it lies in."""
    try:
        real = _real(path)
    except ValueError:
        raise DataError(f"{key}: expected a path, received {_cut(path)}, which has a null byte in it") from None
    kept = list(_kept(project))
    for own, what in kept:
        if real == own or real.is_relative_to(own):
            where = "which is" if real == own else "which lies in"
            there = "" if real == own else f"{own}, "
            apart = path.name if real.is_file() else f"data/{_word(name, real)}-originals"
            copied = offered.command("cp", "-n" if real.is_file() else "-r", str(path), apart)
            first = "" if real.is_file() else f"{offered.command('mkdir', '-p', 'data')} && "
            raise DataError(
                f"{key}: expected originals apart from what Convoy keeps for itself, received {_cut(path)}, {where} "
                f"{there}{what}, where Convoy replaces and removes files; copy them to a place of your own, "
                f"`{first}{copied}`, and name {apart} instead"
            )
    for own, what in sorted(kept, key=lambda each: each[1] != _WHOLE) if above else ():
        if own.is_relative_to(real):
            raise DataError(
                f"{key}: expected originals apart from what Convoy keeps for itself, received {_cut(path)}, in which "
                f"{own} lies, {what}; name the folder that holds nothing but the originals, or make one, "
                f"`{offered.command('mkdir', '-p', f'data/{_word(name, None)}-originals')}`, and move them there"
            )


def here(path: str, base: Path) -> Path | None:
    """The path on this machine that a person's words mean, as written; None for an address elsewhere."""
    if path.startswith("file://"):
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(path).path))
    return None if "://" in path or "::" in path else base / os.path.expanduser(path)  # noqa: PTH111 — Path's raises for a user that there is not


def _further(source: Located) -> Iterator[tuple[str, str]]:
    for key in ("root", "table", "annotations", "data", "images", "masks"):
        named = getattr(source, key, None)
        if isinstance(source, ArraysSource | IdxSource) or named is None:
            continue  # their images are names of arrays and files
        values = named.values() if isinstance(named, dict) else named if isinstance(named, tuple) else [named]
        yield from ((f"source.{key}", value) for value in values)


def _kept(project: Path) -> Iterator[tuple[Path, str]]:
    """What Convoy keeps, where it really lies, and what it is; nearest first, so that a sentence names that.

    Nothing outside of a project: a look there keeps nothing.
    """
    if not any((project / each).exists() for each in ("dvc.yaml", STATE)):
        return
    outputs = project / KEPT
    for stage, folder in FOLDERS.items():
        for output in _entries(outputs / folder):
            if output.is_dir():
                yield _real(output), f"the output of {stage}@{output.name}"
    yield _real(project / DOWNLOADS), "what was fetched and unpacked"
    yield _real(project / STATE), _WHOLE
    yield _real(project / ".dvc"), "DVC's state"
    for link in (*_entries(outputs), *_entries(project / STATE)):
        if link.is_symlink():
            yield _real(link), "a part of the project's state"
    for cache in _caches(project):
        yield _real(cache), "DVC's cache"


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # unlike `resolve`, it has an answer for links that lead round in a circle


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _caches(project: Path) -> Iterator[Path]:
    """Where DVC's configuration puts its cache; read without DVC, whose import costs more than all of this."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "dvc"
    for folder, name in ((home, "config"), (project / ".dvc", "config"), (project / ".dvc", "config.local")):
        parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
        try:
            parser.read_string((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, configparser.Error):
            continue  # none, or DVC will say what is wrong with it
        if place := (parser.get("cache", "dir", fallback=None) or "").strip("'\""):
            yield folder / Path(place).expanduser()


def _word(name: str, path: Path | None) -> str:
    """What a folder of originals may be called: after the entry, or after the path."""
    if name != "NAME" or path is None:
        return name
    return re.sub(r"[^A-Za-z0-9_-]+", "-", path.name).strip("-_") or name


def _cut(path: Path) -> str:
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in str(path))
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
