"""How small a change of the data the drift step finds, and how often it reports one where there is none.

    python -m benchmarks.drift [--trials N] [--resamples N] [--sets NAME …] [--changes NAME …]

Real images: Fashion-MNIST's 70,000, and 12,000 scenes of scikit-learn's digits over noise, whose darkest and brightest
pixels give nothing away. The model is a residual network that the program fits to 3,000 images until it knows them by
heart (the worst case for a comparison of what it sees); for the scenes it is a fixed random layer. A trial draws new
rows for reference and current, none twice: 2,000 each for statistics and as many for the embedding. Changes grow until
90 % of the trials report drift: that size is the detection limit. Prints Markdown, as in `benchmarks/drift.md`.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.machine import ROOT
from benchmarks.machine import describe as machine
from components.artifacts import DatasetCard, ImageSpec
from components.config import DigitScenesSource, DriftConfig, NetworkConfig
from components.data.drift import comparison as drift
from components.data.drift import rule as drift_rule
from components.data.drift.profile import MISSING, Embed, describe, seen
from components.data.reading.loading import Arrays
from components.data.sources import digit_scenes, digits, fashion_mnist
from components.data.sources.idx import parse_idx
from components.environment import prepare_environment
from components.models.registry import build
from components.targets.class_ import TARGET

FITTED = 3000  # images the network knows by heart
EPOCHS = 25  # after which it does
SAMPLE = DriftConfig().sample
FOUND = 0.9  # share of the trials at a detection limit
SITES = ("north", "south")

Bytes = npt.NDArray[np.uint8]
Random = np.random.Generator


@dataclass(frozen=True)
class Pool:
    """Images to draw from; a row is in a trial at most once. The first `fitted` are those the model was fitted to."""

    name: str
    inputs: Bytes  # (N, H, W, C)
    targets: npt.NDArray[Any]
    classes: tuple[str, ...]
    embed: Embed
    fitted: int = 0

    def rows(self, chosen: npt.NDArray[np.int64], random: Random) -> Arrays:
        sites = np.array(SITES)[random.integers(0, 2, len(chosen))]
        return Arrays(chosen.astype(str), self.inputs[chosen], self.targets[chosen], {"group_site": sites})

    def free(self, random: Random) -> npt.NDArray[np.int64]:
        return random.permutation(np.arange(self.fitted, len(self.inputs)))

    @cached_property
    def described(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Of every row as it is; made once, since trials draw from the same ones."""
        every = self.rows(np.arange(len(self.inputs)), np.random.default_rng(0))
        return describe(every, told(every, self.classes)), seen(every, self.embed)

    def drawn(self, trained: Arrays, unseen: Arrays) -> pd.DataFrame:
        """The profile of rows that are as they are in the pool."""
        statistics, sight = (
            table.iloc[rows.ids.astype(int)] for table, rows in zip(self.described, (trained, unseen), strict=True)
        )
        sites = [MISSING if site is None else site for site in trained.groups["group_site"]]
        return pd.concat([statistics.assign(group_site=sites), sight], ignore_index=True)

    def table(self, trained: Arrays, unseen: Arrays) -> pd.DataFrame:
        """The profile of any rows."""
        return pd.concat(
            [describe(trained, told(trained, self.classes)), seen(unseen, self.embed)],
            ignore_index=True,
        )


# -- data and model -------------------------------------------------------------------------------------------------


