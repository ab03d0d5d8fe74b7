"""A group of real processes (gloo) in which every worker runs the loop, without Ray."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

from components.files import writing
from components.models.network import save_weights
from components.training.jobs.job import Event, Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data
from components.training.processes.rendezvous import Address, process_group
from components.training.processes.workers import Workers


def train_together(jobs: Sequence[Job], data: Data, folder: Path, count: int) -> None:
    """Train each job by `count` processes; `folder/NAME` gets its weights and history, twice.

    The second time, in `folder/NAME-resumed`, training goes on from a copy of what was stored after the first epoch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"meeting-{count}.json").unlink(missing_ok=True)
    multiprocessing.spawn(_work, (list(jobs), data, folder, count), nprocs=count)


def _work(rank: int, jobs: list[Job], data: Data, folder: Path, count: int) -> None:
    torch.set_num_threads(1)
    workers = Workers(rank, count)
    with process_group(workers, "127.0.0.1", Meeting(folder / f"meeting-{count}.json")):
        _train_all(jobs, data, folder, workers)


class Meeting:
    """A file that the first process writes and the others wait for."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __call__(self, address: Address | None) -> Address | None:
        if address is not None:
            with writing(self.place) as temporary:
                temporary.write_text(json.dumps(address))
        while not self.place.exists():
            time.sleep(0.01)
        host, port = json.loads(self.place.read_text())
        return host, port


def _train_all(jobs: list[Job], data: Data, folder: Path, workers: Workers) -> None:
    for job in jobs:
        first, second = folder / job.name, folder / f"{job.name}-resumed"

        def keep(event: Event, first: Path = first, second: Path = second) -> None:
            if event.kind == "epoch" and event.epoch == 1:
                shutil.copytree(first / "state", second / "state")

        _train(job, data, first, workers, keep)
        _train(job, data, second, workers, lambda event: None)


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
