"""What every registered task must do: a task added to the registry is held to all of this without a new test.

Only what differs by the kind of target is written per target, in `given/`: a few real digits, an architecture that
fits them, and what somebody answers who knows. What only a softmax claims is in `test_softmax`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.sparse import csr_matrix

from components.artifacts import DatasetCard, ImageSpec, Model, ModelCard, Predictions, write_model
from components.augment.policy import Transform, Views
from components.compress.ensembling.answers import LOSSES
from components.compress.ensembling.combiners import COMBINERS, SOUP
from components.config import ConfigurationError, ImbalanceConfig, NetworkConfig
from components.export.export import export
from components.models.ensemble import FUSIONS, MEANS
from components.models.network import save_weights
from components.models.preprocessing import preprocess
from components.runtimes.execution import answers, open_session
from components.tasks import capabilities, registry
from components.tasks.network import network_answer, network_of
from components.tasks.protocol import Batch, Ignoring, Task
from tests.components.tasks.task_builders import CLASSES, Given, given_of

TASKS = registry.names()
STEPS = 100  # of Adam on one batch; every task of the registry is well below its limits after 60


@dataclass(frozen=True)
class Sample:
    """One batch of a task, and a small network for it."""

    task: Task
    card: DatasetCard
    inputs: np.ndarray  # uint8 (N, H, W, C), or as another kind of input has them
    batch: Batch
    config: NetworkConfig
    given: Given

    @property
    def targets(self) -> np.ndarray:
        return self.given.targets


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sample(name: str) -> Sample:
    given = given_of(registry.get(name).spec.target)
    inputs = given.inputs if given.spec else given.inputs[..., None]
    spec = given.spec or ImageSpec(
        height=inputs.shape[1],
        width=inputs.shape[2],
        channels=1,
        mean=(float(inputs.mean() / 255),),
        std=(float(inputs.std() / 255),),
    )
    card = DatasetCard(
        name="contract",
        task=name,
        classes=given.classes,
        groups=(),
        input=spec,
        target=given.target,
        splits={"train": len(inputs)},
        fingerprint="0" * 64,
    )
    batch = Batch(preprocess(torch.from_numpy(inputs)), torch.from_numpy(given.targets))
    return Sample(registry.of(card), card, inputs, batch, given.config, given)


def learn(task: Task, given: Sample, seed: int, steps: int) -> tuple[torch.nn.Module, list[float]]:
    torch.manual_seed(seed)
    network = network_of(task, given.config, given.card)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        loss = task.loss(network(given.batch.inputs), given.batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return network.eval(), losses


def judged(task: Task, given: Sample, answer: dict[str, Any], targets: np.ndarray | None = None) -> Predictions:
    rows = task.rows(answer, given.targets if targets is None else targets)
    return Predictions(pa.table(rows), "m", "d", given.card.classes)


def measured(task: Task, predictions: Predictions, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    return task.measure(predictions, np.ones((1, len(predictions.table))) if weights is None else weights)


def marks(task: Task, given: Sample) -> tuple[float, float]:
    """The primary metric of an answer that is right throughout, and of one that is wrong throughout."""
    targets = given.targets
    answers_ = given.given.perfect(targets), given.given.perfect(given.given.wrong(targets))
    right, wrong = (float(measured(task, judged(task, given, each))[task.spec.primary_metric][0]) for each in answers_)
    return right, wrong


# -- learning --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned() -> Callable[[str], tuple[torch.nn.Module, list[float]]]:
    """Each task's network after `STEPS` on its one batch, learned once for all tests."""
    known: dict[str, tuple[torch.nn.Module, list[float]]] = {}

    def of(name: str) -> tuple[torch.nn.Module, list[float]]:
        if name not in known:
            given = sample(name)
            known[name] = learn(given.task, given, seed=0, steps=STEPS)
        return known[name]

    return of


