"""scikit-learn's digits in memory and as a Dataset on disk, and jobs small enough to train within a second."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from components.artifacts import Dataset, DatasetCard, ImageSpec
from components.config import AugmentConfig, NetworkConfig, TrainingConfig
from components.training.jobs.job import Job
from components.training.loop.surroundings import Data

TRAINING = 400
VALIDATION = 101  # odd, so that two workers have parts of different sizes


@dataclass(frozen=True)
class Samples:
    ids: np.ndarray[Any, Any]
    inputs: np.ndarray[Any, Any]
    targets: np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data() -> Data:
    digits = load_digits()
    images = (digits.images * 255 / 16).astype(np.uint8)[..., None]
    ids = np.array([f"digit-{i:04d}" for i in range(len(images))])
    parts = [slice(0, TRAINING), slice(TRAINING, TRAINING + VALIDATION)]
    train, validation = (Samples(ids[p], images[p], digits.target[p].astype(np.int64)) for p in parts)
    card = DatasetCard(
        name="digits",
        task="classification",
        classes=tuple("0123456789"),
        groups=(),
        input=ImageSpec(height=8, width=8, channels=1, mean=(0.3,), std=(0.37,)),
        splits={"train": TRAINING, "validation": VALIDATION},
        fingerprint="digits",
    )
    return Data(card, "digits-digest", train, validation)


@pytest.fixture(scope="session")
def dataset(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same samples as a Dataset on disk."""
    folder = tmp_path_factory.mktemp("digits")
    for split, samples in (("train", data.train), ("validation", data.validation)):
        table = pa.table(
            {
                "id": samples.ids.tolist(),
                "image": [_png(image) for image in samples.inputs],
                "target": samples.targets.tolist(),
                "split": [split] * len(samples.ids),
                "pixels_sha256": [hashlib.sha256(image.tobytes()).hexdigest() for image in samples.inputs],
            }
        )
        pq.write_table(table, folder / f"{split}-00000.parquet")
    (folder / "dataset.json").write_text(data.card.to_json())
    return Dataset.load(folder, data.digest)


@pytest.fixture
def job() -> Callable[..., Job]:
    """A job of a tiny network; arguments of Job by name, and those of its TrainingConfig in `training`."""
    return make_job


def make_job(
    name: str = "network", seed: int = 0, epochs: int = 2, training: dict[str, Any] | None = None, **changes: Any
) -> Job:
    settings = {"batch_size": 64, "learning_rate": 0.01, "precision": "float32", "cpus_per_worker": 1}
    values: dict[str, Any] = {
        "task": "classification",
        "network": NetworkConfig(name="residual", arguments={"width": 8}),
        "training": TrainingConfig.model_validate({**settings, **(training or {})}),
        "augment": AugmentConfig(crop=1, erase=0.3),
        **changes,
    }
    return Job(name=name, seed=seed, epochs=epochs, **values)


def _png(image: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image.squeeze(-1)).save(stream, "PNG")
    return stream.getvalue()


def state_of(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)
