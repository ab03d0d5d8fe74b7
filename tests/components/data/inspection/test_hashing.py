"""Hashes forget brightness and contrast; the search finds what comparing everything with everything finds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.fft import dctn

from components.data.inspection import pairing
from components.data.inspection.eyes import hashing
from components.data.inspection.eyes.thumbnails import luminance, shrink
from tests.components.data.inspection.inspection_builders import digits, photographs

Hashes = npt.NDArray[np.uint64]


def flipped(hashes: Hashes, bits: int, random: np.random.Generator) -> Hashes:
    changed = hashes.copy()
    for index in range(len(changed)):
        for bit in random.choice(64, bits, replace=False):
            changed[index] ^= np.uint64(1) << np.uint64(bit)
    return changed


def planted(count: int, seed: int) -> Hashes:
    """Random hashes, and copies of some that differ in 0 … 12 bits."""
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 2**63, count, dtype=np.uint64) * np.uint64(2) + np.uint64(seed % 2)
    copies = [flipped(hashes[random.choice(count, 20)], bits, random) for bits in range(13)]
    return random.permutation(np.concatenate([hashes, *copies]))


def by_brute_force(hashes: Hashes, radius: int) -> set[tuple[int, int]]:
    first, second = np.triu_indices(len(hashes), 1)
    close = np.bitwise_count(hashes[first] ^ hashes[second]) <= radius
    return set(zip(first[close].tolist(), second[close].tolist(), strict=True))


def found(hashes: Hashes, radius: int) -> set[tuple[int, int]]:
    return {pair for pairs, _ in hashing.near(hashes, radius) for pair in zip(*pairs.tolist(), strict=True)}


@pytest.mark.parametrize("count", [2, 60, 900, 4000])
def test_all_pairs_within_the_guarantee_are_found_and_none_beyond_the_radius(count: int) -> None:
    hashes = planted(count, seed=count)
    guaranteed = hashing.guaranteed(len(hashes))
    assert guaranteed >= 5

    pairs = found(hashes, 12)

    assert by_brute_force(hashes, min(guaranteed, 12)) <= pairs <= by_brute_force(hashes, 12)


def test_equal_hashes_are_found_and_nothing_is_its_own_neighbour() -> None:
    hashes = np.array([7, 9, 7, 7, 1 << 60], dtype=np.uint64)

    assert found(hashes, 0) == {(0, 2), (0, 3), (2, 3)}
    assert found(hashes[:1], 12) == found(hashes[:0], 12) == set()


def test_a_crowd_costs_its_number_not_its_square_and_is_still_one_family() -> None:
    hashes = np.concatenate([np.full(20_000, 5, dtype=np.uint64), planted(1000, seed=1)])

    chunks = list(hashing.near(hashes, 3))

    most = hashing.bands(len(hashes)) * (pairing.NEIGHBOURS + 1) * len(hashes)  # of 200 million pairs
    assert sum(pairs.shape[1] for pairs, _ in chunks) < most
    assert sum(crowded for _, crowded in chunks) > 0
    joined = {pair for pairs, _ in chunks for pair in zip(*pairs.tolist(), strict=True)}
    reached, waiting = {0}, [0]
    beside: dict[int, set[int]] = {}
    for one, other in joined:
        beside.setdefault(one, set()).add(other)
        beside.setdefault(other, set()).add(one)
    while waiting:
        new = beside.get(waiting.pop(), set()) - reached
        reached |= new
        waiting += new
    assert set(range(20_000)) <= reached


def test_frequencies_are_scipys_up_to_rounding() -> None:
    grey = hashing.reduce(luminance(shrink(photographs(20), 3)))[..., 0]

    ours = hashing.frequencies(grey)

    theirs = dctn(grey.astype(float), axes=(1, 2), norm="ortho")
    deviation = np.sqrt(((grey - grey.mean(axis=(1, 2), keepdims=True)) ** 2).sum(axis=(1, 2)))
    picked = theirs[:, hashing._ROWS, hashing._COLUMNS] / deviation[:, None] * 2**14
    assert np.abs(ours - picked).max() < 0.002 * 2**14


def test_a_hash_does_not_change_with_brightness_and_contrast() -> None:
    grey = hashing.reduce(luminance(shrink(photographs(50), 3)))[..., 0]
    limits = hashing.Limits.of(hashing.frequencies(grey))

    changed = limits.hash(hashing.frequencies(grey * 3 + 70))

    assert np.bitwise_count(changed ^ limits.hash(hashing.frequencies(grey))).max() <= 1  # rounding at a limit


def test_each_bit_divides_the_digits_about_in_half() -> None:
    grey = hashing.reduce(shrink(digits()[0][..., None], 1))[..., 0]
    values = hashing.frequencies(grey)

    hashes = hashing.Limits.of(values).hash(values)

    share = [np.mean((hashes >> np.uint64(bit)) & np.uint64(1)) for bit in range(64)]
    assert min(share) > 0.3
    assert max(share) < 0.7


def test_a_hundred_frames_of_one_scene_do_not_move_the_limits_between_them() -> None:
    random = np.random.default_rng(0)
    scene = photographs(1)[0].astype(float)
    frames = np.clip(scene + random.normal(0, 5, (100, *scene.shape)), 0, 255).astype(np.uint8)
    grey = hashing.reduce(luminance(shrink(np.concatenate([photographs(200, seed=1), frames]), 3)))[..., 0]
    values = hashing.frequencies(grey)

    hashes = hashing.Limits.of(values).hash(values)[200:]

    assert np.median(np.bitwise_count(hashes[:, None] ^ hashes[None])) <= 2
