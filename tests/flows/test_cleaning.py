"""`convoy clean`: what goes and what stays, a kill in the middle, a line that begins meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from components.registry import standing
from components.registry.memory.tracking import KEY, KIND, Tracking, connect
from flows import cleaning
from flows.base.project import Project
from flows.cleaning import measuring, removing
from flows.processes import leases
from tests.flows.conftest import make_project
from tests.flows.test_cli import convoy

DAYS = 86400.0


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    found = Project(tmp_path / "project")
    for folder in (found.locks, found.logs, found.leases, found.work, found.decoded):
        folder.mkdir(parents=True)
    return found


@pytest.fixture
def store(project: Project, empty_database: Path) -> Tracking:
    shutil.copy(empty_database, project.state / "mlflow.db")
    return connect(project.root, "digits")


def put(place: Path, *, days: float = 40.0, content: str = "x" * 5000) -> Path:
    """A file, last used some days ago; a folder with one where the name ends in /."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    return aged(place, days)


def aged(place: Path, days: float) -> Path:
    moment = time.time() - days * DAYS
    for each in [*place.rglob("*"), place]:
        os.utime(each, (moment, moment), follow_symlinks=False)
    return place


def folder(place: Path, *, days: float = 40.0) -> Path:
    put(place / "file")
    return aged(place, days)


def lease(project: Project, **content: object) -> Path:
    known = {"pid": os.getpid(), "started": psutil.Process().create_time(), "host": socket.gethostname()}
    file = project.leases / "0123456789abcdef.json"
    file.write_text(json.dumps({**known, **content}))
    return file


def found(project: Project, *kinds: str, older_than: float = 30.0) -> dict[str, int]:
    """Kind → how many."""
    survey = cleaning.survey(project, kinds or None, older_than)
    return {kind: sum(each.kind == kind for each in survey.removable) for kind in {e.kind for e in survey.removable}}


def a_step(store: Tracking, key: str, days: float = 40.0) -> str:
    """A step of a line that failed, long ago, with its files."""
    line = store.start_run("pipeline · digits", tags={KIND: "pipeline"})
    run = store.start_run("05 train", parent=line, tags={KIND: "step", "convoy.step": "train", KEY: key})
    source = store.root / "result"
    put(source / "model.safetensors")
    store.log_artifacts(run, source, "result")
    store.finish(run)
    store.finish(line, "FAILED")
    long_ago(store, days)
    aged(store.root / ".convoy" / "mlartifacts", days)
    return run


