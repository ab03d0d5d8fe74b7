"""Connections to databases of their own, and versions in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.artifacts import Evidence
from components.registry.memory.tracking import Tracking, connect
from components.registry.registration import register
from tests.components.registry.registry_builders import build_evidence, build_model, encode


@pytest.fixture
def tracking(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    """A project of its own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / ".convoy").mkdir()
    shutil.copy(empty_database, tmp_path / ".convoy" / "mlflow.db")
    return connect(tmp_path, "digits")


@pytest.fixture
def register_version(tracking: Tracking, tmp_path: Path) -> Callable[..., tuple[int, Evidence]]:
    """Register a model that differs from the others by its seed; returns its version and evidence."""
    return registering(tracking, tmp_path)


def registering(tracking: Tracking, folder: Path) -> Callable[..., tuple[int, Evidence]]:
    """What `register_version` is, for any store; models are made in the folder."""

    def build(seed: int, accuracy: float = 0.9, **measured: object) -> tuple[int, Evidence]:
        model = build_model(folder / f"model-{seed}", seed=seed)
        evidence = build_evidence(model.digest, accuracy, **measured)
        version = register(
            tracking,
            model,
            evidence,
            name="digits",
            run_id=tracking.start_run("register"),
            card=f"# Model {seed}",
            examples=[encode(200)],
            reference=pd.DataFrame({"mean": np.array([0.1, 0.2]), "seed": [seed, seed]}),
        )
        return version, evidence

    return build
