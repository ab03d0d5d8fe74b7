"""Texts → hashes of the character n-grams in them, all texts of a batch at once: whole numbers, the same everywhere.

Of them come shingles, by whose shares in common copies are found, and a descriptor in which alike is near.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.data.inspection.embedding import Floats

Hashes = npt.NDArray[np.uint64]

DIMENSIONS = 1024  # with half as many a probe on docstrings of eight libraries knows 56 %, not 60
# Characters of an n-gram of the descriptor: of a word's inside, and of where two words meet.
LENGTHS = (3, 4, 5)
_PRIME = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Grams:
    """Hashes of all n-grams of N texts, one text after the other; `starts` `(N,)` is where each begins."""

    hashes: Hashes
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str], length: int) -> Grams:
        """Of every run of `length` characters; a text that is shorter is one by itself."""
        codes = [np.frombuffer(text.encode("utf-32-le"), np.uint32) for text in texts]
        sizes = np.array([max(len(each), length) for each in codes], dtype=np.int64)
        ends = np.cumsum(sizes)
        whole = np.zeros(int(sizes.sum()) + length, dtype=np.uint64)
        for each, end, size in zip(codes, ends.tolist(), sizes.tolist(), strict=True):
            whole[end - size : end - size + len(each)] = each
        hashes = np.zeros(len(whole) - length, dtype=np.uint64)
        for place in range(length):
            hashes = hashes * _PRIME + whole[place : place + len(hashes)] + np.uint64(1)
        numbers = sizes - length + 1
        inside = np.arange(len(hashes)) - np.repeat(ends - sizes, sizes) < np.repeat(numbers, sizes)
        return cls(mixed(hashes[inside]), np.cumsum(numbers) - numbers)

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Of which text each is."""
        counts = np.diff(self.starts, append=len(self.hashes))
        return np.repeat(np.arange(len(self.starts)), counts)


def mixed(values: Hashes) -> Hashes:
    """Every bit depends on every bit (the finaliser of MurmurHash3)."""
    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xFF51AFD7ED558CCD)
    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))


def descriptor(texts: Sequence[str]) -> Floats:
    """`(N, 1024)`, each of length 1: how often n-grams occur, hashed into places with a sign, evened out by a root.

    What is hashed into one place by chance cancels out on average (Weinberger et al. 2009).
    """
    found = np.zeros(len(texts) * DIMENSIONS)
    for length in LENGTHS:
        grams = Grams.of([f" {text} " for text in texts], length)
        places = (grams.hashes % np.uint64(DIMENSIONS)).astype(np.int64)
        signs = np.where(grams.hashes >> np.uint64(63), 1.0, -1.0)
        found += np.bincount(grams.rows * DIMENSIONS + places, signs, minlength=len(found))
    values = found.reshape(len(texts), DIMENSIONS)
    values = np.sign(values) * np.sqrt(np.abs(values))
    length_of = np.sqrt(np.einsum("nd,nd->n", values, values))
    unit: Floats = (values / np.maximum(length_of, 1e-12)[:, None]).astype(np.float32)
    return unit
