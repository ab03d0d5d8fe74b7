"""Which way of using several workers a training goes; only that one is imported."""

from __future__ import annotations

from torch import Tensor, nn

from components.config import TrainingConfig
from components.training.parallel.strategy import Precision, Strategy
from components.training.processes.workers import Workers


def strategy_of(
    network: nn.Module, sample: Tensor, config: TrainingConfig, workers: Workers, precision: Precision
) -> Strategy:
    """The network laid over the workers as `training.strategy` says; alone, a worker holds it all.

    `sample` is one input `(1, …)` on the worker's device, by which a pipeline's stages are weighed. Raises
    ConfigurationError for a network that has no order of layers to be cut at.
    """
    if config.strategy == "sharded":
        from components.training.parallel.sharded import Sharded

        return Sharded(network, workers, config.replicas, config.accumulate, precision)
    if config.strategy == "pipeline":
        from components.training.parallel.pipeline import Pipeline

        return Pipeline(network, sample, workers, config.replicas, config.accumulate, precision)
    from components.training.parallel.replicated import Replicated

    return Replicated(network, workers, config.accumulate, precision, compressed=config.compress_gradients)
