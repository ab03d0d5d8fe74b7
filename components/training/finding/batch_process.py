"""The process in which batches are measured, and the wire to it. One process measures ascending sizes: its greatest
use of memory so far is then that of the last one; for a smaller size, or after an accident, there is a new one.

Left to `batch`: which sizes, and what the figures mean.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from components.artifacts import Dataset
from components.data.reading.loading import layout_of
from components.training.jobs.job import Job, TrainingError

WARM_UP = 2  # steps that are not timed: the first allocates, the second may still choose its kernels
LEAST_STEPS = 3
LEAST_SECONDS = 0.5
END_SECONDS = 10.0  # for the process to end by itself


@dataclass(frozen=True)
class Measured:
    """A step of one worker."""

    seconds: float  # median
    peak: int  # bytes above what the process had before its network was built


class Measuring:
    """A process that takes real training steps on the data set's training split. A context manager."""

    def __init__(self, job: Job, dataset: Dataset, decoded: Path, device: str) -> None:
        self.job, self.dataset, self.decoded, self.device = job, dataset, decoded, device
        self.samples = layout_of(dataset, "train").samples
        self.foretells = not device.startswith("cuda")  # there, too much is an error that is caught
        self._child: tuple[Any, Connection] | None = None
        self._largest = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def measure(self, size: int) -> Measured | str:
        """A step on `size` samples; in words, why it does not fit. Raises TrainingError for any other failure."""
        if self._child is not None and size <= self._largest:
            self._end()
        if self._child is None:
            self._child = self._start()
        self._largest = size
        process, wire = self._child
        try:
            wire.send(size)
            kind, value = wire.recv()
        except (EOFError, OSError):
            process.join()
            self._end()
            if process.exitcode == -signal.SIGKILL:
                return "the process was killed for want of memory"
            raise TrainingError(
                f"{self.job.name}: the process that measures a batch of {size} ended with exit code {process.exitcode}"
            ) from None
        if kind == "measured":
            return Measured(*value)
        self._end()  # after an allocation that failed, what it left behind would count for the next one
        if kind == "full":
            return str(value)
        raise TrainingError(f"{self.job.name}: a step of {size} samples failed: {value}")

    def _start(self) -> tuple[Any, Connection]:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        work = (theirs, self.job, self.dataset.folder, self.dataset.digest, self.decoded, self.device)
        process = context.Process(target=_serve, args=work, daemon=True)
        with _workers_environment():
            process.start()
        theirs.close()
        return process, ours

    def _end(self) -> None:
        if self._child is None:
            return
        process, wire = self._child
        self._child = None
        wire.close()  # which ends it
        process.join(END_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


@contextmanager
def _workers_environment() -> Iterator[None]:
    """What a training worker finds in its environment when it starts: it decides how fast memory is had again."""
    from components.training.cluster.conductor import MEMORY_KEPT

    before = {name: os.environ.get(name) for name in MEMORY_KEPT}
    os.environ.update(MEMORY_KEPT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# -- in the process -------------------------------------------------------------------------------------------------


def _serve(wire: Connection, job: Job, folder: Path, digest: str, decoded: Path, device: str) -> None:
    """Answer sizes with figures until the other end hangs up."""
    _first_to_go()
    import torch

    from components.training.finding.opening import opened

    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(job.training.cpus_per_worker or max(1, cpus // job.training.least_workers))
    with suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        try:
            meter = _Meter(job, opened(job, Dataset.load(folder, digest), decoded), torch.device(device))
        except Exception as error:  # whatever it is, the other side has to hear of it
            wire.recv()
            wire.send(("failed", f"{type(error).__name__}: {error}"))
            return
        while True:
            wire.send(_answer(meter, wire.recv()))


def _answer(meter: _Meter, size: int) -> tuple[str, Any]:
    import torch

    try:
        return "measured", meter.measure(size)
    except torch.OutOfMemoryError as error:
        return "full", str(error).splitlines()[0]
    except MemoryError:
        return "full", "memory could not be allocated"
    except RuntimeError as error:
        if "allocate memory" in str(error):  # how PyTorch's CPU allocator says it
            return "full", str(error).splitlines()[-1]
        return "failed", f"{type(error).__name__}: {error}"
    except Exception as error:  # as above
        return "failed", f"{type(error).__name__}: {error}"


class _Meter:
    """Steps of one network, timed and weighed."""

    def __init__(self, job: Job, data: Any, device: Any) -> None:
        from components.training.finding.steps import Steps

        self.cuda = device.type == "cuda"
        self.job, self.device = job, device
        self.start = 0 if self.cuda else psutil.Process().memory_info().rss
        self.steps = Steps(job, data, device)

    def measure(self, size: int) -> tuple[float, int]:
        """Seconds of a step, and bytes."""
        import numpy as np
        import torch

        from components.training.processes.workers import deterministic

        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        samples, random = len(self.steps.split), np.random.default_rng(self.job.seed)
        seconds: list[float] = []
        with deterministic(self.device):
            number = 0
            while number < WARM_UP + LEAST_STEPS or sum(seconds) < LEAST_SECONDS:
                positions = random.choice(samples, size=size, replace=False)
                began = time.perf_counter()
                # At no rate: the weights stay as they are, and no size meets a network that another has spoilt.
                self.steps.take(positions, rate=0.0, number=number)
                if self.cuda:
                    torch.cuda.synchronize(self.device)
                if number >= WARM_UP:
                    seconds.append(time.perf_counter() - began)
                number += 1
        peak = torch.cuda.max_memory_allocated(self.device) if self.cuda else _peak() - self.start
        return statistics.median(seconds), max(0, int(peak))


def _peak() -> int:
    """The most bytes that this process has had in memory."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    # On Linux this would be the parent's where that was larger.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _first_to_go() -> None:
    """Where the kernel must end somebody for want of memory, it is this process."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
