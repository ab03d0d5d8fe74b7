"""What fewer bits cost and buy: every candidate, every way of taking ranges, for four families of networks.

    python -m benchmarks.quantization [--only FAMILY ...]

Fashion-MNIST, three networks of each family, trained for three epochs with `fashion-mnist-fast`'s settings. Losses are
against float32 on the 10,000 test images, in percentage points, mean and deviation over the three networks; speed-ups
over float32 are ONNX Runtime's, one thread, medians of alternating rounds. Accuracy control and training on are made to
show what they can: with no loss allowed. Figures: `benchmarks/quantization.md`.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks import study
from components.artifacts import Dataset, Model
from components.compress.judge import judge, session_answerer
from components.compress.quantization.aware import aware_job
from components.compress.quantize import Quantized, quantize
from components.compress.runtime import open_session
from components.config import AwareConfig, LineConfig, NetworkConfig, QuantizeConfig, load
from components.data.reading.loading import load_split
from components.environment import prepare_environment
from components.tasks import registry as tasks
from components.training.job import Job

RECIPE = "fashion-mnist-fast"
EPOCHS = 3
FAMILIES: dict[str, dict[str, Any]] = {
    "residual": {"name": "residual", "arguments": {"width": 16, "stride": 2}},
    "mobilenet": {"name": "mobilenet"},
    "densenet": {"name": "densenet"},
    "convnext": {"name": "convnext"},
}
WEIGHTS = ("int8-weights", "int4-weights", "float16", "bfloat16")
AWARE = AwareConfig(epochs=1, learning_rate=1e-3)

# What is asked of `quantize`, and which of its candidates is looked at then.
WAYS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "minmax": ({"method": "minmax", "candidates": ("int8", *WEIGHTS), "control_seconds": 0.0}, ("int8", *WEIGHTS)),
    "entropy": ({"method": "entropy", "control_seconds": 0.0}, ("int8",)),
    "percentile": ({"method": "percentile", "control_seconds": 0.0}, ("int8",)),
    "control": ({"method": "minmax", "allowance": 0.0, "control_seconds": 60.0}, ("int8",)),
    "aware": ({"method": "minmax", "allowance": 0.0, "control_seconds": 0.0, "aware": AWARE}, ("int8-aware",)),
}


@dataclass(frozen=True)
class Cost:
    """Of one candidate of one network."""

    lost: float  # share of the test images that float32 has right and it has not, less the reverse
    bytes: int
    speedup: float  # at the configured batch
    flagged: int  # classes and groups that lose more than the rest, on the validation split


def main() -> None:
    prepare_environment()
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    options = arguments.parse_args()
    line, dataset = load(study.ROOT, RECIPE).line, study.data(RECIPE)
    rows = []
    for family in options.only:
        jobs = [_job(family, seed, line, dataset) for seed in study.SEEDS]
        models = study.trained("quantization", jobs, dataset)
        found: dict[str, list[Cost]] = {}
        for job, model in zip(jobs, models, strict=True):
            for name, cost in _costs(job, model, dataset):
                found.setdefault(name, []).append(cost)
        for name, costs in found.items():
            if len(costs) == len(models):
                rows.append(_row(family, name, costs))
    print(study.report("quantization", "What fewer bits cost and buy", rows))


def _job(family: str, seed: int, line: LineConfig, dataset: Dataset) -> Job:
    network = NetworkConfig.model_validate(FAMILIES[family])
    return Job(f"{family}-{seed}", dataset.card.task, network, seed, EPOCHS, line.training, line.augment)


def _costs(job: Job, model: Model, dataset: Dataset) -> Iterator[tuple[str, Cost]]:
    def train_aware(float32: Model) -> Model:
        aware = aware_job(job, float32, AWARE)
        return study.trained(f"quantization/aware-{job.name}", [aware], dataset)[0]

    for way, (settings, wanted) in WAYS.items():
        folder = study.FOLDER / "quantization" / "made" / f"{job.name}-{way}"
        shutil.rmtree(folder, ignore_errors=True)
        config = QuantizeConfig.model_validate({"calibration_samples": 512, **settings})
        made = quantize(model, dataset, config, folder, train_aware=train_aware)
        exact = _accuracy(made.float32, dataset)
        for name in wanted:
            if name in made.models:
                yield _called(name, way, made), _cost(name, made, exact, dataset)


def _called(name: str, way: str, made: Quantized) -> str:
    facts = made.report.candidate(name).int8
    if way == "control" and facts is not None:
        return "int8, worst layers in float32"
    return f"int8, {way}" if name == "int8" else name


def _cost(name: str, made: Quantized, exact: float, dataset: Dataset) -> Cost:
    report = made.report.candidate(name)
    lost = exact - _accuracy(made.models[name], dataset)
    return Cost(lost, report.bytes, report.speedup, len(report.flagged))


def _accuracy(model: Model, dataset: Dataset) -> float:
    samples = load_split(dataset, "test")
    answerer = session_answerer(open_session(model, 2))
    return judge(tasks.get(dataset.card.task), answerer, samples, dataset.card, batch=500).primary


def _row(family: str, name: str, costs: list[Cost]) -> dict[str, object]:
    return {
        "network": family,
        "candidate": name,
        "loss, pp": study.spread([cost.lost for cost in costs]),
        "kB": f"{statistics.mean(cost.bytes for cost in costs) / 1000:.0f}",
        "speed-up at 64": f"{statistics.median(cost.speedup for cost in costs):.2f}",
        "classes that lose more": sum(cost.flagged for cost in costs),
    }


if __name__ == "__main__":
    main()
