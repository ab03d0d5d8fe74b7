from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from components.artifacts import ArtifactError, Dataset, Model
from components.data.reading.loading import load_split
from components.export.export import OPSET, export, parity, read_metadata
from components.models.network import load_network
from components.runtimes.execution import answers, open_session


@pytest.fixture(scope="module")
def exported(student: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return export(student, tmp_path_factory.mktemp("exported") / "model")


def test_the_graph_takes_pixels_as_they_are_and_answers_as_the_network_does(exported: Model, digits: Dataset) -> None:
    images = load_split(digits, "test").inputs
    # an independent way to the same numbers: the raw weights, with nothing of this room in between
    network = load_network(exported)
    with torch.inference_mode():
        pixels = torch.from_numpy(images.astype(np.float32) / 255.0).permute(0, 3, 1, 2)
        logits, embedding = network(pixels), network.embed(pixels)
    served = answers(exported, images)
    np.testing.assert_allclose(served["probabilities"], torch.softmax(logits, 1).numpy(), atol=1e-5)
    np.testing.assert_array_equal(served["prediction"], logits.argmax(1).numpy())
    np.testing.assert_allclose(served["embedding"], embedding.numpy(), atol=1e-4)
    assert parity(exported, images) < 1e-5


def test_parity_notices_a_graph_of_other_weights(
    exported: Model, members: list[Model], digits: Dataset, tmp_path: Path
) -> None:
    images = load_split(digits, "test", limit=32).inputs
    (tmp_path / "mixed").mkdir()
    for name, source in (("model.json", exported), ("model.onnx", exported), ("model.safetensors", members[2])):
        (tmp_path / "mixed" / name).write_bytes((source.folder / name).read_bytes())
    assert parity(Model.load(tmp_path / "mixed"), images) > 0.1


def test_any_number_of_images_gets_the_same_answers(exported: Model, digits: Dataset) -> None:
    images = load_split(digits, "test", limit=67).inputs
    whole = answers(exported, images, batch=67)["probabilities"]
    for batch in (1, 2, 64):
        np.testing.assert_allclose(answers(exported, images, batch=batch)["probabilities"], whole, atol=1e-6)


def test_segmenters_are_exported_with_a_probability_a_pixel(segmenter: Model, scenes: Dataset, tmp_path: Path) -> None:
    exported = export(segmenter, tmp_path / "model")
    images = load_split(scenes, "test", limit=5).inputs
    served = answers(exported, images)
    assert served["probabilities"].shape == (5, 3, 16, 16)
    assert served["prediction"].shape == (5, 16, 16)
    assert parity(exported, images) < 1e-5


def test_the_graph_says_what_it_is_without_its_folder(exported: Model, student: Model) -> None:
    about = read_metadata(exported.onnx)
    assert json.loads(about["classes"]) == list(student.card.classes)
    assert about["task"] == "classification"
    assert about["source_digest"] == student.digest
    assert about["data_digest"] == student.card.data
    assert json.loads(about["input"])["height"] == 8
    assert open_session(exported).get_modelmeta().custom_metadata_map == about


def test_the_graph_is_valid_and_computes_nothing_twice(exported: Model, student: Model) -> None:
    graph = onnx.load(exported.onnx)
    onnx.checker.check_model(graph, full_check=True)
    assert [entry.version for entry in graph.opset_import if entry.domain in ("", "ai.onnx")] == [OPSET]
    convolutions = [module for module in load_network(student).modules() if isinstance(module, torch.nn.Conv2d)]
    assert sum(node.op_type == "Conv" for node in graph.graph.node) == len(convolutions)
    assert not any(node.op_type == "BatchNormalization" for node in graph.graph.node)


def test_exporting_again_gives_the_same_bytes_says_nothing_and_names_no_path_of_this_machine(
    exported: Model, student: Model, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    again = export(student, tmp_path / "again")
    assert capfd.readouterr() == ("", "")
    assert again.onnx.read_bytes() == exported.onnx.read_bytes()
    assert again.digest == exported.digest
    assert b"stack_trace" not in exported.onnx.read_bytes()
    assert str(Path(__file__).parents[3]).encode() not in exported.onnx.read_bytes()


def test_the_card_and_the_weights_stay(exported: Model, student: Model) -> None:
    assert exported.card == student.card
    assert exported.weights.read_bytes() == student.weights.read_bytes()


def test_a_folder_without_a_graph_says_how_to_get_one(student: Model) -> None:
    with pytest.raises(ArtifactError, match=r"model\.onnx: expected an ONNX file, found none; write one with"):
        answers(student, np.zeros((1, 8, 8, 1), dtype=np.uint8))
