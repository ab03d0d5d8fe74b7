"""Texts that are all but the same: copied and edited, with a slip, a word more or less, other punctuation.

Alike are texts whose shingles, runs of three characters, are the same but for a few: by Jaccard's index, what both have
of what either has. Candidates are those that agree in one of 16 keys, each of eight minima (MinHash: Broder 1997; in
bands: Indyk and Motwani 1998). Whole numbers up to the last division, so that the pairs are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from components.data.inspection import pairing
from components.data.inspection.eyes.ngrams import Grams, Hashes, mixed
from components.data.inspection.twins import Families, Pairs, Twins

LENGTH = 3  # characters: a slip changes three shingles, in a short sentence one in fifteen
# Jaccard's index from which two texts are the same but for a few edits. Of edited copies of 60 to 400 characters it is
# reached by all with a slip, 97 % with a word left out, and 85 % with another word, three slips or no punctuation; of
# sentences of 25 to 60 characters by 76 % of those with a slip. Two different docstrings are seldom above 0.5.
ALIKE = 0.85
BANDS, ROWS = 16, 8  # of pairs at 0.85 they find 99.4 %, of those at 0.5 one in sixteen is looked at in vain

_SEEDS = mixed(np.arange(1, BANDS * ROWS + 1, dtype=np.uint64))
_ODD = (mixed(_SEEDS) | np.uint64(1)).tolist()


def keys(texts: Sequence[str]) -> Hashes:
    """`(N, 16)`: texts that agree in one of them may be alike."""
    grams = Grams.of(texts, LENGTH)
    minima = np.empty((len(texts), BANDS * ROWS), dtype=np.uint64)
    for place, (odd, seed) in enumerate(zip(_ODD, _SEEDS.tolist(), strict=True)):
        values = grams.hashes * np.uint64(odd) + np.uint64(seed)
        minima[:, place] = np.minimum.reduceat(values >> np.uint64(32), grams.starts)
    found = np.zeros((len(texts), BANDS), dtype=np.uint64)
    for row in range(ROWS):
        found = mixed(found + minima[:, row::ROWS] + np.uint64(1))
    return found


def near_copies(keyed: Hashes, written: Callable[[int], str]) -> Twins:
    """Of N texts that all differ, with the `keys` of each; `written` gives one by its place.

    Of a family of texts that are all alike only a tree is listed: N - 1 pairs, where all would be N².
    """
    if len(keyed) < 2:
        return Twins.none()
    families = Families(len(keyed), lambda pairs: _jaccard(pairs, written), ALIKE)
    crowded = 0
    for band in range(BANDS):
        for found, crowds in _sharing(keyed, band):
            crowded += crowds
            families.add(found)
    notes = (
        f"near-duplicates: {crowded} groups of more than {pairing.CROWDED} texts have so much in common that each was "
        f"compared with {pairing.NEIGHBOURS} others only",
    )
    return Twins(*families.trees(), notes if crowded else ())


def _sharing(keyed: Hashes, band: int) -> Iterator[tuple[Pairs, int]]:
    """Pairs (first < second) that agree in the key of a band, and how many keys too many texts share."""
    own = keyed[:, band]
    order = np.lexsort((keyed[:, band - 1], own))
    _, starts, counts = np.unique(own[order], return_index=True, return_counts=True)
    crowded = counts > pairing.CROWDED
    yield _sorted(order[pairing.crowd(starts[crowded], counts[crowded])]), int(crowded.sum())
    for places in pairing.within(starts[~crowded], counts[~crowded]):
        yield _sorted(order[places]), 0


def _sorted(pairs: Pairs) -> Pairs:
    return np.stack([pairs.min(axis=0), pairs.max(axis=0)])


def _jaccard(pairs: Pairs, written: Callable[[int], str]) -> npt.NDArray[np.float64]:
    used, places = np.unique(pairs, return_inverse=True)
    grams = Grams.of([written(int(place)) for place in used], LENGTH)
    shingles = [np.unique(each) for each in np.split(grams.hashes, grams.starts[1:])]
    found = np.zeros(pairs.shape[1])
    for number, (one, other) in enumerate(zip(*places.reshape(pairs.shape), strict=True)):
        least, most = sorted((len(shingles[one]), len(shingles[other])))
        if least >= ALIKE * most:  # else they cannot be alike
            both = len(np.intersect1d(shingles[one], shingles[other], assume_unique=True))
            found[number] = both / (least + most - both)
    return found
