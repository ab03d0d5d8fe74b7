"""Descriptors of inputs → a few dozen numbers in which alike is near: rotated and cut by principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

DIMENSIONS = 64  # 128 cost twice the time, and a probe on pictures gains half a point


@dataclass(frozen=True)
class Embedding:
    """The principal components of a sample, scaled so that its numbers deviate by 1 on average."""

    mean: Floats
    components: Floats  # (D, dimensions)

    @classmethod
    def of(cls, sample: Floats, dimensions: int = DIMENSIONS) -> Embedding:
        """By the descriptors `(N, D)` of a sample."""
        mean = sample.mean(axis=0, dtype=np.float64)
        centred = sample - mean.astype(np.float32)
        covariance = (centred.T @ centred).astype(np.float64) / max(len(sample) - 1, 1)
        variances, vectors = np.linalg.eigh(covariance)
        kept = np.argsort(variances)[::-1][:dimensions]
        scale = float(np.sqrt(max(variances[kept].mean(), 1e-12)))
        return cls(mean.astype(np.float32), (vectors[:, kept] / scale).astype(np.float32))

    def __call__(self, descriptors: Floats) -> Floats:
        """`(N, D)` → `(N, dimensions)`."""
        embedded: Floats = np.matmul(descriptors - self.mean, self.components)
        return embedded
