from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from components.artifacts import Dataset, Model, ModelCard, write_model
from components.compress.quantization.aware import aware_job
from components.compress.quantize import quantize
from components.config import AugmentConfig, AwareConfig, QuantizeConfig, TrainingConfig
from components.data.reading.loading import load_split
from components.export.errors import CompressionError
from components.models.network import load_network, save_weights
from components.training.jobs.job import Job
from components.training.loop.loop import train as run_loop
from components.training.loop.surroundings import Data

AWARE = AwareConfig(epochs=4, learning_rate=2e-4)
CONFIG = QuantizeConfig(calibration_samples=256, batch=16, control_seconds=0.0, aware=AWARE)


@pytest.fixture(scope="module")
def wide(
    student: Model, digits: Dataset, write_network: Callable[..., Model], tmp_path_factory: pytest.TempPathFactory
) -> Model:
    """A network one of whose channels is some hundred times as wide as the others, and means nothing."""
    network = load_network(student)
    stem, following = network.features[1], network.features[2].convolution
    with torch.no_grad():
        stem.normalization.bias[0] = 400.0
        following.weight[:, 0] = 0.0
    return write_network(tmp_path_factory.mktemp("wide") / "student", network, student.card.network, digits)


def trained_as(model: Model) -> Job:
    training = TrainingConfig(batch_size=64, learning_rate=0.01, precision="bfloat16", patience=3, cpus_per_worker=1)
    return Job("student", model.card.task, model.card.network, 0, 20, training, AugmentConfig())


def in_process(job: Job, dataset: Dataset, folder: Path) -> Model:
    data = Data(dataset.card, dataset.digest, load_split(dataset, "train"), load_split(dataset, "validation"))
    network = run_loop(job, data, folder / "storage")
    card = ModelCard(
        name=job.name,
        task=job.task,
        network=job.network,
        classes=dataset.card.classes,
        input=dataset.card.input,
        data=dataset.digest,
    )
    return write_model(folder / "aware", card, lambda target: save_weights(network, target))


def test_training_on_repairs_what_rounding_breaks(wide: Model, digits: Dataset, tmp_path: Path) -> None:
    asked: list[Model] = []

    def train_aware(model: Model) -> Model:
        asked.append(model)
        return in_process(aware_job(trained_as(model), model, AWARE), digits, tmp_path / "training")

    quantized = quantize(wide, digits, CONFIG, tmp_path / "quantized", train_aware=train_aware)
    report = quantized.report
    plain, aware = report.candidate("int8"), report.candidate("int8-aware")
    layers = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in load_network(wide).modules())
    assert [model.digest for model in asked] == [wide.digest]
    assert plain.loss.value > 0.03
    assert aware.loss.value < 0.5 * plain.loss.value
    assert aware.int8 is not None
    assert aware.int8.operators == layers
    assert aware.int8.kernels["QLinearConv"] == layers - 1
    assert quantized.models["int8-aware"].card.precision == "int8"
    assert quantized.models["int8-aware"].card.network == wide.card.network


def test_nothing_is_trained_where_rounding_costs_little(student: Model, digits: Dataset, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"allowance": 0.05})
    report = quantize(student, digits, config, tmp_path / "quantized").report
    assert report.left_out == {"int8-aware": "int8 in all layers keeps to the allowance without"}


def test_the_job_goes_on_from_the_weights_in_float32(wide: Model) -> None:
    job = aware_job(trained_as(wide), wide, AWARE)
    assert job.rounded
    assert (job.epochs, job.training.learning_rate) == (AWARE.epochs, AWARE.learning_rate)
    assert job.training.precision == "float32"
    assert job.training.patience is None
    assert str(job.network.pretrained).startswith(f"model:{wide.folder}#sha256=")
    assert job.training.batch_size == 64
    card = wide.card.model_copy(update={"members": (wide.card.network,) * 2, "fusion": "probability"})
    with pytest.raises(CompressionError, match="expected one network to train on, received an ensemble of 2"):
        aware_job(trained_as(wide), replace(wide, card=card), AWARE)
