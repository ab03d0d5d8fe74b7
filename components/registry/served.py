"""The registered model: images or texts in, answers out, through `mlflow models serve` or `mlflow.pyfunc.load_model`.

This file is stored with every version ("models from code") and runs where Convoy was never installed, so it imports
nothing of it. Pre- and post-processing are inside the ONNX graph; here inputs are only read, checked and brought to the
graph's size, by the very files that did it when the data was prepared: they lie beside the model (`reader`).

Input: a column that the reader names: `image`, the bytes of an encoded image or those as base64 text, or `text`.
Answer, one row per input, as a file beside the model writes it (`answer`): `label`, `probability`, `probabilities` from
a classifier; `mask` (base64 of a PNG whose pixels are classes, as large as the image) and `shares` (class → share of
the pixels) from a network that labels pixels; `values`, `low`, `high` and `units` by name from one that measures;
`entities`, a list of what has `start`, `end`, `label`, `text` and `score`, from one that finds them in texts.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel

BATCH = 64  # inputs in memory as arrays at once

Answerer = Callable[[npt.NDArray[Any]], list[npt.NDArray[Any]]]  # N inputs as arrays → the outputs that are written


class InvalidInputError(MlflowException, ValueError):
    """An input that cannot be read. As MLflow's own error it reaches a client as one sentence and HTTP 400."""

    def __init__(self, message: str) -> None:
        MlflowException.__init__(self, message, error_code=INVALID_PARAMETER_VALUE)


