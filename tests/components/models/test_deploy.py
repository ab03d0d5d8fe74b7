"""What a network becomes on the line: an ONNX graph that answers alike, and int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from torch import nn

from components.compress.quantization.rewriting.graphs import quantized_operators
from components.compress.quantization.rewriting.static import prepare, to_int8
from components.config import NetworkConfig
from components.export.export import export, parity
from components.runtimes.execution import answers, open_session
from tests.components.models.models_builders import OTHERS, VARIANTS, awaken, compact, network, saved, spec

QUICK = [compact("residual", **VARIANTS[3][1]), compact("mobilenet", **VARIANTS[2][1])]
LONGER = [
    *(compact(name, **arguments) for name, arguments in VARIANTS[:2]),
    *(NetworkConfig(name=name) for name in OTHERS),
]


@pytest.mark.parametrize(
    "config",
    [*QUICK, *(pytest.param(config, marks=pytest.mark.slow) for config in LONGER)],
    ids=lambda config: f"{config.name} {config.arguments.get('attention', '')}",
)
def test_the_exported_graph_answers_as_the_network(config: NetworkConfig, tmp_path: Path) -> None:
    inputs = spec(16, 16, 3)
    model = saved(tmp_path / "model", config, awaken(network(config, inputs)), inputs)
    exported = export(model, tmp_path / "exported")
    assert parity(exported, pixels(9, 3)) < 1e-5


def test_squeeze_and_excitation_is_quantized_with_the_rest(tmp_path: Path) -> None:
    config = compact("residual", attention="se")
    model = saved(tmp_path / "model", config, awaken(network(config)), spec())
    exported = export(model, tmp_path / "exported")
    prepared, int8 = tmp_path / "prepared.onnx", tmp_path / "int8.onnx"
    prepare(exported.onnx, prepared)
    layers = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in network(config).modules())
    assert to_int8(prepared, int8, pixels(64, 1)) == quantized_operators(onnx.load(int8)) == layers
    shown = pixels(32, 1)
    served = open_session(int8).run(["probabilities"], {"image": shown})[0]
    expected = answers(exported, shown)["probabilities"]
    assert np.abs(served - expected).max() < 0.1
    assert np.corrcoef(served.ravel(), expected.ravel())[0, 1] > 0.95


def pixels(count: int, channels: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, channels), dtype=np.uint8)
