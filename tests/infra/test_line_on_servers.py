"""The line on all of the real servers: killed, robbed of a node, its servers started again; promoted; backed up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.machine import databases, engines, processes
from infra.machine import home as homes
from infra.machine import store as stores
from tests.flows.conftest import make_project


def without_postgres() -> str:
    """Why PostgreSQL cannot be started here; empty where it can."""
    try:
        databases.program("initdb")
        databases.account()
    except homes.ServersError as error:
        return str(error)
    return ""


MISSING = without_postgres()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(MISSING != "", reason=MISSING), pytest.mark.timeout(7200)]

ROOT = Path(__file__).resolve().parents[2]
MODEL = "digits"
# Both nodes at work, and long enough for one to be lost meanwhile.
OVERRIDES = ["training.workers=2", "members.count=2", "members.epochs=20"]
LIMIT = 1500.0  # seconds for one thing to happen; an idle machine needs a tenth


@dataclass(frozen=True)
class Stand:
    """Servers in a home of their own, and the project whose lines they run."""

    home: homes.Home
    project: Path

    def servers(self, *arguments: str, home: Path | None = None, code: int = 0) -> str:
        command = [sys.executable, str(ROOT / "infra" / "servers.py"), *arguments]
        place = ["--home", str(home or self.home.folder)]
        done = subprocess.run([*command, *place], capture_output=True, text=True, cwd=self.project, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        for secret in self.home.secrets.values():
            assert arguments[0] == "env" or secret not in done.stdout + done.stderr
        return done.stdout + done.stderr

    def environment(self, **changes: str) -> dict[str, str]:
        """What `env` prints, as a shell takes it over; nothing else of the servers."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_", "RAY_"))}
        lines = [line.removeprefix("export ") for line in self.servers("env").splitlines() if line[0] != "#"]
        given = {name: value.strip("'") for name, value in (line.split("=", 1) for line in lines)}
        return clean | given | {"CONVOY_ROOT": str(self.project)} | changes

    def convoy(self, *arguments: str, code: int = 0, **changes: str) -> str:
        command = [sys.executable, "-m", "flows.cli", *arguments]
        environment = self.environment(**changes) | {"COLUMNS": "400"}
        done = subprocess.run(
            command, env=environment, cwd=self.project, capture_output=True, text=True, timeout=LIMIT, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def prefect(self, path: str, body: dict[str, Any] | None = None) -> Any:
        account = ("convoy", self.home.secrets["PREFECT_PASSWORD"])
        address = f"{self.home.url('prefect')}/api/{path}"
        method = "GET" if body is None else "POST"
        answer = requests.request(method, address, json=body, auth=account, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def mlflow(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """MLflow's API, as its administrator."""
        account = ("admin", self.home.secrets["MLFLOW_ADMIN_PASSWORD"])
        address = f"{self.home.url('mlflow')}/api/{path}"
        answer = requests.request("GET" if body is None else "POST", address, json=body, auth=account, timeout=120)
        answer.raise_for_status()
        return answer.json()

    def start_line(self) -> str:
        """A run of the deployment; its id."""
        deployment = self.prefect("deployments/name/pipeline/nightly")["id"]
        parameters = {"recipe": "digits", "overrides": OVERRIDES}
        return str(self.prefect(f"deployments/{deployment}/create_flow_run", {"parameters": parameters})["id"])

    def state(self, flow_run: str) -> str:
        return str(self.prefect(f"flow_runs/{flow_run}")["state_type"])

    def wait(self, happened: Callable[[], bool], flow_run: str) -> None:
        limit = time.monotonic() + LIMIT
        while not happened():
            if self.state(flow_run) in {"FAILED", "CANCELLED"} or time.monotonic() > limit:
                raise AssertionError(self.home.log("prefect-worker").read_text()[-6000:])
            time.sleep(0.5)

    def has_epoch(self, member: str) -> bool:
        return any(self.project.glob(f".convoy/work/*/storage/{member}-*/epoch-*"))

    def kill(self, name: str) -> None:
        """As a machine ends that loses its power: the server and all that it has started, at once."""
        for process in processes._family(self.home, name):
            process.send_signal(signal.SIGKILL)


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    """All servers, up, on free ports. Below the system's folder for such things, where PostgreSQL's user may pass."""
    folder = Path(tempfile.mkdtemp(prefix="convoy-servers-"))
    folder.chmod(0o711)
    project = make_project(folder / "project")
    (project / "infra").mkdir()
    shutil.copy(ROOT / "infra" / "deployments.yaml", project / "infra")
    stand = Stand(homes.opened(folder / "home", project, free_ports()), project)
    try:
        stand.servers("up")
        yield stand
    finally:
        for home in (folder / "home", folder / "other"):
            if home.exists():
                stand.servers("down", home=home)
        shutil.rmtree(folder)


def free_ports() -> dict[str, int]:
    """Ports that nobody uses; the sockets are held until all are known, so that no two are the same."""
    held = {name: socket.socket() for name in homes.PORTS}
    for each in held.values():
        each.bind((homes.LOOPBACK, 0))
    ports = {name: each.getsockname()[1] for name, each in held.items()}
    for each in held.values():
        each.close()
    return ports


@contextmanager
def asking(stand: Stand) -> Iterator[Any]:
    """MLflow's database itself."""
    with databases.connection(stand.home, "mlflow") as opened, opened.cursor() as ask:
        yield ask


ANSWERS = """
import json, mlflow, pandas, pyarrow.parquet as pq, sys
images = pq.read_table(sys.argv[1], columns=["image"])["image"].to_pylist()[:50]
model = mlflow.pyfunc.load_model("models:/digits@production")
print(model.predict(pandas.DataFrame({"image": images})).to_json())
"""


def answers(stand: Stand, environment: dict[str, str]) -> Any:
    """What the production model says of the first test images, loaded from MLflow."""
    images = stand.project / ".convoy" / "data" / "prepared" / "digits" / "test-00000.parquet"
    command = [sys.executable, "-c", ANSWERS, str(images)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=stand.home.folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_line_survives_a_killed_worker_a_lost_node_and_servers_that_come_again(stand: Stand) -> None:
    first = stand.start_line()
    stand.wait(lambda: stand.has_epoch("member-0"), first)
    worker = processes.found(stand.home, "prefect-worker")
    assert worker is not None
    family = [worker, *worker.children(recursive=True)]
    assert len(family) > 1  # the line among them
    for process in family:
        process.kill()
    stand.servers("up", "prefect-worker")

    second = stand.start_line()
    stand.wait(lambda: stand.has_epoch("member-1"), second)
    stand.kill("ray-node-1")
    stand.servers("up")
    stand.servers("down", "prefect")
    stand.servers("up", "prefect")
    stand.wait(lambda: stand.state(second) == "COMPLETED", second)

    said = stand.home.log("prefect-worker").read_text()
    assert "Terminating execution" not in said  # a server that has forgotten whose turn it is ends runs
    assert stand.state(first) == "CRASHED"
    stuck = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}}
    assert stand.prefect("flow_runs/filter", stuck) == []
    stuck = {"task_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING"]}}}}
    assert stand.prefect("task_runs/filter", stuck) == []
    assert list(stand.project.glob(".convoy/lines/*")) == []


