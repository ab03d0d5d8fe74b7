"""A project of an earlier release: what Convoy kept in `data/` is moved, all else is left, and it is said once."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from components.data import places
from components.data.errors import DataError
from components.data.stages import moving
from components.data.versions.repository import parse_lock, valid_digest
from components.files import digest_folder
from tests.components.data.data_builders import folder_entry

ROOT = Path(__file__).parents[3]
BEFORE = {"watch": "watched", "ingest": "raw", "inspect": "inspected", "prepare": "prepared", "validate": "validation"}
FILES = {  # of a stage's output, as the earlier release wrote them
    "watch": {"source.json": {"kind": "digits", "fingerprint": None}, "rules.json": {"reviewed": None}},
    "ingest": {"raw.json": {"fingerprint": "0" * 64}, "raw-00000.parquet": "rows"},
    "inspect": {"inspection.json": {"found": {}}, "decisions.json": {}, "findings.parquet": "rows"},
    "prepare": {"dataset.json": {"fingerprint": "0" * 64}, "train-00000.parquet": "rows"},
    "validate": {"validation.json": {"results": []}},
}
OUTS = {"watch": "/source.json", "validate": "/validation.json"}


@dataclass(frozen=True)
class Earlier:
    """A project as the earlier release left it, with a data set `digits`."""

    root: Path

    def folder(self, stage: str, name: str = "digits") -> Path:
        return self.root / "data" / BEFORE[stage] / name

    @property
    def lock(self) -> Path:
        return self.root / "dvc.lock"

    def files(self) -> dict[str, bytes]:
        """Everything below `data/`, by name."""
        found = (path for path in sorted((self.root / "data").rglob("*")) if path.is_file())
        return {path.relative_to(self.root).as_posix(): path.read_bytes() for path in found}


def lock_of(*names: str, kept: str = "data", folders: dict[str, str] = BEFORE) -> str:
    """A dvc.lock as DVC writes it, with a stage of somebody's own that reads what was prepared."""
    lines = ["schema: '2.0'", "stages:"]
    for name in names:
        for stage, folder in folders.items():
            lines += [f"  {stage}@{name}:", f"    cmd: python -m components.data.stages {stage} {name}"]
            if stage == "validate":
                prepared = f"{kept}/{folders['prepare']}/{name}"
                lines += ["    deps:", f"    - path: {prepared}", "      hash: md5", "      md5: 12345678.dir"]
            # a parameter of the entry, which is a person's word
            lines += ["    params:", "      params.yaml:", f"        datasets.{name}:", "          source:"]
            lines += [
                "            path: data/raw/pictures",
                "            several:",
                "            - path: data/raw/more",
            ]
            lines += ["    outs:", f"    - path: {kept}/{folder}/{name}{OUTS.get(stage, '')}", "      hash: md5"]
            lines += ["      md5: 12345678.dir", "      size: 46"]
    lines += [
        "  mine:",
        "    cmd: python mine.py",
        "    deps:",
        "    - path: data/prepared/digits",
        "      md5: 1234.dir",
    ]
    return "\n".join([*lines, ""])


@pytest.fixture
def earlier(tmp_path: Path) -> Earlier:
    made = Earlier(tmp_path / "project")
    for stage, files in FILES.items():
        for name, content in files.items():
            path = made.folder(stage) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    made.lock.write_text(lock_of("digits"), encoding="utf-8")
    shutil.copy(ROOT / "dvc.yaml", made.root)
    (made.root / "params.yaml").write_text("datasets: {digits: {source: {kind: digits}}}\n", encoding="utf-8")
    return made


def test_what_was_made_is_where_it_is_kept_now_and_that_is_said_once(earlier: Earlier) -> None:
    digests = {stage: digest_folder(earlier.folder(stage)) for stage in BEFORE}

    told = moving.settle(earlier.root)

    assert told is not None and told.count(". ") == 0
    assert "5 folders that it made were moved there (data/watched/digits, data/raw/digits" in told
    assert {stage: digest_folder(places.output(earlier.root, stage, "digits")) for stage in BEFORE} == digests
    assert not (earlier.root / "data").exists()
    assert earlier.lock.read_text(encoding="utf-8") == lock_of(
        "digits", kept=".convoy/data", folders=places.FOLDERS
    )  # and with it the stage of somebody's own, whose paths are not ours
    assert moving.settle(earlier.root) is None


