from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from components.artifacts import Dataset, ImageSpec, Model
from components.compress.quantization.quantized import Quantized
from components.compress.quantization.rewriting.graphs import endings, heads, quantized_operators
from components.compress.quantize import quantize
from components.config import NetworkConfig, QuantizeConfig
from components.data.reading.loading import load_split
from components.export.errors import CompressionError
from components.export.export import read_metadata
from components.models import registry as models
from components.models.network import load_network
from components.runtimes.execution import answers, executed_kernels
from tests.remembered import for_the_moment

CONFIG = QuantizeConfig(calibration_samples=96, batch=16)


@pytest.fixture(scope="module")
def digits_int8(student: Model, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    return quantize(student, digits, CONFIG, tmp_path_factory.mktemp("digits") / "quantized")


@pytest.fixture(scope="module")
def scenes_int8(segmenter: Model, scenes: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    return quantize(segmenter, scenes, CONFIG, tmp_path_factory.mktemp("scenes") / "quantized")


def test_every_convolution_and_the_head_are_really_computed_in_integers(digits_int8: Quantized, student: Model) -> None:
    layers = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in load_network(student).modules())
    report = digits_int8.report.candidate("int8")
    assert report.int8 is not None
    assert report.int8.operators == layers
    assert report.int8.kernels["QLinearConv"] == layers - 1
    assert report.int8.kernels["QGemm"] == 1
    assert (report.int8.bits, report.int8.saturable) == (7, 0)
    # nothing falls back to float between two of them: the residuals' additions are integer as well
    kernels = executed_kernels(digits_int8.int8.onnx)
    assert kernels["QLinearAdd"] == 2
    assert not {"Conv", "Gemm", "Add", "Relu", "MaxPool"} & set(kernels)
    assert report.bytes == digits_int8.int8.onnx.stat().st_size
    assert report.bytes < digits_int8.report.candidate("float32").bytes


def test_weights_are_quantized_a_channel_at_a_time_and_activations_unsigned(digits_int8: Quantized) -> None:
    graph = onnx.load(digits_int8.int8.onnx).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {node.output[0]: node for node in graph.node}
    for node in (node for node in graph.node if node.op_type == "Conv"):
        activation, weight = (producers[name] for name in node.input[:2])
        assert constants[weight.input[0]].dtype == np.int8
        assert constants[weight.input[1]].shape == constants[weight.input[0]].shape[:1]
        assert constants[activation.input[2]].dtype == np.uint8


@pytest.mark.parametrize("which", ["digits_int8", "scenes_int8"])
def test_probabilities_are_not_rounded_to_eight_bits(
    which: str, request: pytest.FixtureRequest, digits: Dataset, scenes: Dataset
) -> None:
    quantized: Quantized = request.getfixturevalue(which)
    dataset = digits if which == "digits_int8" else scenes
    probabilities = answers(quantized.int8, load_split(dataset, "test").inputs)["probabilities"]
    assert len(np.unique(probabilities)) > 2 * 256
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)


def test_all_from_the_last_layer_before_plain_numbers_on_stays_float_and_what_is_embedded_does_not_count() -> None:
    """A convolution, then a product whose output is scaled: `value`; the convolution's own mean is `embedding`."""
    node, value = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Conv", ["image", "kernel"], ["maps"], name="first"),
        node("Relu", ["maps"], ["seen"]),
        node("GlobalAveragePool", ["seen"], ["pooled"]),
        node("Flatten", ["pooled"], ["embedding"]),
        node("Gemm", ["embedding", "weights"], ["raw"], name="last"),
        node("Mul", ["raw", "std"], ["scaled"], name="scale"),
        node("Add", ["scaled", "std"], ["value"], name="shift"),
        node("MatMul", ["embedding", "weights"], ["logits"], name="classes"),
        node("Softmax", ["logits"], ["probabilities"]),
    ]
    outputs = [value(name, TensorProto.FLOAT, ["N", 2]) for name in ("value", "embedding", "probabilities")]
    constants = [
        helper.make_tensor("kernel", TensorProto.FLOAT, [2, 1, 1, 1], [1.0, 2.0]),
        helper.make_tensor("weights", TensorProto.FLOAT, [2, 2], [1.0, 2.0, 3.0, 4.0]),
        helper.make_tensor("std", TensorProto.FLOAT, [2], [5.0, 6.0]),
    ]
    inputs = [value("image", TensorProto.FLOAT, ["N", 1, 4, 4])]
    model = helper.make_model(helper.make_graph(nodes, "both", inputs, outputs, constants))
    assert heads(model) == ["last"]
    assert set(endings(model)) == {"scale", "shift"}


