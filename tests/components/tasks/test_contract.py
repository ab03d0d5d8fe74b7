"""What every registered task must do: a task added to the registry is held to all of this without a new test.

Only what differs by the kind of target is written per target: a few real digits, and an architecture that fits them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.datasets import load_digits

from components.artifacts import DatasetCard, InputSpec, Model, ModelCard, Predictions, write_model
from components.compress.ensembling.combiners import COMBINERS, SOUP
from components.config import ConfigurationError, ImbalanceConfig, NetworkConfig
from components.export.export import export
from components.models.ensemble import FUSIONS, mean_probability
from components.models.network import save_weights
from components.runtimes.execution import answers, open_session
from components.tasks import capabilities, registry
from components.tasks.network import network_answer, network_of
from components.tasks.protocol import Batch, Task

TASKS = registry.names()
STEPS = 100  # of Adam on one batch; every task of the registry is well below its limits after 60


@dataclass(frozen=True)
class Sample:
    """One batch of a task, and a small network for it."""

    card: DatasetCard
    images: np.ndarray  # uint8 (N, H, W, C)
    batch: Batch
    config: NetworkConfig


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def labelled_digits() -> tuple[np.ndarray, np.ndarray, NetworkConfig]:
    """16 digits, 0, 1 and 2, at 8×8."""
    source = load_digits(n_class=3)
    images = np.round(source.images[:16] * 255 / 16).astype(np.uint8)
    return images, source.target[:16].astype(np.int64), NetworkConfig(name="residual", arguments={"width": 8})


def masked_digits() -> tuple[np.ndarray, np.ndarray, NetworkConfig]:
    """8 scenes of 16×16 with a 0 and a 1 in corners; where there is ink, there is the digit's class."""
    digits, labels, _ = labelled_digits()
    random = np.random.default_rng(0)
    images, masks = np.zeros((8, 16, 16), np.uint8), np.zeros((8, 16, 16), np.int64)
    for image, mask in zip(images, masks, strict=True):
        for label, corner in zip((0, 1), random.permutation(4)[:2], strict=True):
            place = (slice(corner // 2 * 8, corner // 2 * 8 + 8), slice(corner % 2 * 8, corner % 2 * 8 + 8))
            drawn = digits[random.choice(np.flatnonzero(labels == label))]
            image[place], mask[place] = drawn, np.where(drawn > 80, label + 1, 0)
    return images, masks, NetworkConfig(name="unet", arguments={"width": 8, "depth": 2})


BY_TARGET: dict[str, Callable[[], tuple[np.ndarray, np.ndarray, NetworkConfig]]] = {
    "class": labelled_digits,
    "mask": masked_digits,
}


def sample(task: Task) -> Sample:
    assert task.spec.target in BY_TARGET, f"add a sample of {task.spec.target!r} targets for {task.spec.name}"
    images, targets, config = BY_TARGET[task.spec.target]()
    spec = InputSpec(
        height=images.shape[1],
        width=images.shape[2],
        channels=1,
        mean=(float(images.mean() / 255),),
        std=(float(images.std() / 255),),
    )
    card = DatasetCard(
        name="contract",
        task=task.spec.name,
        classes=("first", "second", "third"),
        groups=(),
        input=spec,
        splits={"train": len(images)},
        fingerprint="0" * 64,
    )
    pixels = torch.from_numpy(images)[:, None].float() / 255.0
    return Sample(card, images[..., None], Batch(pixels, torch.from_numpy(targets)), config)


def learn(task: Task, given: Sample, seed: int, steps: int) -> tuple[torch.nn.Module, list[float]]:
    torch.manual_seed(seed)
    network = network_of(task, given.config, given.card)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        loss = task.loss(network(given.batch.images), given.batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return network.eval(), losses


def judged(task: Task, given: Sample, answer: dict[str, Any], targets: np.ndarray | None = None) -> Predictions:
    rows = task.rows(answer, given.batch.targets.numpy() if targets is None else targets)
    return Predictions(pa.table(rows), "m", "d", given.card.classes)


def measured(task: Task, predictions: Predictions, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    return task.measure(predictions, np.ones((1, len(predictions.table))) if weights is None else weights)


def perfect(given: Sample, targets: np.ndarray) -> dict[str, np.ndarray]:
    """The answer of somebody who knows: all probability on the truth."""
    truth = np.eye(len(given.card.classes), dtype=np.float32)[targets]
    return {"probabilities": np.moveaxis(truth, -1, 1), "prediction": targets}


# -- learning --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned() -> Callable[[str], tuple[torch.nn.Module, list[float]]]:
    """Each task's network after `STEPS` on its one batch, learned once for all tests."""
    known: dict[str, tuple[torch.nn.Module, list[float]]] = {}

    def of(name: str) -> tuple[torch.nn.Module, list[float]]:
        if name not in known:
            known[name] = learn(registry.get(name), sample(registry.get(name)), seed=0, steps=STEPS)
        return known[name]

    return of


@pytest.mark.parametrize("name", TASKS)
def test_one_batch_can_be_learned_by_heart(name: str, learned: Callable[..., Any]) -> None:
    task = registry.get(name)
    given = sample(task)
    network, losses = learned(name)
    assert losses[-1] < 0.1 * losses[0]
    figures = measured(task, judged(task, given, network_answer(task, network, given.batch.images)))
    assert figures[task.spec.primary_metric][0] >= 0.95


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_untrained_network_costs_hardly_more_than_its_head_without_a_view(name: str, seed: int) -> None:
    """A head that begins far from the prior drowns what there is to learn: the first steps go into its bias alone."""
    task = registry.get(name)
    given = sample(task)
    torch.manual_seed(seed)
    network = network_of(task, given.config, given.card)
    assert isinstance(network.head, torch.nn.Linear | torch.nn.Conv2d)
    with torch.no_grad():
        fresh = task.loss(network(given.batch.images), given.batch)["loss"].item()
        network.head.weight.zero_()
        blind = task.loss(network(given.batch.images), given.batch)["loss"].item()
    assert fresh < 1.25 * blind


@pytest.mark.parametrize("name", TASKS)
def test_losses_are_float32_whatever_the_network_computes_in(name: str) -> None:
    task = registry.get(name)
    given = sample(task)
    torch.manual_seed(0)
    outputs = network_of(task, given.config, given.card)(given.batch.images)
    for precision in (torch.bfloat16, torch.float16):
        rounded = outputs.to(precision)
        parts, exact = (task.loss(each, given.batch) for each in (rounded, rounded.float()))
        assert {part.dtype for part in parts.values()} == {torch.float32}
        assert parts["loss"].item() == exact["loss"].item()


@pytest.mark.parametrize("name", TASKS)
def test_one_seed_gives_one_network_and_another_seed_another(name: str) -> None:
    task = registry.get(name)
    given = sample(task)
    (first, losses), (second, again), (third, _) = (learn(task, given, seed=seed, steps=3) for seed in (7, 7, 8))
    assert losses == again
    states = [network.state_dict() for network in (first, second, third)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert any(not torch.equal(value, states[2][key]) for key, value in states[0].items())


@pytest.mark.parametrize("name", TASKS)
def test_the_loss_is_a_finite_scalar_and_smoothing_changes_it(name: str) -> None:
    task = registry.get(name)
    given = sample(task)
    torch.manual_seed(0)
    outputs = network_of(task, given.config, given.card)(given.batch.images)
    parts = task.loss(outputs, given.batch)
    assert all(part.ndim == 0 and torch.isfinite(part) for part in parts.values())
    assert parts["loss"].requires_grad
    assert task.loss(outputs, given.batch, 0.2)["loss"].item() != parts["loss"].item()


# -- empty labels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_without_samples_costs_nothing_and_spoils_no_weight(name: str) -> None:
    task = registry.get(name)
    given = sample(task)
    network = network_of(task, given.config, given.card).train()
    nothing = Batch(given.batch.images[:0], given.batch.targets[:0])
    loss = task.loss(network(nothing.images), nothing)["loss"]
    loss.backward()
    assert loss.item() == 0.0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in network.parameters())
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


@pytest.mark.parametrize("name", TASKS)
def test_no_samples_have_no_figures_rather_than_an_error_or_a_flattering_one(name: str) -> None:
    task = registry.get(name)
    given = sample(task)
    nobody = given.batch.targets[:0].numpy()
    rows = task.rows(perfect(given, nobody), nobody)
    assert all(len(column) == 0 for column in rows.values())
    some = judged(task, given, perfect(given, given.batch.targets.numpy()))
    none = Predictions(some.table.slice(0, 0), "m", "d", given.card.classes)
    assert all(np.isnan(values).all() for values in measured(task, none).values())
    assert not isinstance(task, capabilities.WithConfusion) or task.confusion(none).sum() == 0
    assert not isinstance(task, capabilities.WithReliability) or task.reliability(none).sum() == 0


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_of_nothing_but_the_first_class_can_be_learned_and_judged(name: str) -> None:
    """For masks: scenes that show only background."""
    task = registry.get(name)
    given = sample(task)
    background = torch.zeros_like(given.batch.targets)
    network = network_of(task, given.config, given.card)
    loss = task.loss(network(given.batch.images), Batch(given.batch.images, background))["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())
    predictions = judged(task, given, perfect(given, background.numpy()), background.numpy())
    assert measured(task, predictions)[task.spec.primary_metric][0] == 1.0


# -- judging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_a_perfect_answer_gets_full_marks_and_a_wrong_one_none(name: str) -> None:
    task = registry.get(name)
    given = sample(task)
    targets = given.batch.targets.numpy()
    right = measured(task, judged(task, given, perfect(given, targets)))
    wrong = measured(task, judged(task, given, perfect(given, (targets + 1) % 3)))
    assert right[task.spec.primary_metric][0] == 1.0
    assert wrong[task.spec.primary_metric][0] == 0.0
    assert task.spec.primary.beats(right[task.spec.primary_metric][0], wrong[task.spec.primary_metric][0])
    assert all(values.shape == (1,) and np.isfinite(values).all() for values in right.values())


@pytest.mark.parametrize("name", TASKS)
def test_the_difference_of_two_answers_is_between_none_and_one(name: str) -> None:
    task = registry.get(name)
    given = sample(task)
    targets = given.batch.targets.numpy()
    right, wrong = perfect(given, targets), perfect(given, (targets + 1) % 3)
    np.testing.assert_array_equal(task.difference(right, right), np.zeros(len(targets)))
    np.testing.assert_array_equal(task.difference(right, wrong), np.ones(len(targets)))
    torch.manual_seed(0)
    network = network_of(task, given.config, given.card).eval()
    apart = task.difference(right, network_answer(task, network, given.batch.images))
    assert apart.shape == (len(targets),) and apart.dtype == np.float64
    assert ((apart > 0) & (apart <= 1)).all()
    if isinstance(task, capabilities.Deciding):
        assert (task.agreement(right, right) == 1).all() and (task.agreement(right, wrong) == 0).all()


@pytest.mark.parametrize("name", TASKS)
def test_an_answer_is_what_the_task_says_is_exported(name: str) -> None:
    task = registry.get(name)
    given = sample(task)
    network = network_of(task, given.config, given.card).eval()
    answer = network_answer(task, network, given.batch.images)
    sizes = {"classes": 3, "height": given.card.input.height, "width": given.card.input.width}
    assert any(output.measured for output in task.spec.outputs)
    assert list(answer) == [output.name for output in task.spec.outputs]
    for output in task.spec.outputs:
        dims = tuple(size if isinstance(size, int) else sizes[size] for size in output.dims)
        assert answer[output.name].shape == (len(given.images), *dims)
        assert answer[output.name].dtype == output.type


@pytest.mark.parametrize("name", TASKS)
def test_weights_of_zero_give_no_figure_and_indicators_give_a_group(name: str) -> None:
    task = registry.get(name)
    given = sample(task)
    targets = given.batch.targets.numpy()
    half = len(targets) // 2
    mixed = np.concatenate([targets[:half], (targets[half:] + 1) % 3])  # right for the first half only
    predictions = judged(task, given, perfect(given, mixed))
    first = np.arange(len(targets)) < half
    figures = measured(task, predictions, np.stack([np.zeros(len(targets)), first, ~first]).astype(np.float64))
    assert all(np.isnan(values[0]) for values in figures.values())
    np.testing.assert_array_equal(figures[task.spec.primary_metric][1:], [1.0, 0.0])


@pytest.mark.parametrize("name", TASKS)
def test_predictions_survive_the_disk_with_their_figures(name: str, tmp_path: Path) -> None:
    task = registry.get(name)
    given = sample(task)
    torch.manual_seed(0)
    network = network_of(task, given.config, given.card).eval()
    predictions = judged(task, given, network_answer(task, network, given.batch.images))
    predictions.save(tmp_path)
    assert measured(task, Predictions.load(tmp_path)) == measured(task, predictions)


# -- export ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_the_exported_graph_answers_as_the_network_does(name: str, learned: Callable[..., Any], tmp_path: Path) -> None:
    task = registry.get(name)
    given = sample(task)
    network, _ = learned(name)
    exported = export(written(given, network, tmp_path / "model"), tmp_path / "exported")
    session = open_session(exported, 1)
    with torch.inference_mode():
        embedding = network.embed(given.batch.images).numpy()
    expected = network_answer(task, network, given.batch.images)
    for count in (1, 3, len(given.images)):
        served = answers(session, given.images[:count], batch=count)
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
        data="d",
    )
    return write_model(folder, card, lambda target: save_weights(network, target))


# -- capabilities ----------------------------------------------------------------------------------------------------


def outputs(given: Sample, members: int, seed: int = 0) -> torch.Tensor:
    """Raw outputs of as many networks, `(K, N, C, …)`."""
    classes = len(given.card.classes)
    shape = (members, len(given.batch.targets), classes, *given.batch.targets.shape[1:])
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def fuses_to_the_mean_of_probabilities(task: Any, given: Sample) -> None:
    members = outputs(given, 3)
    weights = torch.tensor([0.5, 0.3, 0.2])
    fused = task.answer(mean_probability(members, weights))["probabilities"].numpy()
    each = np.exp(members.numpy().astype(np.float64))
    each = each / each.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(fused, np.tensordot([0.5, 0.3, 0.2], each, axes=1), atol=1e-6)


def takes_the_combiners_that_it_names(task: Any, given: Sample) -> None:
    members = outputs(given, 3)
    assert task.combiners <= {*COMBINERS, SOUP}
    assert "soft" in task.combiners  # what every ensemble can fall back on
    for name in task.combiners - {SOUP}:
        fusion = FUSIONS[COMBINERS[name].fusion](3, members.shape[2], 3)
        answer = task.answer(fusion(members))
        expected = task.answer(members[0])
        assert {key: value.shape for key, value in answer.items()} == {key: v.shape for key, v in expected.items()}
        torch.testing.assert_close(answer["probabilities"].sum(dim=1), torch.ones_like(answer["probabilities"][:, 0]))


def likelihoods_are_of_the_truth(task: Any, given: Sample) -> None:
    answer = {key: value.numpy() for key, value in task.answer(outputs(given, 1)[0]).items()}
    targets = given.batch.targets.numpy()
    likelihoods = task.likelihoods(answer, targets)
    by_hand = [answer["probabilities"][(unit[0], targets[unit], *unit[1:])] for unit in np.ndindex(*targets.shape)]
    np.testing.assert_allclose(likelihoods, by_hand, rtol=1e-6)
    assert likelihoods.dtype == np.float64
    assert (likelihoods >= 0).all()
    assert (likelihoods <= 1).all()
    assert (task.likelihoods(perfect(given, targets), targets) == 1.0).all()


def copies_a_teacher(task: Any, given: Sample) -> None:
    student, teacher = outputs(given, 2)
    assert float(task.distillation_loss(teacher, teacher, 3.0)) == pytest.approx(0.0, abs=1e-6)
    assert float(task.distillation_loss(student, teacher, 3.0)) > 0.01
    shifted = teacher + 5.0  # the same distribution: a softmax does not see what all classes share
    assert float(task.distillation_loss(shifted, teacher, 3.0)) == pytest.approx(0.0, abs=1e-5)
    nothing = task.distillation_loss(student[:0].requires_grad_(), teacher[:0], 3.0)
    assert nothing.item() == 0.0


def keeps_the_gradient_as_the_temperature_rises(task: Any, given: Sample) -> None:
    student, teacher = outputs(given, 2)
    norms = []
    for temperature in (2.0, 8.0, 32.0):
        leaf = student.clone().requires_grad_()
        task.distillation_loss(leaf, teacher, temperature).backward()
        # d/dz of T²·KL, averaged over units, is T·(softmax(z/T) − softmax(v/T)) (Hinton et al. 2015, section 2.1).
        gap = torch.softmax(student / temperature, 1) - torch.softmax(teacher / temperature, 1)
        by_hand = temperature * gap / given.batch.targets.numel()
        torch.testing.assert_close(leaf.grad, by_hand, rtol=1e-3, atol=1e-6)
        norms.append(float(leaf.grad.norm()))
    assert max(norms) < 2 * min(norms)  # without the factor, the last would be a 256th of the first


def counts_every_unit_once(task: Any, given: Sample) -> None:
    targets = given.batch.targets.numpy()
    predictions = judged(task, given, perfect(given, targets))
    np.testing.assert_array_equal(task.confusion(predictions), np.diag(np.bincount(targets.ravel(), minlength=3)))


def is_as_sure_as_it_is_right(task: Any, given: Sample) -> None:
    targets = given.batch.targets.numpy()
    right, wrong = (judged(task, given, perfect(given, answered)) for answered in (targets, (targets + 1) % 3))
    units, confidence, correct = np.split(task.reliability(right), 3)
    assert (units.sum(), confidence.sum(), correct.sum()) == (targets.size,) * 3
    assert measured(task, right)["calibration_error"][0] == 0.0
    assert measured(task, wrong)["calibration_error"][0] == 1.0


def knows_each_class(task: Any, given: Sample) -> None:
    """Of a class that is not there, nothing."""
    background = np.zeros_like(given.batch.targets.numpy())
    classes = task.by_class(judged(task, given, perfect(given, background), background))
    assert list(classes) == list(given.card.classes)
    assert all(value == 1.0 for value in classes["first"].values())
    assert all(np.isnan(value) for value in classes["second"].values())


def decides_alike_or_not(task: Any, given: Sample) -> None:
    targets = given.batch.targets.numpy()
    right, wrong = perfect(given, targets), perfect(given, (targets + 1) % 3)
    assert (task.agreement(right, right) == 1).all() and (task.agreement(right, wrong) == 0).all()
    assert task.agreement(right, wrong).shape == (len(targets),)


def has_one_class_a_sample(task: Any, given: Sample) -> None:
    labels = task.labels(given.batch.targets.numpy())
    assert labels.shape == (len(given.images),) and labels.dtype == np.int64
    assert labels.min() >= 0 and labels.max() < len(given.card.classes)


def has_a_loss_that_is_a_mean_of_each_samples(task: Any, given: Sample) -> None:
    made = outputs(given, 1)[0]
    for smoothing in (0.0, 0.2):
        each = task.each(made, given.batch, smoothing)
        assert each.shape == (len(given.images),)
        torch.testing.assert_close(each.mean(), task.loss(made, given.batch, smoothing)["loss"])


def gets_samples_right_or_wrong(task: Any, given: Sample) -> None:
    targets = given.batch.targets.numpy()
    half = np.arange(len(targets)) < len(targets) // 2
    mixed = np.where(half, targets, (targets + 1) % 3)
    np.testing.assert_array_equal(task.mistakes(perfect(given, mixed), targets), ~half)


def balances_classes(task: Any, given: Sample) -> None:
    """Of equal sizes, as if nothing were done; of unequal ones, otherwise."""
    made, plain = outputs(given, 1)[0], ImbalanceConfig(focal_gamma=0.0)
    natural = task.loss(made, given.batch)["loss"]
    for loss in ("weighted", "focal", "balanced-softmax"):
        config = plain.model_copy(update={"loss": loss})
        torch.testing.assert_close(task.balanced(config, np.array([5, 5, 5]))(made, given.batch)["loss"], natural)
        unequal = config.model_copy(update={"focal_gamma": 2.0})
        found = task.balanced(unequal, np.array([1, 5, 9]))(made, given.batch)["loss"]
        assert torch.isfinite(found) and abs(float(found - natural)) > 1e-3
    with pytest.raises(ValueError, match="received natural"):
        task.balanced(plain, np.array([5, 5, 5]))


CAPABILITIES: dict[type, tuple[Callable[[Any, Sample], None], ...]] = {
    capabilities.WithClasses: (knows_each_class,),
    capabilities.WithConfusion: (counts_every_unit_once,),
    capabilities.WithReliability: (is_as_sure_as_it_is_right,),
    capabilities.Deciding: (decides_alike_or_not,),
    capabilities.Labels: (has_one_class_a_sample,),
    capabilities.Each: (has_a_loss_that_is_a_mean_of_each_samples,),
    capabilities.Mistaken: (gets_samples_right_or_wrong,),
    capabilities.Balanced: (balances_classes,),
    capabilities.Combinable: (
        fuses_to_the_mean_of_probabilities,
        takes_the_combiners_that_it_names,
        likelihoods_are_of_the_truth,
    ),
    capabilities.Distillable: (copies_a_teacher, keeps_the_gradient_as_the_temperature_rises),
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
    check(registry.get(name), sample(registry.get(name)))


# -- the registry ----------------------------------------------------------------------------------------------------


def test_there_is_a_task_to_hold_to_the_contract() -> None:
    assert {"classification", "segmentation"} <= set(TASKS)
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
