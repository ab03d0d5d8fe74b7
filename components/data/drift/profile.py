"""What a data set looks like, as one small table: the pixels, labels and groups of its images, and what a model sees.

Statistics, labels and groups are those of training rows. What a model sees is taken from validation rows: a network
sees the rows it was fitted to differently from any others, and that difference is no drift (`benchmarks/drift.md`).
Comparing two profiles is `drift`'s work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.artifacts import Dataset, Split
from components.data.errors import DataError
from components.data.reading.loading import Arrays, load_split
from components.targets import registry as targets

Embed = Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]]  # (N, H, W, C) uint8 → (N, D) float

ID, SPLIT = "id", "split"  # the two columns that say which row it is
LABEL, SHARE, VALUE = "label", "share_", "value_"  # of the targets, as their kind tells them
GROUP, EMBEDDING = "group_", "embedding_"
TRAINED: Split = "train"
UNSEEN: Split = "validation"
MISSING = "(missing)"  # a null in a group column: a category of its own, since more of them is a change as well

# Wider embeddings are projected onto this many fixed random directions, which keeps distances (Johnson and
# Lindenstrauss 1984) and leaves each direction's test the power that hundreds of tests would take from it.
EMBEDDING_COLUMNS = 16
_BATCH = 256
_DARK = 0.1  # of full scale


def profile(dataset: Dataset, *, sample: int, seed: int = 0, embed: Embed | None = None) -> pd.DataFrame:
    """At most `sample` training rows and, with `embed`, as many validation rows, which have nothing but what it sees.

    Raises DataError where an image does not decode or `embed` answers in another shape than (N, D).
    """
    trained = load_split(dataset, TRAINED, limit=sample, seed=seed)
    told = targets.of(dataset).summary(trained.targets, dataset.card)
    table = describe(trained, told, _groups(dataset, trained.ids))
    if embed is None:
        return table
    return pd.concat([table, seen(load_split(dataset, UNSEEN, limit=sample, seed=seed), embed)], ignore_index=True)


def describe(
    data: Arrays, told: Mapping[str, npt.NDArray[Any]], groups: Mapping[str, Sequence[str | None]] | None = None
) -> pd.DataFrame:
    """A row an image: statistics of its pixels, what is `told` of its target (columns of N values), its groups.

    Statistics are of brightness in [0, 1]. `edge_*` are mean squared differences of neighbours; `sharpness` is the
    variance of the Laplacian (Pech-Pacheco et al. 2000) and falls with blur; `noise` is the standard deviation that
    Immerkær (1996) estimates, which rises with noise that `edge_*` do not notice. `groups` are the images' values in
    `group_*` columns, None where there is none.
    """
    grey = data.images.mean(axis=3, dtype=np.float32) / np.float32(255.0)
    columns: dict[str, Any] = {
        ID: data.ids,
        SPLIT: TRAINED,
        "brightness": grey.mean(axis=(1, 2)),
        "contrast": grey.std(axis=(1, 2)),
        "darkest": grey.min(axis=(1, 2)),
        "brightest": grey.max(axis=(1, 2)),
        "dark_share": (grey < _DARK).mean(axis=(1, 2)),
    }
    if min(grey.shape[1:]) > 2:  # those of neighbours need some
        rows, across = np.diff(grey, axis=1), np.diff(grey, axis=2)
        columns["edge_rows"] = (rows**2).mean(axis=(1, 2))
        columns["edge_columns"] = (across**2).mean(axis=(1, 2))
        bent_rows, bent_across = np.diff(rows, axis=1), np.diff(across, axis=2)
        columns["sharpness"] = (bent_rows[:, :, 1:-1] + bent_across[:, 1:-1, :]).var(axis=(1, 2))
        columns["noise"] = np.abs(np.diff(bent_rows, n=2, axis=2)).mean(axis=(1, 2)) * np.sqrt(np.pi / 2) / 6
    if data.images.shape[3] == 3:
        for channel, name in enumerate(("red", "green", "blue")):
            columns[name] = data.images[..., channel].mean(axis=(1, 2)) / 255.0
    columns.update(told)
    for name, values in (data.groups if groups is None else groups).items():
        columns[name] = np.array([MISSING if value is None else str(value) for value in values], dtype=object)
    return pd.DataFrame(columns)


def seen(data: Arrays, embed: Embed) -> pd.DataFrame:
    """A row an image: what the model sees in it, in at most `EMBEDDING_COLUMNS` columns."""
    parts = [np.asarray(embed(data.images[at : at + _BATCH]), np.float64) for at in range(0, len(data), _BATCH)]
    values = np.concatenate(parts)
    if values.ndim != 2 or len(values) != len(data):
        raise DataError(f"embed: expected ({len(data)}, D) values, received {values.shape}")
    width = values.shape[1]
    if width > EMBEDDING_COLUMNS:
        directions = np.random.default_rng(width).standard_normal((width, EMBEDDING_COLUMNS))
        values = values @ directions / np.sqrt(EMBEDDING_COLUMNS)
    columns = {f"{EMBEDDING}{index:02d}": values[:, index] for index in range(values.shape[1])}
    return pd.DataFrame({ID: data.ids, SPLIT: UNSEEN, **columns})


def _groups(dataset: Dataset, ids: npt.NDArray[np.str_]) -> dict[str, list[str | None]]:
    """The rows' values in the `group_*` columns, nulls as they are stored."""
    names = dataset.card.groups
    if not names:
        return {}
    wanted = {str(name): at for at, name in enumerate(ids)}
    found: dict[str, list[str | None]] = {name: [None] * len(ids) for name in names}
    for table in dataset.batches(TRAINED, [ID, *names]):
        rows = [(row, wanted[name]) for row, name in enumerate(table.column(ID).to_pylist()) if name in wanted]
        for name in names:
            values = table.column(name).to_pylist()
            for row, at in rows:
                found[name][at] = values[row]
    return found