def told(rows: Arrays, classes: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    return TARGET.summary(rows.targets, DatasetCard.model_construct(classes=classes))


def fashion() -> Pool:
    folder = ROOT / fashion_mnist.FOLDER

    def read(name: str) -> Bytes:
        return parse_idx(name, gzip.decompress((folder / f"{name}.gz").read_bytes()))

    images = np.concatenate([read(f"{stem}-images-idx3-ubyte") for stem in ("train", "t10k")])[..., None]
    labels = np.concatenate([read(f"{stem}-labels-idx1-ubyte") for stem in ("train", "t10k")]).astype(np.int64)
    return Pool("Fashion-MNIST", images, labels, fashion_mnist.CLASSES, learned(images, labels), FITTED)


def scenes() -> Pool:
    source = DigitScenesSource(kind="digit-scenes", scenes=12_000)
    drawn = digits.load()
    made = [digit_scenes.compose(source, number, *drawn) for number in range(source.scenes)]
    images = np.stack([scene.image for scene in made])[..., None]
    layer = np.random.default_rng(0).standard_normal((images[0].size, 64)) / np.sqrt(images[0].size)

    def embed(batch: Bytes) -> npt.NDArray[Any]:
        return np.maximum((batch.reshape(len(batch), -1) / 255.0 - 0.25) @ layer, 0.0)

    return Pool("digit scenes", images, np.stack([scene.mask for scene in made]), digit_scenes.CLASSES, embed)


def learned(images: Bytes, labels: npt.NDArray[np.int64]) -> Embed:
    """What a network sees that knows its 3,000 images by heart."""
    torch.manual_seed(0)
    spec = ImageSpec(height=28, width=28, channels=1, mean=(0.286,), std=(0.353,))
    network = build(NetworkConfig(name="residual", arguments={"width": 16, "stride": 2}), spec, 10)
    inputs = torch.from_numpy(images[:FITTED].copy()).permute(0, 3, 1, 2).float() / 255.0
    truth = torch.from_numpy(labels[:FITTED])
    optimizer = torch.optim.AdamW(network.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, epochs=EPOCHS, steps_per_epoch=-(-FITTED // 128))
    for _ in range(EPOCHS):
        for batch in torch.randperm(FITTED).split(128):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(inputs[batch]), truth[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    network.eval()

    def accuracy(rows: slice) -> float:
        pixels = torch.from_numpy(images[rows].copy()).permute(0, 3, 1, 2).float() / 255.0
        with torch.no_grad():
            answers = torch.cat([network(batch).argmax(1) for batch in pixels.split(500)])
        return float((answers.numpy() == labels[rows]).mean())

    known, others = accuracy(slice(FITTED)), accuracy(slice(60_000, 70_000))
    print(f"Network: {known:.1%} right on the {FITTED:,} images it was fitted to, {others:.1%} on others.\n")

    def embed(batch: Bytes) -> npt.NDArray[Any]:
        with torch.no_grad():
            values: npt.NDArray[Any] = network.features(  # type: ignore[operator]
                torch.from_numpy(batch.copy()).permute(0, 3, 1, 2).float() / 255.0
            ).mean(dim=(2, 3)).numpy()  # fmt: skip
        return values

    return embed


# -- changes --------------------------------------------------------------------------------------------------------

Change = Callable[[Arrays, float, Random], Arrays]


def pixels(change: Callable[[npt.NDArray[np.float64], float, Random], npt.NDArray[Any]]) -> Change:
    def changed(rows: Arrays, size: float, random: Random) -> Arrays:
        values = np.clip(np.rint(change(rows.inputs.astype(np.float64), size, random)), 0, 255).astype(np.uint8)
        return replace(rows, inputs=values)

    return changed


def mirrored(rows: Arrays, share: float, random: Random) -> Arrays:
    turned = random.random(len(rows)) < share
    return replace(rows, inputs=np.where(turned[:, None, None, None], rows.inputs[:, :, ::-1], rows.inputs))


def other_set(rows: Arrays, share: float, random: Random) -> Arrays:
    """A share of the images is scikit-learn's digits, resized."""
    strange = np.flatnonzero(random.random(len(rows)) < share)
    height, width = rows.inputs.shape[1:3]
    drawn, _ = digits.load()
    images = rows.inputs.copy()
    for row, digit in zip(strange, random.integers(0, len(drawn), len(strange)), strict=True):
        images[row, :, :, 0] = np.asarray(Image.fromarray(drawn[digit]).resize((width, height)))
    return replace(rows, inputs=images)


def north(rows: Arrays, share: float, random: Random) -> Arrays:
    drawn = np.where(random.random(len(rows)) < share, *SITES)
    return replace(rows, groups={"group_site": drawn})


def without_site(rows: Arrays, share: float, random: Random) -> Arrays:
    gone = random.random(len(rows)) < share
    sites = np.array([None if lost else site for lost, site in zip(gone, rows.groups["group_site"], strict=True)])
    return replace(rows, groups={"group_site": sites})


def more_of_class(rows: Arrays, share: float, random: Random) -> Arrays:
    """Half of the rows, of which the first class has this share: labels and images alike. Not for masks."""
    first, half = rows.targets == 0, len(rows) // 2
    wanted = random.binomial(half, share)
    chosen = np.concatenate(
        [
            random.choice(np.flatnonzero(first), wanted, replace=False),
            random.choice(np.flatnonzero(~first), half - wanted, replace=False),
        ]
    )
    return Arrays(rows.ids[chosen], rows.inputs[chosen], rows.targets[chosen],
                  {name: values[chosen] for name, values in rows.groups.items()})  # fmt: skip


CHANGES: dict[str, tuple[Change, tuple[float, ...], str]] = {
    "brighter by": (pixels(lambda x, by, _: x + by), (1, 2, 4, 8, 12), "{:g} of 255"),
    "exposure times": (pixels(lambda x, by, _: x * by), (0.99, 0.98, 0.97, 0.95, 0.9), "{:g}"),
    "Gaussian noise, σ": (
        pixels(lambda x, by, random: x + random.normal(0, by, x.shape)), (1, 2, 4, 8, 16), "{:g} of 255",
    ),
    "Gaussian blur, σ": (
        pixels(lambda x, by, _: gaussian_filter(x, (0, by, by, 0))), (0.3, 0.33, 0.36, 0.4, 0.5), "{:g} px",
    ),
    "mirrored, of the images": (mirrored, (0.1, 0.2, 0.3, 0.5, 1.0), "{:.0%}"),
    "digits among them": (other_set, (0.005, 0.01, 0.02, 0.04, 0.08, 1.0), "{:.1%}"),
    "first class, from 10 % to": (more_of_class, (0.12, 0.13, 0.14, 0.15, 0.16, 0.18), "{:.0%}"),
    "one of two groups, from 50 % to": (north, (0.54, 0.56, 0.58, 0.6), "{:.0%}"),
    "group missing, from 0 % to": (without_site, (0.004, 0.006, 0.008, 0.01, 0.02), "{:.1%}"),
}  # fmt: skip

AS_THEY_ARE = (more_of_class, north, without_site)  # which leave the images alone


# -- trials ---------------------------------------------------------------------------------------------------------


def trial(pool: Pool, random: Random, change: Change | None = None, size: float = 0.0) -> tuple[Any, Any]:
    """Current and reference, of rows none of which is in two places."""
    free = pool.free(random)
    # A change of the classes' shares chooses half of what it is given.
    wanted = SAMPLE * (2 if change is more_of_class else 1)
    before = [pool.rows(free[at : at + SAMPLE], random) for at in (0, SAMPLE)]
    now = [pool.rows(free[at : at + wanted], random) for at in (2 * SAMPLE, 2 * SAMPLE + wanted)]
    if change is None:
        return pool.drawn(*now), pool.drawn(*before)
    profiled = pool.drawn if change in AS_THEY_ARE else pool.table
    return profiled(*(change(rows, size, random) for rows in now)), pool.drawn(*before)


def unchanged(pool: Pool, resamples: int) -> None:
    """False alarms at the default level and at one where there are enough to count."""
    wide = 0.2
    alarms: Counter[str] = Counter()
    for number in range(resamples):
        current, reference = trial(pool, np.random.default_rng([1, number]))
        for false_alarms in (DriftConfig().false_alarms, wide):
            report = drift.judge(current, reference, DriftConfig(false_alarms=false_alarms))
            alarms[f"{false_alarms}"] += bool(report.drifted)
            alarms.update(f"{false_alarms} {name}" for name, each in report.families.items() if each.drifted)
        alarms["old"] += old_rule(current, reference)
    for false_alarms in (DriftConfig().false_alarms, wide):
        parts = ", ".join(f"{name} {alarms[f'{false_alarms} {name}']}" for name in drift_rule.FAMILIES)
        print(f"| {pool.name} | {false_alarms:g} | {resamples} | {alarms[f'{false_alarms}']} | {parts} |", flush=True)
    print(f"| {pool.name}, half of all columns | – | {resamples} | {alarms['old']} | |", flush=True)


def fitted_rows(pool: Pool, resamples: int) -> None:
    """What the comparison would say if the reference's embedding were one of the rows the network was fitted to."""
    alarms: Counter[str] = Counter()
    for number in range(resamples):
        random = np.random.default_rng([2, number])
        free = pool.free(random)
        known = random.permutation(pool.fitted)[:SAMPLE]
        parts = [pool.described[1].iloc[chosen] for chosen in (known, free[:SAMPLE], free[-SAMPLE:])]
        alarms["fitted"] += bool(drift.judge(parts[1], parts[0], DriftConfig(false_alarms=0.0025)).drifted)
        alarms["unseen"] += bool(drift.judge(parts[1], parts[2], DriftConfig(false_alarms=0.0025)).drifted)
    print(f"\nEmbedding alone at its level of 0.0025, {resamples} resamples: {alarms['fitted']} alarms against rows "
          f"the network was fitted to, {alarms['unseen']} against unseen ones.\n", flush=True)  # fmt: skip


def chi_square(pool: Pool, resamples: int) -> None:
    """Evidently's own chi-square on unchanged labels."""
    from evidently.legacy.calculations.stattests import get_stattest

    alarms = 0
    for number in range(resamples):
        free = pool.free(np.random.default_rng([3, number]))
        sides = [pd.Series(pool.targets[free[at : at + SAMPLE]].astype(str)) for at in (0, SAMPLE)]
        alarms += bool(get_stattest(*sides, "cat", "chisquare")(*sides, "cat", 0.05).drifted)
    print(
        f"Evidently's chi-square on unchanged labels at 0.05: {alarms} alarms in {resamples} resamples.\n", flush=True
    )


def old_rule(current: pd.DataFrame, reference: pd.DataFrame) -> bool:
    """Evidently's choice of tests and thresholds, and drift where half of the columns have drifted."""
    from evidently.legacy.calculations.stattests import get_stattest

    now, before = drift_rule.paired(current, reference)
    drifted = []
    for name in now:
        sides = before[name].dropna(), now[name].dropna()
        kind = "num" if pd.api.types.is_numeric_dtype(sides[0]) else "cat"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            drifted.append(bool(get_stattest(*sides, kind, None)(*sides, kind, None).drifted))
    return float(np.mean(drifted)) >= 0.5


def limit(pool: Pool, name: str, trials: int) -> None:
    """Grow the change until it is found; print each size that was tried."""
    change, sizes, form = CHANGES[name]
    for size in sizes:
        found: Counter[str] = Counter()
        for number in range(trials):
            current, reference = trial(pool, np.random.default_rng([4, number]), change, size)
            report = drift.judge(current, reference, DriftConfig())
            found["any"] += bool(report.drifted)
            found.update(family for family, each in report.families.items() if each.drifted)
            found["old"] += old_rule(current, reference)
        by = ", ".join(f"{family} {found[family] / trials:.0%}" for family in drift_rule.FAMILIES if found[family])
        enough = found["any"] >= FOUND * trials
        told = f"**{form.format(size)}**" if enough else form.format(size)
        print(f"| {pool.name} | {name} | {told} | {found['any'] / trials:.0%} | {by or '–'} "
              f"| {found['old'] / trials:.0%} |", flush=True)  # fmt: skip
        if enough:
            return


def seconds(pool: Pool) -> None:
    """What a comparison costs of a processor's time, once Evidently is imported (some 2 s in a fresh process)."""
    random = np.random.default_rng(0)
    current, reference = trial(pool, random)
    drift.judge(current, reference, DriftConfig())
    free = pool.free(random)
    began = time.process_time()
    pool.table(pool.rows(free[:SAMPLE], random), pool.rows(free[SAMPLE : 2 * SAMPLE], random))
    profiled = time.process_time()
    drift.judge(current, reference, DriftConfig())
    judged = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        history = drift.History(Path(folder) / "evidently", "benchmark", "1", {})
        drift.compare(current, reference, DriftConfig(), Path(folder) / "drift", history)
    compared = time.process_time()
    print(
        f"CPU seconds: profile {profiled - began:.1f}, decision {judged - profiled:.1f}, with page and "
        f"history {compared - judged:.1f}.\n",
        flush=True,
    )


def main() -> None:
    prepare_environment()
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--trials", type=int, default=50, help="a size of a change")
    arguments.add_argument("--resamples", type=int, default=300, help="of unchanged data")
    arguments.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    arguments.add_argument(
        "--changes", nargs="+", choices=CHANGES, default=None, help="these alone; default: everything"
    )
    options = arguments.parse_args()
    print(f"{machine()}; {SAMPLE} rows a side\n")
    pools = [SETS[name]() for name in options.sets]
    if options.changes is None:
        without_changes(pools, options.resamples)
    print("| data | change | size | found | by family | half of all columns |\n|---|---|---|---|---|---|")
    for pool, name in cases(pools):
        if options.changes is None or name in options.changes:
            limit(pool, name, options.trials)


def without_changes(pools: list[Pool], resamples: int) -> None:
    """Seconds and false alarms."""
    seconds(pools[0])
    print("| data | level | resamples | alarms | by family |\n|---|---|---|---|---|")
    for pool in pools:
        unchanged(pool, resamples)
    for pool in pools:
        if pool.fitted:
            fitted_rows(pool, resamples)
            chi_square(pool, resamples)


def cases(pools: Iterable[Pool]) -> Iterable[tuple[Pool, str]]:
    for pool in pools:
        for name in CHANGES:
            if CHANGES[name][0] is not more_of_class or pool.targets.ndim == 1:
                yield pool, name


SETS: dict[str, Callable[[], Pool]] = {"fashion": fashion, "scenes": scenes}

if __name__ == "__main__":
    main()
