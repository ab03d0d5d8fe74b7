"""Catalogue entries of small real data, and the two steps that turn them into a `Dataset`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from components.artifacts import Dataset
from components.config import DatasetConfig, ImageDeclaration
from components.data.inspection.base.findings import Decisions
from components.data.inspection.inspect import inspect
from components.data.preparing.ingest import ingest, ingested
from components.data.preparing.prepare import prepare
from components.data.validation.validate import ValidationReport, validate
from components.inputs.describing import describe

DIGITS = {
    "task": "classification",
    "source": {"kind": "digits"},
    "image": {"height": 8, "width": 8, "channels": 1},
    "split": {"validation": 0.15, "test": 0.2, "seed": 0},
}
SCENES = {
    "task": "segmentation",
    "source": {"kind": "digit-scenes", "scenes": 60, "size": 32},
    "image": {"height": 32, "width": 32, "channels": 1},
    "split": {"validation": 0.2, "test": 0.2},
}


def build(base: Path, name: str, **entry: Any) -> tuple[Dataset, DatasetConfig]:
    """Ingest, inspect and prepare one catalogue entry below `base`."""
    config = DatasetConfig.model_validate(entry)
    raw, inspected = base / "raw" / name, base / "inspected" / name
    ingest(config.source, base, raw)
    inspect(ingested(raw), config, base, inspected)
    return prepare(name, config, raw, base / "prepared" / name, Decisions.load(inspected)), config


def judge(dataset: Dataset, config: DatasetConfig, folder: Path) -> ValidationReport:
    """Validate what `build` has made."""
    base = dataset.folder.parent.parent
    return validate(dataset, config, folder, project=base, inspected=base / "inspected" / dataset.folder.name)


def prepared(content: bytes, declared: ImageDeclaration) -> tuple[bytes, dict[str, Any], npt.NDArray[np.uint8]]:
    """What `prepare` stores of one image, the facts it tells, and the pixels that are read back."""
    described = describe(pa.array([content], pa.binary()), declared)
    stored = described.stored[0].as_py()
    return stored, {key: values[0].as_py() for key, values in described.facts.items()}, _pixels(stored)


def _pixels(stored: bytes) -> npt.NDArray[np.uint8]:
    values = np.asarray(Image.open(io.BytesIO(stored)))
    return values[..., None] if values.ndim == 2 else values


def folder_entry(path: Path, **changes: Any) -> dict[str, Any]:
    return {
        "task": "classification",
        "source": {"kind": "folder", "path": str(path)},
        "image": {"height": 10, "width": 12, "channels": 3},
        "split": {"validation": 0.2, "test": 0.2},
        **changes,
    }
