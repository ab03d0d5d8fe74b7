"""A training as one worker does it by itself: what is measured, and what a trial trains. Imports no engine."""

from __future__ import annotations

from components.config import TrainingConfig

# What only says how several workers share the work.
SHARED = {"workers": 1, "strategy": "data", "replicas": 1, "compress_gradients": False}


def alone(config: TrainingConfig) -> TrainingConfig:
    """The same training on one worker: the same batches and steps, and all of the network in one place."""
    return config.model_copy(update=SHARED)
