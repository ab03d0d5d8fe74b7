"""Cached teacher outputs: computed once for each view of an image, kept in a memory map, and read from then on.

Where augmentation shows an image in a finite number of views (windows and their mirror images), epoch e shows each in
the view number e modulo `columns` of an order of its own, so that every view comes as often as any other. All images in
their view of that number are a column: the first epoch that needs one has the teacher answer for it, the same inputs
together each time, so that an answer has the same bits whoever asked, when, and with how many workers.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock

from components.artifacts import ArtifactError, Card
from components.augment.policy import Move, Views, shown, still
from components.config import AugmentConfig
from components.files import digest_values, replacing
from components.models.preprocessing import channels_last
from components.provenance import code_digest
from components.tasks.protocol import Batch
from components.training.jobs.job import Job, TrainingError
from components.training.objectives.copying import weights
from components.training.objectives.teacher import Teacher
from components.training.processes.workers import Workers
from components.training.reading.samples import Part, Reading, Split
from components.training.reading.sampling import mix

BLOCK = 512  # inputs that the teacher is shown together
LARGEST = 2**30  # bytes of a column: what a worker has in memory while it asks the teacher
KEPT = 3  # teachers whose answers stay, those used last
FILE, CARD = "answers.npy", "column.json"


class Column(Card):
    """`column.json`: what the array beside it is, and what it cost."""

    sha256: str
    seconds: float  # that the teacher took, with all workers together


class Answers:
    """The answers that one training reads. Everybody calls everything alike.

    `data` is the data set's digest. `place` keeps the answers of several teachers, a folder each, for all students that
    read the same inputs. `move` has targets follow these.
    """

    def __init__(
        self, job: Job, train: Split, data: str, teacher: Teacher, place: Path, workers: Workers, move: Move = still
    ) -> None:
        self.job, self.train, self.teacher, self.workers, self.move = job, train, teacher, workers, move
        self.columns = columns(job)
        self.place = place
        self.folder = place / _key(job, data, train, teacher)[:16]
        self.asked = 0.0  # seconds for which the teacher was asked by this call
        self._mapped: dict[int, npt.NDArray[np.float32]] = {}
        self._views: tuple[int, Views] | None = None
        self._answers: npt.NDArray[np.float32] = np.empty(0, dtype=np.float32)

    def begin_epoch(self, epoch: int) -> None:
        """Have the answers of the epoch's column at hand; epochs are counted from 1. Nothing is asked for twice.

        Raises TrainingError where they cannot be stored.
        """
        column = (epoch - 1) % self.columns
        if column not in self._mapped:
            self._mapped[column] = self._column(column)
        self._answers = self._mapped[column]
        if self._views is None or self._views[0] != column:
            self._views = column, views(len(self.train), self.job.augment, column)

    def batch(self, part: Part) -> Batch:
        """What a step shows of the part, in the epoch's views and with the teacher's outputs."""
        if self._views is None:
            raise RuntimeError("expected an epoch to have begun")
        seen, positions = self._views[1], torch.from_numpy(part.positions)
        own = Views(seen.corners[:, positions], seen.flipped[positions])
        inputs, targets = shown(part.batch.inputs, part.batch.targets, own, self.job.augment, self.move)
        answers = torch.from_numpy(self._answers[part.positions]).to(inputs.device, non_blocking=True)
        return Batch(inputs, targets, answers)

    def says(self, epochs: int) -> str:
        """What caching was worth, once `epochs` are done."""
        stored = sorted(self.folder.glob("column-*"))[: self.columns]
        each = [Column.read(folder / CARD).seconds for folder in stored]
        done, mean = min(self.columns, epochs), sum(each) / max(len(each), 1)
        return (
            f"the teacher's outputs for {len(self.train):,} inputs in {done} of {self.job.augment.views} views were "
            f"computed once ({mean:.1f} s per view; {self.asked:.1f} s of this run) and read in {epochs} epochs: "
            f"{mean * epochs - self.asked:.1f} s less than asking it in each"
        )

    def _column(self, column: int) -> npt.NDArray[np.float32]:
        folder = self.folder / f"column-{column:03d}"
        found = _read(folder, len(self.train))
        if all(self.workers.gather(found is not None)) and found is not None:
            return found
        started = time.perf_counter()
        answers = self._ask(column)
        seconds = time.perf_counter() - started
        self.asked += seconds
        try:
            self._keep(folder, answers, seconds)
        except OSError as error:
            raise TrainingError(
                f"{folder}: the teacher's outputs could not be cached: {error}. Make room there ({answers.nbytes:,} "
                f"bytes for each of {self.columns} views), or lower student.views"
            ) from error
        found = _read(folder, len(self.train))
        self.workers.gather(None)  # nobody begins before all have read: the next training may forget what is oldest
        return answers if found is None else found

    def _ask(self, column: int) -> npt.NDArray[np.float32]:
        """`(samples, …)`: every worker answers for every n-th block of inputs, and all get all of them."""
        seen = views(len(self.train), self.job.augment, column)
        mine: dict[int, npt.NDArray[Any]] = {}
        starts = range(0, len(self.train), BLOCK)
        for start in starts[self.workers.rank :: self.workers.count]:
            at = slice(start, min(start + BLOCK, len(self.train)))
            batch = self.train.batch(np.arange(at.start, at.stop))
            own = Views(seen.corners[:, at], seen.flipped[at])
            inputs, _ = shown(batch.inputs, batch.targets, own, self.job.augment)
            mine[start] = self.teacher(channels_last(inputs)).cpu().numpy()
        everywhere = {start: answers for theirs in self.workers.gather(mine) for start, answers in theirs.items()}
        return np.concatenate([everywhere[start] for start in starts])

    def _keep(self, folder: Path, answers: npt.NDArray[np.float32], seconds: float) -> None:
        """On every machine, unless another of its workers has done so."""
        self.place.mkdir(parents=True, exist_ok=True)
        with FileLock(self.place / "lock"):
            if _read(folder, len(answers)) is None:
                with replacing(folder) as temporary:
                    np.save(temporary / FILE, answers)
                    card = Column(sha256=_sha256(temporary / FILE), seconds=seconds)
                    (temporary / CARD).write_text(card.to_json(), encoding="utf-8")
            _forget(self.place, self.folder)


def columns(job: Job) -> int:
    """How many views of each image the job shows; raises TypeError where augmentation has no end of them."""
    possible = job.augment.views
    if possible is None:
        raise TypeError("augment: expected one with a finite number of views")
    return min(job.views or possible, possible)


def why_not(job: Job, train: Reading, classes: int) -> str | None:
    """Why the teacher runs along instead; None where its outputs are to be cached."""
    if job.augment.views is None:
        return "augment shows no image twice in the same way"
    if copied := weights(job.distillation):
        return f"features are copied ({', '.join(copied)}), and outputs alone are stored"
    if not isinstance(train, Split):
        return "the training split is streamed"
    if job.epochs <= columns(job):
        return f"{job.epochs} epochs show no view twice ({columns(job)} of each image; student.views makes them fewer)"
    size = len(train) * classes * int(np.prod(train.targets.shape[1:])) * np.dtype(np.float32).itemsize
    if size > LARGEST:
        return f"its answers for one view of all inputs would take {size / 2**30:,.1f} GB"
    return None


def views(samples: int, augment: AugmentConfig, column: int) -> Views:
    """The view of each sample in this column.

    An image has its own random order of the windows. A round shows all of them; the mirror image is seen in the share
    `flip` of the rounds: with 0.5, in two rounds each window comes once as it is and once mirrored.
    """
    side = 2 * augment.crop + 1
    rounds, turn = divmod(column, side * side)
    corners, flipped = [], []
    for start in range(0, samples, BLOCK):
        random = np.random.default_rng(mix("views", start))
        order = random.random((BLOCK, side * side)).argsort(axis=1)[:, turn]
        level = random.random((BLOCK, side * side))[:, turn]
        corners.append(np.stack(np.divmod(order, side)))
        flipped.append((level + rounds / 2) % 1.0 < augment.flip)
    return Views(
        torch.from_numpy(np.concatenate(corners, axis=1)[:, :samples]),
        torch.from_numpy(np.concatenate(flipped)[:samples]),
    )


def _key(job: Job, data: str, train: Split, teacher: Teacher) -> str:
    """SHA-256 of all that decides an answer."""
    with teacher.precision():
        kind = teacher.device.type
        precision = str(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else "float32"
    return digest_values(
        {
            "teacher": teacher.model.digest,
            "data": data,
            "rows": hashlib.sha256(train.rows.tobytes()).hexdigest(),
            "augment": [job.augment.crop, job.augment.flip],
            "precision": [kind, precision],
            "torch": torch.__version__,
            "code": code_digest([__name__]),
        }
    )


def _read(folder: Path, samples: int) -> npt.NDArray[np.float32] | None:
    """The column, mapped; None where it is not there or not as it was written: then it is computed again."""
    try:
        if Column.read(folder / CARD).sha256 != _sha256(folder / FILE):
            return None
        found = np.load(folder / FILE, mmap_mode="r").view(np.ndarray)
    except (ArtifactError, OSError, ValueError):
        return None
    return found if len(found) == samples else None


def _forget(place: Path, mine: Path) -> None:
    """Remove the answers of all teachers but the last; who has them mapped keeps their pages. Called under the lock."""
    now = time.time_ns()
    if mine.exists():
        os.utime(mine, ns=(now, now))
    folders = [path for path in place.iterdir() if path.is_dir()]
    for old in sorted(folders, key=lambda path: path.stat().st_mtime_ns, reverse=True)[KEPT:]:
        shutil.rmtree(old)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
