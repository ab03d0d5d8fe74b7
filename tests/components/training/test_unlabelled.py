"""Images without labels teach what the teacher knows of them, and nothing of whatever labels they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from components.artifacts import ArtifactError, Dataset, ModelCard, write_model
from components.config import AugmentConfig, NetworkConfig
from components.models.network import save_weights
from components.tasks import registry as tasks
from components.tasks.protocol import Batch
from components.training.cluster.conductor import Plan, data_of
from components.training.jobs.job import Event, Job, TrainingError
from components.training.loop.loop import train
from components.training.loop.surroundings import Data
from components.training.objectives.objective import Labelled, Supervised
from components.training.parallel.pieces import mean_of, micro_batches
from components.training.processes.workers import Workers
from components.training.reading.samples import Split
from components.training.reading.unlabelled import joined
from tests.components.training.conftest import Samples

Jobs = Callable[..., Job]
CPU = torch.device("cpu")
FEW = 50
DIGITS = load_digits()
IMAGES = (DIGITS.images * 255 / 16).astype(np.uint8)[..., None]


def part(first: int, last: int, targets: Any = None) -> Samples:
    ids = np.array([f"digit-{number:04d}" for number in range(first, last)])
    return Samples(ids, IMAGES[first:last], (DIGITS.target if targets is None else targets)[first:last])


@pytest.fixture(scope="module")
def teacher(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wider network learns of eight times as many labels."""
    from tests.components.training.conftest import make_job

    network = NetworkConfig(name="residual", arguments={"width": 16})
    folder = tmp_path_factory.mktemp("teacher")
    trained = train(make_job(epochs=10, network=network, augment=AugmentConfig(crop=1)), data, folder / "state")
    card = ModelCard(
        name="teacher",
        task="classification",
        network=network,
        classes=data.card.classes,
        input=data.card.input,
        data=data.digest,
    )
    return write_model(folder / "model", card, lambda target: save_weights(trained, target)).folder


def accuracy(network: nn.Module) -> float:
    split = Split(part(1300, len(IMAGES)), CPU)
    batch = split.batch(np.arange(len(split)))
    with torch.inference_mode():
        return float((network(batch.inputs).argmax(1) == batch.targets).float().mean())


def test_a_label_counts_the_same_however_many_share_its_batch() -> None:
    task = tasks.get("classification")
    labelled, count = 6, 16
    weights = torch.zeros(count)
    weights[:labelled] = count / labelled
    outputs = torch.randn(count, 10, generator=torch.Generator().manual_seed(0))
    whole = Batch(torch.zeros(count, 1, 8, 8), torch.arange(count) % 10, weights=weights)
    expected = F.cross_entropy(outputs[:labelled], whole.targets[:labelled])
    found = Labelled(Supervised(task))(outputs, whole)["loss"]
    torch.testing.assert_close(found, expected)
    # in four pieces, of which the last two have no label
    pieces = micro_batches(whole, 4)
    losses = [
        Labelled(Supervised(task))(own, piece) for own, piece in zip(outputs.tensor_split(4), pieces, strict=True)
    ]
    torch.testing.assert_close(mean_of(losses, [len(piece.inputs) for piece in pieces])["loss"], expected)
    assert losses[3]["loss"] == 0


def test_two_splits_are_read_as_one_and_of_the_second_no_label(job: Jobs, teacher: Path) -> None:
    both, weights = joined(job(teacher=teacher), part(0, 50), part(50, 200))
    split = Split(both, CPU, weights=weights)
    assert len(split) == 200
    positions = np.array([199, 3, 50, 49])
    batch = split.batch(positions)
    np.testing.assert_array_equal((batch.inputs.numpy() * 255).round().transpose(0, 2, 3, 1), IMAGES[positions])
    assert batch.targets.tolist() == [0, DIGITS.target[3], 0, DIGITS.target[49]]
    assert batch.weights is not None
    assert batch.weights.tolist() == [0, 4, 0, 4]
    assert split.names(positions[:2]) == ["digit-0199", "digit-0003"]
    masks = np.ones((50, 8, 8), dtype=np.uint8)
    dense, _ = joined(job(teacher=teacher), Samples(part(0, 50).ids, IMAGES[:50], masks), part(50, 200))
    assert Split(dense, CPU).batch(positions).targets.sum(dim=(1, 2)).tolist() == [0, 64, 0, 64]


def test_what_cannot_be_joined_is_refused(job: Jobs, teacher: Path) -> None:
    larger = Samples(part(0, 9).ids, np.zeros((9, 16, 16, 3), np.uint8), np.zeros(9, np.int64))
    with pytest.raises(TrainingError, match=r"expected inputs of shape \(8, 8, 1\).* received \(16, 16, 3\)"):
        joined(job(teacher=teacher), part(0, 50), larger)
    with pytest.raises(TrainingError, match="expected a teacher that answers for the unlabelled inputs"):
        joined(job(), part(0, 50), part(50, 200))


class Stopped(Exception):  # noqa: N818
    """What a test raises to stop a training."""


@pytest.mark.parametrize("views", [None, 2], ids=["the teacher runs along", "its answers are stored"])
def test_a_stopped_student_ends_as_if_it_had_not_been_and_labels_it_must_not_see_change_nothing(
    views: int | None, tmp_path: Path, data: Data, dataset: Dataset, job: Jobs, teacher: Path
) -> None:
    augment = AugmentConfig(crop=1, flip=0.5)
    wanted = job(
        teacher=teacher, augment=augment, epochs=3, views=views, unlabelled=dataset, training={"accumulate": 2}
    )
    assert wanted.fingerprint("data") != replace(wanted, unlabelled=None).fingerprint("data")
    given = replace(data, train=part(0, FEW), unlabelled=part(50, 250))
    undisturbed = train(wanted, given, tmp_path / "undisturbed").state_dict()

    def stopping(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == 2:
            raise Stopped

    with pytest.raises(Stopped):
        train(wanted, given, tmp_path / "stopped", on_event=stopping)
    others = replace(given, unlabelled=part(50, 250, targets=np.roll(DIGITS.target, 1)))
    resumed = train(wanted, others, tmp_path / "stopped").state_dict()
    assert all(torch.equal(resumed[name], value) for name, value in undisturbed.items())


@pytest.mark.parametrize("seeds", [(1,), pytest.param((0, 1, 2), marks=pytest.mark.slow)])
def test_with_few_labels_a_student_is_better_for_images_that_have_none(
    seeds: tuple[int, ...], tmp_path: Path, data: Data, dataset: Dataset, job: Jobs, teacher: Path
) -> None:
    few = replace(data, train=part(0, FEW))
    gains = []
    for seed in seeds:
        shared: dict[str, Any] = {"teacher": teacher, "augment": AugmentConfig(crop=1), "seed": seed}
        shared["network"] = NetworkConfig(name="residual", arguments={"width": 4})
        # As many steps of about as many images.
        alone = train(job(epochs=120, **shared), few, tmp_path / f"alone-{seed}")
        images = replace(few, unlabelled=part(FEW, 1300))
        more = train(job(epochs=6, unlabelled=dataset, **shared), images, tmp_path / f"more-{seed}")
        gains.append(accuracy(more) - accuracy(alone))
    assert min(gains) > 0, gains  # seen: 0.03, 0.13 and 0.05 over 0.86, 0.77 and 0.89
    assert np.mean(gains) > 0.03, gains


def test_what_it_is_judged_on_is_not_among_them(tmp_path: Path, data: Data, dataset: Dataset, job: Jobs) -> None:
    # given further images of which some are the validation split's
    validation = dataset.table("validation")
    rows = pa.concat_tables(
        [dataset.table("train").slice(0, 5), validation.slice(0, 3), dataset.table("train").slice(9)]
    )
    pq.write_table(rows, tmp_path / "train-00000.parquet")
    others = Dataset(tmp_path, data.card, "others")
    plan = Plan((), dataset.folder, dataset.digest, tmp_path, tmp_path / "decoded", "", (1, 1), 1, False, 0)
    said: list[str] = []
    wanted = job(unlabelled=others, teacher=tmp_path)
    found = data_of(plan, wanted, dataset, Workers(), said.append)
    assert said == ["3 images of digits are left out: digits is judged on them"]
    both, weights = joined(wanted, found.train, found.unlabelled, found.unlabelled_rows)
    left = np.r_[np.arange(5), np.arange(9, 400)]
    np.testing.assert_array_equal(both.inputs[400 + np.arange(len(left))], found.train.inputs[left])
    assert (len(both.inputs), len(both.ids), len(weights)) == (400 + len(left),) * 3
    gone = replace(others, folder=tmp_path / "gone")
    with pytest.raises(ArtifactError, match="expected shards train"):
        data_of(plan, job(unlabelled=gone), dataset, Workers(), print)
