"""Pairs of samples that share a key: of those in order of it, the places of each run with one another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from components.data.inspection.twins import Pairs

CROWDED = 1000  # of one key: more are compared with their next neighbours only, so that no bucket costs their square
NEIGHBOURS = 32
AT_ONCE = 2**21  # pairs: 32 MB of indices


def within(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Iterator[Pairs]:
    """All pairs of places inside each run: every place with all that follow it in its run."""
    places = _runs(starts, counts)
    following = np.repeat(starts + counts, counts) - places - 1
    yield from _fan(places, places + 1, following)


def between(
    left: npt.NDArray[np.int64],
    lefts: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    rights: npt.NDArray[np.int64],
) -> Iterator[Pairs]:
    """All pairs of a place in the left run and one in the right run beside it."""
    yield from _fan(_runs(left, lefts), np.repeat(right, lefts), np.repeat(rights, lefts))


def crowd(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Pairs:
    """Each place with the next few of its run, which is in order of the whole hash."""
    places = _runs(starts, counts)
    following = np.minimum(np.repeat(starts + counts, counts) - places - 1, NEIGHBOURS)
    pairs = list(_fan(places, places + 1, following))
    return np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), dtype=np.int64)


def _runs(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The places of all runs, one after another."""
    ends = np.cumsum(counts)
    places: npt.NDArray[np.int64] = np.repeat(starts - (ends - counts), counts)
    places += np.arange(len(places))
    return places


def _fan(places: npt.NDArray[np.int64], first: npt.NDArray[np.int64], number: npt.NDArray[np.int64]) -> Iterator[Pairs]:
    """Each place with `number` consecutive places from `first` on, some millions of pairs at a time."""
    ends = np.cumsum(number)
    at = 0
    while at < len(places):
        until = int(np.searchsorted(ends, (ends[at - 1] if at else 0) + AT_ONCE, side="right"))
        part = slice(at, max(until, at + 1))
        at = part.stop
        own = number[part]
        if own.sum():
            yield np.stack([np.repeat(places[part], own), _runs(first[part], own)])
