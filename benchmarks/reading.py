"""How long training waits for data, and how much memory reading takes: mapped and streamed.

    python -m benchmarks.reading [--rounds N]

Waiting: share of the second epoch in which the first worker waited for its next batch (in the first one Ray Data starts
its processes): of the default first member's network on its data, and of a small residual network on photographs of
192×192 (crops of the two that scikit-learn brings, as JPEG). Memory: the most that the processes which train and decode
held together, pages of files aside; what 50 images take is the processes themselves. Goals: below 5 % of an epoch;
mapped, the same memory for four times the data; streamed, beyond the processes, a third of the decoded data at most.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks.machine import ROOT, show
from components import config
from components.artifacts import Dataset, DatasetCard, ImageSpec
from components.config import NetworkConfig
from components.data import versions
from components.data.preparing.shards import ShardWriter
from components.data.reading.loading import layout_of
from components.environment import prepare_environment
from components.training.cluster import fitting as cluster
from components.training.cluster import starting as cluster_ray
from components.training.jobs.job import Event, Job

SIDE = 192  # pixels: between the 160 and 224 that such networks are mostly trained at
PHOTOGRAPHS = 2000
WAYS = ("mapped", "streamed")


def main() -> None:
    prepare_environment()
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    settings = config.load(ROOT, None)
    student = Job(
        name="benchmark",
        task="classification",
        network=settings.line.members.networks[0],
        seed=0,
        epochs=2,
        training=settings.line.training,
        augment=settings.line.augment,
    )
    larger = replace(
        student,
        network=NetworkConfig(name="residual", arguments={"width": 16, "stride": 4}),
        training=settings.line.training.model_copy(update={"batch_size": 64}),
    )
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        small = versions.reproduce(ROOT, settings.line.dataset, log=ROOT / ".convoy" / "logs" / "benchmark.log")
        large = photographs(base, PHOTOGRAPHS)
        waiting(base, {"28×28": (small, student), f"{SIDE}×{SIDE}": (large, larger)}, options.rounds)
        memory(base, larger)
    cluster_ray.stop()


def waiting(base: Path, cases: dict[str, tuple[Dataset, Job]], rounds: int) -> None:
    rows = []
    for name, (dataset, job) in cases.items():
        for way in WAYS:
            first, last = zip(*(fit(base, dataset, job, way) for _ in range(rounds)), strict=True)
            shares = [event.waiting / event.seconds for event in last]
            rows.append(
                (
                    f"{dataset.card.splits['train']:,} images of {name}, {way}",
                    f"{statistics.median(event.images_per_second for event in last):,.0f}",
                    f"{statistics.median(shares):.2%} ({min(shares):.2%} – {max(shares):.2%})",
                    f"{statistics.median(event.waiting for event in first):.1f}",
                )
            )
    columns = ("data", "images/s", "share of the second epoch (least – most)", "seconds of the first")
    show("waiting for the next batch", columns, rows)


def memory(base: Path, larger: Job) -> None:
    """One epoch each of a narrow network, so that reading is what the figures show."""
    job = replace(larger, epochs=1, network=NetworkConfig(name="residual", arguments={"width": 4, "stride": 4}))
    rows = []
    for way, counts in (("mapped", (50, PHOTOGRAPHS, 4 * PHOTOGRAPHS)), ("streamed", (PHOTOGRAPHS, 8 * PHOTOGRAPHS))):
        for count in counts:
            dataset = photographs(base, count)
            with peak() as most:
                fit(base, dataset, job, way)
            decoded = layout_of(dataset, "train").bytes
            name = f"{count:,} images of {SIDE}×{SIDE}, {way}"
            rows.append((name, *(f"{size / 2**20:,.0f}" for size in (decoded, *most()))))
    show("memory of training's processes", ("data", "decoded MB", "of their own MB", "object store MB"), rows)


def fit(base: Path, dataset: Dataset, job: Job, way: str) -> list[Event]:
    """The epochs' events of a fresh training on Ray; decoding is done before, as it is once for all trainings."""
    asked = replace(job, training=job.training.model_copy(update={"reading": way}))
    events: list[Event] = []
    with tempfile.TemporaryDirectory(dir=base) as folder:
        storage, output = Path(folder) / "s", Path(folder) / "o"
        cluster.fit([asked], dataset, storage=storage, output=output, decoded=base / "decoded", on_event=events.append)
    return [event for event in events if event.kind == "epoch"]


@contextmanager
def peak() -> Iterator[Callable[[], tuple[int, int]]]:
    """The most bytes that training and reading processes held together: of their own, and in the object store."""
    cluster_ray.start()
    most, done = np.zeros(2, dtype=np.int64), threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            held = [own(process) for process in psutil.Process().children(recursive=True)]
            np.maximum(most, np.sum(held, axis=0), out=most)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield lambda: (int(most[0]), int(most[1]))
    finally:
        done.set()
        watcher.join()


def own(process: psutil.Process) -> tuple[int, int]:
    """Bytes in no file, and the share of shared memory, of a process that trains or decodes."""
    try:
        name = " ".join(process.cmdline())
        if "TrainWorker" not in name and "MapBatches" not in name:
            return 0, 0
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except (OSError, psutil.Error):
        return 0, 0  # it has just ended
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
    return sizes["Pss_Anon"], sizes["Pss_Shmem"]


def photographs(base: Path, count: int) -> Dataset:
    """Seeded crops of two photographs: a class each, in the order of their classes, 100 of them for validation."""
    folder = base / f"photographs-{count}"
    if folder.is_dir():
        return Dataset.load(folder)
    random = np.random.default_rng(0)
    sources = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    schema = pa.schema({"id": pa.string(), "image": pa.binary(), "target": pa.int64(), "split": pa.string()})
    folder.mkdir()
    for split, samples in (("train", count), ("validation", 100)):
        with ShardWriter(folder, split, schema, "image") as writer:
            for start in range(0, samples, 500):
                targets = [2 * row // samples for row in range(start, min(start + 500, samples))]
                images = [crop(sources[target], random) for target in targets]
                ids = [f"{split}-{start + row:06d}" for row in range(len(targets))]
                columns = {"id": ids, "image": images, "target": targets, "split": [split] * len(ids)}
                writer.add(pa.table(columns, schema=schema))
    card = DatasetCard(
        name="photographs",
        task="classification",
        classes=("china", "flower"),
        groups=(),
        input=ImageSpec(height=SIDE, width=SIDE, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3),
        splits={"train": count, "validation": 100},
        fingerprint=str(count),
    )
    (folder / "dataset.json").write_text(card.to_json(), encoding="utf-8")
    return Dataset.load(folder)


def crop(photograph: Image.Image, random: np.random.Generator) -> bytes:
    """A square of a random size at a random place, mirrored or not, as JPEG."""
    size = int(random.integers(SIDE, photograph.height))
    left = int(random.integers(0, photograph.width - size))
    top = int(random.integers(0, photograph.height - size))
    square = photograph.crop((left, top, left + size, top + size)).resize((SIDE, SIDE))
    stream = io.BytesIO()
    square.save(stream, "JPEG", quality=90)
    return stream.getvalue()


if __name__ == "__main__":
    main()
