"""What leaves the project: an artifact in one of several formats, in a folder that needs nothing else.

Beside the artifact lie its signature, its labels, where it comes from, and checksums. What was written is opened by its
engine and asked before the folder appears: an export that does not answer as the model does is an error.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from components import texts
from components.artifacts import ImageSpec, Model, ModelCard
from components.export.errors import CompressionError
from components.export.export import OPSET, export, output_names, program, quiet
from components.export.resizing import any_size
from components.files import replacing
from components.inputs.registry import noise
from components.own_files import text
from components.runtimes import executorch, openvino, registry
from components.runtimes.execution import open_model
from components.runtimes.protocol import SIGNATURE, Answerer, Answers
from components.tasks import registry as tasks

ANY_SIZE = "model-any-size.onnx"  # beside a graph for pictures
SUMS = "SHA256SUMS"  # the file that lists the others, and by which a folder is known as an export
TRIED = 16  # random images on which what was written is compared with what it was written from

# Largest difference (`Task.difference`) that is put down to another order of summation. Float formats differ by 1e-6
# (measured on every compact family); int8 graphs round differently in other engines' kernels, by whole steps.
FLOAT_TOLERANCE, INT8_TOLERANCE = 1e-3, 0.1

# Formats that are asked for and cannot be written here, and why.
UNAVAILABLE = {
    "tflite": "its converter (litert-torch 0.10) needs typing-extensions below 4.13, and this project's pydantic newer "
    "ones; convert the ONNX file in an environment of its own, or export for executorch",
}


@dataclass(frozen=True)
class Source:
    """A model to export: what is served, and the weights it was made of, where they are known."""

    served: Model
    weights: Model | None = None
    about: Mapping[str, str] = field(default_factory=dict)  # what else is known of its origin


@dataclass(frozen=True)
class Format:
    """A way of writing a model."""

    name: str
    file: str
    runtime: str  # the engine that reads it
    trained: bool  # whether it is made of the weights, in float32, rather than of the graph that is served
    write: Callable[[Model, Path], None]  # a model with a graph, or with weights → the file


def _onnx(model: Model, target: Path) -> None:
    shutil.copyfile(model.onnx, target)
    if isinstance(model.card.input, ImageSpec):
        any_size(model.onnx, target.with_name(ANY_SIZE))


def _openvino(model: Model, target: Path) -> None:
    openvino.convert(model.onnx, target)


def _torch(model: Model, target: Path) -> None:
    import torch

    torch.export.save(program(model), target)
    _name_outputs(model, target)


def _executorch(model: Model, target: Path) -> None:
    with quiet():
        executorch.lower(program(model, batch=1), target)
    _name_outputs(model, target)


def _name_outputs(model: Model, target: Path) -> None:
    """What the engine goes by, whose format numbers outputs; the whole signature takes its place."""
    names = [{"name": name} for name in output_names(model)]
    _write_json(target.with_name(SIGNATURE), {"outputs": names})


FORMATS = {
    each.name: each
    for each in (
        Format("onnx", "model.onnx", "onnxruntime", False, _onnx),
        Format("openvino", "model.xml", "openvino", False, _openvino),
        Format("torch", "model.pt2", "pytorch", True, _torch),
        Format("executorch", "model.pte", "executorch", True, _executorch),
    )
}


def chosen(name: str) -> Format:
    """The format of that name; CompressionError for one that there is none of, or that cannot be written here."""
    if name in UNAVAILABLE:
        raise CompressionError(f"format {name}: not available: {UNAVAILABLE[name]}")
    if name not in FORMATS:
        raise CompressionError(f"format: expected one of {', '.join(FORMATS)}, received {name!r}")
    found = FORMATS[name]
    missing = registry.get(found.runtime).missing
    if missing:
        raise CompressionError(f"format {name}: {missing}")
    return found


def write(source: Source, name: str, folder: Path) -> Path:
    """Write `folder` and return the artifact in it. An export that was there, or nothing, is replaced when all is well.

    Raises CompressionError where the format cannot be written, where it needs weights and only a graph is there, where
    what was written answers otherwise than the model, or where the folder holds anything else than an export.
    """
    wanted = chosen(name)
    with replacing(folder, check_replaceable) as temporary:
        model = _made_ready(source, wanted, temporary / ".float32")
        file = temporary / wanted.file
        wanted.write(model, file)
        answer, tried = registry.get(wanted.runtime).open(file, 1), noise(model.card.input, TRIED)
        given = answer(tried)
        largest = _compared(model, given, _reference(model), tried, wanted)
        shutil.rmtree(temporary / ".float32", ignore_errors=True)
        card = model.card
        labels = "".join(f"{texts.visible(label)}\n" for label in card.classes)  # a line a class, whatever it is called
        (temporary / "labels.txt").write_text(labels, encoding="utf-8")
        _write_json(temporary / SIGNATURE, signature(card, given, wanted, file))
        _write_json(temporary / "provenance.json", provenance(source, model, wanted, largest))
        (temporary / SUMS).write_text(checksums(temporary), encoding="utf-8")
    return folder / wanted.file


def check_replaceable(folder: Path) -> None:
    """Raises CompressionError unless a folder is empty, not there, or an export: what it lists, and nothing else."""
    if not folder.exists() and not folder.is_symlink():
        return
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    listed = {row.partition("  ")[2] for row in (text(folder / SUMS) or "").splitlines()}
    marked = {"provenance.json", SIGNATURE} <= listed
    strange = next((name for name in held if not marked or name not in {*listed, SUMS}), None)
    if strange is not None or not folder.is_dir():
        what = "a file" if folder.is_file() else f"one with {strange}" if folder.is_dir() else "a link to nothing"
        raise CompressionError(
            f"{folder}: expected a folder that is empty, not there or an export alone, received {what}, which is "
            "nothing that an export wrote and is never replaced; name another with --output, or move that elsewhere"
        )


def signature(card: ModelCard, given: Answers, wanted: Format, file: Path) -> dict[str, Any]:
    """What goes in and comes out, in words that no engine is needed to read."""
    spec = card.input
    count = "batch" if registry.get(wanted.runtime).multiple else 1
    entry: dict[str, Any] = {
        "name": spec.kind,
        "type": spec.type,
        "layout": spec.layout,
        "shape": [count, *spec.shape],
        **spec.values,
    }
    inputs = {file.name: entry}
    if file.with_name(ANY_SIZE).is_file():
        inputs[ANY_SIZE] = {**entry, "shape": ["batch", "height", "width", spec.shape[-1]]}
    outputs = [
        {"name": name, "type": str(values.dtype), "shape": [count, *values.shape[1:]]} for name, values in given.items()
    ]
    about: dict[str, Any] = {"task": card.task, "format": wanted.name, "classes": list(card.classes)}
    about |= {"inputs": inputs, "outputs": outputs}
    if file.suffix == ".onnx":
        graph = onnx.load(file, load_external_data=False)
        about |= {"opset": {entry.domain or "ai.onnx": entry.version for entry in graph.opset_import}}
    return about


def provenance(source: Source, model: Model, wanted: Format, largest: float) -> dict[str, Any]:
    """Where the file comes from, and what it was checked against."""
    card = model.card
    libraries = ("torch", "onnx", "onnxruntime", "openvino", "executorch", "numpy")
    return {
        "model": card.name,
        "network": card.network.model_dump(mode="json"),
        "precision": card.precision,
        "made_of": model.digest,
        "artifact": source.served.digest,
        "data": card.data,
        "parents": [parent.model_dump(mode="json") for parent in card.parents],
        "exporter_opset": OPSET,
        "compared": {"images": TRIED, "largest_difference_of_a_probability": largest},
        "libraries": {name: _installed(name) for name in libraries if _installed(name)},
        **({"origin": dict(source.about)} if source.about else {}),
    }


def checksums(folder: Path) -> str:
    """What `sha256sum --check SHA256SUMS` reads, of every file in the folder."""
    rows = []
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name != SUMS):
        with path.open("rb") as file:
            rows.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
    return "".join(rows)


def _made_ready(source: Source, wanted: Format, folder: Path) -> Model:
    """The model that the format is made of: with weights, or with a graph, which is made where there is none."""
    if wanted.trained:
        found = next((each for each in (source.served, source.weights) if each and each.weights.is_file()), None)
        if found is None:
            raise CompressionError(
                f"format {wanted.name}: expected the weights of {source.served.card.name}, found its graph alone; name "
                "the run that it was made in"
            )
        return found
    return source.served if source.served.onnx.is_file() else export(source.served, folder)


def _reference(model: Model) -> Answerer:
    """The weights in PyTorch where they are there, the graph where not."""
    return registry.get("pytorch").open(model.folder) if model.weights.is_file() else open_model(model)


def _compared(model: Model, given: Answers, reference: Answerer, tried: np.ndarray, wanted: Format) -> float:
    largest = float(tasks.of(model.card).difference(given, reference(tried)).max())
    allowed = INT8_TOLERANCE if model.card.precision == "int8" else FLOAT_TOLERANCE
    if not largest <= allowed:
        raise CompressionError(
            f"{model.card.name} as {wanted.name}: expected answers within {allowed} of the model's, found a "
            f"difference of {largest:.3g}; nothing was written"
        )
    return largest


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