@pytest.mark.parametrize("name", TASKS)
def test_one_batch_can_be_learned_by_heart(name: str, learned: Callable[..., Any]) -> None:
    given = sample(name)
    task = given.task
    network, losses = learned(name)
    assert losses[-1] < 0.1 * losses[0]
    figures = measured(task, judged(task, given, network_answer(task, network, given.batch.inputs)))
    right, wrong = marks(task, given)
    assert abs(figures[task.spec.primary_metric][0] - right) <= 0.05 * abs(wrong - right)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_untrained_network_costs_hardly_more_than_its_head_without_a_view(name: str, seed: int) -> None:
    """A head that begins far from the prior drowns what there is to learn: the first steps go into its bias alone."""
    given = sample(name)
    task = given.task
    torch.manual_seed(seed)
    network = network_of(task, given.config, given.card)
    assert isinstance(network.head, torch.nn.Linear | torch.nn.Conv1d | torch.nn.Conv2d)
    with torch.no_grad():
        fresh = task.loss(network(given.batch.inputs), given.batch)["loss"].item()
        network.head.weight.zero_()
        blind = task.loss(network(given.batch.inputs), given.batch)["loss"].item()
    assert fresh < 1.25 * blind


@pytest.mark.parametrize("name", TASKS)
def test_losses_are_float32_whatever_the_network_computes_in(name: str) -> None:
    given = sample(name)
    task = given.task
    torch.manual_seed(0)
    outputs = network_of(task, given.config, given.card)(given.batch.inputs)
    for precision in (torch.bfloat16, torch.float16):
        rounded = outputs.to(precision)
        parts, exact = (task.loss(each, given.batch) for each in (rounded, rounded.float()))
        assert {part.dtype for part in parts.values()} == {torch.float32}
        assert parts["loss"].item() == exact["loss"].item()


@pytest.mark.parametrize("name", TASKS)
def test_one_seed_gives_one_network_and_another_seed_another(name: str) -> None:
    given = sample(name)
    task = given.task
    (first, losses), (second, again), (third, _) = (learn(task, given, seed=seed, steps=3) for seed in (7, 7, 8))
    assert losses == again
    states = [network.state_dict() for network in (first, second, third)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert any(not torch.equal(value, states[2][key]) for key, value in states[0].items())


@pytest.mark.parametrize("name", TASKS)
def test_the_loss_is_a_finite_scalar(name: str) -> None:
    given = sample(name)
    task = given.task
    torch.manual_seed(0)
    outputs = network_of(task, given.config, given.card)(given.batch.inputs)
    parts = task.loss(outputs, given.batch)
    assert all(part.ndim == 0 and torch.isfinite(part) for part in parts.values())
    assert parts["loss"].requires_grad


# -- empty labels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_without_samples_costs_nothing_and_spoils_no_weight(name: str) -> None:
    given = sample(name)
    task = given.task
    network = network_of(task, given.config, given.card).train()
    nothing = Batch(given.batch.inputs[:0], given.batch.targets[:0])
    loss = task.loss(network(nothing.inputs), nothing)["loss"]
    loss.backward()
    assert loss.item() == 0.0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in network.parameters())
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


