"""One number or several: what is counted, measured or estimated, each with its name and unit."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, model_validator

from components.artifacts import DatasetCard
from components.inputs.protocol import Expectation
from components.targets.plain import Plain
from components.targets.protocol import Layout, Numbers, Shown, UnreadableTargetError

Floats = npt.NDArray[np.float64]

RANGES = 6  # into which a page divides what a value takes
FAR = 10.0  # deviations from the mean beyond which a value is worth a look


class Named(BaseModel):
    """What a source says about its values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    units: tuple[str, ...]  # "" where there is none

    @model_validator(mode="after")
    def _a_unit_a_name(self) -> Named:
        if not self.names or len(self.names) != len(self.units) or len(set(self.names)) != len(self.names):
            raise ValueError(f"expected names that differ, and a unit of each; received {self.names} and {self.units}")
        return self


class Record(Named):
    """What a data set's card, and its models', keep of its values: also their scale over the training split."""

    kind: Literal["values"] = "values"
    mean: tuple[float, ...]
    std: tuple[float, ...]  # 1 where all values are equal
    low: tuple[float, ...]  # the least and the greatest of each
    high: tuple[float, ...]


class Values(Plain):
    """A list of as many finite numbers as the data set names."""

    name = "values"
    stored = pa.list_(pa.float64())
    labelled: Literal["never"] = "never"
    says = "a target is a number, or several"
    task = "regression"

    def shown(self, column: pa.Array, classes: int) -> Shown:
        none = np.zeros(0, np.int64)
        return Shown(none, none, np.zeros(len(column), np.int64))

    def parts(self, card: DatasetCard) -> tuple[str, ...]:
        """Equal ranges of the first value, over what it takes in the training split; of few whole numbers each."""
        record = record_of(card)
        unit = f" {record.units[0]}" if record.units[0] else ""
        edges = [f"{edge:.4g}" for edge in _edges(record)]
        ranges = edges[:-1] if _few(record) else [f"{low} – {high}" for low, high in pairwise(edges)]
        return tuple(f"{record.names[0]} {each}{unit}" for each in ranges)

    def parted(self, column: pa.Array, card: DatasetCard) -> Shown:
        record = record_of(card)
        first = numbers(column, len(record.names))[:, 0]
        rows = np.flatnonzero(np.isfinite(first))
        edges = _edges(record)
        place = np.clip(np.searchsorted(edges, first[rows], side="right") - 1, 0, len(edges) - 2)
        return Shown(rows, place.astype(np.int64), np.zeros(len(column), np.int64))

    def measures(self, column: pa.Array, about: Mapping[str, Any]) -> dict[str, Floats]:
        named = Named.model_validate({key: about[key] for key in ("names", "units")})
        every = numbers(column, len(named.names))
        return {words: every[:, place] for place, words in enumerate(_with_units(named))}

    def renamed(
        self, column: pa.Array, before: tuple[str, ...], after: tuple[str, ...], about: Mapping[str, Any]
    ) -> pa.Array:
        return column

    def numbered(self, column: pa.Array, lookup: Numbers) -> pa.Array:
        return column

    def record(
        self, about: Mapping[str, Any], columns: Iterable[pa.Array], others: Iterable[pa.Array] = ()
    ) -> dict[str, Any]:
        """Mean and deviation by exact sums: the order of the rows changes no bit of them."""
        named = Named.model_validate(dict(about))
        count = len(named.names)
        rows = [numbers(column, count) for column in columns]
        every = np.concatenate([np.empty((0, count)), *rows])
        sound = every[np.isfinite(every).all(axis=1)]
        mean = [math.fsum(value) / max(len(sound), 1) for value in sound.T]
        std = [
            math.sqrt(math.fsum((value - middle) ** 2) / max(len(sound), 1))
            for value, middle in zip(sound.T, mean, strict=True)
        ]
        record = Record(
            names=named.names,
            units=named.units,
            mean=tuple(mean),
            std=tuple(each or 1.0 for each in std),
            low=tuple(sound.min(axis=0).tolist()) if len(sound) else (0.0,) * count,
            high=tuple(sound.max(axis=0).tolist()) if len(sound) else (0.0,) * count,
        )
        return record.model_dump(mode="json")

    def facts(self, column: pa.Array, card: DatasetCard) -> dict[str, Sequence[Any]]:
        """Whether a target can be read, and each of its values."""
        record = record_of(card)
        values = numbers(column, len(record.names))
        sound = (np.isfinite(values).sum(axis=1) == len(record.names)).tolist()
        facts: dict[str, Sequence[Any]] = {"target": ["values" if good else None for good in sound]}
        for place, name in enumerate(record.names):
            facts[fact(name)] = [
                float(value) if good else None for value, good in zip(values[:, place], sound, strict=True)
            ]
        return facts

    def expectations(self, card: DatasetCard) -> Sequence[Expectation]:
        record = record_of(card)
        return [
            Expectation(
                "ExpectColumnValuesToBeBetween",
                {"column": fact(name), "min_value": mean - FAR * std, "max_value": mean + FAR * std},
                "warning",
                f"{name} lies within {FAR:g} deviations of its mean, {mean - FAR * std:.4g} to {mean + FAR * std:.4g}"
                f"{f' {unit}' if unit else ''}",
            )
            for name, unit, mean, std in zip(record.names, record.units, record.mean, record.std, strict=True)
        ]

    def layout(self, card: DatasetCard) -> Layout:
        return Layout((len(record_of(card).names),), np.dtype(np.float32))

    def arrays(self, column: pa.Array, card: DatasetCard) -> npt.NDArray[Any]:
        count = len(record_of(card).names)
        values = numbers(column, count)
        wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(wrong):
            row = int(wrong[0])
            received = "none" if column[row].as_py() is None else column[row].as_py()
            raise UnreadableTargetError(row, f"expected {count} finite numbers, received {received}")
        return values.astype(np.float32)

    def summary(self, arrays: npt.NDArray[Any], card: DatasetCard) -> dict[str, npt.NDArray[Any]]:
        return {fact(name): arrays[:, place] for place, name in enumerate(record_of(card).names)}

    def described(self, classes: Sequence[str], about: Mapping[str, Any]) -> str:
        *others, last = _with_units(Named.model_validate({key: about[key] for key in ("names", "units")}))
        return f"with {', '.join(others)} and {last}" if others else f"with {last}"

    def digests(self, column: pa.Array, classes: tuple[str, ...] | None) -> pa.Array:
        each = [None if row is None else hashlib.sha256(repr(row).encode()).digest() for row in column.to_pylist()]
        return pa.array(each, pa.binary())


