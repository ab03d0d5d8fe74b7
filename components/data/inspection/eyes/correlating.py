"""Pictures that are all but the same: encoded again, resized, brighter, a little noisy.

Near-duplicates are candidates of the hash search whose 16×16 pictures agree; whole numbers up to the last division,
so that the pairs are the same on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from components.data.inspection import pairing
from components.data.inspection.eyes import hashing
from components.data.inspection.eyes.thumbnails import luminance
from components.data.inspection.rows import Rows
from components.data.inspection.twins import DIGEST, Families, Pairs, Twins, copies, digests_of

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


def same_thumbnails(thumbnails: Rows, samples: npt.NDArray[np.int64]) -> Twins:
    """Samples whose 32×32 pictures have the same values, each with the first of its kind.

    For pictures in which there is nothing to be seen, and so nothing that could correlate: of one value, but of another
    size or mode, they become the same pixels when they are prepared.
    """
    pictures = (picture for part in _parts(samples) for picture in thumbnails.take(part))
    digests = [hashlib.blake2b(picture.tobytes(), digest_size=DIGEST.itemsize).digest() for picture in pictures]
    found, _ = copies(digests_of(digests), np.arange(len(samples)))
    return Twins(samples[found.pairs], found.likeness)


def near_copies(thumbnails: Rows, samples: npt.NDArray[np.int64], folder: Path, seed: int = 0) -> Twins:
    """Near-duplicates among some samples, all of them different in pixels; `folder` is where a temporary file may lie.

    Of a family of pictures that are all alike only a tree is listed: N - 1 pairs, where all would be N².
    """
    if len(samples) < 2:
        return Twins.none()
    channels = thumbnails.shape[-1]
    with Rows(folder, (hashing.SIDE * hashing.SIDE * channels,), np.int16) as pictures:
        sketches = _sketches(thumbnails, samples, pictures, seed)
        families = Families(len(sketches.rows), lambda pairs: _correlations(sketches, pictures, pairs), CORRELATION)
        crowded = 0
        for found, crowds in hashing.near(sketches.hashes, RADIUS):
            crowded += crowds
            families.add(found[:, _alike_in_coarse(sketches, found, COARSE[channels])])
        pairs, correlation = families.trees()
    notes = (
        f"near-duplicates: {crowded} groups of more than {pairing.CROWDED} pictures have so much in common that each "
        f"was compared with its {pairing.NEIGHBOURS} nearest only",
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


def _alike_in_coarse(sketches: _Sketches, pairs: Pairs, limit: float) -> npt.NDArray[np.bool_]:
    difference = sketches.coarse[pairs[0]].astype(np.float32)
    difference -= sketches.coarse[pairs[1]]
    alike: npt.NDArray[np.bool_] = np.einsum("pf,pf->p", difference, difference) <= limit
    return alike


def _correlations(sketches: _Sketches, pictures: Rows, pairs: Pairs) -> npt.NDArray[np.float64]:
    """Of the two pictures of each pair, all channels together: a colour that differs counts like a grey."""
    used, places = np.unique(pairs, return_inverse=True)
    values = pictures.take(sketches.rows[used]).astype(np.int32)
    sums = values.sum(axis=1, dtype=np.int64)
    one, other = places.reshape(pairs.shape)
    products = np.einsum("pv,pv->p", values[one], values[other]).astype(np.int64)
    covariance = values.shape[1] * products - sums[one] * sums[other]
    spread = sketches.spread.astype(np.float64)
    correlation: npt.NDArray[np.float64] = covariance / np.sqrt(spread[pairs[0]] * spread[pairs[1]])
    return correlation
