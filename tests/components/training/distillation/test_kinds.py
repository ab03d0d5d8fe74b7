"""Each kind against its paper's formula, written out with NumPy; and what is watched against what is computed anew."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from components.artifacts import ImageSpec, Model
from components.config import DistillationConfig, NetworkConfig
from components.models.network import load_network
from components.models.registry import build
from components.training.objectives import copying
from components.training.objectives.attention import AttentionTransfer
from components.training.objectives.contrastive import Contrast
from components.training.objectives.hint import Hint
from components.training.objectives.relation import Angles, Distances
from components.training.objectives.teacher import Teacher
from components.training.objectives.watching import Seen, Watch

INPUT = ImageSpec(height=16, width=16, channels=1, mean=(0.3,), std=(0.4,))


def seen(seed: int, samples: int = 5, channels: int = 6, side: int = 4, dimensions: int = 7) -> Seen:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(samples, channels, side, side, generator=generator, requires_grad=True)
    return Seen(features, torch.randn(samples, dimensions, generator=generator, requires_grad=True))


def array(value: Tensor) -> np.ndarray:  # type: ignore[type-arg]
    return value.detach().numpy().astype(np.float64)


def huber(difference: np.ndarray) -> float:  # type: ignore[type-arg]
    size = np.abs(difference)
    return float(np.where(size < 1, size**2 / 2, size - 0.5).mean())


def test_a_hint_is_the_distance_of_the_projected_map() -> None:
    student, teacher = seen(0, channels=3), seen(1, channels=6)
    hint = Hint(student, teacher)
    weight, bias = array(hint.project.weight)[:, :, 0, 0], array(hint.project.bias)  # type: ignore[arg-type]
    projected = np.einsum("oc,nchw->nohw", weight, array(student.features)) + bias[:, None, None]
    its = array(teacher.features)
    expected = ((projected - its) ** 2).mean() / (its**2).mean()
    assert hint(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_attention_is_where_the_channels_are_strong() -> None:
    student, teacher = seen(0, channels=3), seen(1, channels=6)

    def attention(features: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        strength = (features**2).sum(axis=1).reshape(len(features), -1)
        return strength / np.linalg.norm(strength, axis=1, keepdims=True)

    difference = attention(array(student.features)) - attention(array(teacher.features))
    expected = (difference**2).sum(axis=1).mean()
    assert AttentionTransfer()(student, teacher).item() == pytest.approx(expected, rel=1e-5)
    assert AttentionTransfer()(student, student).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", [Hint, lambda *_: AttentionTransfer()])
def test_maps_of_different_sizes_meet_at_the_smaller_one(kind: object) -> None:
    student, teacher = seen(0, side=8), seen(1, side=4)
    shrunk = Seen(F.avg_pool2d(student.features, 2), student.embedding)
    if kind is Hint:
        hint = Hint(student, teacher)
        assert hint(student, teacher).item() == pytest.approx(hint(shrunk, teacher).item(), rel=1e-6)
    else:
        assert 0 < AttentionTransfer()(student, teacher).item() < 2


def test_relations_are_those_of_the_paper() -> None:
    student, teacher = seen(0, dimensions=7), seen(1, dimensions=4)
    samples = len(student.embedding)

    def distances(points: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        table = np.array([[np.linalg.norm(p - q) for q in points] for p in points])
        return table / table[table > 0].mean()

    def angles(points: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        table = np.zeros((samples, samples, samples))
        for i, j, k in [*permutations(range(samples), 3), *((i, j, j) for i, j in permutations(range(samples), 2))]:
            one, other = points[j] - points[i], points[k] - points[i]
            table[i, j, k] = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        return table

    own, its = array(student.embedding), array(teacher.embedding)
    assert Distances()(student, teacher).item() == pytest.approx(huber(distances(own) - distances(its)), rel=1e-4)
    assert Angles()(student, teacher).item() == pytest.approx(huber(angles(own) - angles(its)), rel=1e-4)


def test_contrast_is_the_cross_entropy_of_finding_ones_own() -> None:
    student, teacher = seen(0, dimensions=7), seen(1, dimensions=4)
    kind = Contrast(student, teacher, temperature=0.2)

    def unit(layer: torch.nn.Linear, points: Tensor) -> np.ndarray:  # type: ignore[type-arg]
        projected = array(points) @ array(layer.weight).T + array(layer.bias)
        return projected / np.linalg.norm(projected, axis=1, keepdims=True)

    alike = unit(kind.project_student, student.embedding) @ unit(kind.project_teacher, teacher.embedding).T / 0.2
    here = -np.log(np.exp(np.diag(alike)) / np.exp(alike).sum(axis=1)).mean()
    there = -np.log(np.exp(np.diag(alike)) / np.exp(alike).sum(axis=0)).mean()
    assert kind(student, teacher).item() == pytest.approx((here + there) / 2, rel=1e-5)


@pytest.mark.parametrize("samples", [1, 5])
def test_every_kind_has_a_finite_gradient(samples: int) -> None:
    kinds: dict[str, dict[str, float]] = {"hint": {}, "attention": {}, "relation": {}, "contrastive": {}}
    config = DistillationConfig.model_validate(kinds)
    student, teacher = seen(0, samples=samples, channels=3), seen(1, samples=samples)
    found = copying.kinds(config, student, teacher)
    assert set(found) == {"hint", "attention", "distance", "angle", "contrastive"}
    torch.stack([kind(student, teacher) for kind in found.values()]).sum().backward()
    for value in (student.features.grad, student.embedding.grad):
        assert value is not None
        assert value.isfinite().all()


def test_only_what_has_a_weight_is_switched_on() -> None:
    config = DistillationConfig.model_validate({"relation": {"distance": 0, "angle": 3}, "hint": {"weight": 0}})
    assert copying.weights(config) == {"angle": 3.0}
    assert copying.weights(DistillationConfig()) == {}


@pytest.mark.parametrize("name", ["residual", "densenet", "mobilenet", "convnext", "timm:resnet10t", "resnet18"])
def test_one_forward_pass_shows_what_the_networks_own_surface_gives(name: str) -> None:
    torch.manual_seed(0)
    network = build(NetworkConfig(name=name), INPUT, 10).eval()
    images = torch.rand(3, 1, 16, 16)
    with torch.no_grad():
        features, embedding, outputs = network.features(images), network.embed(images), network(images)  # type: ignore[operator]
        watch = Watch(network)
        assert torch.equal(network(images), outputs)
        found = watch.take()
    torch.testing.assert_close(found.features, features)
    torch.testing.assert_close(found.embedding, embedding)
    with pytest.raises(RuntimeError, match="expected a forward pass"):
        watch.take()
    watch.end()
    assert not network.head._forward_pre_hooks  # type: ignore[union-attr]
    assert "features" not in vars(network)


def test_a_unet_shows_its_deepest_map() -> None:
    network = build(NetworkConfig(name="unet", arguments={"width": 4}), INPUT, 3).eval()
    images = torch.rand(2, 1, 16, 16)
    watch = Watch(network)
    network(images)
    found = watch.take()
    assert found.features.shape == (2, 16, 4, 4)
    assert found.embedding.shape == (2, 4)


def test_of_an_ensemble_all_embeddings_are_copied_and_the_best_members_map(ensemble: Model) -> None:
    images = torch.rand(3, 1, 8, 8)
    network = load_network(ensemble)
    answer, found = Teacher(ensemble, torch.device("cpu"), nullcontext).look(images)
    torch.testing.assert_close(answer, network(images))
    members = network.members
    expected = torch.cat([F.normalize(member.embed(images), dim=1) for member in members], dim=1)  # type: ignore[operator,union-attr]
    torch.testing.assert_close(found.embedding, expected)
    torch.testing.assert_close(found.features, members[1].features(images))  # type: ignore[index,operator]
    assert not answer.requires_grad
    assert not answer.is_inference()