def test_a_dense_tasks_last_layer_stays_float(scenes_int8: Quantized, segmenter: Model) -> None:
    convolutions = sum(isinstance(module, nn.Conv2d) for module in load_network(segmenter).modules())
    assert len(heads(onnx.load(scenes_int8.float32.onnx))) == 1
    facts = scenes_int8.report.candidate("int8").int8
    assert facts is not None
    assert facts.operators == convolutions - 1
    kernels = executed_kernels(scenes_int8.int8.onnx)
    assert kernels["QLinearConv"] == convolutions - 1
    assert kernels["QLinearConcat"] == 2


@pytest.mark.parametrize("which", ["digits_int8", "scenes_int8"])
def test_the_report_is_what_the_two_graphs_do(
    which: str, request: pytest.FixtureRequest, digits: Dataset, scenes: Dataset
) -> None:
    quantized: Quantized = request.getfixturevalue(which)
    report = quantized.report
    validation = load_split(digits if which == "digits_int8" else scenes, "validation")
    exact, rounded = answers(quantized.float32, validation.inputs), answers(quantized.int8, validation.inputs)
    float32, int8 = report.candidate("float32"), report.candidate("int8")
    if which == "digits_int8":
        assert report.metric == "accuracy"
        assert float32.metric.value == pytest.approx(np.mean(exact["prediction"] == validation.targets))
        assert int8.metric.value == pytest.approx(np.mean(rounded["prediction"] == validation.targets))
    else:
        assert report.metric == "mean_iou"
    assert report.metric_samples == len(validation)
    assert int8.loss.value == pytest.approx(float32.metric.value - int8.metric.value)
    for figure in (float32.metric, int8.metric, int8.loss):
        assert figure.low is not None and figure.high is not None
        assert figure.low <= figure.value <= figure.high
    assert {group.group for group in int8.groups} == set(quantized.served.card.classes)
    compared = slice(0, int8.from_float32.samples)
    gap = np.abs(exact["probabilities"] - rounded["probabilities"])[compared]
    assert int8.from_float32.largest == pytest.approx(gap.max(), abs=1e-6)
    assert int8.from_float32.mean == pytest.approx(gap.mean(), abs=1e-6)
    agreement = (exact["prediction"] == rounded["prediction"])[compared].mean()
    assert int8.from_float32.agreement == pytest.approx(agreement, abs=1e-3)
    assert report.float32_from_pytorch.largest < 1e-5
    assert report.float32_from_pytorch.agreement == 1.0
    assert [figures.batch for figures in int8.latency] == [1, 16]
    assert 0 < int8.speedup_low <= int8.speedup


@pytest.mark.parametrize("which", ["digits_int8", "scenes_int8"])
def test_what_is_served_is_what_was_chosen(
    which: str, request: pytest.FixtureRequest, student: Model, segmenter: Model
) -> None:
    quantized: Quantized = request.getfixturevalue(which)
    source = student if which == "digits_int8" else segmenter
    report, served = quantized.report, quantized.served
    chosen = quantized.models[report.served]
    assert report.reason.startswith(f"{report.served}: ")
    assert served.card.name == "artifact"
    assert served.card.precision == chosen.card.precision == report.served
    assert [(parent.role, parent.digest) for parent in served.card.parents] == [("float", source.digest)]
    assert not served.weights.exists()  # float weights would not be those that are executed
    served_graph, chosen_graph = (onnx.load(model.onnx).graph for model in (served, chosen))
    assert [node.op_type for node in served_graph.node] == [node.op_type for node in chosen_graph.node]
    assert list(served_graph.initializer) == list(chosen_graph.initializer)
    about = read_metadata(served.onnx)
    assert (about["precision"], about["source_digest"]) == (report.served, source.digest)
    assert json.loads(about["classes"]) == list(source.card.classes)
    assert Quantized.load(quantized.folder) == quantized


@pytest.fixture(scope="module")
def spoilt(
    student: Model, digits: Dataset, write_network: Callable[..., Model], tmp_path_factory: pytest.TempPathFactory
) -> Model:
    """A network one of whose first activations is huge and goes nowhere: float does not care, a common range does."""
    network = load_network(student)
    stem, following = network.features[1], network.features[2].convolution
    with torch.no_grad():
        stem.normalization.bias[0] = 1e5
        following.weight[:, 0] = 0.0
    return write_network(tmp_path_factory.mktemp("spoilt") / "spoilt", network, student.card.network, digits)


def test_int8_that_outliers_ruin_is_not_served(spoilt: Model, digits: Dataset, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"control_seconds": 0.0})
    quantized = quantize(spoilt, digits, config, tmp_path / "quantized")
    int8 = quantized.report.candidate("int8")
    assert quantized.report.candidate("float32").metric.value > 0.8
    assert int8.loss.value > 0.3
    assert not int8.allowed
    assert quantized.served.card.precision == "float32"
    assert "float32: int8 loses" in quantized.report.reason
    assert "pp of accuracy (allowed 1 pp)" in quantized.report.reason
    assert quantized_operators(onnx.load(quantized.served.onnx)) == 0


