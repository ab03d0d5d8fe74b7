"""What the studies of small networks share: a data set of the project, training by the pipeline's packages, and tables.

A training that was interrupted goes on where it was, and one that is finished is not made again: state and models are
in `.convoy/benchmarks/`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.machine import ROOT, describe, show
from components.artifacts import Dataset, Model, Split
from components.config import load
from components.data import versions
from components.data.reading.loading import load_split
from components.files import replacing, writing
from components.models.network import load_network
from components.tasks import registry as tasks
from components.tasks.asking import ask, primary
from components.tasks.network import torch_answerer
from components.training.cluster import conductor as cluster_conductor
from components.training.jobs.job import Event, Job
from components.training.loop.loop import train
from components.training.processes.workers import Workers

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
FOLDER = ROOT / ".convoy" / "benchmarks"


def options(description: str | None, ways: Iterable[str], *, epochs: int) -> argparse.Namespace:
    """The command line that the studies share: which ways, on what, how long and how often."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(ways), choices=list(ways))
    parser.add_argument("--recipe", default="fashion-mnist-fast", help="whose data set and training are taken")
    parser.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="a key of line:")
    parser.add_argument("--images", type=int, help="of each split at most, drawn at random; by default all")
    parser.add_argument("--epochs", type=int, default=epochs, help="of a training")
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


def data(recipe: str | None, images: int | None = None) -> Dataset:
    """The recipe's data set, as DVC has it; with `images`, a seeded draw of at most so many from each of its splits.

    What its images are normalised by stays what it was.
    """
    log = ROOT / ".convoy" / "logs" / "benchmark.log"
    dataset = versions.reproduce(ROOT, load(ROOT, recipe).line.dataset, log=log)
    if images is None:
        return dataset
    folder = FOLDER / "data" / f"{dataset.card.name}-{images}"
    with replacing(folder) as temporary:
        splits = {}
        for split in SPLITS:
            rows = dataset.table(split)
            drawn = np.sort(np.random.default_rng(0).permutation(len(rows))[:images])
            pq.write_table(rows.take(pa.array(drawn)), temporary / f"{split}-00000.parquet")
            splits[str(split)] = len(drawn)
        card = dataset.card.model_copy(update={"splits": splits})
        (temporary / "dataset.json").write_text(card.to_json(), encoding="utf-8")
    return Dataset.load(folder)


def trained(study: str, jobs: Sequence[Job], dataset: Dataset) -> list[Model]:
    """The models of the jobs, or the snapshots they leave, in order; a line for each training that is finished.

    All in this process and on one thread: for networks that train in seconds, starting workers takes longer.
    """
    storage = FOLDER / study / "storage"
    torch.set_num_threads(1)
    folders = [cluster_conductor.folder_of(storage, job, dataset.digest) for job in jobs]
    plan = cluster_conductor.Plan(
        jobs=tuple(zip(jobs, folders, strict=True)),
        dataset=dataset.folder,
        digest=dataset.digest,
        storage=storage,
        decoded=storage / "decoded",
        token="",
        workers=(1, 1),
        cpus_per_worker=1,
        use_gpu=False,
        max_failures=0,
    )
    models = []
    for job, folder in plan.jobs:
        if not cluster_conductor.is_finished(folder):
            data = cluster_conductor.data_of(plan, job, dataset, Workers(), print)
            network = train(job, data, folder, on_event=_tell)
            cluster_conductor.keep(plan, job, dataset, network, folder)
        models += [Model.load(cluster_conductor.model_of(folder, name)) for name in job.snapshots]
        if not job.snapshots:
            models.append(Model.load(folder / "model"))
    return models


def _tell(event: Event) -> None:
    if event.kind == "epoch" and event.epoch == event.epochs:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in event.metrics.items() if "accuracy" in name)
        print(f"{event.job}: {figures}", flush=True)


def on_test(model: Model, dataset: Dataset) -> float:
    """The task's primary metric on the test split."""
    task = tasks.of(dataset.card)
    samples = load_split(dataset, "test")
    return primary(task, ask(task, torch_answerer(task, load_network(model)), samples, dataset.card, batch=500))


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation of shares, in per cent."""
    return _said(values, "")


def gain(values: Sequence[float], others: Sequence[float]) -> str:
    """Mean ± standard deviation of paired differences of shares, in percentage points."""
    differences = [value - other for value, other in zip(values, others, strict=True)]
    return _said(differences, "+")


def _said(values: Sequence[float], sign: str) -> str:
    mean = f"{100 * statistics.mean(values):{sign}.2f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.stdev(values):.2f}"


def report(study: str, title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Show the table, and write it in Markdown to `.convoy/benchmarks/STUDY.md`."""
    columns = list(rows[0])
    show(title, columns, [[row[column] for column in columns] for row in rows])
    lines = [columns, ["---"] * len(columns), *([str(row[column]) for column in columns] for row in rows)]
    target = FOLDER / f"{study}.md"
    with writing(target) as temporary:
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        temporary.write_text(f"{title}. {describe()}.\n\n{text}\n", encoding="utf-8")
    print(target, flush=True)