@pytest.mark.parametrize("name", TASKS)
def test_no_samples_have_no_figures_rather_than_an_error_or_a_flattering_one(name: str) -> None:
    given = sample(name)
    task = given.task
    nobody = given.targets[:0]
    rows = task.rows(given.given.perfect(nobody), nobody)
    assert all(len(column) == 0 for column in rows.values())
    some = judged(task, given, given.given.perfect(given.targets))
    none = Predictions(some.table.slice(0, 0), "m", "d", given.card.classes)
    assert all(np.isnan(values).all() for values in measured(task, none).values())
    assert not isinstance(task, capabilities.WithConfusion) or task.confusion(none).sum() == 0
    assert not isinstance(task, capabilities.WithReliability) or task.reliability(none).sum() == 0


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_of_nothing_but_zeros_can_be_learned_and_judged(name: str) -> None:
    """Of labels and boxes: one class alone; of masks: scenes that show only background."""
    given = sample(name)
    task = given.task
    background = torch.from_numpy(given.given.plain(given.targets))
    network = network_of(task, given.config, given.card)
    loss = task.loss(network(given.batch.inputs), Batch(given.batch.inputs, background))["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())
    predictions = judged(task, given, given.given.perfect(background.numpy()), background.numpy())
    assert measured(task, predictions)[task.spec.primary_metric][0] == marks(task, given)[0]


# -- judging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_a_perfect_answer_gets_the_best_marks_there_are_and_a_wrong_one_others(name: str) -> None:
    given = sample(name)
    task, primary = given.task, given.task.spec.primary
    right, wrong = marks(task, given)
    assert right == (1.0 if primary.more else 0.0)
    assert primary.beats(right, wrong)
    assert not primary.shared or wrong == (0.0 if primary.more else 1.0)
    figures = measured(task, judged(task, given, given.given.perfect(given.targets)))
    assert all(values.shape == (1,) and np.isfinite(values).all() for values in figures.values())
    assert set(figures) == {metric.name for metric in task.spec.metrics}


@pytest.mark.parametrize("name", TASKS)
def test_the_difference_of_two_answers_is_between_none_and_one(name: str) -> None:
    given = sample(name)
    task = given.task
    targets = given.targets
    right, wrong = given.given.perfect(targets), given.given.perfect(given.given.wrong(targets))
    np.testing.assert_array_equal(task.difference(right, right), np.zeros(len(targets)))
    np.testing.assert_array_equal(task.difference(right, wrong), np.ones(len(targets)))
    torch.manual_seed(0)
    network = network_of(task, given.config, given.card).eval()
    apart = task.difference(right, network_answer(task, network, given.batch.inputs))
    assert apart.shape == (len(targets),) and apart.dtype == np.float64
    assert ((apart > 0) & (apart <= 1)).all()
    if isinstance(task, capabilities.Deciding):
        assert (task.agreement(right, right) == 1).all() and (task.agreement(right, wrong) == 0).all()


@pytest.mark.parametrize("name", TASKS)
def test_an_answer_is_what_the_task_says_is_exported(name: str) -> None:
    given = sample(name)
    task = given.task
    network = network_of(task, given.config, given.card).eval()
    answer = network_answer(task, network, given.batch.inputs)
    space = dict(zip(("height", "width"), given.card.input.shape[:2], strict=False))
    sizes = {"classes": len(CLASSES), "values": 2, **space, **given.given.sizes}
    assert any(output.measured for output in task.spec.outputs)
    assert list(answer) == [output.name for output in task.spec.outputs]
    for output in task.spec.outputs:
        dims = tuple(size if isinstance(size, int) else sizes[size] for size in output.dims)
        assert answer[output.name].shape == (len(given.inputs), *dims)
        assert answer[output.name].dtype == output.type


@pytest.mark.parametrize("name", TASKS)
def test_weights_of_zero_give_no_figure_and_indicators_give_a_group(name: str) -> None:
    given = sample(name)
    task = given.task
    targets = given.targets
    half = len(targets) // 2
    mixed = np.concatenate([targets[:half], given.given.wrong(targets[half:])])  # right for the first half only
    predictions = judged(task, given, given.given.perfect(mixed))
    first = np.arange(len(targets)) < half
    figures = measured(task, predictions, np.stack([np.zeros(len(targets)), first, ~first]).astype(np.float64))
    assert all(np.isnan(values[0]) for values in figures.values())
    one, other = figures[task.spec.primary_metric][1:]
    assert one == marks(task, given)[0]
    assert task.spec.primary.beats(one, other)


@pytest.mark.parametrize("name", TASKS)
def test_predictions_survive_the_disk_with_their_figures(name: str, tmp_path: Path) -> None:
    given = sample(name)
    task = given.task
    torch.manual_seed(0)
    network = network_of(task, given.config, given.card).eval()
    predictions = judged(task, given, network_answer(task, network, given.batch.inputs))
    predictions.save(tmp_path)
    before, after = (measured(task, each) for each in (predictions, Predictions.load(tmp_path)))
    assert {key: value.tolist() for key, value in before.items()} == {k: v.tolist() for k, v in after.items()}


# -- export ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_the_exported_graph_answers_as_the_network_does(name: str, learned: Callable[..., Any], tmp_path: Path) -> None:
    given = sample(name)
    task = given.task
    network, _ = learned(name)
    exported = export(written(given, network, tmp_path / "model"), tmp_path / "exported")
    session = open_session(exported, 1)
    with torch.inference_mode():
        embedding = network.embed(given.batch.inputs).numpy()
    expected = network_answer(task, network, given.batch.inputs)
    for count in (1, 3, len(given.inputs)):
        served = answers(session, given.inputs[:count], batch=count)
        assert list(served) == [*(output.name for output in task.spec.outputs), "embedding"]
        assert task.difference(served, {key: value[:count] for key, value in expected.items()}).max() <= 1e-5
        np.testing.assert_allclose(served["embedding"], embedding[:count], rtol=1e-4, atol=1e-4)


def written(given: Sample, network: torch.nn.Module, folder: Path) -> Model:
    card = ModelCard(
        name="student",
        task=given.card.task,
        network=given.config,
        classes=given.card.classes,
        input=given.card.input,
        target=given.card.target,
        head=given.task.head(given.card).said(len(given.card.classes)),
        data="d",
    )
    return write_model(folder, card, lambda target: save_weights(network, target))


# -- capabilities ----------------------------------------------------------------------------------------------------


def outputs(given: Sample, members: int, seed: int = 0) -> torch.Tensor:
    """Raw outputs of as many networks, `(K, N, C, …)`."""
    torch.manual_seed(seed)
    images = given.batch.inputs
    with torch.no_grad():
        return torch.stack([network_of(given.task, given.config, given.card)(images) for _ in range(members)])


def fuses_what_is_alike_to_itself(task: Any, given: Sample) -> None:
    """Three times the same network, under any weights."""
    (once,) = outputs(given, 1)
    fused = MEANS[task.fuses](torch.stack([once] * 3), torch.tensor([0.5, 0.3, 0.2]))
    alike, alone = ({key: v.numpy() for key, v in task.answer(each).items()} for each in (fused, once))
    assert fused.shape == once.shape
    assert task.difference(alike, alone).max() <= 1e-5


def takes_the_combiners_that_it_names(task: Any, given: Sample) -> None:
    members, combiners = outputs(given, 3), COMBINERS[task.fuses]
    assert task.combiners <= {*combiners, SOUP}
    assert "soft" in task.combiners  # what every ensemble can fall back on
    for name in task.combiners - {SOUP}:
        fusion = FUSIONS[combiners[name].fusion](3, members.shape[2], 3)
        assert (fusion.fuses, combiners[name].of) == (task.fuses, task.fuses)
        answer = task.answer(fusion(members))
        expected = task.answer(members[0])
        assert {key: value.shape for key, value in answer.items()} == {key: v.shape for key, v in expected.items()}


def tells_what_combining_needs(task: Any, given: Sample) -> None:
    targets, loss = given.targets, LOSSES[task.fuses].of
    answer = {key: value.numpy() for key, value in task.answer(outputs(given, 1)[0]).items()}
    told = task.told(answer, targets)
    assert told.units.shape == told.answered.shape == (len(targets), given.given.units or targets[0].size)
    assert told.units.dtype == np.float64
    right, wrong = (task.told(given.given.perfect(each), targets) for each in (targets, given.given.wrong(targets)))
    np.testing.assert_array_equal(loss(right.units), np.zeros(len(targets)))
    assert (loss(wrong.units) > loss(told.units)).all()
    if told.fusible is not None:
        assert told.fusible.dtype == np.float32
        again = task.answer(MEANS[task.fuses](torch.from_numpy(told.fusible)[None], torch.ones(1)))
        assert task.difference({key: value.numpy() for key, value in again.items()}, answer).max() <= 1e-5


def copies_a_teacher(task: Any, given: Sample) -> None:
    student, teacher = outputs(given, 2)
    assert float(task.distillation_loss(teacher, teacher, 3.0)) == pytest.approx(0.0, abs=1e-6)
    assert float(task.distillation_loss(student, teacher, 3.0)) > 1e-4
    nothing = task.distillation_loss(student[:0].requires_grad_(), teacher[:0], 3.0)
    assert nothing.item() == 0.0
    learnt = teacher.clone() + 0.5 * (student - teacher)
    assert task.distillation_loss(learnt, teacher, 3.0) < task.distillation_loss(student, teacher, 3.0)


def counts_every_unit_once(task: Any, given: Sample) -> None:
    targets = given.targets
    predictions = judged(task, given, given.given.perfect(targets))
    np.testing.assert_array_equal(task.confusion(predictions), np.diag(np.bincount(targets.ravel(), minlength=3)))


def shows_what_its_answers_are_like(task: Any, given: Sample) -> None:
    """Of somebody who is right and of somebody who is wrong throughout, and of one sample alone."""
    for told in (given.targets, given.given.wrong(given.targets)):
        predictions = judged(task, given, given.given.perfect(told))
        views = task.views(predictions)
        assert len({view.title for view in views}) == len(views) > 0
        for view in views:
            if isinstance(view, capabilities.Crossed):
                assert view.counts.shape == (len(view.names), len(view.names))
            else:
                assert all(len(row) == len(view.head) for row in view.rows)


def marks_its_answers_in_their_pictures(task: Any, given: Sample) -> None:
    for told in (given.targets, given.given.wrong(given.targets)):
        predictions = judged(task, given, given.given.perfect(told))
        looked = task.looked_at(predictions)
        assert looked
        for each in looked:
            assert task.marked(each, predictions).marks


def doubts_labels_that_its_answers_contradict(task: Any, given: Sample) -> None:
    """Nothing where all is right; of two samples that alone are wrong at least one, in words."""
    assert not task.doubts(judged(task, given, given.given.perfect(given.targets)))
    told = given.targets.copy()
    told[:2] = given.given.wrong(given.targets)[:2]
    found = task.doubts(judged(task, given, given.given.perfect(told)))
    assert {doubt.row for doubt in found} <= {0, 1}
    assert found and all(doubt.finding and doubt.says for doubt in found)


def compares_numbers_with_their_truths(task: Any, given: Sample) -> None:
    compared = task.compared(judged(task, given, given.given.perfect(given.targets)))
    for place, one in enumerate(compared.values()):
        np.testing.assert_allclose(one.target, given.targets[:, place])
        np.testing.assert_allclose(one.prediction, one.target)
        assert ((one.low < one.target) & (one.target < one.high)).all()


def learns_by_each_loss(task: Any, given: Sample) -> None:
    assert task.losses
    for name in task.losses:
        loss = task.named_loss(name)
        torch.manual_seed(0)
        network = network_of(task, given.config, given.card)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        losses = []
        for _ in range(20):
            value = loss(network(given.batch.inputs), given.batch)["loss"]
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.item())
        assert np.isfinite(losses).all()
        assert losses[-1] < losses[0]
        nothing = Batch(given.batch.inputs[:0], given.batch.targets[:0])
        assert loss(network(nothing.inputs), nothing)["loss"].item() == 0.0
    with pytest.raises(ValueError, match="received 'hope'"):
        task.named_loss("hope")


