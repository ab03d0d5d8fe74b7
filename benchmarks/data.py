"""Rows a second and memory of the data's stages, against the time that decoding alone would take.

    python -m benchmarks.data [--small N …] [--photographs N]

Small images are blends of two of Fashion-MNIST's each (so that no two are alike), as PNG in a Parquet manifest;
photographs are cuts of the two that scikit-learn ships, as JPEG files of 500 × 375. Each stage is run as DVC runs it,
in a process of its own; memory is the greatest sum over that process and those it has started. The limit is Pillow's
decoding on one core, times the cores. Goal: prepare and validate together reach at least 60 % of it, and a million
images stay below 1.5 GB.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks.machine import ROOT, show
from components.config import FashionMnistSource
from components.data.sources import registry
from components.environment import prepare_environment
from components.inputs import png

MADE_AT_A_TIME = 10_000
DECODED = 5_000  # images that the limit is measured on
POLL_SECONDS = 0.05
STAGES = ("watch", "ingest", "inspect", "prepare", "validate")


def main() -> None:
    prepare_environment()
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--small", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    arguments.add_argument("--photographs", type=int, default=2_000)
    arguments.add_argument("--folder", type=Path, help="where to work; by default a temporary folder")
    options = arguments.parse_args()
    rows: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        for count in options.small:
            root = Path(temporary) / f"small-{count}"
            make_small(root, count)
            image = {"height": 28, "width": 28, "channels": 1}
            source = {"kind": "manifest", "path": "source/manifest.parquet", "image": "image", "id": "id"}
            rows += measured(f"{count:,} of 28 × 28", root, count, source, image, sample_of_table(root))
        if options.photographs:
            root = Path(temporary) / "photographs"
            make_photographs(root, options.photographs)
            image = {"height": 224, "width": 224, "channels": 3, "resize": True}
            source = {"kind": "folder", "path": "source"}
            files = sorted((root / "source").rglob("*.jpg"))[:500]
            sample = [path.read_bytes() for path in files]
            rows += measured(f"{options.photographs:,} of 500 × 375", root, options.photographs, source, image, sample)
    show("the data's stages", ("images", "stage", "seconds", "rows/s", "of the limit", "peak memory, MB"), rows)


def measured(
    title: str,
    root: Path,
    count: int,
    source: Mapping[str, Any],
    image: Mapping[str, Any],
    sample: list[bytes],
) -> list[tuple[object, ...]]:
    """A row a stage, and one for `prepare` and `validate` together."""
    limit = decoded_a_second(sample) * cores()
    alike = {"checks": {"leakage": "keep"}, "split": {"twins": "ignore"}}  # blends and cuts of few pictures often are
    entry = {"task": "classification", "source": source, "image": image, **alike}
    (root / "params.yaml").write_text(yaml.safe_dump({"datasets": {"set": entry}}), encoding="utf-8")
    rows, seconds = [], {}
    for stage in STAGES:
        seconds[stage], memory = run(stage, root)
        rows.append(row(title, stage, seconds[stage], count, limit, memory))
    both = seconds["prepare"] + seconds["validate"]
    rows.append(row(title, "prepare + validate", both, count, limit, None))
    return rows


def row(title: str, stage: str, seconds: float, count: int, limit: float, memory: float | None) -> tuple[object, ...]:
    rate = count / seconds
    size = "" if memory is None else f"{memory / 1e6:,.0f}"
    return title, stage, f"{seconds:.1f}", f"{rate:,.0f}", f"{rate / limit:.0%}", size


def run(stage: str, root: Path) -> tuple[float, float]:
    """Wall seconds and peak memory (bytes) of one stage; ends the benchmark where it fails."""
    began = time.perf_counter()
    process = psutil.Popen(
        [sys.executable, "-m", "components.data.stages", stage, "set"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(memory_of(process)))
        time.sleep(POLL_SECONDS)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, stage)
    return time.perf_counter() - began, peak


def memory_of(process: psutil.Process) -> Iterator[int]:
    for each in [process, *children(process)]:
        try:
            yield each.memory_info().rss
        except psutil.NoSuchProcess:
            continue


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found


def decoded_a_second(sample: list[bytes]) -> float:
    """Images that Pillow decodes a second on one core, and nothing else."""
    began = time.perf_counter()
    for content in sample:
        Image.open(io.BytesIO(content)).load()
    return len(sample) / (time.perf_counter() - began)


def cores() -> int:
    return len(os.sched_getaffinity(0))


# -- what is at hand -------------------------------------------------------------------------------------------------


def fashion_mnist() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    tables = list(registry.read(FashionMnistSource(kind="fashion-mnist"), ROOT).tables)
    pixels = [png.decode_stored(table.column("image").combine_chunks()) for table in tables]
    return np.concatenate(pixels)[..., 0], np.concatenate([table.column("target").to_numpy() for table in tables])


def make_small(root: Path, count: int) -> None:
    """`source/manifest.parquet` of `count` blends of two images, labelled by the brighter one."""
    (root / "source").mkdir(parents=True)
    pixels, labels = fashion_mnist()
    random = np.random.default_rng(0)
    schema = pa.schema([("id", pa.string()), ("image", pa.binary()), ("target", pa.string())])
    with (
        ProcessPoolExecutor(cores(), mp_context=get_context("spawn")) as pool,
        pq.ParquetWriter(root / "source" / "manifest.parquet", schema) as writer,
    ):
        for start in range(0, count, MADE_AT_A_TIME):
            size = min(MADE_AT_A_TIME, count - start)
            one, other = random.integers(0, len(pixels), (2, size))
            blends = (pixels[one] * 0.6 + pixels[other] * 0.4).astype(np.uint8)
            files = [file for part in pool.map(png_files, np.array_split(blends, 4 * cores())) for file in part]
            ids = [f"{number:07d}" for number in range(start, start + size)]
            table = {"id": ids, "image": files, "target": labels[one].astype(str).tolist()}
            writer.write_table(pa.table(table, schema))


def png_files(batch: npt.NDArray[np.uint8]) -> list[bytes]:
    return [file_of(Image.fromarray(each), "PNG") for each in batch]


def sample_of_table(root: Path) -> list[bytes]:
    with pq.ParquetFile(root / "source" / "manifest.parquet") as file:
        table = file.read_row_group(0, columns=["image"])
    content: list[bytes] = table.column("image").slice(0, DECODED).to_pylist()
    return content


def make_photographs(root: Path, count: int) -> None:
    """`source/CLASS/*.jpg`: seeded cuts of scikit-learn's two photographs, brightened and darkened."""
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    random = np.random.default_rng(0)
    for number in range(count):
        label = number % len(photographs)
        photograph = photographs[label]
        width = int(random.integers(250, 600))
        height = width * 3 // 4
        left, top = (int(random.integers(0, most)) for most in (641 - width, max(1, 428 - height)))
        cut = photograph.crop((left, top, left + width, top + height)).resize((500, 375))
        bright = cut.point([min(255, int(value * (0.6 + 0.8 * (number % 97) / 97))) for value in range(256)] * 3)
        path = root / "source" / ("pagoda", "flower")[label] / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file_of(bright, "JPEG", quality=90))


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
