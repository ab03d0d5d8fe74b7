"""Perceptual hashes of 64 bits, and all pairs of them that differ in few: whole numbers, the same on every machine.

A bit says on which side of a limit one low frequency of a picture lies (pHash: Zauner 2010). The limit is the data's
own, so that each bit divides it about in half and pictures that only share what all share (a black background, a
face in the middle) are not alike. Pairs are found by multi-index hashing (Norouzi, Punjani and Fleet 2012).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from components.data.inspection import pairing
from components.data.inspection.twins import Pairs

Pixels = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]

BITS = 64
SIDE = 16  # of the picture that is hashed; its frequencies below 8 by 8 survive re-encoding and resizing
SAMPLE = 20_000  # pictures whose frequencies say where the limits are
# The limit is in the middle of the widest of six steps between the 35th and the 65th percentile. The median itself
# would do for unlike pictures, but cuts through the middle of a hundred frames of one scene. Measured on altered
# copies of Fashion-MNIST: 2 bits differ in the median with it, 4 at the 99th percentile; 10 % further out it is 3, and
# twice as many pairs must be looked at.
QUANTILES = np.linspace(0.35, 0.65, 7)
_SHARE = 14  # bits: a frequency of 2^14 is all there is in the picture
_COSINE = 10


def reduce(thumbnails: Pixels) -> npt.NDArray[np.int64]:
    """`(N, 32, 32, C)` → `(N, 16, 16, C)`: sums of four pixels."""
    count, side, _, channels = thumbnails.shape
    step = side // SIDE
    summed: npt.NDArray[np.int64] = thumbnails.reshape(count, SIDE, step, SIDE, step, channels).sum(
        axis=(2, 4), dtype=np.int64
    )
    return summed


def frequencies(grey: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
    """`(N, 16, 16)` → `(N, 64)`: the lowest frequencies but the mean, as shares of all there is in the picture.

    Brightness and contrast leave no trace in them. An orthonormal transform up to rounding: the squares of all 255
    shares would add up to 2^28. Sums are below 2^53 and exact in float64.
    """
    values = grey.astype(np.float64)
    across = (_COSINES @ values @ _COSINES.T)[:, _ROWS, _COLUMNS]
    flat = values.reshape(len(values), -1)
    spread = np.sqrt(SIDE * SIDE * np.einsum("np,np->n", flat, flat) - flat.sum(axis=1) ** 2)
    # The transform is 8·2^20 times an orthonormal one, and the spread 16 times the norm of what is not the mean.
    scale = float(1 << _SHARE) * SIDE / (8 << (2 * _COSINE))
    shares: npt.NDArray[np.int16] = np.rint(across * scale / np.maximum(spread, 1.0)[:, None]).astype(np.int16)
    return shares


@dataclass(frozen=True)
class Limits:
    """What each of the 64 frequencies is compared with."""

    values: npt.NDArray[np.int16]

    @classmethod
    def of(cls, sample: npt.NDArray[np.int16]) -> Limits:
        """By the frequencies `(N, 64)` of a sample."""
        at = np.rint(QUANTILES * (len(sample) - 1)).astype(int)
        steps = np.sort(sample, axis=0)[at].astype(np.int64)
        widest = np.diff(steps, axis=0).argmax(axis=0)
        each = np.arange(sample.shape[1])
        return cls(((steps[widest, each] + steps[widest + 1, each]) // 2).astype(np.int16))

    def hash(self, values: npt.NDArray[np.int16]) -> Hashes:
        """`(N, 64)` frequencies → N hashes."""
        packed = np.packbits(values > self.values, axis=1)
        return np.ascontiguousarray(packed).view(">u8")[:, 0].astype(np.uint64)


def _order() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row and column of the 64 lowest frequencies but (0, 0); neighbours in the plane go to different bands."""
    plane = [(row, column) for row in range(SIDE) for column in range(SIDE) if (row, column) != (0, 0)]
    lowest = sorted(plane, key=lambda place: (max(place), sum(place), place))[:BITS]
    dealt = [lowest[index] for first in range(8) for index in range(first, BITS, 8)]
    rows, columns = zip(*dealt, strict=True)
    return np.array(rows), np.array(columns)


def _cosines() -> npt.NDArray[np.float64]:
    angles = np.pi * np.outer(np.arange(SIDE), 2 * np.arange(SIDE) + 1) / (2 * SIDE)
    waves = np.cos(angles) * (1 << _COSINE)
    waves[0] /= np.sqrt(2.0)
    rounded: npt.NDArray[np.float64] = np.rint(waves)
    return rounded


_COSINES = _cosines()
_ROWS, _COLUMNS = _order()
COARSE = np.flatnonzero((_ROWS < 4) & (_COLUMNS < 4))  # which of the 64 are the 15 lowest


# -- search -----------------------------------------------------------------------------------------------------------


def bands(count: int) -> int:
    """How many parts a hash is searched by: each long enough that the pictures spread over its values."""
    return int(np.clip(BITS // max(int(count).bit_length(), 1), 3, 8))


def guaranteed(count: int) -> int:
    """Bits in which two of `count` hashes may differ and are always found: with b parts and 2b - 1 differences one part
    has at most one of them."""
    return 2 * bands(count) - 1


def near(hashes: Hashes, radius: int) -> Iterator[tuple[Pairs, int]]:
    """Pairs (first < second) of hashes that differ in at most `radius` bits, and how many crowded keys there were.

    All that differ in up to `guaranteed(N)` bits are found (crowded keys aside), of the others most. A pair may come
    more than once. The work is about N log N for hashes that spread, and bounded where they do not.
    """
    parts = bands(len(hashes))
    edges = np.linspace(0, BITS, parts + 1).astype(int)
    for low, high in pairwise(edges.tolist()):
        keys = (hashes >> np.uint64(low)) & np.uint64((1 << high - low) - 1)
        order = np.lexsort((hashes, keys))
        values, starts, counts = np.unique(keys[order], return_index=True, return_counts=True)
        crowded = counts > pairing.CROWDED
        yield _kept(hashes, order, pairing.crowd(starts[crowded], counts[crowded]), radius), int(crowded.sum())
        few = ~crowded
        for candidates in pairing.within(starts[few], counts[few]):
            yield _kept(hashes, order, candidates, radius), 0
        for bit in range(high - low):
            flipped = values ^ np.uint64(1 << bit)
            found = np.searchsorted(values, flipped)
            found[found == len(values)] = 0
            joined = (values[found] == flipped) & (values < flipped) & few & few[found]
            left, right = np.flatnonzero(joined), found[joined]
            for candidates in pairing.between(starts[left], counts[left], starts[right], counts[right]):
                yield _kept(hashes, order, candidates, radius), 0


def _kept(hashes: Hashes, order: npt.NDArray[np.int64], places: Pairs, radius: int) -> Pairs:
    one, other = order[places[0]], order[places[1]]
    close = np.bitwise_count(hashes[one] ^ hashes[other]) <= radius
    one, other = one[close], other[close]
    return np.stack([np.minimum(one, other), np.maximum(one, other)])
