"""Samples that are there twice, exactly or all but so: pairs of them, and the families that these join.

Which pairs may be alike, and how alike they are, is for whoever looks at the kind of input. What may not be in two
splits is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

Pairs = npt.NDArray[np.int64]  # (2, P)

DIGEST = np.dtype([("high", "<u8"), ("low", "<u8")])
AT_ONCE = 4096  # pairs that are compared at a time


@dataclass(frozen=True)
class Twins:
    """Pairs of samples `(2, P)`, the first the earlier one, with the likeness of each, 1 at most."""

    pairs: Pairs
    likeness: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @classmethod
    def none(cls) -> Twins:
        return cls(np.zeros((2, 0), dtype=np.int64), np.zeros(0))


def digests_of(values: list[bytes]) -> npt.NDArray[np.void]:
    """16 bytes each, in a form that is compared as a whole."""
    return np.frombuffer(b"".join(values), dtype=DIGEST)


def copies(digests: npt.NDArray[np.void], samples: npt.NDArray[np.int64]) -> tuple[Twins, npt.NDArray[np.int64]]:
    """Samples that have the same digest, each with the first of its kind; and all the firsts."""
    _, first, inverse = np.unique(digests[samples], return_index=True, return_inverse=True)
    earliest = samples[first[inverse]]
    copied = samples != earliest
    pairs = np.stack([earliest[copied], samples[copied]])
    return Twins(pairs, np.ones(pairs.shape[1])), samples[~copied]


def families_of(count: int, *found: Twins) -> npt.NDArray[np.int64]:
    """A number a sample `(count,)`, the same for those that pairs join, directly or through others."""
    pairs = np.concatenate([each.pairs for each in found], axis=1)
    graph = coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=(count, count))
    numbers: npt.NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return numbers


class Families:
    """`count` samples, joined by pairs that have been found alike: whose likeness, as `compare` has it, is `limit`.

    `compare` is given pairs `(2, P)` and returns the likeness of each, `(P,)`.
    """

    def __init__(self, count: int, compare: Callable[[Pairs], npt.NDArray[np.float64]], limit: float) -> None:
        self._count, self._compare, self._limit = count, compare, limit
        self._pairs = np.zeros((2, 0), dtype=np.int64)
        self._likeness = np.zeros(0)
        self._family = np.arange(count)

    def add(self, pairs: Pairs) -> None:
        """Compare the samples of pairs that may be alike, each pair once, and keep those that are."""
        codes = np.unique(pairs[0] * self._count + pairs[1])
        pairs = np.stack([codes // self._count, codes % self._count])
        for start in range(0, pairs.shape[1], AT_ONCE):
            part = pairs[:, start : start + AT_ONCE]
            part = part[:, self._family[part[0]] != self._family[part[1]]]  # what is joined already needs no look
            likeness = self._compare(part)
            alike = likeness >= self._limit
            if alike.any():
                self._pairs = np.concatenate([self._pairs, part[:, alike]], axis=1)
                self._likeness = np.concatenate([self._likeness, likeness[alike]])
                _, self._family = connected_components(self._graph(np.ones(self._pairs.shape[1])), directed=False)

    def trees(self) -> tuple[Pairs, npt.NDArray[np.float64]]:
        """Of the pairs that agree, as few as join the same families, the most similar ones first."""
        if self._pairs.shape[1] == 0:
            return self._pairs, self._likeness
        order = np.lexsort((self._pairs[1], self._pairs[0], -self._likeness))
        rank = np.empty(len(order))
        rank[order] = np.arange(1, len(order) + 1)  # no two weights are equal: there is one such tree
        tree = minimum_spanning_tree(self._graph(rank)).tocoo()
        kept = np.sort(order[tree.data.astype(np.int64) - 1])
        return self._pairs[:, kept], self._likeness[kept]

    def _graph(self, weights: npt.NDArray[np.float64]) -> Any:
        return coo_array((weights, tuple(self._pairs)), shape=(self._count, self._count)).tocsr()
