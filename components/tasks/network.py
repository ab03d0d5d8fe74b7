"""The network that a task needs, and one that answers: with the pre- and post-processing that is exported with it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from components.artifacts import DatasetCard
from components.config import NetworkConfig
from components.models import registry as models
from components.models.preprocessing import preprocess
from components.tasks.answers import Answerer, Answers
from components.tasks.protocol import Task


def network_of(task: Task, config: NetworkConfig, card: DatasetCard) -> nn.Module:
    """An untrained network for this data: what `preprocess` gives → raw outputs."""
    return models.build(config, card.input, task.head(card))


def torch_answerer(task: Task, network: nn.Module) -> Answerer:
    """The network as something that answers for arrays of inputs."""
    return lambda inputs: network_answer(task, network, preprocess(torch.from_numpy(np.ascontiguousarray(inputs))))


def network_answer(task: Task, network: nn.Module, shown: Tensor) -> Answers:
    """The network's answer for what `preprocess` gives, as arrays: what the exported graph would give."""
    with torch.inference_mode():
        return arrays_of(task.answer(network(shown)))


def arrays_of(answer: dict[str, Tensor]) -> Answers:
    """An answer's tensors as arrays, floats in float32."""
    return {
        name: (value.float() if value.is_floating_point() else value).cpu().numpy() for name, value in answer.items()
    }
