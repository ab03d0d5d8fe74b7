"""PyTorch: a model's own folder, executed eagerly as after training, or a program that `torch.export` has written.

What others are compared with. Its threads are the process's, not the network's: the last one opened decides.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.runtimes.protocol import Answerer, Answers, Inputs, Runtime, output_names


def _load(path: Path, threads: int | None) -> Answerer:
    import torch

    if threads:
        torch.set_num_threads(threads)
    return _program(path) if path.is_file() else _eager(path)


def _eager(folder: Path) -> Answerer:
    from components.artifacts import Model
    from components.models.network import load_network
    from components.tasks import registry as tasks
    from components.tasks.network import torch_answerer

    model = Model.load(folder)
    return torch_answerer(tasks.of(model.card), load_network(model))


def _program(path: Path) -> Answerer:
    import torch

    module, names = torch.export.load(path).module(), output_names(path)

    def answer(inputs: Inputs) -> Answers:
        with torch.inference_mode():
            values = module(torch.from_numpy(np.ascontiguousarray(inputs)))
        return {name: value.numpy() for name, value in zip(names, values, strict=True)}

    return answer


RUNTIME = Runtime(name="pytorch", package="torch", reads=("", ".pt2"), extra=None, load=_load)
