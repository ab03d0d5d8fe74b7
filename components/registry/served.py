"""The registered model: bytes of images in, answers out, through `mlflow models serve` or `mlflow.pyfunc.load_model`.

This file is stored with every version ("models from code") and runs where Convoy was never installed, so it imports
nothing of it. Pre- and post-processing are inside the ONNX graph; here images are only decoded, checked and
brought to the graph's size, the same way as when the data was prepared.

Input: a column `image`, the bytes of an encoded image or those as base64 text. Answer, a row an image:
`label`, `probability`, `probabilities` from a classifier; `mask` (base64 of a PNG whose pixels are classes, as large
as the image) and `shares` (class → share of the pixels) from a network that labels pixels.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import os
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
LARGEST_BYTES = 32 * 2**20  # of one encoded image
LARGEST_PIXELS = 64_000_000  # 8000 × 8000: a small file can unpack to gigabytes, so its header is read first
# What Pillow raises for files that are not the image they claim to be.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
BATCH = 64  # images in memory as pixels at once

Answerer = Callable[[npt.NDArray[np.uint8]], list[npt.NDArray[Any]]]  # (N, H, W, C) → probabilities, prediction


warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is the stricter one


class InvalidImageError(MlflowException, ValueError):
    """An input that is no image. As MLflow's own error it reaches a client as one sentence and HTTP 400."""

    def __init__(self, message: str) -> None:
        MlflowException.__init__(self, message, error_code=INVALID_PARAMETER_VALUE)


class ServedNetwork(PythonModel):
    """An ONNX graph `image` uint8 (N, H, W, C) → `probabilities`, `prediction`, answering for encoded images."""

    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts["model"])
        self.card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.answer = open_graph(folder / "model.onnx", self.card)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row an image, in their order; raises InvalidImageError naming the row that is none."""
        values = list(_column(model_input))
        answers: list[dict[str, Any]] = []
        for start in range(0, len(values), BATCH):
            opened = [open_image(value, start + row) for row, value in enumerate(values[start : start + BATCH])]
            pixels = np.stack([fit(image, self.card["input"]) for image in opened])
            probabilities, prediction = self.answer(pixels)
            if prediction.ndim == 1:
                pairs = zip(probabilities, prediction, strict=True)
                answers += [_label(row, index, self.card["classes"]) for row, index in pairs]
            else:
                masks = zip(prediction, opened, strict=True)
                answers += [_mask(mask, image.size, self.card["classes"]) for mask, image in masks]
        return pd.DataFrame(answers)


def open_graph(graph: Path, card: dict[str, Any]) -> Answerer:
    """What answers for pixels: ONNX Runtime, or OpenVINO where the card says so, for all or from some images on.

    Where OpenVINO is not installed ONNX Runtime answers in its place, and a warning says so: slower, and the same but
    for the rounding of 8-bit arithmetic.
    """
    first = card.get("runtime", "onnxruntime")
    names = first, card.get("batch_runtime") or first
    engines = {name: _engine(name, graph) for name in dict.fromkeys(names)}
    few, many, start = engines[names[0]], engines[names[1]], card.get("batch_from", 1)
    return lambda pixels: (many if len(pixels) >= start else few)(pixels)


def _engine(name: str, graph: Path) -> Answerer:
    if name == "openvino":
        try:
            return _openvino(graph)
        except ImportError:
            warnings.warn("openvino is not installed: onnxruntime answers, slower", RuntimeWarning, stacklevel=2)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it tells its makers of every session
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads must not burn a core
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(["probabilities", "prediction"], {"image": pixels})


def _openvino(graph: Path) -> Answerer:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # else it tells its makers
    import openvino

    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    requests: dict[int, Any] = {}

    def answer(pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        size = len(pixels) if len(pixels) in (1, BATCH) else 0  # 0: any
        if size not in requests:
            model = core.read_model(graph)
            if size:
                model.reshape({"image": [size, *list(model.input("image").partial_shape)[1:]]})
            requests[size] = core.compile_model(model, "CPU", settings).create_infer_request()
        values = requests[size].infer({"image": pixels})
        return [values["probabilities"], values["prediction"]]

    return answer


def open_image(value: Any, row: int) -> Image.Image:
    """The image in bytes or base64 text; raises InvalidImageError naming `row`."""
    where = f"row {row}, column `image`"
    encoded = _bytes(value, where)
    if len(encoded) > LARGEST_BYTES:
        raise InvalidImageError(f"{where}: expected at most {LARGEST_BYTES} bytes, received {len(encoded)}")
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        if image.width * image.height <= LARGEST_PIXELS:
            image.load()
            return ImageOps.exif_transpose(image)
        problem = f"expected at most {LARGEST_PIXELS} pixels, received {image.width}×{image.height}"
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        problem = f"expected an image ({kinds}) as bytes or base64, received {len(encoded)} bytes that are none of them"
    except Image.DecompressionBombError as error:
        problem = f"expected at most {LARGEST_PIXELS} pixels: {error}"
    except BROKEN as error:
        problem = f"the image is damaged or cut short ({error})"
    raise InvalidImageError(f"{where}: {problem}")


def fit(image: Image.Image, spec: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """The image as the graph takes it, `(height, width, channels)` uint8, brought there as the training data was."""
    mode, size = "L" if spec["channels"] == 1 else "RGB", (spec["width"], spec["height"])
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8))
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        layered = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    if image.mode != mode:
        image = image.convert(mode)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(image, dtype=np.uint8).reshape(spec["height"], spec["width"], spec["channels"])


def _column(model_input: Any) -> Any:
    if isinstance(model_input, pd.DataFrame):
        if "image" not in model_input.columns:
            received = ", ".join(map(str, model_input.columns)) or "none"
            raise InvalidImageError(f"expected a column `image`, received columns: {received}")
        return model_input["image"]
    if isinstance(model_input, pd.Series | list | tuple | np.ndarray):
        return model_input
    raise InvalidImageError(f"expected a table with a column `image`, received {type(model_input).__name__}")


def _bytes(value: Any, where: str) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        try:
            return base64.b64decode(value.partition(",")[2] if value.startswith("data:") else value, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidImageError(f"{where}: expected base64 text, received text that is not base64") from None
    raise InvalidImageError(f"{where}: expected bytes or base64 text, received {type(value).__name__}")


def _label(probabilities: npt.NDArray[np.float32], index: int, classes: list[str]) -> dict[str, Any]:
    return {
        "label": classes[int(index)],
        "probability": float(probabilities[int(index)]),
        "probabilities": {name: float(value) for name, value in zip(classes, probabilities, strict=True)},
    }


def _mask(mask: npt.NDArray[np.integer], size: tuple[int, int], classes: list[str]) -> dict[str, Any]:
    counts = np.bincount(mask.ravel().astype(np.int64), minlength=len(classes))
    drawn = Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    drawn.save(buffer, format="PNG")
    return {
        "mask": base64.b64encode(buffer.getvalue()).decode("ascii"),
        "shares": {name: float(count / mask.size) for name, count in zip(classes, counts, strict=True)},
    }


set_model(ServedNetwork())
