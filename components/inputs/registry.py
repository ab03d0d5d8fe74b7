"""Kinds of inputs by name: a file in this folder that says `INPUT = …` is one."""

from __future__ import annotations

from functools import cache

from components.artifacts import DatasetCard, InputSpec
from components.inputs.protocol import InputKind, Values
from components.members import INPUTS


@cache
def get(name: str) -> InputKind:
    """The kind of that name, imported now; raises ValueError where there is none."""
    if name not in INPUTS.names():
        raise ValueError(f"input: expected one of {', '.join(INPUTS.names())}, received {name!r}")
    kind: InputKind = INPUTS.load(name).INPUT
    return kind


def of(card: DatasetCard) -> InputKind:
    """The kind of a prepared data set's inputs."""
    return get(card.input.kind)


def noise(spec: InputSpec, count: int, seed: int = 0) -> Values:
    """Seeded random inputs, `(count, *spec.shape)`: for timing, which does not depend on what they are."""
    return get(spec.kind).noise(spec, count, seed)
