"""Each input's embedding, and how far it is from what is usual: descriptors pass by, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from components.blas import one_thread
from components.data.inspection.embedding import Embedding, Floats
from components.data.inspection.outliers import Usual
from components.data.inspection.rows import BATCH, Rows

Indices = npt.NDArray[np.int64]

SAMPLE = 20_000  # inputs by which it is known how inputs vary: 50 MB of descriptors, 35 for each of a picture's numbers


@one_thread
def describe(descriptors: Callable[[Indices], Floats], samples: Indices, embedded: Rows, seed: int = 0) -> Floats:
    """Append the embedding of each sample to `embedded`, and return its distance from what is usual.

    `descriptors` gives those of some samples, `(n, D)`. Every input is measured by what is usual in the half that it is
    not in: where there are few, it would make itself usual. 1 is the median of each half.
    """
    if len(samples) < 2:
        embedded.append(np.zeros((len(samples), *embedded.shape), dtype=np.float32))
        return np.zeros(len(samples), dtype=np.float32)
    random = np.random.default_rng(seed)
    order = random.permutation(len(samples))
    half = np.zeros(len(samples), dtype=np.int8)
    half[order[1::2]] = 1
    chosen = np.sort(order[:SAMPLE])
    sample = np.concatenate([descriptors(samples[part]) for part in _parts(chosen)])
    principal = Embedding.of(sample)
    usual = [Usual.of(sample[half[chosen] != own]) for own in (0, 1)]
    del sample
    distances = np.zeros(len(samples), dtype=np.float32)
    for part in _parts(np.arange(len(samples))):
        some = descriptors(samples[part])
        embedded.append(principal(some))
        for own in (0, 1):
            places = part[half[part] == own]
            distances[places] = usual[own].distance(some[half[part] == own])
    for own in (0, 1):
        distances[half == own] /= max(float(np.median(distances[half == own])), 1e-9)
    return distances


def _parts(indices: Indices) -> Iterator[Indices]:
    for start in range(0, len(indices), BATCH):
        yield indices[start : start + BATCH]
