"""Catalogue entries of small real data, and the two steps that turn them into a `Dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.artifacts import Dataset
from components.config import DatasetConfig
from components.data.ingest import ingest
from components.data.prepare import prepare

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
    """Ingest and prepare one catalogue entry below `base`."""
    config = DatasetConfig.model_validate(entry)
    ingest(config.source, base, base / "raw" / name)
    return prepare(name, config, base / "raw" / name, base / "prepared" / name), config


def folder_entry(path: Path, **changes: Any) -> dict[str, Any]:
    return {
        "task": "classification",
        "source": {"kind": "folder", "path": str(path)},
        "image": {"height": 10, "width": 12, "channels": 3},
        "split": {"validation": 0.2, "test": 0.2},
        **changes,
    }
