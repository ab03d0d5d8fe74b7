"""The exact interval of a proportion (Clopper and Pearson 1934): few samples, and none that is wrong, included.

Either end is passed by luck with probability (1 - confidence) / 2 at most, whatever the number of samples. A percentile
bootstrap of samples that are all right says 1 and nothing else; Wilson's interval is narrower, and of 20 samples either
end is passed up to twice as often.
"""

from __future__ import annotations

from scipy.special import betaincinv


def exact(share: float, samples: int, confidence: float) -> tuple[float, float]:
    """Both ends for the `share` of `samples` ≥ 1 that are right."""
    tail = (1.0 - confidence) / 2.0
    right = share * samples
    wrong = samples - right
    low = float(betaincinv(right, wrong + 1.0, tail)) if right > 0 else 0.0
    high = float(betaincinv(right + 1.0, wrong, 1.0 - tail)) if wrong > 0 else 1.0
    return low, high
