"""What the networks on the way are worth, on the same samples and in the same minutes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from components.artifacts import Dataset, Model
from components.compress.pruning.report import PruningReport, Round
from components.compress.quantization.measuring import loss, measured
from components.data.reading.loading import load_split
from components.export.export import export
from components.models.network import load_network
from components.models.size import size
from components.runtimes.execution import Timings, compare_latency, open_session
from components.tasks import registry as tasks
from components.tasks.asking import ask, primary
from components.tasks.network import torch_answerer

BATCH = 64  # at which engines are near their best on a CPU
THREADS = 1


def report_on(
    kind: str, unpruned: Model, cuts: Sequence[Model], trained: Sequence[Model], dataset: Dataset
) -> PruningReport:
    """The unpruned network and that of each round, which was cut as `cuts` says and then trained."""
    task, samples = tasks.of(dataset.card), load_split(dataset, "validation")
    one, many = timed([unpruned, *trained], (1, BATCH))
    exact = measured(task, ask(task, torch_answerer(task, load_network(unpruned)), samples, dataset.card))
    rounds = []
    for number, (model, start) in enumerate(zip((unpruned, *trained), (None, *cuts), strict=True)):
        network = load_network(model)
        answerer = torch_answerer(task, network)
        own = measured(task, ask(task, answerer, samples, dataset.card)) if number else exact
        counted = size(network, model.card.input)
        untrained = None
        if start is not None:
            untrained = primary(task, ask(task, torch_answerer(task, load_network(start)), samples, dataset.card))
        rounds.append(
            Round(
                round=number,
                parameters=counted.parameters,
                nonzero=sum(int(torch.count_nonzero(parameter)) for parameter in network.parameters()),
                macs=counted.macs,
                compressed_bytes=len(zlib.compress(model.weights.read_bytes())),
                latency=tuple(timings.figures(str(number)) for timings in (one, many)),
                speedup=one.speedup(str(number), over="0"),
                batch_speedup=many.speedup(str(number), over="0"),
                untrained=untrained,
                metric=own.figure,
                loss=loss(task, exact, own),
            )
        )
    metric = task.spec.primary
    return PruningReport(kind=kind, metric=metric.name, unit=metric.unit, samples=len(samples), rounds=tuple(rounds))


def timed(models: Sequence[Model], batches: Sequence[int]) -> tuple[Timings, ...]:
    """The models' float32 graphs in turns, at each batch; their names are their places: "0", "1", …"""
    with TemporaryDirectory() as folder:
        sessions = {
            str(number): open_session(export(model, Path(folder) / str(number)), THREADS)
            for number, model in enumerate(models)
        }
        return tuple(compare_latency(sessions, batch, THREADS) for batch in batches)