def is_as_sure_as_it_is_right(task: Any, given: Sample) -> None:
    targets = given.targets
    told = (targets, given.given.wrong(targets))
    right, wrong = (judged(task, given, given.given.perfect(answered)) for answered in told)
    units, confidence, correct = np.split(task.reliability(right), 3)
    assert (units.sum(), confidence.sum(), correct.sum()) == (targets.size,) * 3
    assert measured(task, right)["calibration_error"][0] == 0.0
    assert measured(task, wrong)["calibration_error"][0] == 1.0


def knows_each_class(task: Any, given: Sample) -> None:
    """Of a class that is not there, nothing."""
    background = given.given.plain(given.targets)
    classes = task.by_class(judged(task, given, given.given.perfect(background), background))
    assert list(classes) == list(given.card.classes)
    assert all(value == 1.0 for value in classes["first"].values())
    assert all(np.isnan(value) for value in classes["second"].values())


def measures_each_class_in_each_group(task: Any, given: Sample) -> None:
    """As `by_class` does of a group's samples alone; nothing of a class that no sample of the group has."""
    half = np.arange(len(given.targets)) < len(given.targets) // 2
    mixed = given.targets.copy()
    mixed[::3] = given.given.wrong(given.targets)[::3]
    predictions = judged(task, given, given.given.perfect(mixed))
    assert task.class_metric.shared and task.class_metric.more
    values = task.class_values(predictions, np.stack([half, ~half, np.zeros(len(half))]).astype(np.float64))
    held = task.with_class(predictions)
    assert values.shape == (3, len(given.card.classes)) and held.shape == (len(half), len(given.card.classes))
    assert held.dtype == np.bool_ and np.isnan(values[2]).all()
    for row, group in zip(values, (half, ~half), strict=False):
        alone = Predictions(predictions.table.filter(pa.array(group)), "m", "d", given.card.classes)
        expected = [next(iter(each.items())) for each in task.by_class(alone).values()]
        assert {name for name, _ in expected} == {task.class_metric.name}
        np.testing.assert_allclose(row, [value for _, value in expected])
        assert np.isfinite(row[held[group].any(axis=0)]).all()
    if task.binomial:  # hits are whole numbers
        right = values[0] * held[half].sum(axis=0)
        np.testing.assert_allclose(right, np.round(right))


