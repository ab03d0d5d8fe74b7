"""Images a second of the pipeline's training loop, on Ray, against two loops written by hand in plain PyTorch.

    python -m benchmarks.training [--recipe NAME] [-S KEY=VALUE …] [--rounds N]

All three train the first member's network on its data, with its batch size, optimizer and augmentation, on all cores;
they take turns, and the ratios are medians over the rounds. Its value is that of its last epoch, as it reports
it. Goals on a CPU with bf16: at least 2.3 times plain fp32, at least 0.97 times the hand-written bf16 loop; the first
batch at most 10 s after `fit` was called; three members in at most three times the time of one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from benchmarks.machine import ROOT, show
from components import config
from components.artifacts import Dataset
from components.augment.policy import augment
from components.config import Recipe
from components.data import versions
from components.data.reading.loading import load_split
from components.environment import prepare_environment
from components.models.registry import build
from components.training.cluster import fitting as cluster
from components.training.cluster import starting as cluster_ray
from components.training.jobs.job import Event, Job

STEPS, WARM_UP = 100, 10  # of the loops by hand: some seconds, after the first allocations


def main() -> None:
    prepare_environment()
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--recipe", default=None, help="a recipe; by default params.yaml as it stands")
    arguments.add_argument("-S", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    settings = config.load(ROOT, options.recipe, options.overrides)
    dataset = versions.reproduce(ROOT, settings.line.dataset, log=ROOT / ".convoy" / "logs" / "benchmark.log")

    measured: dict[str, list[float]] = {"line": [], "plain": [], "by hand": []}
    starts, whole = list[float](), list[float]()
    for number in range(1, options.rounds + 1):
        found = line(settings, dataset, 1)
        measured["line"].append(found.images_per_second)
        starts.append(found.start)
        whole.append(found.seconds)
        measured["plain"].append(by_hand(settings, dataset, short=False))
        measured["by hand"].append(by_hand(settings, dataset, short=True))
        rates = ", ".join(f"{key} {values[-1]:,.0f}" for key, values in measured.items())
        print(
            f"round {number} of {options.rounds}: {rates} images/s; first batch after {found.start:.1f} s", flush=True
        )
    one, three = statistics.median(whole), line(settings, dataset, 3).seconds
    cluster_ray.stop()

    def ratio(other: str) -> str:
        ratios = [ours / theirs for ours, theirs in zip(measured["line"], measured[other], strict=True)]
        return f"{statistics.median(ratios):.2f}  ({min(ratios):.2f} – {max(ratios):.2f})"

    names = {"line": "the line, on Ray", "plain": "plain PyTorch, fp32", "by hand": "by hand: bf16, channels last"}
    show(
        f"training {settings.line.members.networks[0].name} {settings.line.members.networks[0].arguments}, "
        f"batch {settings.line.training.batch_size}",
        ("loop", "images/s (median)", "line ÷ this (least – most)"),
        [(names[key], f"{statistics.median(values):,.0f}", ratio(key)) for key, values in measured.items()],
    )
    show(
        "around the loop",
        ("", "figure"),
        [
            ("from fit to the first batch, s (least – most)", f"{min(starts):.1f} – {max(starts):.1f}"),
            ("three members ÷ one, whole fits", f"{three:.0f} s ÷ {one:.0f} s = {three / one:.2f}"),
        ],
    )


@dataclass(frozen=True)
class Fit:
    """What one call of `fit` took, Ray running already but for the first."""

    images_per_second: float  # of the last epoch, as the pipeline reports it
    start: float  # seconds from the call to the first batch
    seconds: float  # of all of it


def line(settings: Recipe, dataset: Dataset, members: int) -> Fit:
    """Train so many members afresh, in a worker group of their own, on splits that are decoded already."""
    wanted = [
        Job(
            name=f"benchmark-{seed}",
            task=dataset.card.task,
            network=settings.line.members.networks[0],
            seed=seed,
            epochs=2,
            training=settings.line.training,
            augment=settings.line.augment,
        )
        for seed in range(members)
    ]
    decoded = ROOT / ".convoy" / "decoded"
    events, first, began = list[Event](), list[float](), time.perf_counter()

    def listen(event: Event) -> None:
        events.append(event)
        if event.kind == "progress" and not first:
            first.append(time.perf_counter() - began - event.seconds)

    with tempfile.TemporaryDirectory() as folder:
        storage, output = Path(folder) / "s", Path(folder) / "o"
        cluster.fit(wanted, dataset, storage=storage, output=output, decoded=decoded, on_event=listen)
    rates = [event.images_per_second for event in events if event.kind == "epoch"]
    return Fit(rates[-1], first[0], time.perf_counter() - began)


def by_hand(settings: Recipe, dataset: Dataset, *, short: bool) -> float:
    """Images a second of a loop written for this network alone; `short` numbers are bf16, channels last."""
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    training = settings.line.training
    arrays = load_split(dataset, "train")
    images = torch.from_numpy(arrays.inputs).permute(0, 3, 1, 2).contiguous()
    targets = torch.from_numpy(arrays.targets).long()
    layout = torch.channels_last if short else torch.contiguous_format
    network = build(settings.line.members.networks[0], dataset.card.input, len(dataset.card.classes)).to(
        memory_format=layout
    )
    optimizer = torch.optim.AdamW(network.parameters(), training.learning_rate, weight_decay=training.weight_decay)
    loss_of = nn.CrossEntropyLoss(label_smoothing=training.label_smoothing)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images))
    began = 0.0
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            began = time.perf_counter()
        start = step * training.batch_size % (len(images) - training.batch_size)
        chosen = order[start : start + training.batch_size]
        batch, truth = augment(images[chosen].float() / 255.0, targets[chosen], settings.line.augment, generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=short):
            loss = loss_of(network(batch.contiguous(memory_format=layout)).float(), truth)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return STEPS * training.batch_size / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
