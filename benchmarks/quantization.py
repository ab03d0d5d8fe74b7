"""What fewer bits cost: every candidate, and every way of making int8, for four families of networks.

    python -m benchmarks.quantization [--only FAMILY ...] [--images N] [--epochs N] [--seeds N] [-S KEY=VALUE ...]

Networks of each family are trained from as many seeds, with the recipe's settings. Losses are against float32 on the
test split, in percentage points, mean and deviation over the networks. Accuracy control and training on are made to
show what they can: with no loss allowed. Scales a tensor, which the run never takes, show what equalization is for.
Figures: `benchmarks/quantization.md`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

from benchmarks import study
from components.artifacts import Dataset, Model
from components.compress.quantization.aware import aware_job
from components.compress.quantization.integer import Int8, Looked, to_best_int8
from components.compress.quantization.measuring import signal_to_noise
from components.compress.quantization.report import Int8Facts
from components.compress.quantization.rewriting.equalization import equalized
from components.compress.quantization.rewriting.static import prepare, to_int8
from components.compress.quantization.weights import STORAGES, stored
from components.config import AwareConfig, LineConfig, NetworkConfig, QuantizeConfig, load
from components.data.reading.loading import Arrays, load_split
from components.environment import prepare_environment
from components.export.export import export
from components.models.network import load_network
from components.runtimes.execution import open_session
from components.runtimes.onnxruntime import session_answerer
from components.runtimes.protocol import Answerer
from components.tasks import registry as tasks
from components.tasks.asking import ask, primary
from components.tasks.network import torch_answerer
from components.training.jobs.job import Job

FAMILIES: dict[str, dict[str, Any]] = {
    "residual": {"name": "residual", "arguments": {"width": 16, "stride": 2}},
    "mobilenet": {"name": "mobilenet"},
    "densenet": {"name": "densenet"},
    "convnext": {"name": "convnext"},
}
CALIBRATION = 512
AWARE = AwareConfig(epochs=1, learning_rate=1e-3)

# How int8 is made; in all layers but for the one that puts layers back into float32.
WAYS: dict[str, dict[str, Any]] = {
    "minmax": {},
    "entropy": {"method": "entropy"},
    "percentile": {"method": "percentile"},
    "auto": {"method": "auto"},
    "minmax, equalized": {"equalization": "always"},
    "auto, equalization auto": {"method": "auto", "equalization": "auto"},
    "worst layers in float32": {"allowance": 0.0, "control_seconds": 60.0},
}


@dataclass(frozen=True)
class Cost:
    """Of one candidate of one network."""

    lost: float  # share of the test images that float32 has right and it has not, less the reverse
    noise: float  # signal-to-noise ratio of the probabilities on the test images, decibels
    bytes: int
    note: str = ""


def main() -> None:
    prepare_environment()
    options = study.options(__doc__, FAMILIES, epochs=3)
    line, dataset = load(study.ROOT, options.recipe, options.set).line, study.data(options.recipe, options.images)
    rows = []
    for family in options.only:
        jobs = [_job(family, seed, options.epochs, line, dataset) for seed in range(options.seeds)]
        models = study.trained("quantization", jobs, dataset)
        found: dict[str, list[Cost]] = {}
        for job, model in zip(jobs, models, strict=True):
            for name, cost in _costs(job, model, dataset):
                found.setdefault(name, []).append(cost)
        for name, costs in found.items():
            if len(costs) == len(models):
                rows.append(_row(family, name, costs))
        study.report("quantization", "What fewer bits cost", rows)  # so far


def _job(family: str, seed: int, epochs: int, line: LineConfig, dataset: Dataset) -> Job:
    network = NetworkConfig.model_validate(FAMILIES[family])
    return Job(f"{family}-{seed}", dataset.card.task, network, seed, epochs, line.training, line.augment)


def _costs(job: Job, model: Model, dataset: Dataset) -> Iterator[tuple[str, Cost]]:
    """What each candidate of this network costs."""
    test, validation = (Judge(model, load_split(dataset, split), dataset) for split in ("test", "validation"))
    images = load_split(dataset, "train", limit=2 * CALIBRATION).inputs
    looked = Looked(*np.array_split(np.random.default_rng(0).permutation(images), 2))
    with TemporaryDirectory() as folder:
        work = Path(folder)
        float32 = export(model, work / "float32").onnx

        def int8(source: Path, settings: dict[str, Any], name: str) -> Int8:
            config = QuantizeConfig.model_validate({"control_seconds": 0.0, **settings})
            return to_best_int8(validation.task, source, looked, validation.loss, config, work / name)

        for way, settings in WAYS.items():
            made = int8(float32, settings, way)
            yield f"int8, {way}", test.cost(made.graph, _note(made.facts, way))
        (trained,) = study.trained(
            "quantization", [replace(aware_job(job, model, AWARE), name=f"{job.name}-aware")], dataset
        )
        yield "int8-aware", test.cost(int8(export(trained, work / "trained").onnx, {}, "aware").graph)
        plain, changed, graph = (work / f"{name}.onnx" for name in ("plain", "equalized", "made"))
        onnx.save(equalized(prepare(float32, plain))[0], changed)
        for name, source in (("a scale a tensor", plain), ("a scale a tensor, equalized", changed)):
            to_int8(source, graph, looked.calibration, per_channel=False)
            yield f"int8, minmax, {name}", test.cost(graph)
        for storage in STORAGES:
            onnx.save(stored(onnx.load(float32), storage, looked.calibration)[0], graph)
            yield storage, test.cost(graph)


class Judge:
    """Graphs beside the network that they are made of, in PyTorch, on one split."""

    def __init__(self, model: Model, samples: Arrays, dataset: Dataset) -> None:
        self.task, self.samples, self.dataset = tasks.of(dataset.card), samples, dataset
        self.exact = torch_answerer(self.task, load_network(model))
        self.primary = self._accuracy(self.exact)

    def loss(self, graph: Path) -> float:
        return self.primary - self._accuracy(session_answerer(open_session(graph, 1)))

    def cost(self, graph: Path, note: str = "") -> Cost:
        rounded = session_answerer(open_session(graph, 1))
        noise = signal_to_noise(self.task, self.exact, rounded, self.samples.inputs)
        return Cost(self.loss(graph), noise, graph.stat().st_size, note)

    def _accuracy(self, answerer: Answerer) -> float:
        return primary(self.task, ask(self.task, answerer, self.samples, self.dataset.card, batch=500))


def _note(facts: Int8Facts, way: str) -> str:
    """What was decided on the way."""
    if way.startswith("worst"):
        return f"{len(facts.kept)} of {len(facts.kept) + facts.operators} layers"
    if way.startswith("auto"):
        return facts.method + (", equalized" if facts.equalized else "")
    return f"{facts.equalized} pairs" if facts.equalized else ""


def _row(family: str, name: str, costs: list[Cost]) -> dict[str, object]:
    return {
        "network": family,
        "candidate": name,
        "loss, pp": study.spread([cost.lost for cost in costs]),
        "signal to noise, dB": f"{statistics.mean(cost.noise for cost in costs):.1f}",
        "kB": f"{statistics.mean(cost.bytes for cost in costs) / 1000:.0f}",
        "": "; ".join(dict.fromkeys(cost.note for cost in costs if cost.note)),
    }


if __name__ == "__main__":
    main()