def decides_alike_or_not(task: Any, given: Sample) -> None:
    targets = given.targets
    right, wrong = given.given.perfect(targets), given.given.perfect(given.given.wrong(targets))
    assert (task.agreement(right, right) == 1).all() and (task.agreement(right, wrong) == 0).all()
    assert task.agreement(right, wrong).shape == (len(targets),)


def is_learnt_by_a_linear_model(task: Any, given: Sample) -> None:
    """From features that tell the targets, as nearly as a linear model can; and its answer is a network's."""
    flat = given.targets.reshape(len(given.targets), -1)
    whole = np.issubdtype(flat.dtype, np.integer)
    told = np.eye(int(flat.max()) + 1)[flat[:, 0]] * 30 if whole else (flat - flat.mean(0)) / flat.std(0)
    for features in (told.astype(np.float32), csr_matrix(told.astype(np.float32))):
        answer = task.fitted(features, given.targets, given.card)(features)
        assert set(answer) == {output.name for output in task.spec.outputs}
        value = measured(task, judged(task, given, answer))[task.spec.primary_metric][0]
        right, wrong = marks(task, given)
        assert abs(value - right) < 0.1 * abs(wrong - right)


def has_one_class_a_sample(task: Any, given: Sample) -> None:
    labels = task.labels(given.targets)
    assert labels.shape == (len(given.inputs),) and labels.dtype == np.int64
    assert labels.min() >= 0 and labels.max() < len(given.card.classes)