def test_what_a_person_has_in_data_stays_where_it_is(earlier: Earlier) -> None:
    # given originals beside what was made, under names of ours, also as folders of an entry that there is
    mine = (
        "raw/.digits.20260131/1.png",
        "raw/.pets.0a1b2c3d/1.png",
        "raw/pets/cat/1.png",
        "raw/pictures.zip",
        "prepared/notes.txt",
        "validation/mine/validation.json",
        "x.csv",
    )
    for name in mine:
        (earlier.root / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (earlier.root / "data" / name).write_bytes(b"mine")
    shutil.rmtree(earlier.folder("ingest"))
    (earlier.folder("ingest") / "zero").mkdir(parents=True)
    (earlier.folder("ingest") / "zero" / "1.png").write_bytes(b"mine")
    (earlier.folder("inspect") / "thoughts.txt").write_bytes(b"mine")

    told = moving.settle(earlier.root)

    assert told is not None and "data/inspected/digits, in which thoughts.txt is not Convoy's" in told
    kept = {f"data/{name}" for name in (*mine, "raw/digits/zero/1.png", "inspected/digits/thoughts.txt")}
    left = {f"data/inspected/digits/{name}" for name in FILES["inspect"]}
    assert set(earlier.files()) == kept | left
    assert all(earlier.files()[name] == b"mine" for name in kept)
    assert moving.settle(earlier.root) is None


def test_a_folder_that_dvc_does_not_list_or_that_an_entry_names_is_left(earlier: Earlier) -> None:
    shutil.copytree(earlier.folder("ingest"), earlier.folder("ingest", "elsewhere"))
    entry = folder_entry(earlier.folder("inspect"))
    checks = {"checks": {"reviewed": "data/inspected/digits/review.csv"}}
    params = {"datasets": {"digits": {"source": {"kind": "digits"}, **checks}, "other": entry}}
    (earlier.root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    told = moving.settle(earlier.root)
    assert told is not None and "data/inspected/digits, which params.yaml names" in told
    assert (earlier.folder("ingest", "elsewhere") / "raw.json").is_file()
    assert (earlier.folder("inspect") / "inspection.json").is_file()
    assert not earlier.folder("ingest").exists()


@pytest.mark.parametrize("relative", [True, False])
def test_a_link_to_a_bigger_disk_is_moved_as_a_link(earlier: Earlier, tmp_path: Path, relative: bool) -> None:
    disk, folder = tmp_path / "disk", earlier.folder("prepare")
    disk.mkdir()
    shutil.move(folder, disk / "digits")
    folder.symlink_to(os.path.relpath(disk / "digits", folder.parent) if relative else disk / "digits")
    moving.settle(earlier.root)
    now = places.prepared(earlier.root, "digits")
    assert now.is_symlink() and now.readlink().is_absolute() != relative and now.resolve() == disk / "digits"
    assert (disk / "digits" / "dataset.json").is_file() and not folder.is_symlink()


def test_what_is_on_another_disk_or_has_its_place_taken_stays_and_is_told(
    earlier: Earlier, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = places.prepared(earlier.root, "digits")
    taken.mkdir(parents=True)
    rename = Path.rename

    def elsewhere(path: Path, target: Path) -> Path:
        if "raw" in path.parts:
            raise OSError(18, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", elsewhere)
    told = moving.settle(earlier.root)
    assert told is not None and "data/raw/digits (Invalid cross-device link)" in told
    assert "data/prepared/digits, since .convoy/data/prepared/digits is there" in told and told.count(". ") == 1
    assert {path.name for path in (earlier.root / "data").iterdir()} == {"raw", "prepared"}
    assert (earlier.folder("ingest") / "raw.json").is_file() and list(taken.iterdir()) == []
    assert "path: data/raw/digits" not in earlier.lock.read_text(encoding="utf-8")  # DVC finds the version in its cache
    assert moving.settle(earlier.root) is None


@pytest.mark.parametrize("moves", range(6))
def test_a_kill_halfway_costs_nothing(earlier: Earlier, monkeypatch: pytest.MonkeyPatch, moves: int) -> None:
    # given a process that is killed after so many moves, or before dvc.lock is written
    digests = {stage: digest_folder(earlier.folder(stage)) for stage in BEFORE}
    rename, done = Path.rename, []

    def killed(path: Path, target: Path) -> Path:
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(path)
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        patched.setattr(moving, "writing", lambda path: killed(path, path))
        with pytest.raises(KeyboardInterrupt):
            moving.settle(earlier.root)
    # when it is called again
    assert moving.settle(earlier.root) is not None
    # then all is as if it had never been killed
    assert {stage: digest_folder(places.output(earlier.root, stage, "digits")) for stage in BEFORE} == digests
    assert not (earlier.root / "data").exists()
    assert earlier.lock.read_text(encoding="utf-8") == lock_of("digits", kept=".convoy/data", folders=places.FOLDERS)


def test_what_was_fetched_and_unpacked_goes_along_and_the_rest_does_not(earlier: Earlier) -> None:
    downloads = earlier.root / "data" / "downloads"
    for name, content in {
        "animals-0123/kept.json": '{"address": "https://x", "single": false, "files": {}}',
        "animals-0123/content/cat/1.png": "fetched",
        f"unpacked/{'0a' * 32}/cat/1.png": "unpacked",
        "unpacked/mine/cat/1.png": "mine",
        "fashion-mnist/train-images-idx3-ubyte.gz": "put there by hand",
    }.items():
        (downloads / name).parent.mkdir(parents=True, exist_ok=True)
        (downloads / name).write_text(content, encoding="utf-8")
    (downloads / ".animals-0123.lock").touch()
    moving.settle(earlier.root)
    now = {path.relative_to(earlier.root / places.DOWNLOADS).as_posix() for path in
           (earlier.root / places.DOWNLOADS).rglob("*") if path.is_file()}  # fmt: skip
    assert now == {"animals-0123/kept.json", "animals-0123/content/cat/1.png", f"unpacked/{'0a' * 32}/cat/1.png"}
    assert set(earlier.files()) == {
        "data/downloads/fashion-mnist/train-images-idx3-ubyte.gz",
        "data/downloads/unpacked/mine/cat/1.png",
    }


def test_what_a_killed_stage_left_goes_to_where_it_is_looked_for(earlier: Earlier) -> None:
    left = earlier.folder("ingest").with_name(".digits.0a1b2c3d")
    left.mkdir()
    moving.settle(earlier.root)
    assert not left.exists() and places.ingested(earlier.root, "digits").with_name(left.name).is_dir()


def test_a_lock_that_comes_back_from_history_is_brought_up_to_date_and_one_that_cannot_be_read_is_left(
    earlier: Earlier,
) -> None:
    moving.settle(earlier.root)
    # given `git checkout REVISION -- dvc.lock`, with a set that was never made here
    earlier.lock.write_text(lock_of("digits", "pets"), encoding="utf-8")
    assert moving.waits(earlier.root)
    assert moving.settle(earlier.root) is not None
    assert "path: .convoy/data/ingested/pets" in earlier.lock.read_text(encoding="utf-8")
    for content in ("<<<<<<< HEAD\n    - path: data/raw/digits\n", "schema: '2.0'\nstages: [\n  - path: data/raw/x\n"):
        earlier.lock.write_text(content, encoding="utf-8")
        moving.settle(earlier.root)
        assert earlier.lock.read_text(encoding="utf-8") == content


def test_a_lock_that_came_with_the_release_moves_what_is_here_too(earlier: Earlier) -> None:
    earlier.lock.write_text(lock_of("digits", kept=".convoy/data", folders=places.FOLDERS), encoding="utf-8")
    told = moving.settle(earlier.root)
    assert told is not None and "5 folders" in told and "dvc.lock" not in told
    assert not (earlier.root / "data").exists()


def test_a_fresh_project_and_a_persons_data_say_nothing(tmp_path: Path) -> None:
    assert moving.settle(tmp_path) is None and list(tmp_path.iterdir()) == []
    (tmp_path / "data" / "raw" / "pets").mkdir(parents=True)
    assert moving.settle(tmp_path) is None
    assert (tmp_path / "data" / "raw" / "pets").is_dir() and not moving.waits(tmp_path)


def test_a_version_of_an_old_commit_is_valid(earlier: Earlier) -> None:
    for content in (lock_of("digits"), lock_of("digits", kept=".convoy/data", folders=places.FOLDERS)):
        assert valid_digest(parse_lock(content.encode()), "digits") == "12345678.dir"
    other = lock_of("digits").replace(
        "- path: data/prepared/digits\n      hash", "- path: data/other/digits\n      hash"
    )
    assert valid_digest(parse_lock(other.encode()), "digits") is None


def test_dvc_yaml_declares_the_places_that_the_code_knows(tmp_path: Path) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    declared = {
        stage: [out if isinstance(out, str) else next(iter(out)) for out in each["do"]["outs"]]
        for stage, each in stages.items()
    }
    assert set(declared) == set(places.FOLDERS)
    for stage, outs in declared.items():
        place = places.output(Path(), stage, "${key}")
        assert all(Path(out) == place or Path(out).parent == place for out in outs), outs
    moving.check_declared(ROOT)
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text(re.sub(r"\.convoy/data/ingested/", "data/raw/", text), encoding="utf-8")
    with pytest.raises(
        DataError, match=r"dvc\.yaml: expected outputs below \.convoy/data, received data/raw/\$\{key\}"
    ):
        moving.check_declared(tmp_path)
