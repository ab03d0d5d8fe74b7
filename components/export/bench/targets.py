"""Which file each engine is measured with: of a model, or of a single exported file."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from components.artifacts import Model
from components.export.errors import CompressionError
from components.export.export import export
from components.runtimes import registry
from components.runtimes.execution import Shape


@dataclass(frozen=True)
class Target:
    """What is to be measured."""

    artifact: str  # digest
    shape: Shape
    files: dict[str, Path]  # runtime → what it opens
    left_out: dict[str, str]  # runtime → why it cannot be measured


def of_model(served: Model, weights: Model | None, wanted: Sequence[str], scratch: Path) -> Target:
    """The served graph in every engine that reads it, and the weights in PyTorch.

    A model without a graph is exported into `scratch` first. `wanted` are names of engines; none: all that there are.
    Raises CompressionError where one is asked for by name that cannot be measured.
    """
    graph = served.onnx if served.onnx.is_file() else export(served, scratch / "exported").onnx
    trained = next((each for each in (served, weights) if each is not None and each.weights.is_file()), None)
    places = {"pytorch": trained.folder if trained else None, "executorch": None}
    without = {
        "pytorch": "the weights that the graph was made of are not known here",
        "executorch": "a model has no file for it: `convoy export MODEL --format executorch`, then bench that file",
    }
    files: dict[str, Path] = {}
    left_out: dict[str, str] = {}
    for name in wanted or registry.names():
        missing = registry.get(name).missing
        place = places.get(name, graph)
        if missing is None and place is not None:
            files[name] = place
        else:
            left_out[name] = missing or without[name]
    return _complete(
        Target(served.digest, Shape(served.card.input.shape, served.card.input.type), files, left_out), wanted
    )


def of_file(path: Path, wanted: Sequence[str]) -> Target:
    """One exported file in every engine that reads it.

    Raises CompressionError where none does, or where its size is not known.
    """
    readers = [name for name in registry.names() if registry.get(name).takes(path)]
    files: dict[str, Path] = {}
    left_out: dict[str, str] = {}
    for name in wanted or readers:
        runtime = registry.get(name)
        missing = runtime.missing or (None if name in readers else f"it reads {runtime.said}")
        if missing is None:
            files[name] = path
        else:
            left_out[name] = missing
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return _complete(Target(digest, _shape(path), files, left_out), wanted or readers)


def machine() -> str:
    """The processor in a few words."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for row in cpuinfo.read_text(encoding="utf-8").splitlines():
            key, _, value = row.partition(":")
            if key.strip() == "model name":
                return f"{value.strip()}, {platform.system()}"
    return f"{platform.processor() or platform.machine()}, {platform.system()}"


def _complete(target: Target, wanted: Sequence[str]) -> Target:
    refused = [f"{name}: {target.left_out[name]}" for name in wanted if name in target.left_out]
    if refused or not target.files:
        raise CompressionError("; ".join(refused) or "expected an engine that reads the file, found none")
    return target


def _shape(path: Path) -> Shape:
    """Of one input: as an ONNX file says itself, and as its signature does for any other."""
    sizes: Sequence[object]
    if path.suffix == ".onnx":
        (entry,) = onnx.load(path, load_external_data=False).graph.input
        sizes = [dimension.dim_value for dimension in entry.type.tensor_type.shape.dim][1:]
        kind = onnx.helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type).name
    else:
        beside = path.with_name("signature.json")
        try:
            told = json.loads(beside.read_text(encoding="utf-8"))["inputs"][path.name]
            sizes, kind = told["shape"][1:], str(told["type"])
        except (OSError, KeyError, ValueError) as error:
            raise CompressionError(
                f"{beside}: expected the input's shape, as convoy export writes it: {error}"
            ) from error
    if kind not in ("uint8", "int32") or not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise CompressionError(
            f"{path}: expected an input of a fixed size, as a picture (N, H, W, C) or a text (N, L) has it, found "
            f"{list(sizes)} of {kind}"
        )
    return Shape(tuple(int(str(size)) for size in sizes), kind)
