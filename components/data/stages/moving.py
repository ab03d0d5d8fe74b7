"""Projects of earlier releases: what Convoy kept below `data/` moves to where it is kept now, once.

`data/` is where people keep originals, so only what is Convoy's own by its card and its names, and is listed in
dvc.lock, is renamed; nothing is removed. dvc.lock is told the new paths, so that nothing is made again because of them,
also one that comes back from git's history. To be called by whoever holds the data's lock; a kill in between costs
nothing, since the next call goes on.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from components import offered
from components.data import places
from components.data.errors import DataError
from components.data.stages.outputs import foreign
from components.files import writing
from components.own_files import text

# Stage → where its outputs were, and a key that its card has.
_FOLDERS = {**places.FOLDERS, "ingest": "raw", "validate": "validation"}
_CARDS = {
    "watch": ("source.json", "fingerprint"),
    "ingest": ("raw.json", "fingerprint"),
    "inspect": ("inspection.json", "found"),
    "prepare": ("dataset.json", "fingerprint"),
    "validate": ("validation.json", "results"),
}
DONE = places.KEPT / "moved"  # `data/` was looked through: what is there from now on is somebody else's
_STAGE = re.compile(rf"^  ({'|'.join(_FOLDERS)})@([A-Za-z0-9][A-Za-z0-9_-]*):\s*$")
_PATH = re.compile(rf"(?m)^(    - path: )data/({'|'.join(_FOLDERS.values())})/(.+)$")
_OUTPUT = re.compile(rf"(?m)^\s*- data/({'|'.join(_FOLDERS.values())})/\$\{{key\}}")
_LEFT = re.compile(r"(?!\d{8}$)[0-9a-f]{8}(\.old)?|restoring-[0-9a-f]{8}(-old)?")  # eight digits are a date
_UNPACKED = re.compile(r"[0-9a-f]{64}")
_NAMED = 3  # things that a sentence names


def before(stage: str, name: str) -> str:
    """Where an earlier release kept a stage's output, as its dvc.lock has it."""
    return f"data/{_FOLDERS[stage]}/{name}"


def check_declared(root: Path) -> None:
    """Raises DataError for a dvc.yaml of an earlier release: DVC would remove what lies in `data/`, whoever's it is."""
    found = _OUTPUT.search(text(root / "dvc.yaml") or "")
    if found is not None:
        raise DataError(
            f"{root / 'dvc.yaml'}: expected outputs below {places.KEPT}, received {found[0].strip(' -')}, as an "
            "earlier release had them; take the dvc.yaml of this release (it is in the repository beside the code)"
        )


@dataclass
class _Moved:
    folders: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def settle(root: Path) -> str | None:
    """Move what an earlier release kept in `data/`; what is to be said of it, once, or None.

    Whatever cannot be moved (it is on another disk, or something is at its new place) is left where it is, and the
    line makes it again.
    """
    if not waits(root):
        return None
    lock = (root / "dvc.lock").resolve()
    content = text(lock)
    changed = None if content is None else relocated(content)
    stale, waiting = changed != content, _is_new(root)
    moved = _Moved()
    if waiting:
        named = _named(root)
        for stage, name in _listed(content):
            _outputs(root, stage, name, named, moved)
        _downloads(root, named, moved)
        _tidy(root)
    if changed is not None and stale:
        with writing(lock) as temporary:
            temporary.write_text(changed, encoding="utf-8")
            temporary.chmod(lock.stat().st_mode & 0o777)
    if waiting:
        (root / DONE).parent.mkdir(parents=True, exist_ok=True)
        (root / DONE).touch()
    return _said(moved, stale=stale)


def settle_alone(root: Path) -> str | None:
    """`settle` for whoever does not hold the data's lock: waits for those who do, where there is anything to move."""
    if not waits(root):
        return None
    locks = root / places.STATE / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / "dvc.lock"):
        return settle(root)


def waits(root: Path) -> bool:
    """Whether there is anything for `settle` to look at; asked at every call, and cheap."""
    return _is_new(root) or _PATH.search(text(root / "dvc.lock") or "") is not None


def _is_new(root: Path) -> bool:
    """Whether nobody has looked through `data/` yet."""
    there = any((root / "data" / each).is_dir() for each in (*_FOLDERS.values(), "downloads"))
    return there and not (root / DONE).exists()


def _said(moved: _Moved, *, stale: bool) -> str | None:
    if not moved.folders and not moved.left and not stale:
        return None
    parts = []
    if moved.folders:
        parts.append(f"{len(moved.folders)} folders that it made were moved there ({_some(moved.folders)})")
    if stale:
        parts.append("dvc.lock has the new paths")
    said = f"Convoy keeps what it makes of data in {places.KEPT} now, and data/ is yours alone"
    said += f": {', '.join(parts)}" if parts else ""
    if moved.left:
        said += f". What is left as it is, and made again where it is needed: {_some(moved.left)}"
    return said


def _some(names: list[str]) -> str:
    more = f", … {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


# -- dvc.lock --------------------------------------------------------------------------------------------------------


def relocated(content: str) -> str:
    """A dvc.lock with the stages' paths where they are now; as it was where it is none that can be read.

    Line by line, so that no other byte changes; what came out is compared with what was meant.
    """
    lines, ours = content.split("\n"), False
    for number, line in enumerate(lines):
        if re.match(r"^  \S", line):
            ours = _STAGE.match(line) is not None
        elif ours and (match := _PATH.match(line)):
            lines[number] = match[1] + _now(f"data/{match[2]}/{match[3]}")
    changed = "\n".join(lines)
    if changed == content:
        return content
    try:
        old, new = _stages(content), _stages(changed)
    except yaml.YAMLError:
        return content  # its reader says what is wrong
    return changed if new == {stage: _mapped(stage, entry) for stage, entry in old.items()} else content


