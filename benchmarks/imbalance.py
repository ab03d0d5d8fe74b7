"""What helps against classes of very different sizes: the pipeline's own loop on long-tailed Fashion-MNIST.

    python -m benchmarks.imbalance [--output FOLDER] [--processes N]

The classes of the training part follow an exponential profile (Cui et al. 2019): the largest has 1,000 images, the
smallest 1,000 / ratio. Which class is how large is drawn anew for each seed, since Fashion-MNIST's classes are not
equally hard. Every method takes as many steps of the optimizer as every other, at every ratio. Tested is on all of the
10,000 published test images, 1,000 a class, by the weights after the last epoch: nothing is chosen by what is measured.

Prints the tables and writes `imbalance.json` and `imbalance-tables.md` to the folder. A run that `imbalance.json` has
is not made again. Figures and what follows from them: `benchmarks/imbalance.md`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.machine import ROOT, describe, show
from components.artifacts import DatasetCard, ImageSpec
from components.config import AugmentConfig, FashionMnistSource, ImbalanceConfig, NetworkConfig, TrainingConfig
from components.data.sources import fashion_mnist
from components.environment import prepare_environment
from components.files import writing
from components.inputs.image import decode
from components.tasks import registry as tasks
from components.tasks.asking import ask
from components.tasks.network import torch_answerer
from components.training.jobs.imbalance import balance_of
from components.training.jobs.job import Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data
from components.training.reading.sampling import Epochs

RATIOS = (1, 10, 100)
SEEDS = (0, 1, 2)
LARGEST = 1_000  # images of the largest class: 10,000 in all at ratio 1, 2,480 at ratio 100
VALIDATION = 10  # images a class that the loop watches; nobody chooses by them
STEPS = 1_400  # of each run: 9 epochs at ratio 1, where they reach 88.8 %; twice as many reach 90.3 %
BATCH = 64
TAIL = 3  # the smallest classes, whose recall is given besides
TEST_BATCH = 500

# The second value: the share of the steps (not of the epochs, which are longer when over-sampled) that is natural.
METHODS: dict[str, tuple[dict[str, Any], float]] = {
    "natural": ({}, 0.0),
    "over": ({"sampling": "over"}, 0.0),
    "under": ({"sampling": "under"}, 0.0),
    "weighted": ({"loss": "weighted"}, 0.0),
    "focal": ({"loss": "focal"}, 0.0),
    "balanced-softmax": ({"loss": "balanced-softmax"}, 0.0),
    "weighted, deferred 0.5": ({"loss": "weighted"}, 0.5),
    "weighted, deferred 0.8": ({"loss": "weighted"}, 0.8),
    "over, deferred 0.8": ({"sampling": "over"}, 0.8),
    "smote": ({"sampling": "smote"}, 0.0),
}
# With classes of one size all weights are 1 and every sample is shown once: the others are natural there.
DIFFER_AT_RATIO_1 = ("natural", "focal", "smote")

SHOWN = {
    "accuracy": "accuracy",
    "worst_class_recall": "worst class",
    "tail_recall": f"{TAIL} smallest",
    "accuracy_at_training_frequencies": "as trained",
    "calibration_error": "calibration error",
}


@dataclass(frozen=True)
class Samples:
    """Images `(N, H, W, C)` and their classes `(N,)`."""

    ids: np.ndarray[Any, Any]
    inputs: np.ndarray[Any, Any]
    targets: np.ndarray[Any, Any]
    groups: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)  # nobody is compared

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, positions: np.ndarray[Any, Any]) -> Samples:
        return Samples(self.ids[positions], self.inputs[positions], self.targets[positions])


@dataclass(frozen=True)
class Run:
    """One training."""

    ratio: int
    seed: int
    method: str

    @property
    def name(self) -> str:
        return f"ratio {self.ratio}, seed {self.seed}, {self.method}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--output", type=Path, default=ROOT / ".convoy" / "benchmarks")
    arguments.add_argument("--processes", type=int, default=2, help="trainings side by side, each on one thread")
    options = arguments.parse_args()
    prepare_environment()
    fashion()  # downloaded, if need be, by one process
    stored = options.output / "imbalance.json"
    results: dict[str, dict[str, Any]] = json.loads(stored.read_text("utf-8"))["runs"] if stored.is_file() else {}
    runs = [
        Run(ratio, seed, method)
        for seed in SEEDS
        for ratio in reversed(RATIOS)
        for method in METHODS
        if ratio > 1 or method in DIFFER_AT_RATIO_1
    ]
    missing = [run for run in runs if run.name not in results]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=spawn, initializer=prepare_environment) as pool:
        pending = {pool.submit(measure, run): run for run in missing}
        for future in as_completed(pending):
            run, results[pending[future].name] = pending[future], future.result()
            print(run.name, {name: round(value, 4) for name, value in results[run.name].items()}, flush=True)
            document = {"machine": describe(), "steps": STEPS, "largest": LARGEST, "runs": results}
            with writing(stored) as temporary:
                temporary.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    with writing(options.output / "imbalance-tables.md") as temporary:
        temporary.write_text("\n\n".join(report(ratio, results) for ratio in RATIOS) + "\n", encoding="utf-8")


# -- data -----------------------------------------------------------------------------------------------------------


@cache
def fashion() -> tuple[Samples, Samples]:
    """The published training and test images, once a process."""
    spec = ImageSpec(height=28, width=28, channels=1, mean=(0.0,), std=(1.0,))
    table = pa.concat_tables(fashion_mnist.read(FashionMnistSource(kind="fashion-mnist"), ROOT).tables)
    everything = Samples(
        np.array(table.column("id").to_pylist()),
        np.stack([decode(content, spec) for content in table.column("image").to_pylist()]),
        table.column("target").to_numpy().astype(np.int64),
    )
    published = np.array(table.column("published").to_pylist())
    return everything.take(np.flatnonzero(published == "train")), everything.take(np.flatnonzero(published == "test"))


def class_sizes(ratio: int, seed: int) -> np.ndarray[Any, Any]:
    """Training images a class: from 1,000 down to 1,000 / ratio, by equal factors, in a seeded order."""
    classes = len(fashion_mnist.CLASSES)
    sizes = np.round(LARGEST * ratio ** (-np.arange(classes) / (classes - 1))).astype(int)
    return np.random.default_rng(seed).permutation(sizes)


def long_tailed(ratio: int, seed: int) -> Data:
    """A validation split is drawn first, and from what is left the long-tailed training split."""
    published, _ = fashion()
    random = np.random.default_rng(seed + 1_000)
    validation, training = [], []
    for label, size in enumerate(class_sizes(ratio, seed)):
        mixed = random.permutation(np.flatnonzero(published.targets == label))
        validation.append(mixed[:VALIDATION])
        training.append(mixed[VALIDATION : VALIDATION + size])
    train_split = published.take(np.sort(np.concatenate(training)))
    watched = published.take(np.sort(np.concatenate(validation)))
    scaled = train_split.inputs / 255.0
    card = DatasetCard(
        name="fashion-mnist-long-tailed",
        task="classification",
        classes=fashion_mnist.CLASSES,
        groups=(),
        input=ImageSpec(height=28, width=28, channels=1, mean=(float(scaled.mean()),), std=(float(scaled.std()),)),
        splits={"train": len(train_split), "validation": len(watched)},
        fingerprint=f"ratio {ratio}, seed {seed}",
    )
    return Data(card, card.fingerprint, train_split, watched)


# -- one training ---------------------------------------------------------------------------------------------------


def measure(run: Run) -> dict[str, float]:
    """Train, and judge by the test images."""
    torch.set_num_threads(1)
    data = long_tailed(run.ratio, run.seed)
    job = job_of(run, data)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        network = train(job, data, Path(folder))
    seconds = time.perf_counter() - started
    _, test = fashion()
    task = tasks.get("classification")
    predictions = ask(task, torch_answerer(task, network), test, data.card, batch=TEST_BATCH, split="test")
    sizes = class_sizes(run.ratio, run.seed)
    tail = np.isin(test.targets, np.argsort(sizes, kind="stable")[:TAIL])
    # All alike; the smallest classes alone; each class as often as in the training split.
    weights = np.stack([np.ones(len(test)), tail, sizes[test.targets]]).astype(np.float64)
    measured = task.measure(predictions, weights)
    figures = {name: float(values[0]) for name, values in measured.items()}
    return {
        **figures,
        "tail_recall": float(measured["accuracy"][1]),
        "accuracy_at_training_frequencies": float(measured["accuracy"][2]),
        "epochs": float(job.epochs),
        "seconds": seconds,
    }


def job_of(run: Run, data: Data) -> Job:
    """The run's job, with as many epochs as come closest to `STEPS` steps."""
    changes, natural_share = METHODS[run.method]

    def job(epochs: int, deferred: float) -> Job:
        # Of two kinds of epochs, the one that is not deferred comes alone where `deferred` is 0.
        imbalance = ImbalanceConfig.model_validate({**changes, "deferred": deferred})
        return Job(
            name="network",
            task="classification",
            network=NetworkConfig(name="residual", arguments={"width": 16, "stride": 2}),
            seed=run.seed,
            epochs=epochs,
            training=TrainingConfig(batch_size=BATCH, learning_rate=4e-3, imbalance=imbalance),
            augment=AugmentConfig(crop=1, flip=0.5),
        )

    balance = balance_of(job(1, 0.0), tasks.get("classification"), data.train.targets, data.card.classes)
    steps = Epochs(1, len(data.train.targets), BATCH, run.seed, balance).steps(1)
    natural_steps = Epochs(1, len(data.train.targets), BATCH, run.seed).steps(1)
    natural = round(natural_share * STEPS / natural_steps)
    balanced = max(1, round((1 - natural_share) * STEPS / steps))
    return job(natural + balanced, natural / (natural + balanced))


