"""A group of real processes (gloo) in which every worker runs the loop, without Ray."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing

from components.models.network import save_weights
from components.training.job import Event, Job
from components.training.loop import train
from components.training.surroundings import Data
from components.training.workers import Workers


def train_together(jobs: Sequence[Job], data: Data, folder: Path, count: int) -> None:
    """Train each job by `count` processes; `folder/NAME` gets its weights and history, twice.

    The second time, in `folder/NAME-resumed`, training goes on from a copy of what was stored after the first epoch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    multiprocessing.spawn(_work, (list(jobs), data, folder, count), nprocs=count)


def _work(rank: int, jobs: list[Job], data: Data, folder: Path, count: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / f'meeting-{count}'}", rank=rank, world_size=count)
    workers = Workers(rank, count)
    for job in jobs:
        first, second = folder / job.name, folder / f"{job.name}-resumed"

        def keep(event: Event, first: Path = first, second: Path = second) -> None:
            if event.kind == "epoch" and event.epoch == 1:
                shutil.copytree(first / "state", second / "state")

        _train(job, data, first, workers, keep)
        _train(job, data, second, workers, lambda event: None)
    dist.destroy_process_group()


def _train(job: Job, data: Data, folder: Path, workers: Workers, on_event: Callable[[Event], Any]) -> None:
    history: list[dict[str, Any]] = []

    def listen(event: Event) -> None:
        on_event(event)
        if event.kind == "epoch":
            history.append({"epoch": event.epoch, **event.metrics})

    network = train(job, data, folder / "state", workers=workers, on_event=listen)
    if workers.first:
        save_weights(network, folder)
        (folder / "history.json").write_text(json.dumps(history))
    workers.from_first(None)
