"""A trained network → one ONNX graph that takes inputs as arrays (pixels as they are) and answers as it is served.

Pre-processing (cast, scale, layout; normalisation is the network's own first layer) and the task's post-processing are
part of the graph, so that no server can disagree with training. Making it smaller or faster is `quantize`'s business.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import cast

import onnx
import torch
from torch import Tensor, nn

from components.artifacts import Model, ModelCard, write_model
from components.export.errors import CompressionError
from components.models.ensemble import Ensemble
from components.models.network import load_network
from components.models.preprocessing import nothing, preprocess
from components.models.registry import Network
from components.runtimes.execution import EMBEDDING, Inputs, open_model
from components.tasks import registry as tasks
from components.tasks.asking import batches
from components.tasks.network import torch_answerer
from components.tasks.protocol import Task

# The operator set that torch's exporter writes by itself; any other one is a conversion on top.
OPSET = 20


class Deployable(nn.Module):
    """N inputs as arrays → what the task answers and, where the network has one, `embedding` (N, D)."""

    def __init__(self, network: nn.Module, task: Task) -> None:
        """Raises CompressionError for an ensemble whose fusion no graph says."""
        if isinstance(network, Ensemble) and not network.fusion.exported:
            raise CompressionError(
                f"{type(network.fusion).__name__}: expected a fusion that can be exported, received one that is a "
                f"teacher alone; have a student"
            )
        super().__init__()
        self.network = network
        self.task = task

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs, in order."""
        own = tuple(output.name for output in self.task.spec.outputs)
        return (*own, EMBEDDING) if hasattr(self.network, "embed") else own

    def forward(self, given: Tensor) -> tuple[Tensor, ...]:
        shown = preprocess(given)
        if EMBEDDING not in self.names:
            return self._answer(self.network(shown))
        network = cast(Network, self.network)
        embedding = network.embed(shown)
        # Where the last layer is linear in the embedding, it is called `head`. Elsewhere the trunk is written twice,
        # and is once in an ONNX graph: that exporter shares equal subexpressions.
        head = getattr(network, "head", None)
        return *self._answer(head(embedding) if isinstance(head, nn.Linear) else network(shown)), embedding

    def _answer(self, outputs: Tensor) -> tuple[Tensor, ...]:
        answer = self.task.answer(outputs)
        return tuple(answer[output.name] for output in self.task.spec.outputs)


def export(model: Model, folder: Path) -> Model:
    """Write `folder` with the float graph beside the weights it was made of; the card is the model's own.

    The input is called as its kind (`image` uint8 (N, H, W, C), `text` int32 (N, L)), outputs are those of the task and
    `embedding`; N is free. Classes, task, input and the
    digest of `model` are in the graph's metadata.
    Raises ArtifactError where the weights do not fit the card.
    """
    network = load_network(model)
    graph = _trace(network, tasks.of(model.card), model.card)
    describe(graph, model.card, source=model.digest)
    onnx.checker.check_model(graph, full_check=True)

    def fill(target: Path) -> None:
        onnx.save(graph, target / "model.onnx")
        shutil.copyfile(model.weights, target / "model.safetensors")

    return write_model(folder, model.card, fill)


def parity(model: Model, inputs: Inputs, batch: int = 64) -> float:
    """Largest difference between what the weights answer in PyTorch and the graph as it is served, on `inputs`.

    The folder holds both (`export` writes them so). `inputs` are N of them as arrays.
    """
    task, served = tasks.of(model.card), open_model(model)
    exact = torch_answerer(task, load_network(model))
    parts = [inputs[part] for part in batches(len(inputs), batch)]
    return max(float(task.difference(exact(part), served(part)).max()) for part in parts)


def describe(graph: onnx.ModelProto, card: ModelCard, *, source: str) -> None:
    """Write into the graph what a reader without `model.json` must know, and take out what only its maker knows.

    The exporter notes the maker's file paths at every node: they would change the digest from one machine to the next.
    """
    inner = graph.graph
    for parts in (inner.node, inner.value_info, inner.input, inner.output, inner.initializer):
        for part in parts:
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
    inner.ClearField("metadata_props")
    inner.name = card.name
    graph.ClearField("metadata_props")
    onnx.helper.set_model_props(graph, metadata(card, source))


def metadata(card: ModelCard, source: str) -> dict[str, str]:
    """The graph's `metadata_props`, all strings. `source` is the digest of the model that the graph is made of."""
    return {
        "name": card.name,
        "task": card.task,
        "classes": json.dumps(card.classes),
        "input": json.dumps(
            {"layout": card.input.layout, "type": card.input.type, **card.input.model_dump(mode="json")}
        ),
        "network": card.network.model_dump_json(),
        "precision": card.precision,
        "data_digest": card.data,
        "source_digest": source,
    }


def read_metadata(path: Path) -> Mapping[str, str]:
    """What `describe` wrote into the file."""
    return {prop.key: prop.value for prop in onnx.load(path, load_external_data=False).metadata_props}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' and quantizers' notes, which speak of their own innards; errors still raise."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def program(model: Model, *, batch: int | None = None) -> torch.export.ExportedProgram:
    """The network with pre- and post-processing as PyTorch's own exported program; `batch=None` leaves N free.

    It holds no example, which PyTorch would pickle, and nothing of the files that it was made from.
    """
    task, example = tasks.of(model.card), nothing(model.card.input, batch or 2)
    free = None if batch else ({0: torch.export.Dim("batch")},)
    with quiet():
        exported = torch.export.export(Deployable(load_network(model), task).eval(), (example,), dynamic_shapes=free)
    exported.example_inputs = None
    for node in exported.graph.nodes:
        for origin in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn"):
            node.meta.pop(origin, None)
    return exported


def output_names(model: Model) -> tuple[str, ...]:
    """Of what `program` writes, whose outputs are numbered."""
    return Deployable(load_network(model), tasks.of(model.card)).names


def _trace(network: nn.Module, task: Task, card: ModelCard) -> onnx.ModelProto:
    example = nothing(card.input, 2)  # two samples: a batch of one would be taken for a constant
    deployable = Deployable(network, task).eval()
    with quiet():
        program = torch.onnx.export(
            deployable,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[card.input.kind],
            output_names=list(deployable.names),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
        if program is None:
            raise CompressionError(f"{card.name}: expected the exporter to return a graph, received none")
        # A second time: batch normalisation is folded into a convolution only after the shared trunk has become one.
        program.optimize()
    return program.model_proto
