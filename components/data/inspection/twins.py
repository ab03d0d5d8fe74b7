"""Pictures that are there twice: pixel for pixel, or all but so (encoded again, resized, brighter, a little noisy).

Near-duplicates are candidates of the hash search whose 16×16 pictures agree; whole numbers up to the last division,
so that the pairs are the same on every machine. What may not be in two splits is decided elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from components.data.inspection import hashing
from components.data.inspection.looking import DIGEST
from components.data.inspection.thumbnails import Rows, luminance

# Bits of 64 in which the hashes of twins may differ. Of altered copies (JPEG at quality 70, noise, another brightness,
# another size) whose pixels agree, 99.5 % of each kind and more are within it, of Fashion-MNIST and of the digits.
RADIUS = 12
# Correlation of the 16×16 pictures from which two are the same. Altered copies reach it, 95 to 100 % of each kind
# (`benchmarks/inspection.py`); of scikit-learn's 1,797 digits no two different ones do (the most alike: 0.9961), of
# Fashion-MNIST's 70,000 articles 165 pairs, about half of them one photograph that was treated in two ways.
CORRELATION = 0.997
# Standard deviation of a 16×16 picture in grey values, below which rounding decides what it correlates with.
FAINT = 2.0
AT_ONCE = 4096  # pictures, or pairs of them, that are looked at at a time
# Squared difference of the coarse frequencies that no twins exceed: of grey pictures that correlate so highly, all
# frequencies together do not differ by more. 5 % for rounding; of a picture in colour the grey one may differ twice
# as much as the colours do together.
COARSE = {1: 1.05 * 2 * (1 - CORRELATION) * 2.0**28, 3: 2 * 1.05 * 2 * (1 - CORRELATION) * 2.0**28}


@dataclass(frozen=True)
class Twins:
    """Pairs of samples `(2, P)`, the first the earlier one, with the correlation of each."""

    pairs: npt.NDArray[np.int64]
    correlation: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()


def copies(digests: npt.NDArray[np.void], samples: npt.NDArray[np.int64]) -> tuple[Twins, npt.NDArray[np.int64]]:
    """Samples whose pixels have the same digest, each with the first of its kind; and all the firsts."""
    _, first, inverse = np.unique(digests[samples], return_index=True, return_inverse=True)
    earliest = samples[first[inverse]]
    copied = samples != earliest
    pairs = np.stack([earliest[copied], samples[copied]])
    return Twins(pairs, np.ones(pairs.shape[1])), samples[~copied]


def same_thumbnails(thumbnails: Rows, samples: npt.NDArray[np.int64]) -> Twins:
    """Samples whose 32×32 pictures have the same values, each with the first of its kind.

    For pictures in which there is nothing to be seen, and so nothing that could correlate: of one value, but of another
    size or mode, they become the same pixels when they are prepared.
    """
    pictures = (picture for part in _parts(samples) for picture in thumbnails.take(part))
    digests = b"".join(hashlib.blake2b(picture.tobytes(), digest_size=DIGEST.itemsize).digest() for picture in pictures)
    found, _ = copies(np.frombuffer(digests, dtype=DIGEST), np.arange(len(samples)))
    return Twins(samples[found.pairs], found.correlation)


def families_of(count: int, *found: Twins) -> npt.NDArray[np.int64]:
    """A number a sample `(count,)`, the same for those that pairs join, directly or through others."""
    pairs = np.concatenate([each.pairs for each in found], axis=1)
    graph = coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=(count, count))
    numbers: npt.NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return numbers


def near_copies(thumbnails: Rows, samples: npt.NDArray[np.int64], folder: Path, seed: int = 0) -> Twins:
    """Near-duplicates among some samples, all of them different in pixels; `folder` is where a temporary file may lie.

    Of a family of pictures that are all alike only a tree is listed: N - 1 pairs, where all would be N².
    """
    if len(samples) < 2:
        return Twins(np.zeros((2, 0), dtype=np.int64), np.zeros(0))
    channels = thumbnails.shape[-1]
    with Rows(folder, (hashing.SIDE * hashing.SIDE * channels,), np.int16) as pictures:
        sketches = _sketches(thumbnails, samples, pictures, seed)
        families = _Families(sketches, pictures, COARSE[channels])
        crowded = 0
        for found, crowds in hashing.near(sketches.hashes, RADIUS):
            crowded += crowds
            families.add(found)
        pairs, correlation = families.trees()
    notes = (
        f"near-duplicates: {crowded} groups of more than {hashing.CROWDED} pictures have so much in common that each "
        f"was compared with its {hashing.NEIGHBOURS} nearest only",
    )
    return Twins(samples[sketches.rows[pairs]], correlation, notes if crowded else ())


@dataclass(frozen=True)
class _Sketches:
    """What is kept of the pictures in which there is something to be seen: some words each."""

    rows: npt.NDArray[np.int64]  # place among the samples, and in the file of 16×16 pictures
    hashes: hashing.Hashes
    coarse: npt.NDArray[np.int16]  # (N, 15): the lowest frequencies
    spread: npt.NDArray[np.int64]  # n·Σx² - (Σx)² over the picture's n values


def _sketches(thumbnails: Rows, samples: npt.NDArray[np.int64], pictures: Rows, seed: int) -> _Sketches:
    """Of each sample; its 16×16 picture goes to `pictures`."""
    chosen = samples
    if len(samples) > hashing.SAMPLE:
        chosen = np.sort(np.random.default_rng(seed).choice(samples, hashing.SAMPLE, replace=False))
    limits = hashing.Limits.of(np.concatenate([_frequencies(thumbnails.take(part)) for part in _parts(chosen)]))
    hashes, coarse, spread = [], [], []
    for part in _parts(samples):
        batch = thumbnails.take(part)
        reduced = hashing.reduce(batch).reshape(len(batch), -1)
        pictures.append(reduced)
        spread.append(reduced.shape[1] * (reduced * reduced).sum(axis=1) - reduced.sum(axis=1) ** 2)
        values = _frequencies(batch)
        hashes.append(limits.hash(values))
        coarse.append(values[:, hashing.COARSE])
    spreads = np.concatenate(spread)
    values_of_one = hashing.SIDE * hashing.SIDE * thumbnails.shape[-1]
    rows = np.flatnonzero(spreads >= (4 * FAINT * values_of_one) ** 2)  # sums of four pixels deviate four times as much
    return _Sketches(rows, np.concatenate(hashes)[rows], np.concatenate(coarse)[rows], spreads[rows])


def _frequencies(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    return hashing.frequencies(hashing.reduce(luminance(thumbnails))[..., 0])


def _parts(indices: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, len(indices), AT_ONCE):
        yield indices[start : start + AT_ONCE]


class _Families:
    """Pictures joined by pairs that have been found alike."""

    def __init__(self, sketches: _Sketches, pictures: Rows, limit: float) -> None:
        self._sketches, self._pictures, self._limit = sketches, pictures, limit
        self._count = len(sketches.rows)
        self._pairs = np.zeros((2, 0), dtype=np.int64)
        self._correlation = np.zeros(0)
        self._family = np.arange(self._count)

    def add(self, pairs: npt.NDArray[np.int64]) -> None:
        """Compare the pictures of the pairs that may be alike, and keep those that are."""
        pairs = pairs[:, self._alike_in_coarse(pairs)]
        codes = np.unique(pairs[0] * self._count + pairs[1])
        pairs = np.stack([codes // self._count, codes % self._count])
        for start in range(0, pairs.shape[1], AT_ONCE):
            part = pairs[:, start : start + AT_ONCE]
            part = part[:, self._family[part[0]] != self._family[part[1]]]  # what is joined already needs no look
            correlation = self._correlations(part)
            alike = correlation >= CORRELATION
            if alike.any():
                self._pairs = np.concatenate([self._pairs, part[:, alike]], axis=1)
                self._correlation = np.concatenate([self._correlation, correlation[alike]])
                _, self._family = connected_components(self._graph(np.ones(self._pairs.shape[1])), directed=False)

    def _alike_in_coarse(self, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        difference = self._sketches.coarse[pairs[0]].astype(np.float32)
        difference -= self._sketches.coarse[pairs[1]]
        alike: npt.NDArray[np.bool_] = np.einsum("pf,pf->p", difference, difference) <= self._limit
        return alike

    def trees(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Of the pairs that agree, as few as join the same families, the most similar ones first."""
        if self._pairs.shape[1] == 0:
            return self._pairs, self._correlation
        order = np.lexsort((self._pairs[1], self._pairs[0], -self._correlation))
        rank = np.empty(len(order))
        rank[order] = np.arange(1, len(order) + 1)  # no two weights are equal: there is one such tree
        tree = minimum_spanning_tree(self._graph(rank)).tocoo()
        kept = np.sort(order[tree.data.astype(np.int64) - 1])
        return self._pairs[:, kept], self._correlation[kept]

    def _graph(self, weights: npt.NDArray[np.float64]) -> Any:
        return coo_array((weights, tuple(self._pairs)), shape=(self._count, self._count)).tocsr()

    def _correlations(self, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Of the two pictures of each pair, all channels together: a colour that differs counts like a grey."""
        used, places = np.unique(pairs, return_inverse=True)
        values = self._pictures.take(self._sketches.rows[used]).astype(np.int32)
        sums = values.sum(axis=1, dtype=np.int64)
        one, other = places.reshape(pairs.shape)
        products = np.einsum("pv,pv->p", values[one], values[other]).astype(np.int64)
        covariance = values.shape[1] * products - sums[one] * sums[other]
        spread = self._sketches.spread.astype(np.float64)
        correlation: npt.NDArray[np.float64] = covariance / np.sqrt(spread[pairs[0]] * spread[pairs[1]])
        return correlation
