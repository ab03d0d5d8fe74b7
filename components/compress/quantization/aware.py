"""Quantization-aware training, as a job for `components.training`: the float network goes on learning while rounded.

How it feels the rounding is `components.training.optimizing.rounding`'s business; there is one training loop.
"""

from __future__ import annotations

from dataclasses import replace

from components.artifacts import Model
from components.config import AwareConfig, TrainingConfig, TransferConfig
from components.export.errors import CompressionError
from components.models.weights import sha256
from components.training.jobs.job import Job

NAME = "aware"


def aware_job(job: Job, trained: Model, config: AwareConfig) -> Job:
    """Some more epochs for `trained`, on the data and with the teacher of `job`, the training it came from.

    In float32: bfloat16 has as few digits as int8 and would blur the rounding that is to be felt.
    Raises CompressionError for an ensemble, which is no network of one job.
    """
    if trained.card.members:
        raise CompressionError(
            f"{trained.folder}: expected one network to train on, received an ensemble of {len(trained.card.members)}; "
            "have a student, or set quantize.aware to null"
        )
    changes = {
        "learning_rate": config.learning_rate,
        "schedule": "cosine",
        "precision": "float32",
        "rate_scaling": "none",
        "reference_batch": None,
        "patience": None,
        "transfer": TransferConfig().model_dump(),
    }
    start = f"model:{trained.folder.resolve()}#sha256={sha256(trained.weights)}"
    return replace(
        job,
        name=NAME,
        network=trained.card.network.model_copy(update={"pretrained": start}),
        epochs=config.epochs,
        training=TrainingConfig.model_validate(job.training.model_dump() | changes),
        rounded=True,
        keep_zeros=True,  # pruning's, where there are any
    )
