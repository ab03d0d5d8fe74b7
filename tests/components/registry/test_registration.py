from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

import mlflow
import pytest

from components.artifacts import Evidence
from components.registry import registration
from components.registry.memory.tracking import Tracking
from components.registry.registration import register
from components.registry.versions import (
    RegistryError,
    aliases,
    production_model,
    production_reference,
    version_card,
    version_evidence,
    version_model,
    version_tags,
    versions,
)
from tests.components.registry.registry_builders import CLASSES, DATA, build_evidence, build_model, encode

Register = Callable[..., tuple[int, Evidence]]


def test_a_version_gives_back_exactly_what_was_registered(tracking: Tracking, register_version: Register) -> None:
    version, evidence = register_version(0)
    model = version_model(tracking, "digits", version)
    assert model.digest == evidence.model and model.card.classes == CLASSES
    assert version_evidence(tracking, "digits", version) == evidence
    assert version_card(tracking, "digits", version) == "# Model 0"
    tags = version_tags(tracking, "digits", version)
    assert tags["convoy.data"] == DATA and tags["metric.accuracy"] == "0.9"
    assert production_model(tracking, "digits") is None and production_reference(tracking, "digits") is None


def test_a_version_does_not_know_the_place_it_was_packed_at(
    tracking: Tracking, register_version: Register, tmp_path: Path
) -> None:
    version, _ = register_version(0)
    package = version_model(tracking, "digits", version).folder.parents[1]
    files = [file for file in package.rglob("*") if file.is_file()]
    assert len(files) >= 6
    for place in (tmp_path, Path(registration.__file__).parent, Path(gettempdir())):
        assert [file.name for file in files if str(place).encode() in file.read_bytes()] == []
    # What MLflow itself reads of the package is there.
    loaded = mlflow.pyfunc.load_model(str(package))
    assert loaded.predict(loaded.input_example)["label"].tolist() == ["bright"]


def test_registering_the_same_again_makes_no_second_version(tracking: Tracking, register_version: Register) -> None:
    assert register_version(0)[0] == register_version(0)[0] == 1
    assert register_version(1)[0] == 2
    assert register_version(1, accuracy=0.8)[0] == 3  # the same artifact with other evidence is another version
    assert aliases(tracking, "digits") == {"candidate": 3}


def test_a_failure_leaves_no_version_behind(tracking: Tracking, tmp_path: Path) -> None:
    model = build_model(tmp_path / "model")
    run = tracking.start_run("register")
    arguments = {"name": "digits", "run_id": run, "card": "# Card"}
    # given an example the package cannot answer
    with pytest.raises(RegistryError, match="row 0"):
        register(tracking, model, build_evidence(model.digest), examples=[b"no image"], **arguments)  # type: ignore[arg-type]
    assert versions(tracking, "digits") == {}
    assert not tracking.client.search_logged_models([tracking.experiment_id])
    # and once it can, the version is number 1
    assert register(tracking, model, build_evidence(model.digest), examples=[encode(9)], **arguments) == 1  # type: ignore[arg-type]


def test_evidence_of_another_artifact_is_refused(tracking: Tracking, tmp_path: Path) -> None:
    model = build_model(tmp_path / "model")
    with pytest.raises(RegistryError, match="measured on artifact bbbb"):
        register(tracking, model, build_evidence("b" * 64), name="digits", run_id="", card="", examples=[encode(9)])


def test_files_changed_after_registration_are_noticed(tracking: Tracking, register_version: Register) -> None:
    version, _ = register_version(0)
    file = version_model(tracking, "digits", version).onnx
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(RegistryError, match="changed after registration"):
        version_model(tracking, "digits", version)


def test_the_version_answers_where_this_project_is_not_installed(
    tracking: Tracking, register_version: Register, tmp_path: Path
) -> None:
    register_version(0)
    tracking.client.set_registered_model_alias("digits", "staging", "1")
    body = {"dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(encode(255)).decode()]]}}
    (tmp_path / "input.json").write_text(json.dumps(body), encoding="utf-8")
    command = [sys.executable, "-m", "mlflow", "models", "predict", "-m", "models:/digits@staging"]
    environment = {**os.environ, **tracking.environment()}
    environment.pop("PYTHONPATH", None)
    result = subprocess.run(
        [*command, "--env-manager", "local", "-i", "input.json", "-t", "json"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    [answer] = json.loads(result.stdout.strip().splitlines()[-1])["predictions"]
    assert answer == {"label": "bright", "probability": 1.0, "probabilities": {"dark": 0.0, "bright": 1.0}}


def test_the_package_says_what_it_needs_and_takes(tmp_path: Path) -> None:
    model = build_model(tmp_path / "source", dense=True)
    registration.build_package(model, tmp_path / "package", [encode(9)])
    needed = (tmp_path / "package" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {line.partition("==")[0] for line in needed} == {*registration.REQUIREMENTS, "pillow"}
    assert all("==" in line for line in needed)
    assert not list((tmp_path / "package").rglob("*.pkl"))
    described = registration.signature(model)
    assert described.inputs.input_names() == ["image"] and described.outputs.input_names() == ["mask", "shares"]
