"""Each error's way out, pasted into a shell in the project's folder, does what the error says it does."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.artifacts import Evidence
from components.config.gates import ApprovalsGate
from components.data.errors import DataError
from components.data.versions.repository import lock_file
from components.registry import approvals, decisions, ledger, lines, versions
from components.registry.memory import tracking
from components.registry.memory.store import TrackingError
from components.registry.memory.tracking import Tracking
from components.registry.versions import RegistryError
from components.training.jobs.job import TrainingError
from components.training.loop.restoring import CheckpointRestores
from flows.pages import status
from tests.components.registry.registry_builders import LIMITS, build_case

pytestmark = pytest.mark.slow  # a process a command, each with its engines

ROOT = Path(__file__).parents[3]
ASKED = (*(limit for limit in LIMITS if limit.gate not in ("production", "drift")), ApprovalsGate(gate="approvals"))


@dataclass(frozen=True)
class Registry:
    """A project with versions in its registry."""

    tracking: Tracking
    register: Callable[..., tuple[int, Evidence]]

    @property
    def root(self) -> Path:
        return self.tracking.root

    def staged(self, seed: int) -> int:
        version, evidence = self.register(seed)
        production = self.alias("production")
        decisions.decide(self.tracking, "digits", version, build_case(evidence, production=production), ASKED)
        return version

    def produced(self, seed: int) -> int:
        version = self.staged(seed)
        approvals.approve(self.tracking, "digits", "ada", "good")
        decisions.promote(self.tracking, "digits", "production", "ada", "good")
        return version

    def alias(self, name: str) -> int | None:
        return versions.aliased(self.tracking, "digits", name)

    def spoil(self, version: int) -> None:
        shutil.rmtree(versions.version_model(self.tracking, "digits", version).folder)

    def waits(self) -> status.Waiting:
        standings = lines.standings(self.tracking)
        asked = approvals.waiting_everywhere(self.tracking, lines.experiments(self.tracking), lines.aliases(standings))
        (found,) = status.waiting(standings, [], asked)
        return found


@pytest.fixture
def registry(
    tracking: Tracking, register_version: Callable[..., tuple[int, Evidence]], monkeypatch: pytest.MonkeyPatch
) -> Registry:
    for name in ("params.yaml", "dvc.yaml", "dvc.lock"):
        shutil.copy(ROOT / name, tracking.root / name)
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")  # no environment is activated
    return Registry(tracking, register_version)


def paste(message: str, root: Path, number: int = -1) -> None:
    """Run the command that the message offers, in a shell that knows nothing of the environment."""
    offered = re.findall(r"`([^`]+)`", message) or [message]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(root), "PYTHONPATH": str(ROOT), "USER": "ada"}
    done = subprocess.run(
        ["bash", "-c", offered[number]], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{offered[number]}\n{done.stdout}{done.stderr}"


def test_a_deleted_experiment_is_restored(registry: Registry) -> None:
    registry.register(0)
    registry.tracking.client.delete_experiment(str(registry.tracking.experiment_id))
    for ask in (lambda: tracking.connect(registry.root, "digits"), lambda: ledger.ledger(registry.tracking, "digits")):
        with pytest.raises(TrackingError) as told:
            ask()
    paste(str(told.value), registry.root)
    assert tracking.connect(registry.root, "digits").experiment_id == registry.tracking.experiment_id
    assert not (registry.root / "mlflow.db").exists()


def test_what_is_staged_is_approved_and_then_promoted_by_what_status_says(registry: Registry) -> None:
    version = registry.staged(0)
    paste(registry.waits().how, registry.root)
    assert approvals.waiting(registry.tracking, "digits") is None
    paste(registry.waits().how, registry.root)
    assert registry.alias("production") == version


def test_what_lacks_an_approval_is_approved(registry: Registry) -> None:
    registry.staged(0)
    with pytest.raises(RegistryError, match="is not ready for production") as told:
        decisions.promote(registry.tracking, "digits", "production", "ada", "now")
    paste(str(told.value), registry.root)
    decisions.promote(registry.tracking, "digits", "production", "ada", "now")


def test_what_is_in_production_is_rolled_back_or_retired(registry: Registry) -> None:
    first = registry.produced(0)
    with pytest.raises(RegistryError) as told:
        decisions.rollback(registry.tracking, "digits", "ada", "back")
    assert "convoy retire" in str(told.value)
    second = registry.produced(1)
    with pytest.raises(RegistryError, match="is in production already") as told:
        approvals.approve(registry.tracking, "digits", "ada", "again")
    assert registry.alias("production") == second
    paste(str(told.value), registry.root)
    assert registry.alias("production") == first


def test_a_production_version_that_cannot_be_read_gives_way_to_the_one_before_it(registry: Registry) -> None:
    first, second = registry.produced(0), registry.produced(1)
    registry.spoil(second)
    paste(decisions.way_out(registry.tracking, "digits"), registry.root)
    assert registry.alias("production") == first


def test_a_production_version_that_cannot_be_read_is_retired_where_none_came_before(registry: Registry) -> None:
    registry.spoil(registry.produced(0))
    row = next(row for row in lines.standings(registry.tracking) if row.alias == "production")
    paste(str(row.problem), registry.root)
    assert registry.alias("production") is None
    assert ledger.history(registry.tracking, "digits")[-1].action == "retire"


def test_a_damaged_database_is_moved_away(registry: Registry) -> None:
    database = registry.root / ".convoy" / "mlflow.db"
    database.write_bytes(b"rubbish" * 100)
    with pytest.raises(TrackingError) as told:
        tracking.connect(registry.root)
    paste(str(told.value), registry.root)
    assert not database.exists() and database.with_name("mlflow.db.damaged").read_bytes().startswith(b"rubbish")


@pytest.mark.parametrize("number", [-2, -1])
def test_a_damaged_lock_file_of_dvcs_is_restored_or_removed(registry: Registry, number: int) -> None:
    root = registry.root
    for words in (
        ["init", "-q"],
        ["add", "dvc.lock"],
        ["-c", "user.name=a", "-c", "user.email=a", "commit", "-qm", "a"],
    ):
        subprocess.run(["git", *words], cwd=root, check=True)
    (root / "dvc.lock").write_text("[]")
    with pytest.raises(DataError) as told:
        lock_file(root)
    paste(str(told.value), root, number)
    assert bool(lock_file(root)) == (number == -2)


def test_checkpoint_restores_that_cannot_be_read_go_with_their_training(registry: Registry) -> None:
    folder = registry.root / "it's a folder"
    folder.mkdir()
    (folder / "checkpoint_restores.json").write_text("")
    with pytest.raises(TrainingError) as told:
        CheckpointRestores(folder, 1)
    paste(str(told.value), registry.root)
    assert not folder.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("convoy", "run", "--recipe", "digits"),
        ("convoy", "run", "-S", "dataset=digits", "-S", "model=digits"),
        ("convoy", "ui"),
        ("convoy", "schedule"),
        ("dvc", "repro", "validate@digits"),
        ("dvc", "push"),
        ("dvc", "pull"),
        ("dvc", "remote", "list"),
        ("mlflow", "models", "serve", "-m", "models:/digits@staging", "--env-manager", "local"),
        ("prefect", "worker", "start", "--pool", "NAME"),
        ("python", "-m", "pip", "install", "-c", "requirements.lock", "-e", ".[s3]"),
    ],
    ids=" ".join,
)
def test_what_takes_long_is_found_and_understood(registry: Registry, words: tuple[str, ...]) -> None:
    from components import offered

    paste(f"{offered.command(*words)} --help", registry.root)