TARGET = Values()


def record_of(card: DatasetCard) -> Record:
    """What the card keeps of its values."""
    return Record.model_validate(card.target)


def _with_units(named: Named) -> list[str]:
    return [f"{name} ({unit})" if unit else name for name, unit in zip(named.names, named.units, strict=True)]


def fact(name: str) -> str:
    """The column in which a value is told."""
    return f"value_{name}"


def numbers(column: pa.Array, count: int) -> Floats:
    """`(N, count)`; a row that is null, or has another number of values, is NaN throughout."""
    if column.null_count == 0 and pa.compute.all(pa.compute.equal(pa.compute.list_value_length(column), count)).as_py():
        flat: Floats = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
        return flat.reshape(-1, count)
    rows = np.full((len(column), count), np.nan)
    for place, values in enumerate(column.to_pylist()):
        if values is not None and len(values) == count:
            rows[place] = [math.nan if value is None else value for value in values]
    return rows


def _few(record: Record) -> bool:
    """Whether the first value takes a few whole numbers only, as far as its ends say."""
    low, high = record.low[0], record.high[0]
    return low.is_integer() and high.is_integer() and high - low < RANGES


def _edges(record: Record) -> Floats:
    """Of the ranges that a page shows, least first: the first value's ends, and equal steps between."""
    low, high = record.low[0], record.high[0]
    edges: Floats = (
        np.arange(low, high + 2.0) if _few(record) else np.linspace(low, high if high > low else low + 1.0, RANGES + 1)
    )
    return edges
