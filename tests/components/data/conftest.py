"""Small real data: prepared scikit-learn digits, and folders of pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.artifacts import Dataset
from components.config import DatasetConfig
from components.environment import switch_off_telemetry
from tests.components.data.data_builders import DIGITS, SCENES, build

switch_off_telemetry()


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, DatasetConfig]:
    return build(tmp_path_factory.mktemp("digits"), "digits", **DIGITS)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, DatasetConfig]:
    return build(tmp_path_factory.mktemp("scenes"), "scenes", **SCENES)


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """`pictures(classes=…, each=…)` writes a folder of noise pictures, 12×10 RGB PNG, no two alike."""

    def write(classes: tuple[str, ...] = ("cat", "dog"), each: int = 30, under: str = "", mode: str = "RGB") -> Path:
        base = tmp_path / "pictures"
        random = np.random.default_rng(len(under))
        for label in classes:
            folder = base / under / label
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(each):
                values = random.integers(0, 256, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(values).convert(mode).save(folder / f"{number:03d}.png")
        return base

    return write
