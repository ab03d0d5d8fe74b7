"""A figure by which answers are judged: which way is better, in what it is counted, and what it says.

Whoever compares two values of it, chooses the best, or shows one to people asks here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Value = TypeVar("Value", float, Floats)
T = TypeVar("T")

SHARE = "share"  # the unit of what lies between 0 and 1


@dataclass(frozen=True)
class Metric:
    """`unit` is `share`, a unit such as `px` or `nats`, or empty for a plain number."""

    name: str
    better: Literal["more", "less"] = "more"
    unit: str = SHARE
    says: str = ""  # what it means, for people

    @property
    def more(self) -> bool:
        """Whether more of it is better."""
        return self.better == "more"

    @property
    def sign(self) -> float:
        """What a value is multiplied by so that more of it is better."""
        return 1.0 if self.more else -1.0

    @property
    def shared(self) -> bool:
        return self.unit == SHARE

    def lost(self, before: Value, after: Value) -> Value:
        """How much worse `after` is than `before`: of a share the difference, of anything else in parts of `before`.

        So one allowance has a meaning for both. Negative where it is better, NaN where it is not known.
        """
        if isinstance(before, np.ndarray) and isinstance(after, np.ndarray):
            lost = self.sign * (before - after)
            return lost if self.shared else _in_parts(lost, before)
        worse = self.sign * (before - after)
        return worse if self.shared else float(_in_parts(np.asarray(worse), np.asarray(before)))

    def beats(self, one: float, other: float) -> bool:
        """Whether `one` is better than `other`; nothing is better than NaN, nor NaN than anything."""
        return self.sign * one > self.sign * other

    def best(self, values: Iterable[T], key: Callable[[T], float]) -> T:
        """The first of the best; ValueError where there is none to choose from."""
        return max(values, key=lambda each: self.sign * key(each))

    def worst(self, values: Iterable[T], key: Callable[[T], float]) -> T:
        """The first of the worst; ValueError where there is none to choose from."""
        return min(values, key=lambda each: self.sign * key(each))

    def amount(self, lost: float) -> str:
        """What was `lost`, or may be, for people: in percentage points of a share, else in per cent."""
        return f"{lost * 100:.2g} {'pp' if self.shared else '%'}"


def recorded(name: str, more: bool, unit: str) -> Metric:
    """A metric as documents keep it: its name, whether more of it is better, and its unit."""
    return Metric(name, "more" if more else "less", unit)


def shown(value: float | None, unit: str = SHARE) -> str:
    """One value for people: a share in per cent, bytes in kB or MB, anything else with its unit."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "not measurable"
    if unit == "bytes":
        return f"{value / 1e6:,.2f} MB" if value >= 1e6 else f"{value / 1e3:,.1f} kB"
    if unit == SHARE and abs(value) <= 1:
        return f"{value:.2%}".replace("%", " %")
    if unit in ("", SHARE):
        return f"{value:.4f}"
    return f"{value:,.3g} {unit}" if abs(value) < 1000 else f"{value:,.0f} {unit}"


def decimal(value: float | None, unit: str = SHARE) -> str:
    """The same for tables whose columns are compared with limits, which are decimals: `0.8960`, or `12.5000 px`."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "unknown"
    text = f"{value:,.4f}" if abs(value) < 100 else f"{value:,.0f}"
    return text if unit in ("", SHARE) else f"{text} {unit}"


def change(before: float, after: float, unit: str = SHARE) -> str:
    """What `after` is above `before`, for people: `+0.23 pp` of a share, `-1.4 px` of anything else."""
    if not math.isfinite(before + after):
        return "unknown"
    if unit == SHARE:
        return f"{(after - before) * 100:+.2f} pp"
    return f"{after - before:+.3g} {unit}".rstrip()


def _in_parts(lost: Floats, before: Floats) -> Floats:
    """Where nothing was lost of nothing, 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(lost == 0.0, 0.0, lost / np.abs(before))
