from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from components.artifacts import Evidence, Model
from components.registry.finding import find
from components.registry.memory.store import TrackingError
from components.registry.memory.tracking import Tracking
from components.registry.registration import register
from components.registry.versions import RegistryError
from tests.components.registry.registry_builders import build_evidence, build_model, encode

Register = Callable[..., tuple[int, Evidence]]


@pytest.fixture
def line(tracking: Tracking, tmp_path: Path) -> dict[str, str]:
    """A line as it is recorded: its run, that of quantize with what it left, and a version made of that."""
    parent = tracking.start_run("line", tags={"convoy.recipe": "digits", "mlflow.source.git.commit": "abc"})
    quantize = tracking.start_run("quantize", parent=parent)
    served = build_model(tmp_path / "quantized" / "artifact")
    trained = build_model(tmp_path / "quantized" / "float32", seed=1)
    trained.weights.write_bytes(b"weights")
    tracking.log_artifacts(quantize, tmp_path / "quantized", "result/quantized")
    tracking.log_tags(parent, {"convoy.ran.quantize": quantize})
    train = tracking.start_run("train", parent=parent)
    for number in range(2):
        build_model(tmp_path / "models" / f"member-{number}", seed=10 + number)
    tracking.log_artifacts(train, tmp_path / "models", "result/models")
    made = tracking.start_run("register", parent=parent)
    evidence = build_evidence(served.digest)
    register(tracking, served, evidence, name="digits", run_id=made, card="# Card", examples=[encode(200)])
    return {"pipeline_run": parent, "quantize": quantize, "train": train, "register": made, "served": served.digest}


def test_a_version_is_found_with_the_weights_that_its_line_made_it_of(tracking: Tracking, line: dict[str, str]) -> None:
    for text in ("digits:1", "digits@candidate"):
        found = find(tracking, text)
        assert found.said == "digits version 1" and found.served.digest == line["served"]
        assert found.weights is not None and found.weights.weights.read_bytes() == b"weights"
        assert found.run_id == line["pipeline_run"]
        assert found.about["convoy.recipe"] == "digits" and found.about["registered"] == "digits version 1"


def test_a_name_alone_is_what_is_in_production_or_else_staged(
    tracking: Tracking, line: dict[str, str], register_version: Register
) -> None:
    with pytest.raises(RegistryError, match="with the alias production or staging; there are: digits@candidate"):
        find(tracking, "digits")
    tracking.client.set_registered_model_alias("digits", "staging", "1")
    assert find(tracking, "digits").said == "digits version 1"
    tracking.client.set_registered_model_alias("digits", "production", "1")
    register_version(7)
    tracking.client.set_registered_model_alias("digits", "staging", "2")
    assert find(tracking, "digits").said == "digits version 1"
    assert find(tracking, "digits@staging").said == "digits version 2"


@pytest.mark.parametrize("name", ["artifact", "served"])
def test_what_quantize_left_is_found_by_the_name_that_earlier_releases_gave_it_too(
    tracking: Tracking, tmp_path: Path, name: str
) -> None:
    made, run = build_model(tmp_path / "quantized" / name), tracking.start_run("quantize")
    tracking.log_artifacts(run, tmp_path / "quantized", "result/quantized")
    assert find(tracking, str(tmp_path / "quantized")).served.digest == made.digest
    for text in (run, f"{run}/artifact", f"{run}/served"):
        assert find(tracking, text).served.digest == made.digest


def test_a_version_of_no_known_line_is_its_graph_alone(tracking: Tracking, register_version: Register) -> None:
    register_version(3)
    found = find(tracking, "digits:1")
    assert found.weights is None


def test_a_run_is_what_its_line_serves_or_what_its_step_made(tracking: Tracking, line: dict[str, str]) -> None:
    for run in (line["pipeline_run"], line["quantize"]):
        assert find(tracking, run).served.digest == line["served"]
    assert find(tracking, f"{line['quantize']}/float32").served.digest != line["served"]
    assert find(tracking, f"{line['train']}/member-1").served.card.seed == 11
    with pytest.raises(RegistryError, match=f"It has: {line['train']}/member-0, {line['train']}/member-1"):
        find(tracking, line["train"])
    with pytest.raises(RegistryError, match="It has: none; name a run of the pipeline"):
        find(tracking, f"{line['register']}/student")


def test_a_folder_is_a_model_or_what_quantize_leaves(tracking: Tracking, tmp_path: Path) -> None:
    model = build_model(tmp_path / "model")
    assert find(tracking, str(model.folder)).served == Model.load(model.folder)


@pytest.mark.parametrize("text", ["no such thing!", "0" * 32])
def test_what_is_not_there_is_said(text: str, tracking: Tracking) -> None:
    with pytest.raises((RegistryError, TrackingError)):
        find(tracking, text)
