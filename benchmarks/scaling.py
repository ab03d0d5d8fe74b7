"""What more workers are worth: measured for two on this machine, foretold for many by a model of what they send.

    python -m benchmarks.scaling [--rounds N] [--images N]

Measured: images a second of the loop by one process and by two data-parallel ones (gloo), in turns. Strong scaling
shares one global batch between them, weak scaling gives each as much as one had. Goal: two workers of one thread are
at least as fast as one process of two threads at a global batch of 512.

Foretold: a step of N workers takes its arithmetic and a ring all-reduce of its gradients,
2·(N − 1)·latency + 2·(N − 1)/N · bytes/bandwidth (Thakur et al. 2005). Latency and bandwidth are fitted to measured
all-reduces between two processes here; the same is said for two networks of today, whose figures are assumed.
Efficiency is given without any overlap of sending and arithmetic, and with as much as there can be: gradients travel
while the backward pass goes on, which is two thirds of a step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import multiprocessing

from benchmarks.machine import ROOT, show
from components import config
from components.artifacts import Dataset
from components.config import NetworkConfig
from components.data import versions
from components.data.reading.loading import load_split
from components.environment import prepare_environment
from components.models.registry import build
from components.training.jobs.job import Event, Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data
from components.training.processes.workers import Workers

BATCH = 512
SIZES = [2**power for power in range(10, 25, 2)]  # bytes that are all-reduced
REPEATS = 20
WORKERS = (8, 64, 512)
LOCAL_BATCH = 64  # of the foretold steps
OVERLAP = 2 / 3  # of a step is its backward pass, during which gradients can travel
NETWORKS = {
    "residual, width 16": NetworkConfig(name="residual", arguments={"width": 16}),
    "residual, width 64": NetworkConfig(name="residual", arguments={"width": 64}),
    "torchvision resnet50, 64×64": NetworkConfig(name="torchvision:resnet50"),
}
# Assumed, not measured: latency in seconds, bandwidth in bytes a second of one connection.
ASSUMED = {"10 Gbit Ethernet": (50e-6, 1.1e9), "100 Gbit InfiniBand": (3e-6, 11e9)}


@dataclass(frozen=True)
class Way:
    """How a training is laid over this machine."""

    name: str
    workers: int
    threads: int
    batch: int  # over all workers


WAYS = (
    Way("one process, two threads", 1, 2, BATCH),
    Way("two workers of one thread", 2, 1, BATCH),
    Way("one worker of one thread", 1, 1, BATCH),
    Way("one worker of one thread, half the batch", 1, 1, BATCH // 2),
)


@dataclass(frozen=True)
class Link:
    """Between two workers: seconds before the first byte, and bytes a second."""

    latency: float
    bandwidth: float

    def all_reduce(self, size: int, workers: int) -> float:
        """Seconds of a ring all-reduce of `size` bytes."""
        steps = 2 * (workers - 1)
        return steps * self.latency + steps / workers * size / self.bandwidth

    def efficiency(self, size: int, workers: int, seconds: float, overlap: float) -> float:
        """Images a second a worker, in those of one that is alone: a step's arithmetic takes `seconds`."""
        waited = max(0.0, self.all_reduce(size, workers) - overlap * seconds)
        return seconds / (seconds + waited)


def main() -> None:
    prepare_environment()
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--images", type=int, default=20_480)
    options = arguments.parse_args()
    settings = config.load(ROOT, None)
    dataset = versions.reproduce(ROOT, settings.line.dataset, log=ROOT / ".convoy" / "logs" / "benchmark.log")
    job = Job(
        name="scaling",
        task=dataset.card.task,
        network=settings.line.members.networks[0],
        seed=0,
        epochs=2,
        training=settings.line.training,
        augment=settings.line.augment,
    )
    data = cut(dataset, options.images)
    rates: dict[Way, list[float]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            rates[way].append(images_a_second(job, data, way))
    measured(rates)
    foretold(data)


def cut(dataset: Dataset, images: int) -> Data:
    """The first `images` of the training split, and few of the validation split."""
    loaded = load_split(dataset, "train"), load_split(dataset, "validation")
    parts = [
        replace(split, ids=split.ids[:count], inputs=split.inputs[:count], targets=split.targets[:count])
        for split, count in zip(loaded, (images, 256), strict=True)
    ]
    return Data(dataset.card, dataset.digest, *parts)


# -- measured --------------------------------------------------------------------------------------------------------


def images_a_second(job: Job, data: Data, way: Way) -> float:
    """Of the second epoch, over all workers."""
    training = job.training.model_copy(update={"batch_size": way.batch, "workers": way.workers})
    with tempfile.TemporaryDirectory() as folder:
        wanted = replace(job, training=training)
        multiprocessing.spawn(_train, (wanted, data, Path(folder), way), nprocs=way.workers)
        return float(json.loads((Path(folder) / "rate.json").read_text(encoding="utf-8")))


def _train(rank: int, job: Job, data: Data, folder: Path, way: Way) -> None:
    torch.set_num_threads(way.threads)
    if way.workers > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=way.workers)
    events: list[Event] = []
    train(job, data, folder / "state", workers=Workers(rank, way.workers), on_event=events.append)
    if rank == 0:
        rate = [event.images_per_second for event in events if event.kind == "epoch"][-1]
        (folder / "rate.json").write_text(json.dumps(rate), encoding="utf-8")
    if way.workers > 1:
        dist.destroy_process_group()


