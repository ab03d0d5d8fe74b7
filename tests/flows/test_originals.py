"""Originals are only ever read: whatever runs, fails or is killed, not a byte, a name, a mode or a time differs."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from typer.testing import CliRunner

from components.config import write_yaml
from components.data import places
from components.data.stages import moving, stages
from flows.cli import app
from tests.components.data.data_builders import DIGITS
from tests.components.data.sources import source_builders as good
from tests.flows.conftest import make_project

IMAGE = {"height": 10, "width": 12, "channels": 3, "resize": True}
ENTRIES: dict[str, dict[str, Any]] = {
    "pets": {"source": {"kind": "folder", "path": "data/raw/pets"}},
    "digits": DIGITS,  # whose output was data/raw/digits once
    "mine": {"source": {"kind": "folder", "path": "data/raw/digits"}},
    "linked": {"source": {"kind": "folder", "path": "data/linked"}},
    "packed": {"source": {"kind": "folder", "path": "data/downloads/pets.zip"}},
    "clinic": {"source": {"kind": "manifest", "path": "clinic/scans.csv"}, "split": {"group": "group_patient"}},
    "street": {"source": {"kind": "coco", "path": "street"}},
    "broken": {"source": {"kind": "folder", "path": "data/broken"}},
}


@dataclass(frozen=True)
class Place:
    """A project among originals, and what they were."""

    root: Path
    before: dict[str, tuple[object, ...]]

    def now(self) -> dict[str, tuple[object, ...]]:
        return seen(self.root)

    def convoy(self, *words: str) -> str:
        """`convoy …` in this process; what it said, whatever it came to."""
        environment = {"CONVOY_ROOT": str(self.root), "MLFLOW_TRACKING_URI": "", "COLUMNS": "1000"}
        before = Path.cwd()
        os.chdir(self.root)
        try:
            return CliRunner().invoke(app, list(words), env=environment).output
        finally:
            os.chdir(before)

    def dvc(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *words], cwd=self.root, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr


def seen(root: Path) -> dict[str, tuple[object, ...]]:
    """Name → kind and mode, inode, number of names, time of change, and content or target, of every original."""
    found: dict[str, tuple[object, ...]] = {}
    for top in (root / "data", root / "clinic", root / "street", root.parent / "outside"):
        for path in (top, *sorted(top.rglob("*"))):
            state = path.lstat()
            content = str(path.readlink()) if path.is_symlink() else ""
            if stat.S_ISREG(state.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            name = path.relative_to(root.parent).as_posix()
            found[name] = (state.st_mode, state.st_ino, state.st_nlink, state.st_mtime_ns, content)
    return found


def _originals(root: Path) -> None:
    data, outside = root / "data", root.parent / "outside"
    for base in (data / "raw" / "pets", data / "raw" / "digits", outside / "pets", data / "broken"):
        good.write_folder(base)
    (data / "broken" / "cat" / "0.png").write_bytes(b"no picture")
    pets = sorted((data / "raw" / "pets").rglob("*.png"))
    pets[0].chmod(0o400)
    os.link(pets[1], outside / "another name.png")
    (pets[2].parent / "link.png").symlink_to(pets[2].name)
    (data / "linked").symlink_to("../../outside/pets")
    (data / "empty").mkdir(mode=0o555)
    for name in ("prepared/notes.txt", "watched/mine/source.json", "validation/digits/validation.json", "downloads/x"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text("mine", encoding="utf-8")
    with zipfile.ZipFile(data / "downloads" / "pets.zip", "w") as archive:
        for path in sorted((outside / "pets").rglob("*.png")):
            archive.write(path, path.relative_to(outside))
    rows = ["path,target,group_patient"]
    for number in range(24):
        good.save(root / "clinic" / f"{number}.png", number, label=number % 2)
        rows.append(f"{number}.png,{good.LABELS[number % 2]},patient-{number // 4}")
    (root / "clinic" / "scans.csv").write_text("\n".join(rows), encoding="utf-8")
    good.write_coco(root / "street")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("originals") / "project"
    root.mkdir()
    make_project(root)
    _originals(root)
    _declare(root, *ENTRIES)
    return Place(root, seen(root))


def _declare(root: Path, *names: str) -> None:
    entries = {name: {"task": "classification", "image": IMAGE, **ENTRIES[name]} for name in names}
    (root / "params.yaml").write_text(write_yaml({"datasets": entries, "line": {"dataset": "digits"}}), "utf-8")


def _stages(name: str, *wanted: str) -> Callable[[Place], object]:
    def run(place: Place) -> None:
        for stage in wanted:
            with suppress(ValueError):  # DataError and the like
                stages.run(stage, name, place.root)

    return run


def _an_old_lock(place: Place) -> object:
    """dvc.lock of an earlier release, which says that folders in `data/` are outputs."""
    outs = {
        f"{stage}@{name}": {"cmd": "x", "outs": [{"path": moving.before(stage, name), "md5": "1.dir"}]}
        for stage in stages.STAGES
        for name in ("digits", "mine", "pets")
    }
    (place.root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": outs}), encoding="utf-8")
    told = moving.settle_alone(place.root)
    (place.root / "dvc.lock").unlink()
    return told


def _a_link_of_mine(stage: str) -> Callable[[Place], object]:
    """The originals behind the output of a stage."""

    def run(place: Place) -> None:
        output = places.output(place.root, stage, "linked")
        if output.exists():
            shutil.rmtree(output)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.symlink_to(place.root / "data" / "raw" / "pets")
        _stages("linked", *stages.STAGES)(place)
        place.convoy("data", "restore", "0123", "--name", "linked", "--force")
        assert output.is_symlink()
        output.unlink()

    return run


def _says(words: str, *command: str) -> Callable[[Place], object]:
    def run(place: Place) -> None:
        assert words in place.convoy(*command)

    return run


def _checked(path: str) -> Callable[[Place], object]:
    return _says("", "data", "check", path)


PATHS = {name: str(ENTRIES[name]["source"]["path"]) for name in ENTRIES if name != "digits"}
COMMANDS: dict[str, Callable[[Place], object]] = {
    "check pets": _says("in 2 classes", "data", "check", "data/raw/pets"),
    "add pets": _says("has a new entry", "data", "add", "new", "data/raw/pets"),
    "check of everything": _says("expected originals apart", "data", "check", "."),
    "keep findings in originals": _says("never replaced", "data", "check", "clinic", "--pictures", "data/raw/pets"),
    "keep findings in data": _says("never replaced", "data", "check", "clinic", "--pictures", "data"),
    "stages of pets": _stages("pets", "watch", "ingest", "inspect", "prepare"),
    "a failing stage": _stages("broken", "watch", "ingest", "inspect", "prepare"),
    "an old lock": _an_old_lock,
    "originals behind ingest": _a_link_of_mine("ingest"),
    "restore to data": _says("never replaced", "data", "restore", "0123", "--output", "data", "--name", "pets"),
    "restore with force": _says(
        "never replaced", "data", "restore", "0123", "--output", "data/raw/pets", "--name", "pets", "--force"
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_originals_stay_as_they_are(command: str, place: Place) -> None:
    COMMANDS[command](place)
    assert place.now() == place.before


# -- with DVC, and killed --------------------------------------------------------------------------------------------


def _repro(place: Place) -> object:
    _declare(place.root, "pets", "mine", "clinic")
    told = place.dvc("repro", "validate@pets", "validate@mine", "prepare@clinic")
    assert "ERROR" not in told, told
    return told


def _failing(place: Place) -> object:
    _declare(place.root, "broken", "pets")
    told = place.dvc("repro", "validate@broken")
    assert "ERROR: failed to reproduce" in told, told
    return told


def _killed(stage: str) -> Callable[[Place], object]:
    """`dvc repro` killed with everything it has started, in the middle of a stage."""

    def run(place: Place) -> None:
        _declare(place.root, "pets", "mine")
        shutil.rmtree(place.root / places.KEPT)
        command = [sys.executable, "-m", "dvc", "repro", "--force", "validate@pets"]
        process = psutil.Popen(command, cwd=place.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            below = [each for each in process.children(recursive=True) if stage in _words(each)]
            if below:
                break
            time.sleep(0.01)
        assert below
        for each in (*below, process):
            with suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGKILL)
        process.wait()

    return run


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _a_folder_at_an_output(place: Place) -> object:
    """`dvc` where somebody's folder is behind an output. (With --force, DVC does what it is told.)"""
    _declare(place.root, "pets", "mine")
    output = places.ingested(place.root, "pets")
    shutil.rmtree(output, ignore_errors=True)
    output.symlink_to(place.root / "data" / "broken")
    try:
        told = place.dvc("repro", "validate@pets")
        assert "would be removed" in told, told
        place.dvc("checkout")
        place.dvc("pull")
        assert output.is_symlink()
    finally:
        output.unlink()
    return told


