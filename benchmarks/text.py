"""What convolutions over texts are worth beside a linear model of words, and what vectors from a file add (Kim 2014).

    python -m benchmarks.text FOLDER --vectors FILE [--data NAME ...] [--only WAY ...] [--seeds N]

`FOLDER/NAME` has `train.tsv` and `test.tsv` with the columns Category and Text, and FILE is of vectors that have 50
numbers: docs/how-to.md makes them of Reuters, of sentences from film reviews (`rt`) and of GloVe. The data goes through
the pipeline's own stages, with the predefined test split; a twentieth of the training split validates. All learn from
the same texts. Seconds are those of training, on one thread. Figures, and how settings were chosen:
`benchmarks/text.md`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import LinearSVC

from benchmarks import study
from components.artifacts import Dataset, Split
from components.config import AugmentConfig, NetworkConfig, TrainingConfig
from components.data import places
from components.data.stages import stages
from components.environment import prepare_environment
from components.models.weights import pinned
from components.training.cluster.conductor import folder_of
from components.training.jobs.job import Job
from components.training.loop import checkpoint

LINEAR = "linear"
WAYS = {"random": "trained", "static": "frozen", "non-static": "trained", "multichannel": "both"}
LENGTH = 128  # words of a text that count
LENGTHS = {"rt": 64}  # of sentences
DIMENSION = 50
ARGUMENTS = {"dimension": DIMENSION, "width": 128, "kernels": "1,2,3", "dropout": 0.5}
TRAINING = TrainingConfig(batch_size=64, learning_rate=4e-3)
EPOCHS = 10
COSTS = (0.3, 1.0, 3.0)  # of a mistake, and lengths of n-grams: the linear model's are chosen on the validation split
GRAMS = (1, 2)


def main() -> None:
    prepare_environment()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--data", nargs="*", default=["r8", "r52", "rt"])
    parser.add_argument("--only", nargs="*", default=[LINEAR, *WAYS], choices=[LINEAR, *WAYS])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for name in options.data:
        dataset = prepared(name, options.folder / name)
        for way in options.only:
            found, seconds = linear(dataset) if way == LINEAR else learnt(way, dataset, options.vectors, options.seeds)
            rows.append(
                {"data": name, "model": way, "accuracy, %": study.spread(found), "seconds each": f"{seconds:.0f}"}
            )
            print(rows[-1], flush=True)
    study.report("text", "Accuracy on the test split", rows)


def prepared(name: str, folder: Path) -> Dataset:
    """The texts, as the pipeline's stages make them of two tables; made once."""
    project = study.FOLDER / "text" / name
    place = places.prepared(project, name)
    if not (place / "dataset.json").is_file():
        project.mkdir(parents=True, exist_ok=True)
        source = {
            "kind": "manifest",
            "path": str(folder.resolve()),
            "table": {"train": "train.tsv", "test": "test.tsv"},
            "text": "Text",
            "target": "Category",
        }
        entry = {
            "task": "classification",
            "source": source,
            "text": {"unit": "word", "length": LENGTHS.get(name, LENGTH)},
            "split": {"validation": 0.05},
            "checks": {"small_classes": "keep", "leakage": "keep"},
        }
        (project / "params.yaml").write_text(yaml.safe_dump({"datasets": {name: entry}}), encoding="utf-8")
        for stage in ("watch", "ingest", "inspect", "prepare"):
            stages.run(stage, name, project)
    return Dataset.load(place)


def learnt(way: str, dataset: Dataset, vectors: Path, seeds: int) -> tuple[list[float], float]:
    """Accuracies of the networks of one way, a seed each, and the seconds that training one took."""
    network = NetworkConfig(
        name="textcnn",
        arguments={**ARGUMENTS, "vectors": WAYS[way]},
        pretrained=None if way == "random" else f"vectors:{vectors}",
    )
    network = pinned(network, Path)
    jobs = [
        Job(f"{way}-{seed}", dataset.card.task, network, seed, EPOCHS, TRAINING, AugmentConfig())
        for seed in range(seeds)
    ]
    place = f"text/{dataset.card.name}"
    models = study.trained(place, jobs, dataset)
    seconds = [_seconds(folder_of(study.FOLDER / place / "storage", job, dataset.digest)) for job in jobs]
    return [study.on_test(model, dataset) for model in models], statistics.mean(seconds)


def _seconds(folder: Path) -> float:
    """What a finished training took, reading and validation aside."""
    history = checkpoint.read_facts(checkpoint.stored(folder)[-1])["history"]
    return sum(float(epoch["seconds"]) for epoch in history)


def linear(dataset: Dataset) -> tuple[list[float], float]:
    """Accuracy of a linear SVM of TF-IDF over words and, if they help, pairs; and the seconds that fitting took."""
    train, validation, test = (_texts(dataset, split) for split in study.SPLITS)
    fitted: list[tuple[float, float, Pipeline]] = []
    for grams in GRAMS:
        for cost in COSTS:
            began = time.monotonic()
            model = make_pipeline(TfidfVectorizer(sublinear_tf=True, ngram_range=(1, grams)), LinearSVC(C=cost))
            model.fit(*train)
            fitted.append((float(model.score(*validation)), time.monotonic() - began, model))
    _, seconds, best = max(fitted, key=lambda each: each[0])
    return [float(best.score(*test))], seconds


def _texts(dataset: Dataset, split: Split) -> tuple[Sequence[str], npt.NDArray[np.int64]]:
    table = dataset.table(split, ["text", "target"])
    return table.column("text").to_pylist(), table.column("target").to_numpy()


if __name__ == "__main__":
    main()
