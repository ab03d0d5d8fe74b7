"""The kinds of findings in words, those about inputs in the words of their kind, and which of them stop the run."""

from __future__ import annotations

from collections.abc import Mapping

from components.data.inspection.base.findings import Kind
from components.data.inspection.eyes import registry as eyes

_SAYS: dict[Kind, str] = {
    "outlier": "far from everything else",
    "label-noise": "the label is probably wrong",
    "missing-group": "no value in a group's column",
    "small-class": "fewer samples than the splits need",
    "confounded-group": "a group that all but tells the class",
    "spelling": "one name in several spellings",
    "several-labels": "several labels in one cell",
}
# What is said of these begins with what they are about; of all others the `id` stands before it.
NAMED: tuple[Kind, ...] = ("confounded-group", "spelling", "several-labels")
# What stops the pipeline; everything else is a warning. Twins do where they are in two splits (`check.leaking`).
ERRORS: tuple[Kind, ...] = ("corrupt", "missing-group", "small-class")


def says(given: str) -> Mapping[Kind, str]:
    """Of a data set with that kind of input."""
    return {**_SAYS, **eyes.of_kind(given).says}
