"""How long an inspection takes, how much memory, and what it finds of what was planted, and beside it.

    python -m benchmarks.inspection [--seeds N] [--images N] [--sheet FILE]

Fashion-MNIST and scikit-learn's digits, as they are and with copies, foreign pictures and wrong labels planted; mean
over the seeds. `--sheet` draws the pairs of Fashion-MNIST's published splits that come out as near-duplicates.
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.machine import ROOT, show
from components.config import DatasetConfig, FashionMnistSource
from components.data.families import joined, leaks
from components.data.inspection import outliers, sheets
from components.data.inspection.describing import describe
from components.data.inspection.embedding import DIMENSIONS
from components.data.inspection.eyes import correlating
from components.data.inspection.eyes.gradients import descriptor
from components.data.inspection.eyes.image import Pictures
from components.data.inspection.eyes.thumbnails import SIDE, shrink
from components.data.inspection.findings import Finding, load_findings
from components.data.inspection.inspect import inspect
from components.data.inspection.label_noise import doubtful
from components.data.inspection.rows import Rows
from components.data.sources import digits, registry
from components.environment import prepare_environment
from components.inputs import png

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Random = np.random.Generator

FOREIGN = 0.005  # share of foreign pictures that is planted


def main() -> None:
    prepare_environment()
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--images", type=int, default=70_000, help="of Fashion-MNIST, for what is planted")
    arguments.add_argument("--sheet", type=Path, default=None)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        whole(folder, options.sheet)
        pixels, labels = fashion()
        small = digits.load()
        chosen = np.random.default_rng(0).permutation(len(pixels))[: options.images]
        sets = {"digits": small, "fashion-mnist": (pixels[chosen], labels[chosen])}
        copies({"digits": small[0], "fashion-mnist": pixels[chosen[:5000]]}, folder, options.seeds)
        foreign(sets, folder, options.seeds)
        flips(sets, folder, options.seeds)


def fashion() -> tuple[Pixels, Labels]:
    tables = list(registry.read(FashionMnistSource(kind="fashion-mnist"), ROOT).tables)
    pixels = [png.decode_stored(table["image"].combine_chunks()) for table in tables]
    return (
        np.concatenate([batch[..., 0] for batch in pixels if batch is not None]),
        np.concatenate([table["target"].to_numpy() for table in tables]),
    )


def whole(folder: Path, sheet: Path | None) -> None:
    """The whole of Fashion-MNIST, as the stage does it."""
    entry = {
        "task": "classification",
        "source": {"kind": "fashion-mnist"},
        "image": {"height": 28, "width": 28, "channels": 1},
    }
    config = DatasetConfig.model_validate(entry)
    started, used = time.perf_counter(), time.process_time()
    inspection = inspect(registry.read(config.source, ROOT), config, ROOT, folder / "fashion-mnist")
    row = (
        inspection.samples,
        f"{time.perf_counter() - started:.1f}",
        f"{time.process_time() - used:.1f}",
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:,.0f}",
        ", ".join(f"{kind} {number}" for kind, number in inspection.found.items()),
    )
    show("Fashion-MNIST as it is", ("images", "s", "s of processor", "MB, all", "found"), [row])
    found = [Finding(**one) for one in load_findings(folder / "fashion-mnist").to_pylist()]
    pairs = [one for one in found if one.kind in ("duplicate", "near-duplicate")]
    splits = {name: name.split("-")[0] for one in pairs for name in (one.id, one.other)}
    leaving = leaks(joined([(one.id, one.other) for one in pairs]), splits)
    across = [one for one in pairs if splits[one.id] != splits[one.other]]
    show(
        "Near-duplicates of Fashion-MNIST in its published splits",
        ("pairs", "across splits", "training images to drop"),
        [(len(pairs), len(across), len(leaving))],
    )
    if sheet is not None:
        pixels, _ = fashion()
        start = {"train": 0, "test": 60_000}

        def picture(name: str) -> Image.Image:
            split, number = name.split("-")
            return Image.fromarray(pixels[start[split] + int(number)])

        sheets.draw(sorted(across, key=lambda one: one.score), picture, sheet, Pictures.cell, pairs=True)


# -- copies -----------------------------------------------------------------------------------------------------------


def jpeg(pixels: Pixels, random: Random) -> Pixels:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="JPEG", quality=70)
    return np.asarray(Image.open(content))


def brighter(pixels: Pixels, random: Random) -> Pixels:
    changed = pixels * random.uniform(0.85, 1.15) + random.uniform(-20, 20)
    return np.rint(np.clip(changed, 0, 255)).astype(np.uint8)


def noisy(pixels: Pixels, random: Random) -> Pixels:
    return np.rint(np.clip(pixels + random.normal(0, 5, pixels.shape), 0, 255)).astype(np.uint8)


def larger(pixels: Pixels, random: Random) -> Pixels:
    size = (2 * pixels.shape[1], 2 * pixels.shape[0])
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def copies(sets: dict[str, Pixels], folder: Path, seeds: int) -> None:
    """Every picture and an altered copy of it: how many copies are found, and how many other pairs."""
    ways: dict[str, Callable[[Pixels, Random], Pixels]] = {
        "JPEG at 70": jpeg,
        "brightness ± 20, contrast ± 15 %": brighter,
        "noise of 5 grey values": noisy,
        "twice the size": larger,
    }
    rows = []
    for name, pixels in sets.items():
        for way, alter in ways.items():
            found, others = [], []
            for seed in range(seeds):
                random = np.random.default_rng(seed)
                copied = np.stack([alter(picture, random) for picture in pixels])
                with thumbnails(folder, pixels, copied) as rows_of:
                    pairs = correlating.near_copies(rows_of, np.arange(len(rows_of)), folder).pairs
                right = int(np.sum(pairs[1] - pairs[0] == len(pixels)))
                found.append(right / len(pixels))
                others.append(pairs.shape[1] - right)
            rows.append((f"{name}, {len(pixels):,}", way, spread(found), f"{np.mean(others):.0f}"))
    show("Altered copies", ("pictures", "copies", "found", "other pairs"), rows)


# -- foreign pictures -------------------------------------------------------------------------------------------------


def foreign(sets: dict[str, tuple[Pixels, Labels]], folder: Path, seeds: int) -> None:
    """Foreign pictures of one kind among real ones: how many are found, and how many real ones with them."""
    rows = []
    for name, (pixels, _) in sets.items():
        (other,) = (values for key, (values, _) in sets.items() if key != name)
        kinds: dict[str, Callable[[int, Random], Pixels] | None] = {
            "none": None,
            "noise": lambda count, random: random.integers(0, 256, (count, 28, 28), dtype=np.uint8),
            "negatives": lambda count, random, own=pixels: 255 - random.choice(own, count, replace=False),
            "turned by 90°": lambda count, random, own=pixels: np.rot90(random.choice(own, count), axes=(1, 2)),
            "the other set's": lambda count, random, them=other: random.choice(them, count, replace=False),
        }
        for kind, make in kinds.items():
            recall, alarms = [], []
            for seed in range(seeds):
                random = np.random.default_rng(seed)
                strange = [] if make is None else [np.ascontiguousarray(make(round(FOREIGN * len(pixels)), random))]
                found = strangers(folder, seed, pixels, *strange)
                alarms.append(int(found[: len(pixels)].sum()))
                recall.append(float(found[len(pixels) :].mean()) if strange else 0.0)
            rows.append((f"{name}, {len(pixels):,}", kind, spread(recall) if make else "", f"{np.mean(alarms):.1f}"))
    show(f"Foreign pictures, {FOREIGN:.1%}", ("pictures", "foreign ones", "found", "false alarms"), rows)


def strangers(folder: Path, seed: int, *batches: Pixels) -> npt.NDArray[np.bool_]:
    with thumbnails(folder, *batches) as rows, Rows(folder, (DIMENSIONS,), np.float32) as embedded:
        distances = describe(lambda some: descriptor(rows.take(some)), np.arange(len(rows)), embedded, seed)
    found: npt.NDArray[np.bool_] = distances > outliers.limit(distances)
    return found


# -- wrong labels -----------------------------------------------------------------------------------------------------


def flips(sets: dict[str, tuple[Pixels, Labels]], folder: Path, seeds: int) -> None:
    """Labels of another class at random: how many are found, and how many of those found are planted."""
    rows = []
    for name, (pixels, labels) in sets.items():
        classes = tuple(str(number) for number in range(10))
        with thumbnails(folder, pixels) as small, Rows(folder, (DIMENSIONS,), np.float32) as embedded:
            describe(lambda some: descriptor(small.take(some)), np.arange(len(small)), embedded)
            for share in (0.0, 0.02, 0.05):
                recall, precision, number = [], [], []
                for seed in range(seeds):
                    random = np.random.default_rng(seed)
                    flipped = random.choice(len(labels), round(share * len(labels)), replace=False)
                    changed = labels.copy()
                    changed[flipped] = (labels[flipped] + random.integers(1, 10, len(flipped))) % 10
                    found = doubtful(embedded, changed, classes, folder, seed=seed).samples
                    right = np.isin(found, flipped)
                    recall.append(right.sum() / max(len(flipped), 1))
                    precision.append(right.mean() if len(found) else 1.0)
                    number.append(len(found))
                said = (spread(recall), spread(precision)) if share else ("", "")
                rows.append((f"{name}, {len(labels):,}", f"{share:.0%}", *said, f"{np.mean(number):.0f}"))
    show("Wrong labels", ("pictures", "wrong", "found", "of those found are wrong", "found in all"), rows)


# -- helpers ----------------------------------------------------------------------------------------------------------


def thumbnails(folder: Path, *batches: Pixels) -> Rows:
    rows = Rows(folder, (SIDE, SIDE, 1), np.uint8)
    for batch in batches:
        for part in parts(batch):
            rows.append(shrink(part[..., None], 1))
    return rows


def parts(batch: Pixels) -> Iterator[Pixels]:
    for start in range(0, len(batch), 4096):
        yield batch[start : start + 4096]


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


if __name__ == "__main__":
    main()
