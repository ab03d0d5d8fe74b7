"""What was measured of one artifact."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Literal

from pydantic import Field

from components.artifacts.card import Card
from components.files import writing

WITH_TWINS = "samples_with_twins"  # figure: samples that are judged on and have a twin in what was learnt from


class Figure(Card):
    """A measured value with its interval (None where it has none, such as a size)."""

    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""


class GroupFigure(Card):
    """A metric for one group: `column` is a `group_*` column or a `slice_*` of the data's own."""

    column: str
    group: str
    metric: str
    samples: int
    figure: Figure


class CellFigure(Card):
    """A metric of one class within one group: `column` and `group` as of `GroupFigure`, `label` the class's name."""

    column: str
    group: str  # empty where `together` is not 0
    label: str
    metric: str
    samples: int  # of the group that have the class, at least 1
    figure: Figure | None  # None: withheld, since these are fewer than `Evidence.min_samples`
    # How many groups of the column are measured together here, all those whose own figure for the class is withheld.
    together: int = Field(default=0, exclude_if=operator.not_)


class Evidence(Card):
    """Everything measured about one model on one split of one data set."""

    model: str  # digest of the artifact that was measured
    data: str  # digest of the data it was measured on
    split: str
    samples: int
    primary: str  # name of the task's primary metric, a key of `figures`
    runtime: str = ""  # what answered and was timed: pytorch, onnxruntime, openvino; empty where nobody noted it
    # The kind of machine that it was measured on (`components.machine`); none in evidence of earlier versions.
    processor: dict[str, str] = Field(default={}, exclude_if=operator.not_)
    # How int8 was added up in what is judged, its answers being worse so (`as run`, `saturating`), or `either` where no
    # sum can saturate; empty for float.
    sums: Literal["", "either", "as run", "saturating"] = Field(default="", exclude_if=operator.not_)
    figures: dict[str, Figure]
    classes: dict[str, dict[str, float]] = Field(default={})  # class → metric → value
    groups: tuple[GroupFigure, ...] = ()
    # Every class that a group has; none where the task has no metric of single classes, and in evidence of earlier
    # versions.
    cells: tuple[CellFigure, ...] = Field(default=(), exclude_if=operator.not_)
    min_samples: int = Field(default=0, exclude_if=operator.not_)  # of a cell, below which its figure is withheld
    # Fairlearn's, of the primary metric: `COLUMN.difference`, `COLUMN.ratio`
    disparity: dict[str, float] = Field(default={})
    notes: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with writing(folder / "evidence.json") as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Evidence:
        return cls.read(folder / "evidence.json")
