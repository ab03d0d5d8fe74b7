"""Baselines by the kind of input that they are shown."""

from __future__ import annotations

from collections.abc import Mapping

from components.evaluate.baselines.protocol import Learn
from components.members import BASELINES


def of(given: str) -> Mapping[str, Learn]:
    """Of a kind of input, by name; none where nobody has said what a simple model is shown of it."""
    if given not in BASELINES.names():
        return {}
    found: Mapping[str, Learn] = BASELINES.load(given).BASELINES
    return found
