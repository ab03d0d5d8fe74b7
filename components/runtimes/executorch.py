"""ExecuTorch: PyTorch's runtime for phones and boards, here through its Python bindings, to check what is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.runtimes.protocol import Answerer, Answers, Inputs, Runtime, output_names

if TYPE_CHECKING:
    import torch


def lower(program: torch.export.ExportedProgram, target: Path) -> None:
    """Write the program for ExecuTorch, with what XNNPACK can do (convolutions, products) given to its kernels."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    target.write_bytes(to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch().buffer)


def _load(path: Path, threads: int | None) -> Answerer:
    import torch
    from executorch.runtime import Runtime as Engine

    program = Engine.get().load_program(path)
    method, names = program.load_method("forward"), output_names(path)

    def one(image: Inputs) -> list[np.ndarray]:
        # The memory of an answer is the method's own: the next call writes over it.
        return [value.numpy().copy() for value in method.execute([torch.from_numpy(image[None].copy())])]

    def answer(inputs: Inputs) -> Answers:
        rows = [one(image) for image in inputs]
        return {name: np.concatenate(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}

    return answer


RUNTIME = Runtime(
    name="executorch", package="executorch", reads=(".pte",), extra="executorch", load=_load, multiple=False
)
