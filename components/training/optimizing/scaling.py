"""The learning rate for another batch than the one it was chosen for. Imports no engine.

The schedule (`optimization`) decides when the peak is reached; this room says how high it is.
"""

from __future__ import annotations

import math

from components.config import TrainingConfig


def peak_rate(config: TrainingConfig) -> float:
    """The schedule's highest rate: `learning_rate`, scaled from `reference_batch` to `batch_size`."""
    return config.learning_rate * factor(config)


def factor(config: TrainingConfig) -> float:
    """What `learning_rate` is multiplied by: k or √k for a batch that is k times the reference.

    linear: k steps of SGD with a small batch and one with k times as many samples move the weights alike, as long as
    the gradient does not change much between them (Goyal et al. 2017). square-root: keeps the steps' covariance
    (Krizhevsky 2014, Hoffer et al. 2017), and is what Adam's normalised steps ask for (Malladi et al. 2022).
    """
    if config.rate_scaling == "none" or config.reference_batch is None:
        return 1.0
    ratio = config.batch_size / config.reference_batch
    return ratio if config.rate_scaling == "linear" else math.sqrt(ratio)


def advice(config: TrainingConfig, key: str = "training") -> list[str]:
    """What is allowed and seldom meant, a line each, with the key that it stands under."""
    told = []
    if config.rate_scaling == "linear" and config.warmup == 0 and factor(config) > 1:
        told.append(
            f"{key}.warmup: a rate that is raised {factor(config):.3g} times for a batch of {config.batch_size} "
            f"expects a warm-up, received 0: at the start the gradient changes too fast for a linear rule; set "
            f"{key}.warmup to 0.05 or more"
        )
    if config.rate_scaling == "linear" and config.optimizer != "sgd" and factor(config) > 1:
        told.append(
            f"{key}.rate_scaling: linear was found for SGD; {config.optimizer}'s steps are normalised, and with them "
            f"the rate follows the square root of the batch"
        )
    return told
