"""Training after a cut, as a job for `components.training`; there is one training loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from components.artifacts import Model
from components.config import Rounds, TrainingConfig, TransferConfig
from components.models.weights import sha256
from components.training.jobs.job import Job


def fine_tuning(job: Job, start: Model, config: Rounds) -> Job:
    """Some more epochs for `start`, on the data and with the teacher of `job`, the training it came from.

    Zeros stay zeros. Nothing is frozen, whatever the first training froze.
    """
    changes: dict[str, Any] = {"patience": None, "transfer": TransferConfig().model_dump()}
    if config.learning_rate is not None:
        changes |= {"learning_rate": config.learning_rate, "schedule": "cosine"}
        changes |= {"rate_scaling": "none", "reference_batch": None}
    weights = f"model:{start.folder.resolve()}#sha256={sha256(start.weights)}"
    return replace(
        job,
        name=start.card.name,
        network=start.card.network.model_copy(update={"pretrained": weights}),
        epochs=config.epochs,
        training=TrainingConfig.model_validate(job.training.model_dump() | changes),
        keep_zeros=True,
    )