def test_what_it_made_is_promoted_and_lies_in_postgresql_and_in_the_store(stand: Stand) -> None:
    account = {"MLFLOW_TRACKING_USERNAME": "grace", "MLFLOW_TRACKING_PASSWORD": "a long password"}
    approve = ("approve", MODEL, "--by", "Grace", "--reason", "read the report")
    stand.mlflow("2.0/mlflow/users/create", {"username": "grace", "password": account["MLFLOW_TRACKING_PASSWORD"]})
    assert MODEL in stand.convoy("ledger", MODEL, **account)  # everybody with an account may look
    assert "Ask who manages that experiment or model" in stand.convoy(*approve, code=1, **account)
    experiment = stand.mlflow("2.0/mlflow/experiments/get-by-name?experiment_name=digits")["experiment"][
        "experiment_id"
    ]
    for kind, name in (("registered_model", MODEL), ("experiment", experiment)):
        grant = {"username": "grace", "resource_type": kind, "resource_id": name, "permission": "EDIT"}
        stand.mlflow("3.0/mlflow/users/permissions/grant", grant)
    stand.convoy(*approve, **account)
    stand.convoy("promote", MODEL, "--to", "production", **account)

    with asking(stand) as ask:
        ask.execute("SELECT name, alias, version FROM registered_model_aliases ORDER BY alias")
        assert (MODEL, "production", 1) in ask.fetchall()
        ask.execute("SELECT count(*) FROM runs WHERE status IN ('RUNNING', 'SCHEDULED')")
        assert ask.fetchone() == (0,)
        ask.execute("SELECT count(*) FROM runs WHERE status = 'KILLED'")
        assert ask.fetchone()[0] >= 2  # the line whose worker was killed, and the step that it was doing
        ask.execute(
            "SELECT count(*) FROM tags WHERE key = 'convoy.warning' AND value LIKE '%a worker died; attempt 2%'"
        )
        assert ask.fetchone()[0] >= 1  # the node that was lost had one
        ask.execute("SELECT artifact_location FROM logged_models")
        places = [row[0].removeprefix("mlflow-artifacts:/") for row in ask.fetchall()]
    kept = {key for key, _ in stores.objects(stand.home, "mlflow")}
    assert places
    assert {f"{place}/MLmodel" for place in places} <= kept
    subprocess.run([sys.executable, "-m", "dvc", "push", "-q"], env=stand.environment(), cwd=stand.project, check=True)
    assert any(True for _ in stores.objects(stand.home, "dvc"))