def test_the_layers_that_outliers_ruin_are_put_back_into_float(spoilt: Model, digits: Dataset, tmp_path: Path) -> None:
    report = quantize(spoilt, digits, CONFIG, tmp_path / "quantized").report.candidate("int8")
    layers = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in load_network(spoilt).modules())
    assert report.allowed
    assert report.int8 is not None
    # the layer that answers with the outlier and the one that takes it, and hardly any other
    assert 1 <= len(report.int8.kept) <= 3
    assert report.int8.operators == layers - len(report.int8.kept)
    assert set(report.int8.kept) <= set(list(report.int8.sensitivity)[:3])
    assert report.int8.sensitivity[report.int8.kept[0]] < 10.0 < max(report.int8.sensitivity.values())


def test_every_candidate_is_measured_and_the_smallest_can_be_the_goal(
    student: Model, digits: Dataset, tmp_path: Path
) -> None:
    names = ("int8", "int8-weights", "int4-weights", "float16", "bfloat16")
    config = CONFIG.model_copy(update={"candidates": names, "goal": "size", "allowance": 1.0, "method": "auto"})
    quantized = quantize(student, digits, config, tmp_path / "quantized")
    sizes = {each.name: each.bytes for each in quantized.report.candidates}
    assert list(sizes) == ["float32", *names]
    assert quantized.report.served == "int4-weights" == min(sizes, key=lambda name: sizes[name])
    assert quantized.served.card.precision == "int4-weights"
    validation = load_split(digits, "validation")
    for each in quantized.report.candidates[1:]:
        assert each.stored or (each.int8 and each.int8.operators)
        predicted = answers(quantized.models[each.name], validation.inputs)["prediction"]
        assert each.metric.value == pytest.approx(np.mean(predicted == validation.targets))
    facts = quantized.report.candidate("int8").int8
    assert facts is not None
    assert facts.method == max(facts.signal_to_noise, key=lambda name: facts.signal_to_noise[name])
    assert set(facts.signal_to_noise) == {"minmax", "entropy", "percentile"}


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_ranges_come_from_the_training_split_alone(
    method: str, write_dataset: Callable[..., Dataset], train: Callable[..., Model], tmp_path: Path
) -> None:
    # given a data set whose validation and test images are four times as bright as those of training
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (96, 8, 8), dtype=np.uint8)
    images[64:] *= 4
    images[0, 0, 0] = 59
    dataset = write_dataset(
        tmp_path / "data", "classification", images, random.integers(0, 2, 96), classes=2, sizes=(64, 16, 16)
    )
    model = train(tmp_path / "model", NetworkConfig(name="residual", arguments={"width": 4}), dataset, seed=0, steps=3)
    config = QuantizeConfig(calibration_samples=64, batch=2, method=method)
    # when
    graph = onnx.load(quantize(model, dataset, config, tmp_path / "quantized").int8.onnx).graph
    # then the widest value that the quantized input can hold is the brightest pixel of training
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear")
    scale, zero_point = (float(constants[name]) for name in first.input[1:3])
    spec = dataset.card.input
    brightest = scale * (255 - zero_point) * spec.std[0] + spec.mean[0]
    assert brightest * 255 == pytest.approx(59, abs=1.5)


class Brightness(nn.Module):
    """Classes by a threshold on the mean: nothing that is a convolution or a matrix product."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.linspace(-1, 1, outputs))

    def embed(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.embed(images) * self.slope


def test_quantizing_nothing_is_an_error_and_leaves_nothing_behind(
    digits: Dataset, write_network: Callable[..., Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "brightness-of-the-quantizer-test"
    for_the_moment(monkeypatch)
    models.register(name)(lambda inputs, outputs: Brightness(outputs))
    model = write_network(tmp_path / "model", Brightness(10), NetworkConfig(name=name), digits)
    with pytest.raises(CompressionError, match=r"expected Conv, Gemm, MatMul to quantize, found only .*ReduceMean"):
        quantize(model, digits, CONFIG, tmp_path / "quantized")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_model_of_other_data_is_refused(student: Model, scenes: Dataset, tmp_path: Path) -> None:
    with pytest.raises(CompressionError, match="expected a model trained on scenes"):
        quantize(student, scenes, CONFIG, tmp_path / "quantized")


def test_the_input_specification_is_not_guessed(digits_int8: Quantized) -> None:
    spec = json.loads(read_metadata(digits_int8.served.onnx)["input"])
    assert (spec.pop("layout"), spec.pop("type")) == ("NHWC", "uint8")
    assert ImageSpec(**spec) == digits_int8.served.card.input