def _an_output_no_longer(place: Place) -> object:
    """An entry that is gone from params.yaml: DVC's own tidying up must not take what lies in its old place."""
    _declare(place.root, "mine")
    return place.dvc("checkout", "--force"), place.dvc("repro"), place.dvc("gc", "--workspace", "--force")


def _dvc(*words: str) -> Callable[[Place], object]:
    def run(place: Place) -> None:
        place.dvc(*words)

    return run


def _export(place: Place) -> object:
    for folder in ("data/raw/pets", "clinic"):
        assert "never replaced" in place.convoy("export", "digits", "-o", folder, "--force")
    return None


SLOW: dict[str, Callable[[Place], object]] = {
    **{f"check {name}": _checked(path) for name, path in PATHS.items()},
    **{f"add {name}": _says("", "data", "add", f"new-{name}", path) for name, path in PATHS.items()},
    **{f"stages of {name}": _stages(name, "watch", "ingest", "inspect", "prepare") for name in PATHS},
    **{f"originals behind {stage}": _a_link_of_mine(stage) for stage in stages.STAGES[2:]},
    "check of data": _checked("data"),
    "list": _says("pets", "data", "list"),
    "show": _says("", "data", "show", "pets"),
    "repro": _repro,
    "repro again": _repro,
    "a failing stage": _failing,
    **{f"a killed {stage}": _killed(stage) for stage in ("ingest", "inspect", "prepare")},
    "after it": _repro,
    "originals at an output": _a_folder_at_an_output,
    "push": _dvc("push"),
    "pull": _dvc("pull", "--force"),
    "diff": _says("the same bytes", "data", "diff", "workspace", "workspace", "--name", "pets"),
    "an output no longer": _an_output_no_longer,
    "export": _export,
    "clean": _says("", "clean", "--yes", "--older-than", "0"),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", SLOW)
def test_originals_stay_as_they_are_under_dvc_too(command: str, place: Place) -> None:
    SLOW[command](place)
    assert place.now() == place.before


def test_the_watch_over_originals_sees_what_changes(place: Place, tmp_path: Path) -> None:
    """It would be worth nothing if it saw nothing."""
    root = tmp_path / "project"
    for name in ("data", "clinic", "street"):
        shutil.copytree(place.root / name, root / name, symlinks=True)
    shutil.copytree(place.root.parent / "outside", tmp_path / "outside", symlinks=True)
    before = seen(root)
    file = root / "clinic" / "scans.csv"
    changes: list[Callable[[], object]] = [
        lambda: os.utime(file, ns=(0, file.stat().st_mtime_ns + 1)),
        lambda: file.chmod(0o600),
        lambda: file.write_bytes(file.read_bytes() + b"\n"),
        lambda: file.rename(file.with_name("other.csv")),
        (root / "data" / "linked").unlink,
    ]
    for change in changes:
        change()
        after = seen(root)
        assert after != before
        before = after
