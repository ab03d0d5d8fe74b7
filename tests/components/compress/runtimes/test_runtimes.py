from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.artifacts import Dataset, Model
from components.data.reading.loading import load_split
from components.models.network import load_network
from components.runtimes import openvino, registry
from components.runtimes.protocol import RuntimeMissingError


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "pytorch"])
def test_every_engine_answers_as_the_network(name: str, exported: Model, digits: Dataset) -> None:
    images = load_split(digits, "test").inputs
    # an independent way to the same numbers: the raw weights
    with torch.inference_mode():
        pixels = torch.from_numpy(images.astype(np.float32) / 255.0).permute(0, 3, 1, 2)
        logits = load_network(exported)(pixels)
    given = registry.get(name).open(exported.folder if name == "pytorch" else exported.onnx, 1)(images)
    np.testing.assert_allclose(given["probabilities"], torch.softmax(logits, 1).numpy(), atol=1e-5)
    np.testing.assert_array_equal(given["prediction"], logits.argmax(1).numpy())


def test_openvino_answers_for_more_sizes_of_batches_than_it_compiles(exported: Model, digits: Dataset) -> None:
    images = load_split(digits, "test", limit=40).inputs
    answer = registry.get("openvino").open(exported.onnx, 1)
    whole = answer(images)
    sizes = range(1, openvino.SHAPES + 4)
    for size in (*sizes, *sizes):
        part = answer(images[:size])
        np.testing.assert_allclose(part["probabilities"], whole["probabilities"][:size], atol=1e-5)
    first = answer(images[:2])["probabilities"].copy()
    kept = answer(images[:2])["probabilities"]
    answer(images[5:7])
    np.testing.assert_array_equal(kept, first)  # a later call does not write over an earlier answer


def test_an_engine_that_is_not_installed_says_what_to_install(tmp_path: Path) -> None:
    absent = replace(openvino.RUNTIME, package="no_such_engine")
    with pytest.raises(RuntimeMissingError, match=r"pip install -c requirements.lock -e '\.\[openvino\]'"):
        absent.open(tmp_path)


def test_an_engine_refuses_what_it_does_not_read(exported: Model, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a file for onnxruntime, found none"):
        registry.get("onnxruntime").open(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"expected a file \*\.onnx, which onnxruntime reads"):
        registry.get("onnxruntime").open(exported.folder)
    with pytest.raises(ValueError, match="runtime: expected one of onnxruntime, openvino, pytorch, executorch"):
        registry.get("tensorrt")
