"""The network that a task needs, and one that answers: with the pre- and post-processing that is exported with it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from components.artifacts import DatasetCard
from components.config import NetworkConfig
from components.models import registry as models
from components.tasks.answers import Answerer, Answers
from components.tasks.protocol import Task


def preprocess(images: Tensor) -> Tensor:
    """uint8 `(N, H, W, C)` → float32 `(N, C, H, W)` in [0, 1]. Exported with the network, so both see the same."""
    return images.permute(0, 3, 1, 2).to(torch.float32) / 255.0


def network_of(task: Task, config: NetworkConfig, card: DatasetCard) -> nn.Module:
    """An untrained network for this data: `(N, C, H, W)` in [0, 1] → raw outputs."""
    return models.build(config, card.input, task.head(card))


def torch_answerer(task: Task, network: nn.Module) -> Answerer:
    """The network as something that answers for uint8 images."""
    return lambda images: network_answer(task, network, preprocess(torch.from_numpy(np.ascontiguousarray(images))))


def network_answer(task: Task, network: nn.Module, images: Tensor) -> Answers:
    """The network's answer for images `(N, C, H, W)` in [0, 1], as arrays: what the exported graph would give."""
    with torch.inference_mode():
        return arrays_of(task.answer(network(images)))


def arrays_of(answer: dict[str, Tensor]) -> Answers:
    """An answer's tensors as arrays, floats in float32."""
    return {
        name: (value.float() if value.is_floating_point() else value).cpu().numpy() for name, value in answer.items()
    }
