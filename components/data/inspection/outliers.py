"""Pictures that have little in common with all the others: noise, negatives, another kind of thing.

How far a picture is from the mean, in units of how the pictures vary (Mahalanobis' distance over the descriptors, with
a ridge), by a mean and a variation that the farthest pictures have no say in. Nearest neighbours were tried, with and
without the density around them: pictures of noise are near each other, and hide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.data.inspection.base.embedding import Floats

LEAST = 100  # pictures below which their variation is not known well enough to call one of them strange
# Share of the sample that has no say: foreign pictures of one kind, up to about so many, do not become what is usual.
TRIM = 0.05
# Added to each variance, as a share of the mean one: directions in which pictures hardly vary would decide otherwise.
RIDGE = 1.0
# The limit is where a normal distribution of the logarithm, laid through its 80th and 95th percentiles, has one in a
# thousand above it; outliers are too few to move those. In truth it is
# 1 in 13,000 of Fashion-MNIST and 1 in 500 of the digits: `benchmarks/inspection.py`.
FALSE_ALARMS = 1e-3
_LOW, _HIGH = 0.80, 0.95
_Z_LOW, _Z_HIGH, _Z_LIMIT = 0.8416, 1.6449, 3.0902  # the normal distribution's at 0.8, 0.95 and 1 - FALSE_ALARMS


@dataclass(frozen=True)
class Usual:
    """What a sample of pictures has in common: its mean, and what makes it vary by 1 in every direction."""

    mean: Floats
    whitening: Floats  # (D, D)

    @classmethod
    def of(cls, sample: Floats) -> Usual:
        """By the descriptors `(N, D)` of a sample, and again without the farthest of them."""
        first = cls._of(sample)
        distances = first.distance(sample)
        return cls._of(sample[distances <= np.quantile(distances, 1.0 - TRIM)])

    @classmethod
    def _of(cls, sample: Floats) -> Usual:
        mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = sample - mean
        covariance = (centred.T @ centred).astype(np.float64) / max(len(sample) - 1, 1)
        ridge = max(RIDGE * float(np.trace(covariance)) / len(covariance), 1e-9)
        factor = np.linalg.cholesky(covariance + ridge * np.eye(len(covariance)))
        return cls(mean, np.linalg.inv(factor).T.astype(np.float32))

    def distance(self, descriptors: Floats) -> Floats:
        """`(N, D)` → N distances from the mean."""
        whitened = (descriptors - self.mean) @ self.whitening
        distances: Floats = np.sqrt(np.einsum("nd,nd->n", whitened, whitened))
        return distances


def limit(distances: Floats) -> float:
    """The distance from which a picture is an outlier, by those of all N; infinite where N is below `LEAST`."""
    if len(distances) < LEAST:
        return float("inf")
    low, high = np.quantile(np.log(np.maximum(distances, 1e-9)), [_LOW, _HIGH])
    return float(np.exp(low + (_Z_LIMIT - _Z_LOW) / (_Z_HIGH - _Z_LOW) * (high - low)))
