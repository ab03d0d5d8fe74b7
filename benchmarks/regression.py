"""What helps a regression against wrong labels and noisy pictures: `python -m benchmarks.regression`.

Scenes of digits, of which the angle of the digits, their size and their number are learnt. A share of the training
labels is replaced by draws from far and wide; pictures get grey noise, or single pixels that are black or white. Every
figure is of clean labels on the test split, three seeds each. What was measured is in `benchmarks/regression.md`.

    python -m benchmarks.regression            # all of it: about half an hour on two cores
    python -m benchmarks.regression --seeds 1 --only squared huber
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.machine import ROOT, describe, show
from components.artifacts import DatasetCard, ImageSpec
from components.config import AugmentConfig, DigitScenesSource, NetworkConfig, TrainingConfig
from components.data.inspection.far_values import far
from components.data.reading.loading import Arrays
from components.data.sources import digit_scenes, digits
from components.files import writing
from components.targets import values
from components.tasks import registry as tasks
from components.tasks.asking import ask
from components.tasks.network import torch_answerer
from components.training.jobs.job import Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data

RESULTS = ROOT / ".convoy" / "benchmarks" / "regression.json"
SOURCE = DigitScenesSource(kind="digit-scenes", scenes=3000, digits=(1, 4), noise=0.1, take="values", tilt=30.0)
SPLITS = {"train": slice(0, 1800), "validation": slice(1800, 2200), "test": slice(2200, 3000)}
EPOCHS, WIDTH, BATCH = 12, 12, 64
SHARES = (0.0, 0.2, 0.4)  # of the training labels that are wrong
WIDE = 10.0  # deviations around the mean from which wrong labels are drawn
# Ways to learn: the loss, whether values far from all others are left out before, the network's arguments.
WAYS = {
    "squared": ("squared", False, {}),
    "absolute": ("absolute", False, {}),
    "huber": ("huber", False, {}),
    "quantile": ("quantile", False, {}),
    "gaussian": ("gaussian", False, {}),
    "squared, far values left out": ("squared", True, {}),
    "squared, dropout 0.2": ("squared", False, {"dropout": 0.2}),
}
NOISES = {"none": (0.0, 0.0), "grey 0.2": (0.2, 0.0), "pixels 10 %": (0.0, 0.1)}  # deviation; share of the pixels
FILTERS = ("none", "median", "gaussian")


@dataclass(frozen=True)
class Run:
    """One training: its way, the share of wrong labels, the pictures' noise and what takes it out, the seed."""

    way: str
    wrong: float
    noise: str
    denoise: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.way} | {self.wrong} | {self.noise} | {self.denoise} | {self.seed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(asked.seeds)
    labels = [Run(way, wrong, "none", "none", seed) for way, wrong, seed in product(asked.only, SHARES, seeds)]
    pictures = [Run("squared", 0.0, noise, kind, seed) for noise, kind, seed in product(NOISES, FILTERS, seeds)]
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    every = list(dict.fromkeys([*labels, *pictures]))
    for number, run in enumerate(every, start=1):
        if run.name not in results:
            results[run.name] = measured(run)
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            with writing(RESULTS) as temporary:
                temporary.write_text(json.dumps(results, indent=1, sort_keys=True), encoding="utf-8")
        print(f"{number}/{len(every)} {run.name}: rmse {results[run.name]['rmse']:.4f} σ", flush=True)
    columns = ["", *(f"{share:.0%} wrong labels" for share in SHARES)]
    rows = [[way, *(cell(results, way, share, "none", "none", seeds) for share in SHARES)] for way in asked.only]
    told = [table("Wrong labels: RMSE on the test split, σ of the clean labels", columns, rows)]
    columns = ["pictures", *(f"denoise: {kind}" for kind in FILTERS)]
    rows = [[noise, *(cell(results, "squared", 0.0, noise, kind, seeds) for kind in FILTERS)] for noise in NOISES]
    told.append(table("Noisy pictures, in training and test", columns, rows))
    with writing(RESULTS.with_suffix(".md")) as temporary:
        temporary.write_text("\n\n".join([f"{describe()}.", *told]) + "\n", encoding="utf-8")


def measured(run: Run) -> dict[str, float]:
    """Train, and judge on clean labels."""
    loss, leave_out, arguments = WAYS[run.way]
    whole = samples(run)
    parts = {name: taken(whole, rows) for name, rows in SPLITS.items()}
    clean = record(parts["train"].targets)
    training = spoilt(parts["train"], run, clean)
    if leave_out:
        kept = ~far(training.targets.astype(np.float64)).any(axis=1)
        training = chosen(training, np.flatnonzero(kept))
    scaled = training.inputs / 255.0
    card = DatasetCard(
        name="scenes",
        task="regression",
        classes=(),
        groups=(),
        input=ImageSpec(height=32, width=32, channels=1, mean=(float(scaled.mean()),), std=(float(scaled.std()),)),
        target=record(training.targets),
        splits={"train": len(training), "validation": len(parts["validation"])},
        fingerprint=run.name,
    )
    job = Job(
        name="network",
        task="regression",
        network=NetworkConfig(name="residual", arguments={"width": WIDTH, "denoise": run.denoise, **arguments}),
        seed=run.seed,
        epochs=EPOCHS,
        training=TrainingConfig(batch_size=BATCH, learning_rate=0.01, loss=loss, precision="float32"),
        augment=AugmentConfig(),
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        network = train(job, Data(card, card.fingerprint, training, parts["validation"]), Path(folder))
    seconds = time.perf_counter() - began
    judge = tasks.of(card.model_copy(update={"target": clean}))  # in deviations of the clean labels
    answers = ask(judge, torch_answerer(judge, network.eval()), parts["test"], card, batch=500)
    figures = judge.measure(answers, np.ones((1, len(parts["test"]))))
    return {**{name: float(value[0]) for name, value in figures.items()}, "seconds": seconds}


def samples(run: Run) -> Arrays:
    """All scenes, as noisy as the run has them; those of a number are the same in every run."""
    known = digits.load()
    scenes = [digit_scenes.compose(SOURCE, number, *known) for number in range(SOURCE.scenes)]
    images = np.stack([scene.image for scene in scenes])[..., None]
    told = np.array([[len(scene.sides), np.mean(scene.sides), scene.angle] for scene in scenes], dtype=np.float32)
    deviation, share = NOISES[run.noise]
    random = np.random.default_rng(0)
    pixels = images / 255.0 + deviation * random.standard_normal(images.shape)
    hit, white = random.random((2, *images.shape))
    pixels = np.where(hit < share, white < 0.5, np.clip(pixels, 0.0, 1.0))
    ids = np.array([f"scene-{number}" for number in range(len(images))])
    return Arrays(ids, np.rint(pixels * 255.0).astype(np.uint8), told, {})


def spoilt(given: Arrays, run: Run, clean: dict[str, object]) -> Arrays:
    """A share of the labels, each value of them, drawn from far and wide."""
    random = np.random.default_rng([7, run.seed])
    wrong = random.random(len(given)) < run.wrong
    known = values.Record.model_validate(clean)
    drawn = np.array(known.mean) + np.array(known.std) * random.uniform(-WIDE, WIDE, given.targets.shape)
    return replace(given, targets=np.where(wrong[:, None], drawn, given.targets).astype(np.float32))


def record(targets: npt.NDArray[np.float32]) -> dict[str, object]:
    import pyarrow as pa

    column = pa.array(targets.astype(np.float64).tolist(), values.TARGET.stored)
    return values.TARGET.record({"names": digit_scenes.VALUES, "units": digit_scenes.UNITS}, [column])


def taken(whole: Arrays, rows: slice) -> Arrays:
    return Arrays(whole.ids[rows], whole.inputs[rows], whole.targets[rows], {})


def chosen(whole: Arrays, rows: npt.NDArray[np.int64]) -> Arrays:
    return Arrays(whole.ids[rows], whole.inputs[rows], whole.targets[rows], {})


def cell(results: dict[str, dict[str, float]], way: str, wrong: float, noise: str, denoise: str, seeds: range) -> str:
    """Mean ± deviation over the seeds."""
    found = [results[Run(way, wrong, noise, denoise, seed).name]["rmse"] for seed in seeds]
    mean = f"{statistics.mean(found):.3f}"
    return mean if len(found) == 1 else f"{mean} ± {statistics.stdev(found):.3f}"


def table(title: str, columns: list[str], rows: list[list[str]]) -> str:
    show(title, columns, rows)
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join([f"### {title}", "", *("| " + " | ".join(line) + " |" for line in lines)])


if __name__ == "__main__":
    main()
