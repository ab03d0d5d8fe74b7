"""Every compact family, from PyTorch to the artifact, on 1,000 images: in each engine that serves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from components.config import NetworkConfig
from components.export.export import export
from components.models import forms, registry
from components.models.network import load_network
from components.runtimes import registry as runtimes
from components.tasks import registry as tasks
from components.tasks.network import torch_answerer
from tests.components.models.models_builders import awaken, network, saved, spec

SAMPLES = 1_000
SMALLEST = {"convnext": {"blocks": 1}, "densenet": {"blocks": 1}, "mobilenet": {"blocks": 1}, "residual": {"blocks": 1}}


def lived_in(built: nn.Module) -> nn.Module:
    """Batch normalisation that has seen data: with a mean of 0 and a variance of 1, a wrong folding would go unseen."""
    generator = torch.Generator().manual_seed(2)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
    return awaken(built)


@pytest.mark.parametrize(
    "name",
    [name for name in registry.names() if registry.takes(name) == "image" and registry.gives(name) != forms.BOXES],
)
def test_the_artifact_answers_as_pytorch_on_a_thousand_images(name: str, tmp_path: Path) -> None:
    inputs, dense = spec(8, 8, 1), name == "unet"
    config = NetworkConfig(name=name, arguments={"width": 4, **SMALLEST.get(name, {})})
    model = saved(tmp_path / "model", config, lived_in(network(config, inputs)), inputs)
    task = tasks.get("segmentation" if dense else "classification")
    if dense:
        model = type(model)(model.folder, model.card.model_copy(update={"task": "segmentation"}))
    graph = export(model, tmp_path / "exported").onnx
    images = np.random.default_rng(0).integers(0, 256, (SAMPLES, 8, 8, 1), dtype=np.uint8)
    expected = torch_answerer(task, load_network(model))(images)
    assert expected["probabilities"].std() > 0.01  # answers that differ, or any graph would do
    for engine in ("onnxruntime", "openvino"):
        given = runtimes.get(engine).open(graph, 1)(images)
        np.testing.assert_allclose(given["probabilities"], expected["probabilities"], atol=1e-5)
        # an argmax may turn where two classes are equal to the last bits
        assert (given["prediction"] == expected["prediction"]).mean() > 0.999