def test_nobody_gets_in_without_the_right_password_and_is_told_what_to_set(stand: Stand) -> None:
    for user in (None, ("line", "guess"), ("nobody", "guess")):
        for address in ("mlflow", "prefect"):
            path = {"mlflow": "/api/2.0/mlflow/experiments/search?max_results=1", "prefect": "/api/admin/version"}
            answer = requests.get(stand.home.url(address) + path[address], auth=user, timeout=60)
            assert answer.status_code == 401, address
    assert "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in stand.convoy(
        "runs",
        code=1,
        MLFLOW_TRACKING_PASSWORD="guess",  # noqa: S106
    )
    assert "does not let us in: what PREFECT_API_AUTH_STRING says is not its USER:PASSWORD" in stand.convoy(
        "run", "-r", "digits", code=1, PREFECT_API_AUTH_STRING="convoy:guess"
    )
    join = "from components.training.cluster import starting as cluster_ray; cluster_ray.start()"
    environment = stand.environment(RAY_AUTH_TOKEN="0" * 64)
    done = subprocess.run([sys.executable, "-c", join], env=environment, capture_output=True, text=True, check=False)
    assert "TrainingError: Ray at 127.0.0.1" in done.stderr
    assert "does not let us in" in done.stderr


def test_a_backup_brings_the_production_model_back_and_it_answers_the_same(stand: Stand) -> None:
    before = answers(stand, stand.environment())
    folder = stand.home.folder.parent / "backup"
    other = stand.home.folder.parent / "other"
    stand.servers("backup", str(folder))
    ports = [f"--port={name}={number}" for name, number in free_ports().items()]

    stand.servers("restore", str(folder), "--project", str(stand.project), *ports, home=other)
    again = Stand(homes.existing(other), stand.project)
    again.servers("up", "mlflow")

    assert not set(again.home.secrets.values()) & set(stand.home.secrets.values())
    assert answers(again, again.environment()) == before
    again.servers("down")
    again.servers("rotate")
    rotated = Stand(homes.existing(other), stand.project)
    rotated.servers("up", "mlflow")
    assert not set(rotated.home.secrets.values()) & set(again.home.secrets.values())
    assert answers(rotated, rotated.environment()) == before
    assert "expected these servers to be down first: mlflow" in again.servers("restore", str(folder), code=1)
    again.servers("down", "mlflow")
    assert "--replace deletes them" in again.servers("restore", str(folder), code=1)
    victim = next(path for path in (folder / "s3").rglob("*") if path.is_file())
    victim.write_bytes(victim.read_bytes() + b"x")
    assert "has changed" in again.servers("restore", str(folder), "--replace", code=1)


def test_down_leaves_no_process_of_its_own(stand: Stand) -> None:
    stand.servers("down")

    for name in engines.KINDS:
        assert processes._family(stand.home, name) == [], name
    assert "does not run" in stand.servers("status", code=1)
