"""Is this still the data the production model was trained on? The one room of Evidently.

A profile is a small table, a row a sampled image: statistics of its pixels, its label (of a dense target the share of
each class), and what a model sees in it. Two profiles are compared column by column. What to do about drift, and where
the reference comes from, is for the line to say.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.artifacts import Card, Dataset, Split, writing
from components.config import DriftConfig
from components.data.errors import DataError
from components.data.loading import Arrays, load_split

Embed = Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]]  # (N, H, W, C) uint8 → (N, D) float

LABEL = "label"
# Wider embeddings are projected onto this many fixed random directions, which keeps distances (Johnson and
# Lindenstrauss 1984) and keeps the pixels' and labels' columns from being outvoted by hundreds of others.
EMBEDDING_COLUMNS = 16
_BATCH = 256
_DARK = 0.1  # of full scale


class ColumnDrift(Card):
    """What one column's test said: a distance or a p-value, as `test` names it."""

    score: float
    drifted: bool
    test: str
    threshold: float


class DriftReport(Card):
    """`drift.json`."""

    reference: bool  # False: there was nothing to compare with
    drifted: bool | None  # None: not known, for want of a reference
    share: float | None  # of the columns that drifted
    columns: dict[str, ColumnDrift]
    message: str

    @classmethod
    def load(cls, folder: Path) -> DriftReport:
        return cls.read(folder / "drift.json")


def profile(
    dataset: Dataset, split: Split = "train", *, sample: int, seed: int = 0, embed: Embed | None = None
) -> pd.DataFrame:
    """The profile of at most `sample` images of a split."""
    return describe(load_split(dataset, split, limit=sample, seed=seed), dataset.card.classes, embed)


def describe(data: Arrays, classes: Sequence[str], embed: Embed | None = None) -> pd.DataFrame:
    """A row an image. Statistics are of brightness in [0, 1]; `edge_*` are mean squared differences of neighbours."""
    columns: dict[str, Any] = {"id": data.ids}
    grey = data.images.mean(axis=3, dtype=np.float32) / np.float32(255.0)
    columns["brightness"] = grey.mean(axis=(1, 2))
    columns["contrast"] = grey.std(axis=(1, 2))
    columns["darkest"] = grey.min(axis=(1, 2))
    columns["brightest"] = grey.max(axis=(1, 2))
    columns["dark_share"] = (grey < _DARK).mean(axis=(1, 2))
    columns["edge_rows"] = (np.diff(grey, axis=1) ** 2).mean(axis=(1, 2))
    columns["edge_columns"] = (np.diff(grey, axis=2) ** 2).mean(axis=(1, 2))
    if data.images.shape[3] == 3:
        for channel, name in enumerate(("red", "green", "blue")):
            columns[name] = data.images[..., channel].mean(axis=(1, 2)) / 255.0
    columns.update(_of_targets(data.targets, classes))
    if embed is not None:
        columns.update(_of_embedding(data.images, embed))
    return pd.DataFrame(columns)


def _of_targets(targets: npt.NDArray[Any], classes: Sequence[str]) -> dict[str, Any]:
    if targets.ndim == 1:
        return {LABEL: np.array(classes, dtype=object)[targets]}
    flat = targets.reshape(len(targets), -1)
    return {f"share_{name}": (flat == index).mean(axis=1) for index, name in enumerate(classes)}


def _of_embedding(images: npt.NDArray[np.uint8], embed: Embed) -> dict[str, Any]:
    parts = [np.asarray(embed(images[at : at + _BATCH]), dtype=np.float64) for at in range(0, len(images), _BATCH)]
    values = np.concatenate(parts)
    if values.ndim != 2 or len(values) != len(images):
        raise DataError(f"embed: expected ({len(images)}, D) values, received {values.shape}")
    width = values.shape[1]
    if width > EMBEDDING_COLUMNS:
        directions = np.random.default_rng(width).standard_normal((width, EMBEDDING_COLUMNS))
        values = values @ directions / np.sqrt(EMBEDDING_COLUMNS)
    return {f"embedding_{index:02d}": values[:, index] for index in range(values.shape[1])}


def compare(current: pd.DataFrame, reference: pd.DataFrame | None, config: DriftConfig, folder: Path) -> DriftReport:
    """Compare two profiles; writes `drift.json` and, where there is a reference, `drift.html` into `folder`.

    Raises DataError where the two have no column in common or a column's test gave no answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if reference is None:
        message = "there is no reference yet: no model of this name is in production, so drift is not known"
        report = DriftReport(reference=False, drifted=None, share=None, columns={}, message=message)
    else:
        report = _compare(current, reference, config, folder)
    with writing(folder / "drift.json") as temporary:
        temporary.write_text(report.to_json(), encoding="utf-8")
    return report


def _compare(current: pd.DataFrame, reference: pd.DataFrame, config: DriftConfig, folder: Path) -> DriftReport:
    shared = [name for name in current.columns if name in reference.columns and name != "id"]
    if not shared or current.empty or reference.empty:
        raise DataError(
            f"drift: expected two profiles with rows and columns in common, received {len(current)} rows of "
            f"{list(current.columns)} and {len(reference)} rows of {list(reference.columns)}"
        )
    columns = _evidently(current[shared], reference[shared], config, folder)
    drifted = [name for name, column in columns.items() if column.drifted]
    share = len(drifted) / len(columns)
    message = f"{len(drifted)} of {len(columns)} columns drifted" + (f": {', '.join(drifted)}" if drifted else "")
    alone = sorted((set(current.columns) ^ set(reference.columns)) - {"id"})
    if alone:
        message += f"; not compared, since only one side has them: {', '.join(alone)}"
    return DriftReport(reference=True, drifted=share >= config.share, share=share, columns=columns, message=message)


def _evidently(
    current: pd.DataFrame, reference: pd.DataFrame, config: DriftConfig, folder: Path
) -> dict[str, ColumnDrift]:
    """Evidently's tests of every column, and its page. It picks the test by the kind and number of values."""
    from evidently import DataDefinition, Report
    from evidently import Dataset as Table
    from evidently.presets import DataDriftPreset

    categories = [name for name in current.columns if not pd.api.types.is_numeric_dtype(current[name])]
    numbers = [name for name in current.columns if name not in categories]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # divisions by zero in constant columns, which its tests then handle
        answer = Report([DataDriftPreset(drift_share=config.share)], include_tests=True).run(
            Table.from_pandas(current, definition), Table.from_pandas(reference, definition)
        )
        with writing(folder / "drift.html") as page:
            answer.save_html(str(page))
    found = answer.dict()
    passed = {
        test["metric_config"]["params"]["column"]: test["status"]
        for test in found["tests"]
        if "column" in test["metric_config"]["params"]
    }
    columns = {
        metric["config"]["column"]: ColumnDrift(
            score=float(metric["value"]),
            drifted=passed[metric["config"]["column"]] == "FAIL",
            test=str(metric["config"]["method"]),
            threshold=float(metric["config"]["threshold"]),
        )
        for metric in found["metrics"]
        if "column" in metric["config"]
    }
    unanswered = [name for name in current.columns if passed.get(name) not in ("SUCCESS", "FAIL")]
    if unanswered or set(columns) != set(current.columns):
        raise DataError(
            f"drift: expected an answer for every column, received none for {unanswered or list(current.columns)}"
        )
    return columns
