"""What the studies of small networks share: a data set of the project, training by the line's own rooms, and tables.

A training that was interrupted goes on where it was, and one that is finished is not made again: state and models are
in `.convoy/benchmarks/`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.machine import ROOT, describe, show
from components.artifacts import Dataset, Model, writing
from components.compress.judge import judge, torch_answerer
from components.config import load
from components.data import versions
from components.data.reading.loading import load_split
from components.models.network import load_network
from components.tasks import registry as tasks
from components.training import cluster
from components.training.job import Event, Job

SEEDS = (0, 1, 2)
FOLDER = ROOT / ".convoy" / "benchmarks"


def data(recipe: str | None) -> Dataset:
    """The recipe's data set, as DVC has it."""
    log = ROOT / ".convoy" / "logs" / "benchmark.log"
    return versions.reproduce(ROOT, load(ROOT, recipe).line.dataset, log=log)


def trained(study: str, jobs: Sequence[Job], dataset: Dataset) -> list[Model]:
    """The models of the jobs, all trained by one worker group; a line for each that is finished."""

    def tell(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == event.epochs:
            figures = ", ".join(f"{name} {value:.4f}" for name, value in event.metrics.items() if "accuracy" in name)
            print(f"{event.job}: {figures}", flush=True)

    place = FOLDER / study
    try:
        return cluster.fit(jobs, dataset, storage=place / "storage", output=place / "models", on_event=tell)
    finally:
        cluster.stop()


def on_test(model: Model, dataset: Dataset) -> float:
    """The task's primary metric on the test split."""
    task = tasks.get(dataset.card.task)
    samples = load_split(dataset, "test")
    return judge(task, torch_answerer(task, load_network(model)), samples, dataset.card, batch=500).primary


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation of shares, in per cent."""
    return f"{100 * statistics.mean(values):.2f} ± {100 * statistics.stdev(values):.2f}"


def gain(values: Sequence[float], others: Sequence[float]) -> str:
    """Mean ± standard deviation of paired differences of shares, in percentage points."""
    differences = [value - other for value, other in zip(values, others, strict=True)]
    return f"{100 * statistics.mean(differences):+.2f} ± {100 * statistics.stdev(differences):.2f}"


def report(study: str, title: str, rows: Sequence[Mapping[str, object]]) -> Path:
    """Show the table, and write it in Markdown to `.convoy/benchmarks/STUDY.md`."""
    columns = list(rows[0])
    show(title, columns, [[row[column] for column in columns] for row in rows])
    lines = [columns, ["---"] * len(columns), *([str(row[column]) for column in columns] for row in rows)]
    target = FOLDER / f"{study}.md"
    with writing(target) as temporary:
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        temporary.write_text(f"{title}. {describe()}.\n\n{text}\n", encoding="utf-8")
    return target