def has_a_loss_that_is_a_mean_of_each_samples(task: Any, given: Sample) -> None:
    made = outputs(given, 1)[0]
    for smoothing in (0.0, 0.2):
        each = task.each(made, given.batch, smoothing)
        assert each.shape == (len(given.inputs),)
        torch.testing.assert_close(each.mean(), task.loss(made, given.batch, smoothing)["loss"])


def gets_samples_right_or_wrong(task: Any, given: Sample) -> None:
    targets = given.targets
    half = np.arange(len(targets)) < len(targets) // 2
    mixed = np.where(half, targets, given.given.wrong(targets))
    np.testing.assert_array_equal(task.mistakes(given.given.perfect(mixed), targets), ~half)


def follows_its_images(task: Any, given: Sample) -> None:
    """The mirror image of a mirror image is the image, and nothing loses its shape or its type."""
    targets, count = given.batch.targets, len(given.inputs)
    views = Views(torch.zeros(2, count, dtype=torch.int64), torch.ones(count, dtype=torch.bool))
    mirror = Transform(given.inputs.shape[1:3], views)
    once = task.moved(targets, mirror)
    assert (once.shape, once.dtype) == (targets.shape, targets.dtype)
    assert not torch.equal(once, targets)
    assert torch.equal(task.moved(once, mirror), targets)


def balances_classes(task: Any, given: Sample) -> None:
    """Of equal sizes, as if nothing were done; of unequal ones, otherwise."""
    made, plain = outputs(given, 1)[0], ImbalanceConfig(focal_gamma=0.0)
    natural = task.loss(made, given.batch)["loss"]
    assert task.counted(given.targets, 3).shape == (3,)
    for loss in task.balances:
        config = plain.model_copy(update={"loss": loss})
        torch.testing.assert_close(task.balanced(config, np.array([5, 5, 5]))(made, given.batch)["loss"], natural)
        unequal = config.model_copy(update={"focal_gamma": 2.0})
        found = task.balanced(unequal, np.array([1, 5, 9]))(made, given.batch)["loss"]
        assert torch.isfinite(found) and abs(float(found - natural)) > 1e-3
    with pytest.raises(ValueError, match="received natural"):
        task.balanced(plain, np.array([5, 5, 5]))


