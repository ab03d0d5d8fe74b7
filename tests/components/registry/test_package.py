"""What is approved is what runs: no file that is loaded or run can be changed without anybody's notice."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from components.registry import approvals, decisions, versions
from components.registry.memory.tracking import Tracking
from components.registry.versions import RegistryError, UnreadableError
from tests.components.registry.registry_builders import encode
from tests.components.registry.test_decisions import Register, judge, promote

NAME = "digits"


def appended(name: str) -> Callable[[Path], None]:
    def change(package: Path) -> None:
        file = package / name
        file.write_bytes(file.read_bytes() + b"\n# nothing to see here\n")

    return change


def removed(package: Path) -> None:
    (package / "artifacts" / "answer" / "answer.py").unlink()


def added(package: Path) -> None:
    (package / "artifacts" / "reader" / "numpy.py").write_text("raise SystemExit('not NumPy')")


CHANGES = {
    "code": appended("served.py"),
    "reader": appended("artifacts/reader/reader.py"),
    "answer": appended("artifacts/answer/answer.py"),
    "recipe": appended("MLmodel"),
    "requirements": appended("requirements.txt"),
    "processor": appended("artifacts/measured/processor.json"),
    "manifest": appended("manifest.json"),
    "removed": removed,
    "added": added,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_package_is_stopped_at_every_door(
    change: str, tracking: Tracking, register_version: Register
) -> None:
    judge(tracking, *register_version(0))
    promote(tracking)
    version, evidence = register_version(1)
    judge(tracking, version, evidence)
    package = versions.version_package(tracking, NAME, version)
    CHANGES[change](package)
    with pytest.raises(UnreadableError, match="its package was changed after registration"):
        versions.version_package(tracking, NAME, version)
    with pytest.raises(RegistryError, match="changed after registration"):
        approvals.approve(tracking, NAME, "Grace", "the figures hold")
    with pytest.raises(RegistryError, match="changed after registration"):
        promote(tracking)


def test_nobody_goes_back_to_a_changed_package(tracking: Tracking, register_version: Register) -> None:
    for seed in range(2):
        judge(tracking, *register_version(seed))
        promote(tracking)
    CHANGES["code"](versions.version_package(tracking, NAME, 1))
    with pytest.raises(RegistryError, match="expected a version 1 to go back to, and it cannot be read"):
        decisions.rollback(tracking, NAME, "Ada", "customers complain")


@pytest.mark.parametrize("change", ["code", "reader", "answer", "processor", "removed"])
def test_a_changed_model_does_not_answer(
    change: str, tracking: Tracking, register_version: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # as Python is by itself, whatever the tests are run with
    version, _ = register_version(0)
    package = versions.version_package(tracking, NAME, version)
    asked = pd.DataFrame({"image": [encode(200)]})
    assert len(mlflow.pyfunc.load_model(str(package)).predict(asked)) == 1
    assert versions.problem(tracking, NAME, version) is None  # loading it leaves nothing in it
    CHANGES[change](package)
    with pytest.raises(MlflowException, match="this model is not the one that was registered"):
        mlflow.pyfunc.load_model(str(package))