class ServedNetwork(PythonModel):
    """An ONNX graph of one input → outputs of N answers each, answering for inputs as people have them."""

    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts["model"])
        require_whole(folder.parent.parent)
        self.card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        reader = Path(context.artifacts["reader"])
        reading = _run(reader / "reader.py")
        self.column, self.reader = reading.COLUMN, reading.Reader(reader, self.card, _run)
        self.writing = _run(Path(context.artifacts["answer"]) / "answer.py")
        self.answer = open_graph(folder / "model.onnx", self.card, self.writing.OUTPUTS)
        if "measured" in context.artifacts:
            warn_of_another_processor(Path(context.artifacts["measured"]), self.card["precision"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row per input, in their order; raises InvalidInputError naming the row that cannot be read."""
        values = list(_column(model_input, self.column))
        answers: list[dict[str, Any]] = []
        for start in range(0, len(values), BATCH):
            read = [self.read(value, start + row) for row, value in enumerate(values[start : start + BATCH])]
            rows = zip(*self.answer(np.stack([given for given, _ in read])), strict=True)
            answers += [self.writing.write(row, place, self.card) for row, (_, place) in zip(rows, read, strict=True)]
        return pd.DataFrame(answers)

    def read(self, value: Any, row: int) -> tuple[npt.NDArray[Any], Any]:
        """The array of one input, and where in it the input lies, for whoever writes the answer.

        Raises InvalidInputError naming `row`, in the words that training has for the same input.
        """
        try:
            given: tuple[npt.NDArray[Any], Any] = self.reader.read(value)
        except ValueError as error:
            raise InvalidInputError(f"row {row}, column `{self.column}`: {error}") from None
        return given


def require_whole(package: Path) -> None:
    """MlflowException where a file of the package is gone, or is not the one that was registered (`manifest.json`).

    It shows damage and careless edits. Who means to can write this file anew as well: what was registered is known to
    the registry, which `convoy promote` and `convoy predict` ask.
    """
    manifest = package / "manifest.json"
    if not manifest.is_file():
        return  # packed by an older release
    for name, entry in json.loads(manifest.read_text(encoding="utf-8"))["files"].items():
        file = package / name
        digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no file"
        if digest != entry["sha256"]:
            raise MlflowException(
                f"{file}: expected SHA-256 {entry['sha256'][:12]}, found {digest[:12]}; this model is not the one that "
                "was registered: fetch it again, or register it anew"
            )


def warn_of_another_processor(folder: Path, precision: str) -> None:
    """Once, where the model's figures are of another kind of processor than this: `processor.json` says which.

    Its answers are other ones there only where it is int8 and sums of it can saturate, which is not so for `either`.
    """
    known = json.loads((folder / "processor.json").read_text(encoding="utf-8"))
    machine = _run(folder / "machine.py")
    then, here = (machine.arithmetic(each) if each else "" for each in (known.get("processor"), machine.kind()))
    if then and then != here:
        alike = precision != "int8" or known.get("sums") == "either"
        expect = (
            "another speed" if alike else "another speed and perhaps other answers, since its int8 sums can saturate"
        )
        told = f"this model was measured on {then} and runs on {here}"
        warnings.warn(f"{told}: expect {expect}", RuntimeWarning, stacklevel=3)


def _run(file: Path) -> Any:
    """A file that lies beside the model, run as a module, or as the package that it begins, of a name of its own.

    Neither a Convoy that is installed nor another model's can stand in for it, nor can compiled files beside it.
    """
    name = f"convoy_{file.parent.name}_{secrets.token_hex(8)}"
    places = [str(file.parent)] if file.name == "__init__.py" else None
    spec = spec_from_file_location(name, file, submodule_search_locations=places)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{file}: expected a file of this package, found none")
    sys.modules[name] = module = module_from_spec(spec)
    usual = sys.pycache_prefix, sys.dont_write_bytecode
    sys.pycache_prefix, sys.dont_write_bytecode = os.devnull, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.pycache_prefix, sys.dont_write_bytecode = usual
    return module


def open_graph(graph: Path, card: dict[str, Any], outputs: Sequence[str]) -> Answerer:
    """What answers for arrays: ONNX Runtime, or OpenVINO where the card says so, for all or from some inputs on.

    Where OpenVINO is not installed ONNX Runtime answers in its place, and a warning says so: slower, and the same but
    for the rounding of 8-bit arithmetic.
    """
    first = card.get("runtime", "onnxruntime")
    names = first, card.get("batch_runtime") or first
    engines = {name: _engine(name, graph, list(outputs)) for name in dict.fromkeys(names)}
    few, many, start = engines[names[0]], engines[names[1]], card.get("batch_from", 1)
    return lambda inputs: (many if len(inputs) >= start else few)(inputs)


def _engine(name: str, graph: Path, outputs: list[str]) -> Answerer:
    if name == "openvino":
        try:
            return _openvino(graph, outputs)
        except ImportError:
            warnings.warn("openvino is not installed: onnxruntime answers, slower", RuntimeWarning, stacklevel=2)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it tells its makers of every session
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads must not burn a core
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda inputs: session.run(outputs, {given.name: inputs})


def _openvino(graph: Path, outputs: list[str]) -> Answerer:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # else it tells its makers
    import openvino

    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    requests: dict[int, Any] = {}

    def answer(inputs: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        size = len(inputs) if len(inputs) in (1, BATCH) else 0  # 0: any
        if size not in requests:
            model = core.read_model(graph)
            if size:
                model.reshape([size, *list(model.input(0).partial_shape)[1:]])
            requests[size] = core.compile_model(model, "CPU", settings).create_infer_request()
        values = requests[size].infer({0: inputs})
        return [values[name] for name in outputs]

    return answer


def _column(model_input: Any, name: str) -> Any:
    if isinstance(model_input, pd.DataFrame):
        if name not in model_input.columns:
            received = ", ".join(map(str, model_input.columns)) or "none"
            raise InvalidInputError(f"expected a column `{name}`, received columns: {received}")
        return model_input[name]
    if isinstance(model_input, pd.Series | list | tuple | np.ndarray):
        return model_input
    raise InvalidInputError(f"expected a table with a column `{name}`, received {type(model_input).__name__}")


set_model(ServedNetwork())
