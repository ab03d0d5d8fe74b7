"""Whose is what lies where a stage is to write? DVC removes an output before its stage runs, and a stage replaces it.

So nothing there may be anybody else's: not a folder that a person made, nor one that a link leads to, nor a verdict
that was filled in and is nowhere else. A folder is Convoy's own where it holds nothing that Convoy would not write; one
behind a link must have the stage's card as well. Looked at before anything starts, by names alone.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from components import offered
from components.config import ChecksDeclaration
from components.data import places
from components.data.errors import DataError
from components.own_files import text

# Stage → its card, then what else it writes; a new file of a stage is to be named here.
_NAMES: dict[str, tuple[str, ...]] = {
    "watch": ("source.json", r"(rules|ingest|inspect|prepare|validate)\.json"),
    "ingest": ("raw.json", r"raw-\d+\.parquet"),
    "inspect": (
        "inspection.json",
        r"decisions\.json",
        r"findings\.parquet",
        r"review\.csv",
        r"pictures(/[\w-]+\.png)?",
    ),
    "prepare": ("dataset.json", r"(train|validation|test|dropped)-\d+\.parquet"),
    "validate": ("validation.json", r"docs(/.*)?"),
}
# On its way to its place (`artifacts`, `versions.restore`, DVC), or left there by git, DVC and file browsers.
_BESIDE = re.compile(
    r"\..+\.[0-9a-f]{8}(\.old)?|\..+\.restoring-[0-9a-f]{8}(-old)?|\.[\w-]{22}\.tmp"
    r"|\.gitignore|\.DS_Store|Thumbs\.db|desktop\.ini"
)
_SHOWN = 200  # characters of a name that a sentence repeats


def check_outputs(
    project: Path, name: str, checks: ChecksDeclaration | None = None, stages: Iterable[str] = tuple(places.FOLDERS)
) -> None:
    """Raises DataError where a stage's output is not Convoy's own, with what to do; looks, and changes nothing.

    With the entry's `checks`, verdicts that a person has filled in where the next look writes count as well.
    """
    for stage in stages:
        folder = places.output(project, stage, name)
        if (found := foreign(folder, stage)) is not None:
            raise DataError(_refusal(folder, found, name))
        if stage == "inspect" and checks is not None:
            _check_verdicts(folder / "review.csv", name, checks, project)


def foreign(folder: Path, stage: str) -> Path | None:
    """What in a stage's folder is not Convoy's own; the folder itself where it is no folder, or is a link to nothing.

    None where all of it is, and where nothing is there.
    """
    if not folder.is_dir():
        return folder if folder.is_symlink() or folder.exists() else None
    known, real = _pattern(stage), folder.resolve()
    empty = True
    for each in _below(real, Path()):
        empty = False
        if not _is_known(known, each):
            return real / each
    return real if folder.is_symlink() and not empty and not (real / _NAMES[stage][0]).exists() else None


def _pattern(stage: str) -> re.Pattern[str]:
    card, *further = _NAMES[stage]
    return re.compile("|".join((re.escape(card), *further)))


def _is_known(known: re.Pattern[str], path: Path) -> bool:
    return known.fullmatch(path.as_posix()) is not None or any(_BESIDE.fullmatch(part) for part in path.parts)


def _below(folder: Path, at: Path) -> Iterator[Path]:
    """Everything in a folder, relative to it; what a link leads to is not entered."""
    for path in sorted(folder.iterdir()):
        yield at / path.name
        if path.is_dir() and not path.is_symlink():
            yield from _below(path, at / path.name)


def check_kept(folder: Path) -> None:
    """Raises DataError for a folder to keep findings in, unless it is empty, not there, or has older ones alone."""
    strange = foreign(folder, "inspect")
    if strange is None and folder.is_dir() and any(folder.iterdir()) and not (folder / _NAMES["inspect"][0]).exists():
        strange = folder
    if strange is not None:
        raise DataError(
            f"{_cut(folder)}: expected a folder that is empty or not there, or findings of an earlier look alone, "
            f"received one with other things in it ({_cut(Path(strange.name))}), which are never replaced; name another"
        )
    if filled := _verdicts(folder / "review.csv"):
        raise DataError(
            f"{_cut(folder / 'review.csv')}: expected a table that nobody has filled in, received {len(filled)} "
            "verdicts, which a new look would replace; move it elsewhere, or name another folder"
        )


def _refusal(folder: Path, found: Path, name: str) -> str:
    shown = f"{folder}: expected what Convoy itself keeps there, or nothing, received "
    if folder.is_symlink() and not folder.exists():
        return (
            f"{shown}a link to {_cut(folder.readlink())}, where nothing is; mount that disk or make that folder, or "
            f"remove the link: `{offered.command('rm', str(folder))}`"
        )
    what = f"a link to {_cut(found)}" if folder.is_symlink() and found == folder.resolve() else _cut(found)
    if folder.is_symlink():
        way = f"remove the link, which leaves what it leads to: `{offered.command('rm', str(folder))}`"
    else:
        apart = f"data/{name}-originals"
        whole = offered.command("mv", "-n", str(folder), apart)
        way = f"move the folder elsewhere: `{offered.command('mkdir', '-p', 'data')} && {whole}`"
    return f"{shown}{what}, which is not Convoy's own and would be removed; {way}, and run again"


def _cut(path: Path) -> str:
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in str(path))
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


# -- verdicts --------------------------------------------------------------------------------------------------------


def _check_verdicts(review: Path, name: str, checks: ChecksDeclaration, project: Path) -> None:
    """Raises DataError for verdicts that were filled in in place, and that the file `checks.reviewed` does not have."""
    lost = _verdicts(review) - (_verdicts(project / checks.reviewed) if checks.reviewed else set())
    if not lost:
        return
    kept = checks.reviewed or "reviewed.csv"
    aside = offered.command("cp", "-n", str(review), f"{name}-reviewed.csv" if (project / kept).exists() else kept)
    raise DataError(
        f"{review}: expected verdicts that are kept in a file of yours too, received {len(lost)} that are only here, "
        f"where the next look writes anew; `{aside}`, and name that file in params.yaml as "
        f"datasets.{name}.checks.reviewed (one file has all of them)"
    )


def _verdicts(path: Path) -> set[tuple[str, str]]:
    """Ids and verdicts that a person has filled in; nothing for what is no such table."""
    content = text(path)
    try:
        rows = list(csv.DictReader((content or "").splitlines()))
    except csv.Error:
        return set()
    found = ((row.get("id") or "", (row.get("verdict") or "").strip().lower()) for row in rows)
    return {(name, verdict) for name, verdict in found if name and verdict in ("keep", "drop")}
