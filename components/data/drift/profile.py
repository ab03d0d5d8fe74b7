"""What a data set looks like, as one small table: its inputs, labels and groups, and what a model sees.

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
from components.inputs import registry as inputs
from components.targets import registry as targets

Embed = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]  # N inputs as arrays → (N, D) float

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


def profile(dataset: Dataset, *, sample: int, seed: int = 0, embed: Embed | None = None) -> pd.DataFrame:
    """At most `sample` training rows and, with `embed`, as many validation rows, which have nothing but what it sees.

    Raises DataError where an input cannot be read or `embed` answers in another shape than (N, D).
    """
    trained = load_split(dataset, TRAINED, limit=sample, seed=seed)
    card = dataset.card
    stated = inputs.of(card).summary(trained.inputs, card.input)
    told = targets.of(dataset).summary(trained.targets, card)
    table = describe(trained, {**stated, **told}, _groups(dataset, trained.ids))
    if embed is None:
        return table
    return pd.concat([table, seen(load_split(dataset, UNSEEN, limit=sample, seed=seed), embed)], ignore_index=True)


def describe(
    data: Arrays, told: Mapping[str, npt.NDArray[Any]], groups: Mapping[str, Sequence[str | None]] | None = None
) -> pd.DataFrame:
    """A row per sample: what is `told` of its input and its target (columns of N values), and its groups.

    `groups` are the samples' values in `group_*` columns, None where there is none.
    """
    columns: dict[str, Any] = {ID: data.ids, SPLIT: TRAINED, **told}
    for name, values in (data.groups if groups is None else groups).items():
        columns[name] = np.array([MISSING if value is None else str(value) for value in values], dtype=object)
    return pd.DataFrame(columns)


def seen(data: Arrays, embed: Embed) -> pd.DataFrame:
    """A row per sample: what the model sees in it, in at most `EMBEDDING_COLUMNS` columns."""
    parts = [np.asarray(embed(data.inputs[at : at + _BATCH]), np.float64) for at in range(0, len(data), _BATCH)]
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
