"""The embedding tells classes apart without having been trained, and each picture's is its own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from components.data.inspection.embedding import Embedding
from components.data.inspection.eyes.gradients import descriptor
from tests.components.data.inspection.inspection_builders import digits, photographs


def test_a_linear_probe_on_the_embedding_knows_the_digits() -> None:
    pixels, labels = digits()
    order = np.random.default_rng(0).permutation(len(pixels))
    train, test = order[:1300], order[1300:]
    descriptors = descriptor(pixels[..., None])
    embedded = Embedding.of(descriptors[train])(descriptors)

    probe = LogisticRegression(max_iter=200).fit(embedded[train], labels[train])

    assert probe.score(embedded[test], labels[test]) >= 0.975  # 0.990; raw pixels: 0.968


def test_a_descriptor_does_not_depend_on_the_pictures_beside_it() -> None:
    pictures = photographs(30)

    together = descriptor(pictures)

    assert together.shape == (30, 512 + 3 * 64)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, np.concatenate([descriptor(one[None]) for one in pictures]), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_descriptors_are_shares(channels: int) -> None:
    random = np.random.default_rng(0)
    for pictures in (random.integers(0, 256, (20, 50, 40, channels)), np.zeros((2, 8, 8, channels))):
        values = descriptor(pictures.astype(np.uint8))
        assert np.isfinite(values).all()
        assert values.min() >= 0.0
        assert values.max() <= 1.0


def test_a_negative_is_far_from_its_picture_though_its_gradients_are_the_same() -> None:
    pixels = digits(100)[0][..., None]

    apart = np.abs(descriptor(255 - pixels) - descriptor(pixels))

    assert apart[:, :512].mean() < 1e-3  # rounding
    assert np.linalg.norm(apart[:, 512:], axis=1).min() > 2.0


def test_the_embedding_keeps_most_of_what_tells_pictures_apart() -> None:
    descriptors = descriptor(digits()[0][..., None])

    embedded = Embedding.of(descriptors)(descriptors)

    assert embedded.shape == (1797, 64)
    np.testing.assert_allclose(embedded.mean(axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(np.mean(embedded.var(axis=0)), 1.0, rtol=0.01)
    assert np.all(np.diff(embedded.var(axis=0)) <= 1e-3)
