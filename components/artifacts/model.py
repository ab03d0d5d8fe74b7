"""A network on disk: what it is, its weights, its graph."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.artifacts.card import Card
from components.artifacts.head import Head
from components.artifacts.inputs import InputSpec
from components.config import NetworkConfig
from components.files import ArtifactError, digest_folder, replacing


class Ancestor(BaseModel):
    """A model this one was made of, by its digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # boosted: its mistakes decided what a sample counts; unpruned: it lost channels or weights
    role: Literal["member", "teacher", "float", "boosted", "unpruned"]
    digest: str


# float32 and int8 are computed in; of the others the weights are stored so, and computed with in float32.
Precision = Literal["float32", "int8", "int8-weights", "int4-weights", "float16", "bfloat16"]


class ModelCard(Card):
    """`model.json`: how to build the network again, and where it comes from."""

    name: str  # what the model is on the pipeline: member-0, ensemble, student, served
    task: str
    network: NetworkConfig  # an ensemble's is `ensemble`, and its members are in `members`
    members: tuple[NetworkConfig, ...] = ()
    fusion: str | None = None  # how members' outputs are combined
    classes: tuple[str, ...]
    input: InputSpec
    target: dict[str, Any] = Field(default={}, exclude_if=operator.not_)  # as in `DatasetCard`
    # What the last layer gives, where that is more than a number per class.
    head: Head | None = Field(default=None, exclude_if=lambda head: head is None)
    data: str  # digest of the data set it was trained on
    seed: int | None = None
    fold: tuple[int, int] | None = None  # (i, k): it has not seen fold i of k of the training split
    precision: Precision = "float32"  # what is executed, and how the weights are stored
    runtime: Literal["onnxruntime", "openvino"] = "onnxruntime"  # what executes the graph where it is served
    batch_runtime: Literal["onnxruntime", "openvino"] | None = None  # the same from `batch_from` images at a time on
    batch_from: int = 1
    parents: tuple[Ancestor, ...] = ()


@dataclass(frozen=True)
class Model:
    """A folder: `model.json` plus `model.safetensors` (the network's state) and/or `model.onnx` (what is served)."""

    folder: Path
    card: ModelCard

    @classmethod
    def load(cls, folder: Path) -> Model:
        model = cls(folder, ModelCard.read(folder / "model.json"))
        if not model.weights.is_file() and not model.onnx.is_file():
            raise ArtifactError(f"{folder}: expected model.safetensors or model.onnx, found neither")
        return model

    @property
    def weights(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def onnx(self) -> Path:
        return self.folder / "model.onnx"

    @cached_property
    def digest(self) -> str:
        return digest_folder(self.folder)


def write_model(folder: Path, card: ModelCard, fill: Callable[[Path], None]) -> Model:
    """Write a model folder in one move: `fill` puts weights and/or ONNX into the folder it is given."""
    with replacing(folder) as temporary:
        (temporary / "model.json").write_text(card.to_json(), encoding="utf-8")
        fill(temporary)
    return Model.load(folder)