def _stages(content: str) -> Mapping[str, Any]:
    values = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    stages = values.get("stages") if isinstance(values, dict) else None
    return stages if isinstance(stages, dict) else {}


def _mapped(stage: Any, entry: Any) -> Any:
    if not (isinstance(entry, dict) and _STAGE.match(f"  {stage}:")):
        return entry
    return {
        key: [{**each, "path": _now(str(each["path"]))} if isinstance(each, dict) and "path" in each else each
              for each in value] if key in ("deps", "outs") and isinstance(value, list) else value
        for key, value in entry.items()
    }  # fmt: skip


def _now(path: str) -> str:
    for stage, folder in _FOLDERS.items():
        if path.startswith(f"data/{folder}/"):
            return f"{places.KEPT.as_posix()}/{places.FOLDERS[stage]}/{path.removeprefix(f'data/{folder}/')}"
    return path


def _listed(content: str | None) -> Iterator[tuple[str, str]]:
    """Stages and data sets whose outputs dvc.lock lists, at the old place or at the new one."""
    try:
        stages = _stages(content or "")
    except yaml.YAMLError:
        return
    for key, entry in stages.items():
        match = _STAGE.match(f"  {key}:")
        outs = entry.get("outs") if isinstance(entry, dict) else None
        paths = [str(each.get("path")) for each in outs or () if isinstance(each, dict)]
        if match and any(f"{_now(path)}/".startswith(f"{places.output(Path(), *match.groups())}/") for path in paths):
            yield match[1], match[2]


# -- folders ---------------------------------------------------------------------------------------------------------


def _outputs(root: Path, stage: str, name: str, named: set[Path], moved: _Moved) -> None:
    old, (card, key) = root / before(stage, name), _CARDS[stage]
    for left in old.parent.glob(f".{name}.*"):  # of a killed stage: `convoy clean` knows them where it looks
        if _LEFT.fullmatch(left.name.removeprefix(f".{name}.")) and left.is_dir() and not left.is_symlink():
            _rename(root, left, places.output(root, stage, name).with_name(left.name), named, moved)
    if not old.is_dir() or not _says(old / card, key):
        return  # none, or a person's own
    if (strange := foreign(old, stage)) is not None:
        moved.left.append(f"{old.relative_to(root)}, in which {strange.name} is not Convoy's")
    else:
        _rename(root, old, places.output(root, stage, name), named, moved)


def _downloads(root: Path, named: set[Path], moved: _Moved) -> None:
    """What was fetched has a card; what was unpacked has its archive's digest for a name."""
    folder = root / "data" / "downloads"
    for old in _folders(folder):
        if _says(old / "kept.json", "address"):
            _rename(root, old, root / places.DOWNLOADS / old.name, named, moved)
    for old in _folders(folder / "unpacked"):
        if _UNPACKED.fullmatch(old.name):
            _rename(root, old, root / places.DOWNLOADS / "unpacked" / old.name, named, moved)


def _rename(root: Path, old: Path, new: Path, named: set[Path], moved: _Moved) -> None:
    shown, real = str(old.relative_to(root)), old.resolve()
    if any(path == real or real in path.parents for path in named):
        moved.left.append(f"{shown}, which params.yaml names")
        return
    try:
        if os.path.lexists(new) and not (old.is_symlink() and new.is_symlink() and new.resolve() == real):
            moved.left.append(f"{shown}, since {new.relative_to(root)} is there (remove the old one with "
                              f"`{offered.command('rm', '-r', shown)}`)")  # fmt: skip
            return
        new.parent.mkdir(parents=True, exist_ok=True)
        if old.is_symlink():  # to a bigger disk: what it leads to stays there
            target = old.readlink()
            if not os.path.lexists(new):
                apart = Path(os.path.relpath(old.parent.resolve() / target, new.parent.resolve()))
                new.symlink_to(target if target.is_absolute() else apart)
            old.unlink()
        else:
            old.rename(new)
    except OSError as error:  # another disk, most likely
        moved.left.append(f"{shown} ({error.strerror})")
        return
    moved.folders.append(shown)
    leftover = old.with_name(f".{old.name}.lock")
    if leftover.is_file() and not leftover.is_symlink() and leftover.stat().st_size == 0:
        leftover.unlink()  # whoever made the folder held it, and holds one at the new place from now on


def _tidy(root: Path) -> None:
    """Folders of ours that are empty now go, links and folders with anything in them stay."""
    data = root / "data"
    emptied = [data / "downloads" / "unpacked", *(data / each for each in (*_FOLDERS.values(), "downloads")), data]
    for folder in emptied:
        if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
            folder.rmdir()


def _says(card: Path, key: str) -> bool:
    try:
        found = json.loads(text(card) or "")
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and key in found


def _named(root: Path) -> set[Path]:
    """Every path that an entry of params.yaml may mean: a source, its root, a file of verdicts."""
    try:
        values = yaml.safe_load(text(root / "params.yaml") or "")
    except (yaml.YAMLError, ValueError):
        return set()
    datasets = values.get("datasets") if isinstance(values, dict) else None
    return {(root / Path(each).expanduser()).resolve() for each in _strings(datasets) if "\0" not in each}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []
