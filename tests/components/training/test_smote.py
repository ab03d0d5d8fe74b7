"""SMOTE touches the head and nothing else, makes up embeddings between real ones, and fits as scikit-learn does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from components.artifacts import ImageSpec
from components.config import ConfigurationError, NetworkConfig
from components.models import registry
from components.tasks import registry as tasks
from components.tasks.classification import Classification
from components.tasks.network import network_of
from components.training.jobs.imbalance import Balance, balance_of
from components.training.jobs.job import Event, Job
from components.training.loop.loop import train
from components.training.loop.smote import fit_head, linear_head, refit_head, smote
from components.training.loop.surroundings import Data
from components.training.processes.workers import Workers
from components.training.reading.samples import Split

Jobs = Callable[..., Job]
KEPT = (40, 25, 3, 12, 1, 40, 2, 8, 30, 6)  # 1: no neighbour; 2, 3: fewer than five; 6: just enough


class Stopped(Exception):  # noqa: N818
    """What a test raises where a worker would have to wait."""


@pytest.fixture(scope="module")
def tailed(data: Data) -> Data:
    """The digits with classes of very different sizes."""
    kept = [np.flatnonzero(data.train.targets == label)[:count] for label, count in enumerate(KEPT)]
    at = np.sort(np.concatenate(kept))
    train_split = replace(
        data.train, ids=data.train.ids[at], inputs=data.train.inputs[at], targets=data.train.targets[at]
    )
    return replace(data, train=train_split)


def settings(job: Jobs, sampling: str = "smote", **training: Any) -> Job:
    return job(epochs=2, training={"batch_size": 32, "imbalance": {"sampling": sampling}, **training})


def balance(job: Job, data: Data) -> Balance:
    found = balance_of(job, Classification(), data.train.targets, data.card.classes)
    assert found is not None
    return found


def clouds() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Ten overlapping clouds of points, `(N, 6)`, with the sizes of `KEPT`."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.repeat(np.arange(10), KEPT))
    return random.normal(size=(10, 6))[labels] + 0.7 * random.normal(size=(len(labels), 6)), labels


def test_made_up_embeddings_lie_between_a_sample_and_one_of_its_nearest_fellows() -> None:
    embeddings, labels = clouds()
    levelled, theirs = smote(embeddings, labels, seed=0)
    # The real ones are all there, first and unchanged, and every class is as large as the largest
    assert np.array_equal(levelled[: len(labels)], embeddings)
    assert np.array_equal(theirs[: len(labels)], labels)
    assert set(Counter(theirs.tolist()).values()) == {40}
    assert len(levelled) == 400
    for point, label in zip(levelled[len(labels) :], theirs[len(labels) :], strict=True):
        fellows = embeddings[labels == label]
        neighbours = min(5, len(fellows) - 1)
        between = False
        for start in fellows:
            nearest = fellows[np.argsort(((fellows - start) ** 2).sum(axis=1))[1 : neighbours + 1]]
            for end in nearest:
                detour = np.linalg.norm(point - start) + np.linalg.norm(end - point) - np.linalg.norm(end - start)
                between = between or bool(detour < 1e-9)
        assert between or (len(fellows) == 1 and np.array_equal(point, fellows[0]))


def test_a_seed_gives_the_same_embeddings_and_another_gives_others() -> None:
    embeddings, labels = clouds()
    once, again, other = (smote(embeddings, labels, seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_nothing_is_made_up_where_classes_are_of_one_size() -> None:
    embeddings = np.random.default_rng(0).normal(size=(30, 4))
    labels = np.arange(30) % 3
    levelled, theirs = smote(embeddings, labels, seed=0)
    assert np.array_equal(levelled, embeddings)
    assert np.array_equal(theirs, labels)


def test_the_head_is_the_logistic_regression_that_scikit_learn_finds() -> None:
    embeddings, labels = clouds()
    torch.manual_seed(0)
    fitted = fit_head(nn.Linear(6, 10), embeddings, labels, label_smoothing=0.0)
    expected = LogisticRegression(tol=1e-8, max_iter=5000).fit(embeddings, labels)
    np.testing.assert_allclose(fitted.weight.detach().numpy(), expected.coef_, atol=1e-3)
    bias = fitted.bias.detach().numpy()
    np.testing.assert_allclose(bias - bias.mean(), expected.intercept_ - expected.intercept_.mean(), atol=1e-3)


def test_label_smoothing_holds_the_head_back() -> None:
    embeddings, labels = clouds()
    torch.manual_seed(0)
    head = nn.Linear(6, 10)
    surest = [
        torch.softmax(fit_head(head, embeddings, labels, smoothing)(torch.from_numpy(embeddings)), 1).max().item()
        for smoothing in (0.0, 0.2)
    ]
    assert surest[1] < surest[0]


@pytest.mark.parametrize("name", [name for name in registry.names() if registry.takes(name) == "image"])
def test_a_linear_head_is_all_that_lies_between_embedding_and_outputs(name: str) -> None:
    inputs = ImageSpec(height=8, width=8, channels=1, mean=(0.3,), std=(0.2,))
    torch.manual_seed(0)
    network = registry.build(NetworkConfig(name=name, arguments={"width": 4}), inputs, 5).eval()
    images = torch.rand(3, 1, 8, 8)
    with torch.inference_mode():
        outputs = network(images)
        if outputs.ndim == 2:
            assert torch.equal(linear_head(network, name)(network.embed(images)), outputs)
        else:
            with pytest.raises(ConfigurationError, match=f"linear head .* received {name}"):
                linear_head(network, name)


@pytest.mark.parametrize("training", [{}, {"ema": 0.9}])
def test_all_but_the_head_is_what_a_natural_training_ends_with(
    tmp_path: Path, tailed: Data, job: Jobs, training: dict[str, Any]
) -> None:
    # Given the same job with SMOTE and without
    events: list[Event] = []
    natural = train(settings(job, "natural", **training), tailed, tmp_path / "natural")
    wanted = settings(job, **training)
    levelled = train(wanted, tailed, tmp_path / "smote", on_event=events.append).state_dict()
    # Then they differ in the head and in nothing else, statistics of the normalisation included
    differing = {name for name, value in natural.state_dict().items() if not torch.equal(value, levelled[name])}
    assert differing == {"head.weight", "head.bias"}
    # And the head is the one that scikit-learn fits on the natural network's embeddings of the images as they are
    with torch.no_grad():
        images = torch.from_numpy(tailed.train.inputs).permute(0, 3, 1, 2).float() / 255
        embeddings = natural.embed(images).double().numpy()
    points, labels = smote(embeddings, tailed.train.targets, wanted.seed)
    expected = LogisticRegression(tol=1e-8, max_iter=5000).fit(points, labels)
    np.testing.assert_allclose(levelled["head.weight"].numpy(), expected.coef_, atol=5e-3)
    # And the last epoch's figures are the returned network's
    last = [event for event in events if event.kind == "epoch"][-1].metrics
    assert last["smote_embeddings"] == 10 * 40 - sum(KEPT)
    network = network_of(tasks.get("classification"), wanted.network, tailed.card).eval()
    network.load_state_dict(levelled)
    with torch.no_grad():
        outputs = network(torch.from_numpy(tailed.validation.inputs).permute(0, 3, 1, 2).float() / 255)
    right = (outputs.argmax(1).numpy() == tailed.validation.targets).mean()
    assert last["validation_accuracy"] == pytest.approx(right)


def test_the_head_of_several_workers_is_that_of_one(tailed: Data, job: Jobs) -> None:
    wanted = settings(job)
    split = Split(tailed.train, torch.device("cpu"))
    sent: dict[int, Any] = {}
    said: list[Any] = []

    class InTurn(Workers):
        """A worker that stops where it would have to wait for the others."""

        def gather(self, value: Any) -> list[Any]:
            sent[self.rank] = value
            if len(sent) < self.count:
                raise Stopped
            return [sent[rank] for rank in range(self.count)]

        def from_first(self, value: Any) -> Any:
            if self.first:
                said.append(value)
            return said[0]

    def head(workers: Workers) -> torch.Tensor:
        torch.manual_seed(0)
        network = network_of(tasks.get("classification"), wanted.network, tailed.card)
        made = refit_head(
            network,
            linear_head(network, "residual"),
            split.batch,
            balance(wanted, tailed),
            batch_size=32,
            label_smoothing=0.0,
            seed=0,
            workers=workers,
        )
        assert made == 400 - sum(KEPT)
        assert network.training
        return network.state_dict()["head.weight"]

    for rank in (2, 1):
        with pytest.raises(Stopped):
            head(InTurn(rank, 3))
    heads = [head(InTurn(rank, 3)) for rank in (0, 1, 2)]
    assert torch.equal(heads[1], heads[0])  # taken over bit for bit
    assert torch.equal(heads[2], heads[0])
    torch.testing.assert_close(heads[0], head(Workers()), atol=1e-4, rtol=1e-3)
