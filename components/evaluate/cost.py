"""What a model costs: parameters, the size of its file, and its speed, of all stages of a run in one go.

Each stage is timed in what executes it: networks in PyTorch, graphs in the engine that serves them. That is said beside
the figure, for a network that becomes a graph grows faster without becoming another.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from components.artifacts import Figure, Model
from components.inputs.registry import noise
from components.models.network import load_network, untrained
from components.models.size import size
from components.runtimes import execution as runtime
from components.runtimes.execution import Answerer
from components.tasks import registry as tasks
from components.tasks.network import torch_answerer

PYTORCH = "pytorch"
SINGLE, MANY = 1, 64  # images at a time: a request, and a batch at which engines are near their best on a CPU
LONGEST = 15.0  # seconds for all stages at one batch, after three rounds: large networks are timed in fewer of them


def executed_by(model: Model) -> str:
    """The engine that executes the model where it is measured; two, where another one answers for batches."""
    if not model.onnx.is_file():
        return PYTORCH
    return ", ".join(dict.fromkeys(engine.name for engine in runtime.serving_runtimes(model)))


def answerer(model: Model, threads: int | None = None) -> Answerer:
    """A model with a graph is asked through it, for that is what will be served; others through PyTorch.

    `threads` are the graph's: PyTorch's belong to the process.
    """
    if model.onnx.is_file():
        return runtime.open_model(model, threads)
    return torch_answerer(tasks.of(model.card), load_network(model))


def weight(model: Model) -> dict[str, Figure]:
    """`parameters` and `macs` (multiply-accumulates per input) of the network, whatever computes them, and `size_bytes`
    of the file that is executed."""
    file = model.onnx if model.onnx.is_file() else model.weights
    counted = size(untrained(model.card), model.card.input)
    return {
        "parameters": Figure(value=float(counted.parameters), unit="parameters"),
        "macs": Figure(value=float(counted.macs), unit="MACs"),
        "size_bytes": Figure(value=float(file.stat().st_size), unit="bytes"),
    }


def speed(models: Mapping[str, Model], *, rounds: int = 15) -> dict[str, dict[str, Figure]]:
    """For each model `latency_ms` (median for one image) and `throughput_64` (images/s, 64 at a time), on one thread.

    They take turns in rounds on the same images, so that what slows the machine slows all of them.
    """
    result: dict[str, dict[str, Figure]] = {name: {} for name in models}
    with _one_thread():
        opened = {name: answerer(model, threads=1) for name, model in models.items()}
        for batch in (SINGLE, MANY):
            calls = {
                name: functools.partial(answer, noise(models[name].card.input, batch))
                for name, answer in opened.items()
            }
            timings = runtime.compare_calls(calls, batch, 1, rounds=rounds, longest=LONGEST)
            for name in models:
                figures = timings.figures(name)
                if batch == MANY:
                    result[name]["throughput_64"] = Figure(value=figures.images_per_second, unit="images/s")
                else:
                    # Quartiles over rounds: how steady the machine was, not a confidence interval of the median.
                    result[name]["latency_ms"] = Figure(
                        value=figures.median_ms, low=figures.low_ms, high=figures.high_ms, unit="ms"
                    )
    return result


@contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch on one thread, as the graphs are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