def measured(rates: dict[Way, list[float]]) -> None:
    process, two, one, half = (rates[way] for way in WAYS)
    ratios = {
        "one process, two threads": process,
        "strong scaling: one worker, the same batch": one,
        "weak scaling: one worker, half the batch": half,
    }
    rows = [
        (way.name, way.batch, f"{statistics.median(found):,.0f}", f"{min(found):,.0f} – {max(found):,.0f}")
        for way, found in rates.items()
    ]
    show("measured", ("way", "global batch", "images/s (median)", "least – most"), rows)
    compared = []
    for name, other in ratios.items():
        each = [ours / theirs for ours, theirs in zip(two, other, strict=True)]
        compared.append((name, f"{statistics.median(each):.2f}", f"{min(each):.2f} – {max(each):.2f}"))
    show("two workers ÷", ("", "median", "least – most"), compared)


# -- foretold --------------------------------------------------------------------------------------------------------


def all_reduces() -> dict[int, float]:
    """Median seconds of an all-reduce between two processes, by its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_reduce, (Path(folder),), nprocs=2)
        found = json.loads((Path(folder) / "times.json").read_text(encoding="utf-8"))
    return {int(size): float(seconds) for size, seconds in found.items()}


def _reduce(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    times: dict[int, float] = {}
    for size in SIZES:
        tensor, found = torch.ones(size // 4), []
        for _ in range(REPEATS):
            dist.barrier()
            began = time.perf_counter()
            dist.all_reduce(tensor)
            found.append(time.perf_counter() - began)
        times[size] = statistics.median(found)
    if rank == 0:
        (folder / "times.json").write_text(json.dumps(times), encoding="utf-8")
    dist.destroy_process_group()


def fitted(times: dict[int, float]) -> Link:
    """The link of two for which times are 2·latency + bytes/bandwidth, by least squares of relative errors."""
    sizes, seconds = np.array(list(times)), np.array(list(times.values()))
    columns = np.stack([np.full(len(sizes), 2.0), sizes], axis=1) / seconds[:, None]
    (latency, inverse), *_ = np.linalg.lstsq(columns, np.ones(len(sizes)), rcond=None)
    return Link(float(max(latency, 0.0)), float(1.0 / inverse))


def step_seconds(network: torch.nn.Module, images: torch.Tensor) -> float:
    """Median seconds of forward, backward and nothing else on this machine's cores."""
    found = []
    for _ in range(5):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            network(images).float().logsumexp(1).mean().backward()
        found.append(time.perf_counter() - began)
    return statistics.median(found[1:])


def foretold(data: Data) -> None:
    times = all_reduces()
    here = fitted(times)
    rows = [
        (f"{size:,}", f"{seconds * 1e6:,.0f}", f"{here.all_reduce(size, 2) * 1e6:,.0f}")
        for size, seconds in times.items()
    ]
    show(
        f"all-reduce of two processes: fitted {here.latency * 1e6:.0f} µs and {here.bandwidth / 1e9:.2f} GB/s",
        ("bytes", "measured, µs", "fitted, µs"),
        rows,
    )
    links = {"gloo, this machine (fitted)": here, **{name: Link(*link) for name, link in ASSUMED.items()}}
    table: list[Sequence[object]] = []
    for name, wanted in NETWORKS.items():
        inputs = data.card.input.model_copy(update={"height": 64, "width": 64} if "64×64" in name else {})
        network = build(wanted, inputs, 10).to(memory_format=torch.channels_last).train()
        images = torch.rand(LOCAL_BATCH, inputs.channels, inputs.height, inputs.width)
        seconds = step_seconds(network, images.contiguous(memory_format=torch.channels_last))
        size = 4 * sum(p.numel() for p in network.parameters())
        for place, link in links.items():
            each = [
                f"{link.efficiency(size, n, seconds, 0.0):.0%} – {link.efficiency(size, n, seconds, OVERLAP):.0%}"
                for n in WORKERS
            ]
            table.append((f"{name}: {size / 4e6:.2f} M, {seconds * 1e3:.0f} ms", place, *each))
    show(
        f"efficiency foretold at {LOCAL_BATCH} images a worker: without – with overlap",
        ("network: parameters, step here", "link", *(f"{n} workers" for n in WORKERS)),
        table,
    )


if __name__ == "__main__":
    main()