# -- tables ---------------------------------------------------------------------------------------------------------


def report(ratio: int, results: dict[str, dict[str, Any]]) -> str:
    """Print one ratio's table, and return it as Markdown: mean ± deviation over the seeds, in percent."""

    def values(method: str, figure: str) -> np.ndarray[Any, Any]:
        return np.array([100 * results[Run(ratio, seed, method).name][figure] for seed in SEEDS])

    rows = []
    for method in METHODS if ratio > 1 else DIFFER_AT_RATIO_1:
        cells = [f"{values(method, name).mean():.1f} ± {values(method, name).std(ddof=1):.1f}" for name in SHOWN]
        # Seeds differ in which classes are small: what a method gains is seen seed by seed.
        gained = values(method, "accuracy") - values("natural", "accuracy")
        cells.append("" if method == "natural" else f"{gained.mean():+.1f} ± {gained.std(ddof=1):.1f}")
        rows.append((method, *cells))
    columns = ("method", *SHOWN.values(), "accuracy − natural's")
    title = f"ratio {ratio}: {class_sizes(ratio, 0).sum():,} training images, smallest class {LARGEST // ratio:,}"
    show(title, columns, rows)
    marks = "|---|" + "---:|" * (len(columns) - 1)
    lines = [f"### {title[0].upper()}{title[1:]}", "", "| " + " | ".join(columns) + " |", marks]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


if __name__ == "__main__":
    main()
