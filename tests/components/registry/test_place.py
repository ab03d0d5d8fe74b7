"""A project is a folder: its store speaks of the place where the folder is.

`earlier/store.tar.xz` is the store of a real line as version 0.1.0 left it in /srv/old-place/project: two members, an
ensemble, a student, an int8 network, staged, approved and promoted to production; Great Expectations' pictures
and fonts were left out.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from components.artifacts import Model
from components.registry import ledger, lines, versions
from components.registry.memory import place
from components.registry.memory.store import TrackingError, local_path, local_uri
from components.registry.memory.tracking import connect

CODE = Path(__file__).parents[3]
EARLIER = Path(__file__).parent / "earlier" / "store.tar.xz"
OLD = "/srv/old-place/project"
ARTIFACT = "21b2828eec78c1d930658cfd42a34c89a5a71681581cc0efd30bacf021319937"
ADDRESSES = [
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
]
EXPERIMENT = (
    "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, workspace) "
    "SELECT ?, ?, ?, lifecycle_stage, workspace FROM experiments WHERE experiment_id = 1"
)
MOVED_RUN = "UPDATE runs SET artifact_uri = ? || '/' || run_uuid || '/artifacts' WHERE name = ?"


@pytest.fixture(autouse=True)
def _own_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def unpack(root: Path) -> Path:
    root.mkdir(parents=True)
    with tarfile.open(EARLIER) as archive:
        archive.extractall(root, filter="data")
    return root


def database(root: Path) -> Path:
    return root / ".convoy" / "mlflow.db"


def everything(root: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    with closing(sqlite3.connect(database(root))) as store:
        named = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: sorted(store.execute(f'SELECT * FROM "{name}"'), key=repr) for (name,) in named}  # noqa: S608


def addresses(root: Path) -> list[str]:
    with closing(sqlite3.connect(database(root))) as store:
        return [text for table, column in ADDRESSES for (text,) in store.execute(f"SELECT {column} FROM {table}")]  # noqa: S608


def change(root: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(database(root))) as store, store:
        store.execute(statement, values)


@pytest.mark.parametrize("name", ["elsewhere", "Über uns, 100 % neu #2/it's"])
def test_a_store_of_an_earlier_version_is_whole_in_another_place(tmp_path: Path, name: str) -> None:
    root = unpack(tmp_path / name)
    before = everything(root)

    store = connect(root, "digits")

    # Every address is one of this place, and every run's files are where it says.
    here = (root / ".convoy" / "mlartifacts").as_uri()
    assert {text for text in addresses(root) if text != here and not text.startswith(f"{here}/")} == set()
    with tarfile.open(EARLIER) as archive:
        packed = {member.name for member in archive if member.isfile() and "mlartifacts" in member.name}
    known = set()
    for run in [*store.search(), *connect(root, "Default").search()]:
        folder = local_path(store.client.get_run(run.id).info.artifact_uri)  # not every run has files
        assert folder.is_relative_to(root / ".convoy")
        known |= {str(file.relative_to(root)) for file in folder.rglob("*") if file.is_file()}
    assert {path for path in packed if "/models/m-" not in path} == known
    assert len(store.search()) == 17

    # Nothing else has changed.
    def elsewhere(value: object) -> object:
        return str(value).replace(here, f"file://{OLD}/.convoy/mlartifacts")

    after = everything(root)
    default = ("experiments", 0)
    for table, rows in before.items():
        changed = [tuple(map(elsewhere, row)) for row in after[table]]
        expected = [tuple(map(str, row)) for row in rows]
        if table == default[0]:  # MLflow's own experiment now lies in the project, wherever the first command was given
            assert f"{here}/0" in {str(value) for row in after[table] for value in row}
            changed, expected = ([row for row in rows if row[0] != "0"] for rows in (changed, expected))
        assert sorted(changed) == sorted(expected), table

    # The version, its files, its evidence and its record.
    assert versions.aliases(store, "digits") == {"candidate": 1, "staging": 1, "production": 1}
    model = versions.version_model(store, "digits", 1)
    assert model.digest == ARTIFACT
    assert model.folder.is_relative_to(root)
    assert versions.version_evidence(store, "digits", 1).model == ARTIFACT
    assert versions.version_card(store, "digits", 1).startswith("# digits")
    assert versions.production_reference(store, "digits") is not None
    told = ledger.ledger(store, "digits")
    assert [(each.action, each.alias, each.by) for each in told.decisions] == [
        ("pass", "staging", "gates"),
        ("approve", None, "root"),
        ("promote", "production", "root"),
    ]
    assert told.aliases["production"].version == 1
    (line,) = lines.recent(store, 5)
    assert {each.alias for each in lines.standings(store)} == {"candidate", "staging", "production"}
    members = store.artifact_folder(line.ran["train"], "result") / "models"
    assert {Model.load(folder).card.name for folder in members.iterdir()} == {"member-0", "member-1"}


def test_it_is_told_once_and_costs_one_query_afterwards(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = unpack(tmp_path / "project")
    with caplog.at_level(logging.WARNING, "components.registry.memory.place"):
        connect(root)
        connect(root)
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [
        f"the project was moved or copied: what MLflow keeps was at {OLD}/.convoy/mlartifacts and is looked for at "
        f"{root}/.convoy/mlartifacts from now on"
    ]

    asked: list[str] = []
    with closing(sqlite3.connect(database(root))) as store:
        store.set_trace_callback(asked.append)
        assert not place._elsewhere(store, place.artifacts(root))
    assert len(asked) == 1


def test_a_copy_writes_into_itself_and_the_original_goes_on(tmp_path: Path) -> None:
    original, copy = unpack(tmp_path / "project"), tmp_path / "project2"  # one name begins with the other
    connect(original)
    shutil.copytree(original, copy)
    before = {path: path.read_bytes() for path in original.rglob("*") if path.is_file() and path.suffix != ".lock"}

    store = connect(copy, "digits")
    run_id = store.start_run("new")
    store.log_artifact(run_id, EARLIER)

    assert store.artifact_folder(run_id, EARLIER.name).is_relative_to(copy)
    after = {path: path.read_bytes() for path in original.rglob("*") if path.is_file() and path.suffix != ".lock"}
    assert after == before
    assert place.settle(original, local_uri(original)) is None
    shutil.rmtree(original)
    assert versions.version_model(connect(copy), "digits", 1).digest == ARTIFACT


def test_a_store_that_was_moved_by_halves_is_of_one_place_again(tmp_path: Path) -> None:
    root = unpack(tmp_path / "project")
    # What 0.1.0 does after a move: a new experiment at the new place, which is left once more; one with a blank in it.
    second, third = "file:///mnt/second%20place/project/.convoy/mlartifacts", "/mnt/third place/.convoy/mlartifacts"
    change(root, EXPERIMENT, 2, "moved", second)
    change(root, MOVED_RUN, second, "05 train")
    change(root, MOVED_RUN, third, "07 distil")

    store = connect(root, "digits")

    for name in ("train", "distil"):
        (step,) = store.search({"convoy.step": name})
        assert store.artifact_folder(step.id, "result").is_dir()
    assert store.within("moved").experiment_id == "2"
    assert not any("place/" in text for text in addresses(root))


def test_a_state_that_is_a_link_to_a_bigger_disk_may_move_too(tmp_path: Path) -> None:
    root, disk, bigger = unpack(tmp_path / "project"), tmp_path / "disk", tmp_path / "bigger disk"
    (root / ".convoy").rename(disk)
    (root / ".convoy").symlink_to(disk)
    assert versions.version_model(connect(root), "digits", 1).folder.is_relative_to(disk)

    disk.rename(bigger)
    (root / ".convoy").unlink()
    (root / ".convoy").symlink_to(bigger)
    assert versions.version_model(connect(root), "digits", 1).folder.is_relative_to(bigger)


def test_neighbours_words_and_other_stores_stay_as_they_are(tmp_path: Path) -> None:
    root = unpack(tmp_path / "project")
    kept = {
        "neighbour": f"file://{OLD}2/.convoy-archive/mlartifacts",
        "below": f"file://{OLD}/.convoy/mlartifacts-old",
        "own": "file:///mnt/shared/mlartifacts",
        "bucket": "s3://store/.convoy/mlartifacts",
        "shared": "file:///mnt/shared/results",
    }
    for number, (name, address) in enumerate(kept.items(), start=10):
        change(root, EXPERIMENT, number, name, address)
    word = f"file://{OLD}/.convoy/mlartifacts/it-was-here"
    change(root, "UPDATE tags SET value = ? WHERE key = 'mlflow.note.content'", word)
    change(root, "UPDATE registered_models SET description = ?", word)

    connect(root)

    rows = everything(root)
    places = {str(name): address for _, name, address, *_ in rows["experiments"]}
    assert {name: places[name] for name in kept} == kept
    assert {value for key, value, _ in rows["tags"] if key == "mlflow.note.content"} == {word}
    assert {row[3] for row in rows["registered_models"]} == {word}
    assert place.settle(root, local_uri(root)) is None


def test_what_mlflow_itself_kept_beside_the_state_moves_too(tmp_path: Path) -> None:
    root = unpack(tmp_path / "project")
    change(root, "UPDATE runs SET experiment_id = 0 WHERE name = '03 drift'")
    change(root, MOVED_RUN, f"{OLD}/mlruns/0", "03 drift")
    connect(root)
    with closing(sqlite3.connect(database(root))) as store:
        (found,) = store.execute("SELECT artifact_uri FROM runs WHERE name = '03 drift'").fetchone()
        (default,) = store.execute("SELECT artifact_location FROM experiments WHERE experiment_id = 0").fetchone()
    assert found.startswith(f"{root}/mlruns/0/")
    assert default == f"{root}/mlruns/0"


def test_a_database_elsewhere_is_left_alone_and_the_own_one_known_in_any_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = unpack(tmp_path / "theirs"), unpack(tmp_path / "ours")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local_uri(theirs))
    before = everything(theirs)
    connect(ours)
    assert everything(theirs) == before

    monkeypatch.chdir(ours)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///.convoy/mlflow.db")  # as the README has it
    assert versions.version_model(connect(ours), "digits", 1).folder.is_relative_to(ours)


def test_a_killed_change_has_changed_nothing(tmp_path: Path) -> None:
    root = unpack(tmp_path / "project")
    before = everything(root)
    program = (
        "import os, sys; from pathlib import Path; from components.registry.memory import place, store\n"
        "whole = place._move\n"
        "def half(*given):\n"
        "    whole(*given); os.kill(os.getpid(), 9)\n"
        "place._move = half\n"
        "root = Path(sys.argv[1]); place.settle(root, store.local_uri(root))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(root)], cwd=CODE, check=False)
    assert done.returncode == -9
    assert everything(root) == before
    assert versions.version_model(connect(root), "digits", 1).digest == ARTIFACT


def test_a_store_in_use_at_its_other_place_is_not_taken_away(tmp_path: Path) -> None:
    root = unpack(tmp_path / "project")
    lease = root / ".convoy" / "lines" / "1.json"
    lease.parent.mkdir()
    lease.write_text(json.dumps({"pid": 1, "host": "another", "root": OLD}), encoding="utf-8")
    before = everything(root)
    with pytest.raises(TrackingError, match=f"uses this project's store from its other place, {OLD}, right now"):
        connect(root)
    assert everything(root) == before

    rested = time.time() - place.IN_USE_SECONDS - 1
    os.utime(lease, (rested, rested))
    assert versions.version_model(connect(root), "digits", 1).digest == ARTIFACT


def test_a_database_that_cannot_be_written_is_told_of_and_stays() -> None:
    program = (
        "import os, sys; from pathlib import Path; from components.registry.memory import place, store\n"
        "root = Path(sys.argv[1])\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "try: place.settle(root, store.local_uri(root))\n"
        "except store.TrackingError as error: print(error)"
    )
    with TemporaryDirectory() as folder:  # pytest's own lets no other user through
        Path(folder).chmod(0o755)
        root = unpack(Path(folder) / "project")
        before = everything(root)
        for path in (root, *root.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        command = [sys.executable, "-c", program, str(root)]
        done = subprocess.run(command, cwd=CODE, capture_output=True, text=True, check=True)
        assert "could not be brought up to date" in done.stdout
        assert "make it writable for this user" in done.stdout
        assert everything(root) == before
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)


def test_two_at_once_change_it_once(tmp_path: Path) -> None:
    root = unpack(tmp_path / "project")
    told: list[str | None] = []
    threads = [threading.Thread(target=lambda: told.append(place.settle(root, local_uri(root)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each is not None for each in told) == 1


def test_a_new_database_has_nothing_outside_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away, root = tmp_path / "away", tmp_path / "project"
    away.mkdir(), root.mkdir()
    monkeypatch.chdir(away)  # MLflow's own default is a folder of wherever a command was given
    connect(root, "digits")
    assert all(local_path(text).is_relative_to(root) for text in addresses(root))
