"""Texts whose vectors came from a file, frozen or in two channels: trained by the loop, exported, and made int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from components.artifacts import Dataset, DatasetCard, Model, ModelCard, TextSpec, write_model
from components.compress.quantize import quantize
from components.config import AugmentConfig, NetworkConfig, QuantizeConfig, TrainingConfig
from components.data.reading.loading import load_split
from components.export.export import export, parity
from components.models.network import save_weights
from components.runtimes.execution import answers
from components.training.jobs.job import Event, Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data

WORDS = tuple(f"word{number}" for number in range(40))
SIZES = {"train": 192, "validation": 64, "test": 64}
DIMENSION = 6


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Texts of ten words, of which class 1 has word0 before word1."""
    folder, random, at = tmp_path_factory.mktemp("notes"), np.random.default_rng(0), 0
    for split, size in SIZES.items():
        labels = np.arange(size) % 2
        texts = [list(random.choice(WORDS[2:], 10)) for _ in labels]
        for text, label in zip(texts, labels, strict=True):
            place = int(random.integers(0, 9))
            text[place : place + 2] = ["word0", "word1"] if label else ["word1", "word0"]
        table = {
            "id": [f"{at + number:05d}" for number in range(size)],
            "text": [" ".join(text) for text in texts],
            "target": pa.array(labels, pa.int64()),
            "split": [split] * size,
        }
        pq.write_table(pa.table(table), folder / f"{split}-00000.parquet")
        at += size
    card = DatasetCard(
        name="notes",
        task="classification",
        classes=("other", "in order"),
        groups=(),
        input=TextSpec(kind="text", unit="word", length=12, lower=True, vocabulary=WORDS),
        splits=SIZES,
        fingerprint="0" * 64,
    )
    (folder / "dataset.json").write_text(card.to_json(), encoding="utf-8")
    return Dataset.load(folder)


@pytest.mark.parametrize("vectors", ["trained", "frozen", "both"])
def test_it_learns_and_says_the_same_as_a_graph_and_in_int8(vectors: str, notes: Dataset, tmp_path: Path) -> None:
    given = np.random.default_rng(1).normal(0, 0.4, (30, DIMENSION)).astype(np.float32)
    lines = (f"{word} {' '.join(map(str, row))}\n" for word, row in zip(WORDS, given, strict=False))
    (tmp_path / "v.txt").write_text("".join(lines), encoding="utf-8")
    arguments = {"dimension": DIMENSION, "width": 12, "kernels": "2,3", "vectors": vectors, "dropout": 0.1}
    network = NetworkConfig(name="textcnn", arguments=arguments, pretrained=f"vectors:{tmp_path / 'v.txt'}")
    training = TrainingConfig(batch_size=32, learning_rate=0.02, precision="float32")
    job = Job("notes", "classification", network, 0, 8, training, AugmentConfig())
    learnt, watched = load_split(notes, "train"), load_split(notes, "validation")
    events: list[Event] = []

    trained = train(job, Data(notes.card, "notes", learnt, watched), tmp_path / "storage", on_event=events.append)

    (note,) = [event.message for event in events if event.kind == "note"]
    assert note.startswith("pretrained: vectors of 30 of 40 units (75%) from v.txt (")
    assert [event for event in events if event.kind == "epoch"][-1].metrics["validation_accuracy"] > 0.9
    card = ModelCard(
        name="notes",
        task="classification",
        network=network,
        classes=notes.card.classes,
        input=notes.card.input,
        data=notes.digest,
    )
    model = write_model(tmp_path / "model", card, lambda place: save_weights(trained, place))
    _keeps(model, vectors, given)
    tested = load_split(notes, "test")
    assert parity(export(model, tmp_path / "exported"), tested.inputs) < 1e-5
    rounded = quantize(model, notes, QuantizeConfig(calibration_samples=64, batch=16), tmp_path / "int8")
    said = answers(rounded.int8, tested.inputs)["prediction"]
    assert np.mean(said == tested.targets) > 0.85
    assert rounded.report.candidate("int8").int8 is not None


def _keeps(model: Model, vectors: str, given: np.ndarray) -> None:
    """What was frozen is what the file had, and what was trained is not."""
    weights = load_file(model.weights)
    tables = {name: weights[f"{name}.weight"][2:32] for name in ("embedding", "frozen") if f"{name}.weight" in weights}
    assert set(tables) == ({"embedding", "frozen"} if vectors == "both" else {"embedding"})
    for name, table in tables.items():
        stays = name == "frozen" or vectors == "frozen"
        assert np.allclose(table, given, atol=1e-6) is stays, name
