"""Which files a finished result consists of, by size and SHA-256: written with it, and held against it before use.

The manifest lies among the run's artifacts, outside of what it speaks of, and its own digest is a tag of the run; so a
manifest that was lost or changed is known from a result that is older than manifests. What becomes of a damaged result
is for the pipeline to say.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from components.artifacts import ArtifactError, Card
from components.registry.memory.store import MissingError
from components.registry.memory.tracking import Run, Tracking

FILE = "manifest.json"
TAG = "convoy.manifest"  # of the run: digest of its manifest
RESULT = "result"  # folder of a step's artifacts that holds what it hands on
SHOWN = 3  # files that are named; the rest is counted


class Entry(Card):
    """One file as it was written."""

    bytes: int
    sha256: str


class Manifest(Card):
    """`manifest.json`: the files of one folder, by their path within it."""

    files: dict[str, Entry]


@dataclass(frozen=True)
class Damage:
    """A file that is not as it was written."""

    file: Path
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: expected {self.expected}, found {self.found}"


def of(folder: Path) -> Manifest:
    """What lies in the folder now, but for a manifest of its own; hidden files are left out, as in every digest."""
    return Manifest(files={name: _entry(folder / name) for name in _names(folder)})


def differences(folder: Path, manifest: Manifest) -> list[Damage]:
    """The files that are missing, cut short, of other content or not in the manifest; empty where all is as it was."""
    wrong = []
    there = _names(folder)
    for name, entry in manifest.files.items():
        file = folder / name
        if name not in there:
            wrong.append(Damage(file, f"{entry.bytes:,} bytes", "a folder" if file.is_dir() else "no file"))
        elif (size := file.stat().st_size) != entry.bytes:
            wrong.append(Damage(file, f"{entry.bytes:,} bytes", f"{size:,}"))
        elif (digest := _entry(file).sha256) != entry.sha256:
            wrong.append(Damage(file, f"SHA-256 {entry.sha256[:12]}", digest[:12]))
    added = [name for name in there if name not in manifest.files]
    return wrong + [Damage(folder / name, "no such file", "one that was added later") for name in added]


def write(folder: Path) -> str:
    """Put the folder's manifest into it, and return the manifest's digest."""
    manifest = of(folder)
    (folder / FILE).write_text(manifest.to_json(), encoding="utf-8")
    return manifest.digest


def record(tracking: Tracking, run_id: str, folder: Path) -> None:
    """Keep the manifest of a result with its run; call it before the run is finished."""
    manifest = of(folder)
    with TemporaryDirectory() as temporary:
        file = Path(temporary) / FILE
        file.write_text(manifest.to_json(), encoding="utf-8")
        tracking.log_artifact(run_id, file)
    tracking.log_tags(run_id, {TAG: manifest.digest})


def damage(tracking: Tracking, run: str | Run, path: str = RESULT) -> list[Damage]:
    """What is wrong with the result of a finished run; empty where it is whole, or older than manifests.

    A run is known by its id; one that was read already is not asked for again. What was fetched from a server and is
    damaged here is fetched again before it counts as damaged.
    """
    run = tracking.get(run) if isinstance(run, str) else run
    if TAG not in run.tags:
        return []
    wrong = _held_against(tracking, run, path)
    if wrong and (fetched := tracking.fetched(run.id)).is_dir():
        shutil.rmtree(fetched)
        wrong = _held_against(tracking, run, path)
    return wrong


def whole(tracking: Tracking, run_id: str, path: str = RESULT) -> Path:
    """The folder of a run's result, where every file is as it was written; else ArtifactError naming run and files."""
    wrong = damage(tracking, run_id, path)
    if wrong:
        raise ArtifactError(f"run {run_id}: its result is damaged: {said(wrong)}; run the pipeline that made it again")
    return tracking.artifact_folder(run_id, path)


def said(wrong: Sequence[Damage]) -> str:
    """For people: the first files, and how many more."""
    more = f"; {len(wrong) - SHOWN} more files" if len(wrong) > SHOWN else ""
    return "; ".join(map(str, wrong[:SHOWN])) + more


def held_against(file: Path, tag: str, folder: Path) -> list[Damage]:
    """What is wrong with a folder, by the manifest in `file`, whose digest must be `tag`."""
    if not file.is_file():
        return [Damage(file, "a manifest", "none")]
    try:
        manifest = Manifest.read(file)
    except ArtifactError:
        return [Damage(file, "a manifest", "something else")]
    if manifest.digest != tag:
        return [Damage(file, f"the manifest with digest {tag[:12]}", manifest.digest[:12])]
    return differences(folder, manifest)


def _held_against(tracking: Tracking, run: Run, path: str) -> list[Damage]:
    try:
        folder, file = tracking.artifact_folder(run, path), tracking.artifact_folder(run, FILE)
    except MissingError as error:
        return [Damage(Path(path), f"the files of run {run.id}, and their manifest", f"less: {error}")]
    return held_against(file, run.tags[TAG], folder)


def _names(folder: Path) -> list[str]:
    found = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [name.as_posix() for name in found if name != Path(FILE) and not any(p.startswith(".") for p in name.parts)]


def _entry(file: Path) -> Entry:
    with file.open("rb") as stream:
        return Entry(bytes=file.stat().st_size, sha256=hashlib.file_digest(stream, "sha256").hexdigest())
