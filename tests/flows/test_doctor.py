"""`convoy doctor` as a person meets it, and its checks of the machine; those of stores are beside it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from components import config
from flows import preflight
from flows.base.project import Project
from flows.preflight import libraries, machine, network, places, stages
from tests.flows.conftest import make_project
from tests.flows.test_cli import ENGINES, convoy


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("doctor"))


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine's address is set, whatever the machine that tests says."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_TRACKING", "PREFECT_API", "RAY_", "AWS_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


# -- all of it -------------------------------------------------------------------------------------------------------


def test_a_fresh_project_is_told_well_in_two_seconds_and_without_an_engine(fresh: Path) -> None:
    code = (
        "import time; from flows import preflight; from flows.base.project import find; began = time.monotonic()\n"
        "found = preflight.check(find()); took = time.monotonic() - began; import sys, json\n"
        f"print(json.dumps([took, [e for e in {ENGINES} if e in sys.modules], [[f.level, f.check] for f in found]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "CONVOY_ROOT": str(fresh)},
        capture_output=True,
        check=True,
    )

    took, engines, found = json.loads(done.stdout)
    assert took < 2.0
    assert engines == []
    assert [check for level, check in found if level == "error"] == []
    assert {"Python", "libraries", "disk", "memory", "tracking store", "Prefect", "Ray", "clock"} <= {
        c for _, c in found
    }


def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project")
    before = sorted(root.rglob("*"))
    preflight.check(Project(root))
    assert sorted(root.rglob("*")) == before


def test_what_is_wrong_is_a_line_with_a_way_on_and_exit_3(fresh: Path) -> None:
    done = convoy(fresh, "doctor", "-r", "digits", RAY_ADDRESS="ray://head:10001")
    assert done.returncode == 3
    (line,) = [each for each in done.stdout.splitlines() if each.startswith("✗")]
    assert "Ray Client" in line and "`export RAY_ADDRESS=head:6379`" in line
    assert "1 to fix before a run can start" in done.stdout


@pytest.mark.parametrize("address", ["auto", "ray://head:10001"])
def test_a_line_says_what_is_wrong_with_rays_address_before_it_begins_anything(fresh: Path, address: str) -> None:
    done = convoy(fresh, "run", "-r", "digits", RAY_ADDRESS=address)
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert f"RAY_ADDRESS={address}" in said and ("`unset RAY_ADDRESS`" in said or "`export RAY_ADDRESS=" in said)
    assert "RAY_AUTH_MODE" not in said and "pip install" not in said  # Ray's own advice, which would not help
    assert not (fresh / ".convoy" / "mlflow.db").exists() and not (fresh / ".convoy" / "data").exists()


def test_an_address_with_an_account_is_asked_as_a_line_asks_it_and_is_shown_without(fresh: Path) -> None:
    account = "grace:p%40ss%2F%3A%231%20%25w0rd"
    addresses = {
        "PREFECT_API_URL": f"http://{account}@127.0.0.1:9/api",
        "MLFLOW_TRACKING_URI": f"http://{account}@127.0.0.1:9",
    }
    done = convoy(fresh, "doctor", **addresses)
    said = done.stdout + done.stderr
    assert done.returncode == 3 and "Traceback" not in said
    assert "Prefect at http://127.0.0.1:9/api does not answer" in said
    assert "w0rd" not in said and "grace" not in said


def test_it_speaks_json_and_names_mistakes_of_the_configuration(fresh: Path) -> None:
    done = convoy(fresh, "doctor", "--json", "-S", "training.batch_size=many", "-S", "colour=blue")
    found = json.loads(done.stdout)
    wrong = [each["found"] for each in found if each["check"] == "configuration"]
    assert done.returncode == 3
    assert len(wrong) == 2 and any("line.colour" in each for each in wrong)
    assert {"level", "check", "found", "way"} == set(found[0])


def test_a_check_that_cannot_look_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_project(tmp_path / "project")
    (root / ".dvc" / "config").unlink()
    (root / ".dvc" / "config").mkdir()  # reading it is an error of the system's
    found = {each.check: each for each in preflight.check(Project(root))}
    assert found["clock"].level == "ok"
    assert found["DVC remote"].level == "ok"  # no file, so no remote


# -- machine ---------------------------------------------------------------------------------------------------------

GB = 2**30


@pytest.mark.parametrize(
    ("files", "level", "words"),
    [
        ({"memory.max": "max", "memory.current": "5"}, "ok", "of this machine"),
        ({"memory.max": str(64 * 2**20), "memory.current": "0"}, "error", "64.0 MB available, of the 64.0 MB"),
        # What is used is mostly pages of files, which are given up.
        (
            {
                "memory.max": str(700 * 2**20),
                "memory.current": str(600 * 2**20),
                "memory.stat": f"inactive_file {500 * 2**20}",
            },
            "error",
            "600 MB available",
        ),
    ],
)
def test_memory_is_what_the_container_may_have(tmp_path: Path, files: dict[str, str], level: str, words: str) -> None:
    (tmp_path / "cgroup").write_text("0::/some/where\n")
    folder = tmp_path / "fs" / "some" / "where"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    found = machine.memory(tmp_path / "cgroup", tmp_path / "fs")
    assert (found.level, words in found.found) == (level, True)


def test_a_limit_further_up_and_of_the_first_version_counts(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("7:memory:/up/down\n3:cpu,cpuacct:/up\n")
    (tmp_path / "fs" / "memory" / "up" / "down").mkdir(parents=True)
    (tmp_path / "fs" / "memory" / "up" / "memory.limit_in_bytes").write_text(str(100 * 2**20))
    (tmp_path / "fs" / "memory" / "memory.limit_in_bytes").write_text(str(2**63 - 4096))  # its word for no limit
    assert "of the 100 MB" in machine.memory(tmp_path / "cgroup", tmp_path / "fs").found


def test_a_group_of_the_host_is_the_container_s_own_root(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("0::/kubepods/pod1/not/there\n")
    (tmp_path / "fs").mkdir()
    (tmp_path / "fs" / "memory.max").write_text(str(50 * 2**20))
    (tmp_path / "fs" / "cpu.max").write_text("50000 100000")
    assert "of the 50.0 MB" in machine.memory(tmp_path / "cgroup", tmp_path / "fs").found
    assert "of which the container may use 0.5" in machine.processors(None, tmp_path / "cgroup", tmp_path / "fs").found


def test_more_workers_than_cpus_are_told_before_training(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = config.load(fresh, "digits", ["training.workers=1000"])
    assert machine.processors(recipe).level == "error"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert machine.processors(recipe).level == "ok"  # it is the cluster's to say


def test_few_open_files_are_told() -> None:
    code = "from flows.preflight import machine; found = machine.open_files(); print(found.level, found.way)"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -Sn 64; {sys.executable} -c '{code}'"], capture_output=True, text=True, check=True
    )
    assert re.match(r"warning `ulimit -n (\d+|unlimited)`", done.stdout)


# -- places ----------------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_named() -> None:
    found = places.writable("project", Path("/proc/nowhere/project"), "mend it")  # not even root writes there
    assert (found.level, found.way) == ("error", "mend it")
    assert found.found.startswith("/proc: expected a folder that can be written")


def test_files_of_another_user_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".convoy" / "locks").mkdir(parents=True)
    (tmp_path / ".convoy" / "locks" / "a file.lock").write_text("")
    assert places.own_state(Project(tmp_path)).level == "ok"
    read_end, write_end = os.pipe()
    (tmp_path / ".convoy" / "locks" / "a file.lock").chmod(0o400)
    child = os.fork()
    if child == 0:  # whoever may write everything must become somebody who may not
        if os.getuid() == 0:
            for folder in (tmp_path, *tmp_path.parents):
                if folder.stat().st_uid == 0 and folder != Path("/"):
                    folder.chmod(folder.stat().st_mode | 0o055)
            os.setuid(65534)
        os.write(write_end, repr(places.own_state(Project(tmp_path))).encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = os.read(read_end, 10_000).decode()
    assert "level='error'" in told and "sudo chown -R" in told


def test_what_goes_while_it_is_looked_at_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given: a file that is there when the folder is listed, as a database's are, and gone when it is looked at.
    project = Project(tmp_path)
    (project.prefect_home / "gone").mkdir(parents=True)
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: [*listed(self), self / "prefect.db-shm"])

    assert places.own_state(project).level == "ok"


def test_little_shared_memory_is_a_warning_and_none_is_needed_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert places.shared_memory(Path("/proc")).level == "warning"  # a file system without room
    assert places.shared_memory(tmp_path / "none").level == "ok"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert places.shared_memory(Path("/proc")).level == "ok"


# -- network ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "level"),
    [
        ({}, "ok"),
        ({"HTTP_PROXY": "http://proxy:3128"}, "error"),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "127.0.0.1,localhost"}, "ok"),
        ({"all_proxy": "http://proxy:3128", "no_proxy": "localhost"}, "error"),
        ({"https_proxy": "http://proxy:3128"}, "ok"),  # nothing on the loopback has TLS
    ],
)
def test_the_loopback_must_not_be_behind_a_proxy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], level: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert network.proxy().level == level


def test_a_taken_port_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setitem(network.PORTS, "MLflow", server.getsockname()[1])
        found = network.ports()
        assert found.level == "ok" and f"{server.getsockname()[1]} (MLflow)" in found.found
    assert network.loopback().level == "ok"


# -- libraries -------------------------------------------------------------------------------------------------------


def test_a_lock_is_read_by_content(tmp_path: Path) -> None:
    text = (
        "# a comment\nPyYAML==6.0.3\n  typing_extensions==4.1 # why\n"
        'colorama==0.4 ; sys_platform == "win32"\nuvicorn[standard]==1.0\n-e .\n'
    )
    assert libraries.pins(text) == {"pyyaml": "6.0.3", "typing-extensions": "4.1", "uvicorn": "1.0"}


def test_what_differs_from_the_lock_is_named(fresh: Path, tmp_path: Path) -> None:
    lock = (fresh / "requirements.lock").read_text()
    assert libraries.versions(fresh).level == "ok"
    (tmp_path / "requirements.lock").write_text(re.sub(r"(?m)^filelock==.*$", "filelock==0.1", f"# other\n{lock}"))
    found = libraries.versions(tmp_path)
    assert found.level == "warning" and re.search(r"filelock \S+ instead of 0\.1", found.found)
    (tmp_path / "requirements.lock").write_text("mlflow==1\nno-such-library==1\n")
    assert "not installed: no-such-library" in libraries.versions(tmp_path).found
    (tmp_path / "requirements.lock").unlink()  # then what the release brings along counts
    found = libraries.versions(tmp_path)
    assert found.level == "ok" and found.found.endswith("components/requirements.lock")


def test_stages_of_another_release_are_told_and_a_persons_own_are_not(fresh: Path, tmp_path: Path) -> None:
    text = (fresh / "dvc.yaml").read_text(encoding="utf-8")
    for level, content in (
        ("ok", f"# a comment\n{text}  mine:\n    cmd: 'true'\n"),
        ("warning", text.replace("stages inspect", "stages look")),
        ("warning", "stages: {}\n"),
        ("error", "stages: [\n"),
    ):
        (tmp_path / "dvc.yaml").write_text(content, encoding="utf-8")
        found = stages.stages(Project(tmp_path))
        assert found.level == level and ("inspect" in found.found or level == "error")


def test_what_a_recipe_needs_besides_is_named(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = config.load(fresh, "digits", ['prune={"kind": "structured", "epochs": 1}'])
    monkeypatch.setitem(sys.modules, "torch_pruning", None)  # as Python marks what cannot be imported
    found = libraries.extras(recipe)
    assert found.level == "error"
    assert found.found == "line.prune.kind: torch_pruning is not installed"
    assert found.way.endswith("pip install -c requirements.lock -e '.[pruning]'`")
    assert libraries.extras(config.load(fresh, "digits")).level == "ok"
