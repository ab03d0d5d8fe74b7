"""Small real data and small trained networks for this room: nothing here takes more than a few seconds."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from components.artifacts import Dataset, DatasetCard, ImageSpec, Model, ModelCard, write_model
from components.config import NetworkConfig
from components.data.reading.loading import load_split
from components.export.export import export
from components.models.network import save_weights
from components.models.preprocessing import preprocess
from components.targets import boxes, values
from components.targets.flat_boxes import COLUMNS, column_of
from components.tasks import registry as tasks
from components.tasks.network import network_of
from components.tasks.protocol import Batch

SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


def png(pixels: Any) -> bytes:
    stream = BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(stream, format="png")
    return stream.getvalue()


def _write_dataset(
    folder: Path,
    task: str,
    images: Any,
    targets: Any,
    *,
    classes: int,
    sizes: tuple[int, int, int],
    about: dict[str, Any] | None = None,
) -> Dataset:
    """`images` (N, H, W) uint8; `targets` (N,), (N, H, W) or (N, M, 7) boxes, or (N, V) values of what `about` names.

    The splits take consecutive samples.
    """
    folder.mkdir(parents=True)
    ends = np.cumsum(sizes)
    train = images[: ends[0]] / 255.0
    spec = ImageSpec(
        height=images.shape[1],
        width=images.shape[2],
        channels=1,
        mean=(float(train.mean()),),
        std=(float(train.std()),),
    )
    for split, start, end in zip(SPLITS, (0, *ends), ends, strict=False):
        part = targets[start:end]
        table = {
            "id": [f"{number:05d}" for number in range(start, end)],
            "image": [png(image) for image in images[start:end]],
            "target": _column(part),
            "split": [split] * (end - start),
        }
        pq.write_table(pa.table(table), folder / f"{split}-00000.parquet")
    record: dict[str, Any] = {}
    if about or task == "detection":
        record = (values if about else boxes).TARGET.record(about or {}, [_column(targets[: ends[0]])])
    card = DatasetCard(
        name=folder.name,
        task=task,
        classes=tuple(f"class {number}" for number in range(classes)),
        groups=(),
        input=spec,
        target=record,
        splits=dict(zip(SPLITS, sizes, strict=True)),
        fingerprint="0" * 64,
    )
    (folder / "dataset.json").write_text(card.to_json(), encoding="utf-8")
    return Dataset.load(folder)


def _column(targets: Any) -> Any:
    match targets.ndim:
        case 1:
            return pa.array(targets.astype(np.int64))
        case 2:
            return pa.array(targets.tolist(), values.TARGET.stored)
        case 3 if targets.dtype == np.float32:
            return column_of([[_box(row) for row in each if row[0] >= 0] for each in targets.tolist()])
    return [png(mask) for mask in targets]


def _box(row: list[float]) -> dict[str, Any]:
    label, *sides, ignored, visible = row
    return dict(zip(COLUMNS, (int(label), *sides, bool(ignored), visible), strict=True))


def _write_network(folder: Path, network: nn.Module, config: NetworkConfig, dataset: Dataset) -> Model:
    card = ModelCard(
        name=folder.name,
        task=dataset.card.task,
        network=config,
        classes=dataset.card.classes,
        input=dataset.card.input,
        target=dataset.card.target,
        head=tasks.of(dataset.card).head(dataset.card).said(len(dataset.card.classes)),
        data=dataset.digest,
    )
    return write_model(folder, card, lambda target: save_weights(network, target))


def _train(folder: Path, config: NetworkConfig, dataset: Dataset, *, seed: int, steps: int) -> Model:
    """A network after `steps` batches of Adam; 0 steps leave it as it was born."""
    torch.manual_seed(seed)
    task = tasks.of(dataset.card)
    network = network_of(task, config, dataset.card)
    samples = load_split(dataset, "train")
    images, targets = preprocess(torch.from_numpy(samples.inputs)), torch.from_numpy(samples.targets)
    targets = targets if targets.is_floating_point() else targets.long()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
    for _ in range(steps):
        chosen = torch.randint(len(images), (64,))
        loss = task.loss(network(images[chosen]), Batch(images[chosen], targets[chosen]))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return _write_network(folder, network, config, dataset)


@pytest.fixture(scope="session")
def write_dataset() -> Callable[..., Dataset]:
    return _write_dataset


@pytest.fixture(scope="session")
def write_network() -> Callable[..., Model]:
    return _write_network


@pytest.fixture(scope="session")
def train() -> Callable[..., Model]:
    return _train


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """scikit-learn's digits, 8×8."""
    source = load_digits()
    order = np.random.default_rng(0).permutation(len(source.target))
    images = np.round(source.images[order] * 255 / 16).astype(np.uint8)
    folder = tmp_path_factory.mktemp("data") / "digits"
    return _write_dataset(folder, "classification", images, source.target[order], classes=10, sizes=(1200, 297, 300))


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Bright (class 1) and dim (class 2) rectangles on noise, 16×16."""
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (160, 16, 16), dtype=np.uint8)
    masks = np.zeros_like(images)
    for image, mask in zip(images, masks, strict=True):
        for label, value in ((1, 230), (2, 120)):
            top, left = random.integers(0, 10, 2)
            area = (slice(top, top + random.integers(3, 7)), slice(left, left + random.integers(3, 7)))
            image[area], mask[area] = value, label
    folder = tmp_path_factory.mktemp("data") / "scenes"
    return _write_dataset(folder, "segmentation", images, masks, classes=3, sizes=(100, 30, 30))


@pytest.fixture(scope="session")
def things(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """One to three bright (class 0) or dim (class 1) rectangles on noise, 32×32, and where they are."""
    random = np.random.default_rng(0)
    images, targets = random.integers(0, 60, (160, 32, 32), dtype=np.uint8), np.zeros((160, 3, 7), np.float32)
    targets[..., 0] = -1
    for number, (image, target) in enumerate(zip(images, targets, strict=True)):
        for row, corner in enumerate(random.permutation(4)[: 1 + number % 3]):
            (top, left), (height, width) = random.integers(0, 3, 2), random.integers(9, 14, 2)
            top, left, label = top + 16 * (corner // 2), left + 16 * (corner % 2), random.integers(2)
            image[top : top + height, left : left + width] = (230, 120)[label]
            target[row] = (label, left, top, left + width, top + height, 0, 1)
    targets[:, :, 1:5] = targets[:, :, 1:5].clip(0, 32)
    folder = tmp_path_factory.mktemp("data") / "things"
    return _write_dataset(folder, "detection", images, targets, classes=2, sizes=(100, 30, 30))


@pytest.fixture(scope="session")
def detectors(things: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    """Two that have learnt to find things and one that has not, of different widths."""
    folder = tmp_path_factory.mktemp("detectors")
    return [
        _train(
            folder / f"member-{seed}",
            NetworkConfig(name="detector", arguments={"width": width}),
            things,
            seed=seed,
            steps=steps,
        )
        for seed, (width, steps) in enumerate(((8, 100), (12, 80), (8, 0)))
    ]


@pytest.fixture(scope="session")
def inked(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The digits again, to be measured: how much ink there is, and how far right it lies, in units far apart."""
    source = load_digits()
    order = np.random.default_rng(0).permutation(len(source.target))
    images = np.round(source.images[order] * 255 / 16).astype(np.uint8)
    ink = images.sum(axis=(1, 2))
    targets = np.stack([ink / 1000.0, 500.0 * (images.sum(axis=1) @ np.arange(8)) / ink - 3000.0], axis=1)
    folder = tmp_path_factory.mktemp("data") / "inked"
    about = {"names": ("ink", "centre"), "units": ("mg", "µm")}
    return _write_dataset(folder, "regression", images, targets, classes=0, sizes=(1200, 297, 300), about=about)


@pytest.fixture(scope="session")
def members(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    """Two trained classifiers and one that knows nothing, of different widths."""
    folder = tmp_path_factory.mktemp("members")
    return [
        _train(
            folder / f"member-{seed}",
            NetworkConfig(name="residual", arguments={"width": width}),
            digits,
            seed=seed,
            steps=n,
        )
        for seed, (width, n) in enumerate(((8, 50), (12, 40), (8, 0)))
    ]


@pytest.fixture(scope="session")
def student(members: list[Model]) -> Model:
    return members[0]


@pytest.fixture(scope="session")
def exported(student: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The student as a float graph, with its weights beside it."""
    return export(student, tmp_path_factory.mktemp("exported") / "model")


@pytest.fixture(scope="session")
def segmenter(scenes: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Model:
    config = NetworkConfig(name="unet", arguments={"width": 8})
    return _train(tmp_path_factory.mktemp("segmenter") / "student", config, scenes, seed=0, steps=25)