def ignores_what_has_no_class(task: Any, given: Sample) -> None:
    bound, unbound = task.bound({"ignore": 255}), task.bound({})
    assert (bound.ignore, unbound.ignore) == (255, None)
    masks, count = given.batch.targets, len(given.inputs)
    views = Views(torch.zeros(2, count, dtype=torch.int64), torch.zeros(count, dtype=torch.bool))
    lower = Transform(given.inputs.shape[1:3], views, pad=1)  # beyond the first row is nothing of the images
    assert (bound.moved(masks, lower)[:, 0] == 255).all() and (unbound.moved(masks, lower)[:, 0] == 0).all()
    assert unbound == task
    targets = np.array(given.targets)
    where = np.random.default_rng(0).random(targets.shape) < 0.3
    targets[where] = 255
    (made,) = outputs(given, 1)
    other = torch.where(torch.from_numpy(where)[:, None], made.flip(1) * 3.0, made)  # the same elsewhere
    batch = replace(given.batch, targets=torch.from_numpy(targets))
    learnt = [{name: float(part) for name, part in bound.loss(each, batch).items()} for each in (made, other)]
    assert learnt[0] == pytest.approx(learnt[1], rel=1e-5)
    answers = [{name: value.numpy() for name, value in task.answer(each).items()} for each in (made, other)]
    first, second = (bound.rows(answer, targets) for answer in answers)
    assert first.keys() == second.keys() == task.rows(answers[0], given.targets).keys()
    for name in first:
        np.testing.assert_allclose(np.asarray(first[name]), np.asarray(second[name]))


CAPABILITIES: dict[type, tuple[Callable[[Any, Sample], None], ...]] = {
    capabilities.WithClasses: (knows_each_class,),
    capabilities.WithClassMetric: (measures_each_class_in_each_group,),
    capabilities.WithConfusion: (counts_every_unit_once,),
    capabilities.WithReliability: (is_as_sure_as_it_is_right,),
    capabilities.Deciding: (decides_alike_or_not,),
    capabilities.Fitting: (is_learnt_by_a_linear_model,),
    capabilities.Labels: (has_one_class_a_sample,),
    capabilities.Each: (has_a_loss_that_is_a_mean_of_each_samples,),
    capabilities.Moving: (follows_its_images,),
    capabilities.Mistaken: (gets_samples_right_or_wrong,),
    capabilities.Balanced: (balances_classes,),
    capabilities.Combinable: (
        fuses_what_is_alike_to_itself,
        takes_the_combiners_that_it_names,
        tells_what_combining_needs,
    ),
    capabilities.Distillable: (copies_a_teacher,),
    capabilities.WithNumbers: (compares_numbers_with_their_truths,),
    capabilities.WithViews: (shows_what_its_answers_are_like,),
    capabilities.WithMarks: (marks_its_answers_in_their_pictures,),
    capabilities.Doubting: (doubts_labels_that_its_answers_contradict,),
    capabilities.SeveralLosses: (learns_by_each_loss,),
    Ignoring: (ignores_what_has_no_class,),
}


def test_every_capability_that_a_task_can_claim_has_a_check() -> None:
    assert set(capabilities.SAYS) == set(CAPABILITIES)


@pytest.mark.parametrize(
    ("name", "check"),
    [
        pytest.param(name, check, id=f"{name}-{check.__name__}")
        for name in TASKS
        for capability, checks in CAPABILITIES.items()
        if isinstance(registry.get(name), capability)
        for check in checks
    ],
)
def test_what_a_task_claims_to_support_it_does(name: str, check: Callable[[Any, Sample], None]) -> None:
    given = sample(name)
    check(given.task, given)


# -- the registry ----------------------------------------------------------------------------------------------------


def test_there_is_a_task_to_hold_to_the_contract() -> None:
    assert {"classification", "detection", "regression", "segmentation", "tagging"} <= set(TASKS)
    assert all(registry.get(name).spec.name == name for name in TASKS)


def test_a_task_that_is_not_called_as_its_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    impostor = SimpleNamespace(TASK=SimpleNamespace(spec=SimpleNamespace(name="other")))
    monkeypatch.setitem(sys.modules, "components.tasks.impostor", impostor)  # type: ignore[arg-type]
    monkeypatch.setattr(registry, "names", lambda: ("impostor",))
    with pytest.raises(
        ValueError, match=r"tasks\.impostor: expected a task that is called as its file, received 'other'"
    ):
        registry.get("impostor")


def test_an_unknown_task_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError) as error:
        registry.get("levitation")
    assert all(name in str(error.value) for name in [*TASKS, "'levitation'"])