def long_ago(store: Tracking, days: float) -> None:
    """Let everything in the store be so much older: MLflow itself offers no way to say when something was."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(store.root / ".convoy" / "mlflow.db")) as base, base:
        milliseconds = int(days * DAYS * 1000)
        base.execute("UPDATE runs SET start_time = start_time - ?, end_time = end_time - ?", (milliseconds,) * 2)


# -- what goes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        (".params.yaml.0a1b2c3d", True),
        (".convoy/work/abc/.result.0a1b2c3d", True),
        (".convoy/decoded/d1/.train.0a1b2c3d", True),
        (".convoy/mlartifacts/.5d0a.0a1b2c3d", True),
        (".convoy/data/ingested/.digits.0a1b2c3d", True),
        (".convoy/data/ingested/digits/.raw-00000.parquet.0a1b2c3d", True),
        (".convoy/data/prepared/.digits.restoring-0a1b2c3d", True),
        ("recipes/.best.yaml.0a1b2c3d", True),
        (".dvc/cache/files/md5/ab/.AbCdEfGhIjKlMnOpQrStUv.tmp", True),
        (".convoy/locks/step-0123.lock", True),
        # What only looks like it, is somebody else's, or may be the only one of its name.
        (".gitignore.0a1b2c3", False),
        ("params.yaml.0a1b2c3d", False),
        (".params.yaml.20260131", False),
        (".thesis.tex.0a1b2c3d", False),
        ("recipes/.best.yaml.20260131", False),
        ("recipes/.notes.0a1b2c3d", False),
        ("data/.holiday.0a1b2c3d", False),
        ("data/mine/.holiday.0a1b2c3d", False),
        (".convoy/prefect/.x.0a1b2c3d", False),
        (".convoy/mlartifacts/run/artifacts/.x.0a1b2c3d", False),
        (".convoy/data/ingested/.digits.0a1b2c3d.old", False),
        (".convoy/locks/registry.lock", False),
        (".convoy/locks/dvc.lock", False),
    ],
)
def test_leftovers_are_known_by_their_names_and_places(project: Project, name: str, goes: bool) -> None:
    place = put(project.root / name, days=1)
    assert found(project).get("leftovers", 0) == int(goes)
    removing.remove(project, cleaning.survey(project).removable)
    assert place.exists() != goes


def test_what_was_moved_aside_goes_once_there_is_a_new_one(project: Project) -> None:
    aside = folder(project.root / ".convoy" / "data" / "ingested" / ".digits.0a1b2c3d.old")
    assert found(project) == {}
    folder(project.root / ".convoy" / "data" / "ingested" / "digits")
    removing.remove(project, cleaning.survey(project).removable)
    assert not aside.exists() and (project.root / ".convoy" / "data" / "ingested" / "digits" / "file").is_file()


def test_a_kind_that_there_is_not_is_refused(project: Project) -> None:
    with pytest.raises(ValueError, match=r"--only: expected one of leftovers, .*, received everything"):
        cleaning.survey(project, ["everything"])


def test_a_link_is_not_followed(project: Project, tmp_path: Path) -> None:
    precious = folder(tmp_path / "precious")
    (project.work / "key").symlink_to(precious)
    (project.root / ".params.yaml.0a1b2c3d").symlink_to(precious)
    removing.remove(project, cleaning.survey(project, older_than=0).removable)
    assert (precious / "file").is_file()


def test_every_kind_of_file_goes_when_it_is_old_and_not_before(project: Project, tmp_path: Path) -> None:
    old = {
        "logs": put(project.logs / "run-1.log"),
        "decoded": folder(project.decoded / "d1"),
        "work": folder(project.work / "0123"),
        "restored": folder(project.work / "data-feed"),
    }
    put(project.state / "downloads" / "run1" / "x" / "file")
    put(project.root / ".convoy" / "data" / "downloads" / "archive" / "file")
    aged(project.state / "downloads", 40)
    aged(project.root / ".convoy" / "data" / "downloads", 40)
    folder(tmp_path / "tmp" / "convoy-ray-abcdefgh", days=1)
    mine = folder(tmp_path / "tmp" / "convoy-projects", days=100)
    young = [put(project.logs / "run-2.log", days=20), folder(project.decoded / "d2", days=20)]
    young += [folder(project.work / "4567", days=0.01), mine]

    assert found(project) == {"logs": 1, "decoded": 1, "work": 1, "restored": 1, "downloads": 2, "leftovers": 1}
    assert found(project, "logs") == {"logs": 1}
    assert found(project, older_than=10) == {**found(project), "logs": 2, "decoded": 2}
    assert found(project, "work", older_than=0) == {"work": 1}  # an hour must have gone by, whatever is asked for

    removed = removing.remove(project, cleaning.survey(project).removable)

    assert removed.left == () and removed.count == 7 and removed.size >= 7 * 5000
    assert not any(place.exists() for place in old.values())
    assert all(place.exists() for place in young)
    assert cleaning.survey(project).removable == ()


def test_a_log_that_a_server_has_open_stays(project: Project) -> None:
    log = put(project.logs / "mlflow-server.log")
    with log.open("a"):
        aged(log, 40)
        assert found(project, "logs") == {}
    assert found(project, "logs") == {"logs": 1}


def test_sizes_are_those_on_the_disk(tmp_path: Path) -> None:
    put(tmp_path / "a" / "one", content="x" * 100_000)
    os.link(tmp_path / "a" / "one", tmp_path / "a" / "again")
    with (tmp_path / "a" / "sparse").open("wb") as sparse:
        sparse.truncate(10**9)
    known = int(
        subprocess.run(["du", "-s", "-B1", str(tmp_path / "a")], capture_output=True, check=True).stdout.split()[0]
    )
    assert measuring.use(tmp_path / "a").size == known


# -- what stays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["here", "elsewhere", "unreadable"])
def test_while_a_line_runs_what_it_may_use_stays(project: Project, store: Tracking, who: str) -> None:
    folder(project.work / "0123")
    folder(project.decoded / "d1")
    a_step(store, "key")
    put(project.logs / "run-1.log")
    file = lease(project, **({"host": "another-machine"} if who == "elsewhere" else {}))
    if who == "unreadable":
        file.write_text("{}")

    survey = cleaning.survey(project)

    assert {each.kind for each in survey.removable} <= {"logs", "leftovers"}
    assert sum("a run is under way" in reason for reason in survey.stays) == 5
    assert leases.dead(project) == set()


def test_the_lease_of_a_process_that_is_gone_keeps_nothing(project: Project) -> None:
    folder(project.work / "0123")
    ended = subprocess.Popen(["true"])
    ended.wait()
    lease(project, pid=ended.pid, started=time.time())
    assert found(project, "work") == {"work": 1}
    assert leases.dead(project) == {"0123456789abcdef"}


def test_what_somebody_works_with_stays_and_the_rest_goes(project: Project) -> None:
    busy, free = folder(project.work / "0123"), folder(project.work / "4567")
    survey = cleaning.survey(project)
    with FileLock(project.locks / "step-0123.lock"):
        removed = removing.remove(project, survey.removable)
    assert busy.exists() and not free.exists()
    assert removed.left == (".convoy/work/0123: it is being worked with",)


def test_a_second_cleaning_is_told_of_the_first(project: Project) -> None:
    with FileLock(project.locks / "clean.lock"), pytest.raises(removing.CleaningError, match="another `convoy clean`"):
        removing.remove(project, [])


def test_a_store_that_is_not_the_project_s_own_is_left_alone(
    project: Project, store: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_step(store, "key")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    survey = cleaning.survey(project)
    assert survey.removable == () and sum("MLFLOW_TRACKING_URI" in each for each in survey.stays) == 2
    assert not (tmp_path / "elsewhere.db").exists()


# -- runs and their files --------------------------------------------------------------------------------------------


def test_a_step_goes_with_its_files_and_a_young_or_recent_one_stays(project: Project, store: Tracking) -> None:
    old = a_step(store, "old")
    assert found(project, "steps") == {"steps": 1}
    assert found(project, "steps", older_than=50) == {}

    removing.remove(project, cleaning.survey(project, ["steps"]).removable)

    assert store.find_finished("old") is None
    assert not (project.state / "mlartifacts" / old).exists()
    assert cleaning.survey(project).removable == ()  # once more: nothing is left of it
    store.finish(store.start_run("pipeline · digits", tags={KIND: "pipeline"}), "FAILED")
    a = cleaning.survey(project, ["steps"])
    assert a.removable == () and "ended within the last hour" in a.stays[0]


def test_what_was_deleted_in_mlflow_loses_its_files(project: Project, store: Tracking) -> None:
    run = a_step(store, "key")
    store.client.delete_run(run)
    assert found(project, "deleted") == {}  # since just now: it may have been a mistake
    assert found(project, "deleted", older_than=-1) == {}  # an hour, whatever is asked for
    survey = cleaning.survey(project, ["deleted"], now=time.time() + 40 * DAYS)
    removing.remove(project, survey.removable)
    assert not (project.state / "mlartifacts" / run).exists()


def test_a_line_that_begins_meanwhile_keeps_the_step(
    project: Project, store: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_step(store, "key")
    survey = cleaning.survey(project, ["steps"])
    retire = standing.retire

    def begun(*arguments: object) -> None:
        retire(*arguments)  # type: ignore[arg-type]
        lease(project)  # the line has begun after the leases were looked at, and before the run was gone

    monkeypatch.setattr(standing, "retire", begun)
    removed = removing.remove(project, survey.removable)

    assert removed.count == 0 and "a run has begun meanwhile" in removed.left[0]
    assert store.find_finished("key") == run
    assert (project.state / "mlartifacts" / run / "artifacts" / "result" / "model.safetensors").is_file()


@pytest.mark.parametrize("where", ["before the files", "within the files"])
def test_a_kill_leaves_no_run_with_half_its_files_and_the_next_cleaning_ends_it(
    project: Project, store: Tracking, where: str
) -> None:
    run = a_step(store, "key")
    kill = {
        "before the files": "removing._away = lambda path: os.kill(os.getpid(), 9)",
        "within the files": "removing.shutil.rmtree = lambda path: os.kill(os.getpid(), 9)",
    }[where]
    code = (
        "import os; from pathlib import Path; from flows import cleaning; from flows.cleaning import removing\n"
        f"from flows.base.project import Project; {kill}\nproject = Project(Path({str(project.root)!r}))\n"
        "removing.remove(project, cleaning.survey(project, ['steps']).removable)"
    )
    killed = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), check=False)
    assert killed.returncode == -9

    assert store.find_finished("key") is None  # no line takes it for done
    left = [place for place in (project.state / "mlartifacts").iterdir() if place.is_dir()]
    assert left  # it was killed in time
    for place in left:
        aged(place, 1)
    removing.remove(project, cleaning.survey(project).removable)
    assert not [place for place in (project.state / "mlartifacts").iterdir() if place.is_dir()]
    assert store.get(run).name == "05 train"


# -- the command -----------------------------------------------------------------------------------------------------


def test_the_command_shows_asks_and_does(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project")
    log = put(root / ".convoy" / "logs" / "run-1.log")

    shown = convoy(root, "clean", "--dry-run", TMPDIR=str(tmp_path))
    assert shown.returncode == 0 and ".convoy/logs/run-1.log" in shown.stdout and log.exists()
    assert convoy(root, "clean", TMPDIR=str(tmp_path)).returncode == 1  # nobody answers
    assert log.exists()
    done = convoy(root, "clean", "--yes", "--only", "logs", TMPDIR=str(tmp_path))
    assert done.returncode == 0 and "are gone" in done.stdout and not log.exists()
    assert not (root / ".convoy" / "mlflow.db").exists()  # looking makes no store


def test_for_programs_what_can_go_and_what_went_is_an_object_and_nobody_is_asked(
    project: Project, store: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from flows.cli import app

    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(Path(__file__).parents[2] / name, project.root / name)
    monkeypatch.setenv("CONVOY_ROOT", str(project.root))
    log = put(project.logs / "run-20200101-000000-1.log")

    asked = CliRunner().invoke(app, ["clean", "--json"])
    looked = CliRunner().invoke(app, ["clean", "--json", "--dry-run", "--only", "logs"])
    done = CliRunner().invoke(app, ["clean", "--json", "--yes", "--only", "logs"])

    assert asked.exit_code == 2 and asked.stdout == "" and "--dry-run or --yes" in asked.stderr
    told = json.loads(looked.stdout)
    assert [each["kind"] for each in told["removable"]] == ["logs"] and told["removed"] is None
    assert json.loads(done.stdout)["removed"]["things"] == 1 and not log.exists()
