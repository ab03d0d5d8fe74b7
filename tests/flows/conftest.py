"""A project of its own for the flows' tests: the real tree, copied, with small settings; one Prefect server for all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from components.config import merge
from components.environment import prepare_environment

if TYPE_CHECKING:
    from flows.base.project import Project
    from flows.line import Outcome

prepare_environment()

ROOT = Path(__file__).parents[2]


def lenient(floor: float) -> dict[str, object]:
    """Every gate runs, and lets networks pass that have hardly learnt."""
    most = {"calibration": 1.0, "int8_drop": 0.3, "latency": 1000.0, "drift": 1.0}
    # A class that is never found has a worse end of 0.
    least = {"floor": floor, "worst_group": 0.0, "robustness": 0.01}
    return {gate: {"limit": limit} for gate, limit in (most | least).items()}


ONE_CPU = {"cpus_per_worker": 1}  # other tests run beside
SMALL = {
    # Two epochs of a narrow network: what is tested is the line, not the network.
    "digits": {
        "training": ONE_CPU,
        "members": {"networks": [{"name": "residual", "arguments": {"width": 8}}], "epochs": 2},
        "student": {"network": {"name": "residual", "arguments": {"width": 8}}, "epochs": 3},
        "gates": lenient(0.2),
        "evaluate": {"bootstrap": 200},
    },
    "digits-segment": {
        "training": ONE_CPU,
        "members": {"networks": [{"name": "unet", "arguments": {"width": 8}}], "epochs": 1},
        "student": {"network": {"name": "unet", "arguments": {"width": 8}}, "epochs": 1},
        "gates": lenient(0.01),
        "evaluate": {"bootstrap": 200},
        "quantize": {"allowance": 0.2},
    },
}


def make_project(folder: Path) -> Path:
    """A copy of what a fresh clone holds, with the recipes made small."""
    for name in ("components", "recipes"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "dvc.yaml", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dvc").mkdir()
    config = (ROOT / ".dvc" / "config").read_text(encoding="utf-8")
    (folder / ".dvc" / "config").write_text(config.replace("[core]", "[core]\n    no_scm = true"), encoding="utf-8")
    for name, line in SMALL.items():
        path = folder / "recipes" / f"{name}.yaml"
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        recipe["line"] = merge(recipe["line"], line)
        path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return folder


@pytest.fixture
def lasting_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Project, str]]:
    """A project's own Prefect server, as `convoy ui` starts it, and its address; clients in this process ask it."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.base.project import Project
    from flows.pages import pages
    from flows.processes import prefect_server

    project = Project(tmp_path)
    for folder in (project.locks, project.logs, project.leases, project.prefect_home):
        folder.mkdir(parents=True)
    monkeypatch.setenv("PREFECT_HOME", str(project.prefect_home))
    for variable in ("PREFECT_API_URL", "PREFECT_API_DATABASE_CONNECTION_URL"):  # those of the harness
        monkeypatch.delenv(variable, raising=False)
    with (
        pages.lasting_prefect_server(project, prefect_server.free_port()) as address,
        temporary_settings({PREFECT_API_URL: f"{address}/api"}),
    ):
        yield project, address


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Prefect's own harness: a server on a database of its own, for the whole session."""
    os.environ["PREFECT_HOME"] = str(tmp_path_factory.mktemp("prefect"))
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=240):
        yield


@pytest.fixture(scope="session")
def shared_project(tmp_path_factory: pytest.TempPathFactory, prefect_server: None, ray_cluster: None) -> Path:
    """The folder of the project in which lines are run in this process."""
    return make_project(tmp_path_factory.mktemp("project"))


@contextmanager
def inside(root: Path) -> Iterator[None]:
    """What is called in this process is called for that project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVOY_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(scope="session")
def shared_outcome(shared_project: Path) -> Outcome:
    """What the line came to on the digits, undisturbed."""
    from flows.line import line

    with inside(shared_project):
        return line("digits")


@pytest.fixture(scope="module")
def project(shared_project: Path) -> Iterator[Path]:
    """A project in which lines are run in this process: the same for all files, and the current one of each only."""
    with inside(shared_project):
        yield shared_project


@pytest.fixture(scope="module")
def outcome(project: Path, shared_outcome: Outcome) -> Outcome:
    """What the line came to on the digits, undisturbed, in its project."""
    return shared_outcome
