"""A tiny ONNX classifier and segmenter, and what is known of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper
from PIL import Image

from components.artifacts import Evidence, Figure, ImageSpec, Model, ModelCard, write_model
from components.artifacts.model import Precision
from components.config import Gate, NetworkConfig
from components.config.gates import (
    CalibrationGate,
    DriftGate,
    FloorGate,
    Int8DropGate,
    LatencyGate,
    ParityGate,
    ProductionGate,
    RobustnessGate,
    SizeGate,
    WorstGroupGate,
)
from components.data.drift.comparison import NO_REFERENCE
from components.data.drift.rule import DriftReport
from components.registry import gates

NOW = 1_800_000_000.0  # seconds since 1970
SIDE = 4
CLASSES = ("dark", "bright")
SPEC = ImageSpec(height=SIDE, width=SIDE, channels=1, mean=(0.5,), std=(0.5,))
DATA = "d" * 64
TEST = "e" * 64
LIMITS: tuple[Gate, ...] = (
    FloorGate(gate="floor", limit=0.8),
    WorstGroupGate(gate="worst_group", limit=0.7),
    CalibrationGate(gate="calibration", limit=0.1),
    RobustnessGate(gate="robustness", limit=0.5),
    ProductionGate(gate="production", margin=0.01),
    Int8DropGate(gate="int8_drop", limit=0.01),
    ParityGate(gate="parity", limit=1e-3),
    LatencyGate(gate="latency", limit=10.0),
    SizeGate(gate="size", limit=2.0),
    DriftGate(gate="drift", limit=0.25),
)


def graph(dense: bool) -> onnx.ModelProto:
    """`image` uint8 (N, 4, 4, 1) → bright above 0.5, of the whole image or of every pixel."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "full"], ["share"]),
        helper.make_node("Transpose", ["share"], ["nchw"], perm=[0, 3, 1, 2])
        if dense
        else helper.make_node("ReduceMean", ["share", "axes"], ["mean"], keepdims=0),
    ]
    if not dense:
        nodes.append(helper.make_node("Unsqueeze", ["mean", "one"], ["nchw"]))
    nodes += [
        helper.make_node("Sub", ["unit", "nchw"], ["inverse"]),
        helper.make_node("Concat", ["inverse", "nchw"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["prediction"], axis=1, keepdims=0),
    ]
    constants = [
        helper.make_tensor("full", TensorProto.FLOAT, [], [255.0]),
        helper.make_tensor("unit", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
    ]
    more: list[Any] = [SIDE, SIDE] if dense else []
    value = helper.make_tensor_value_info
    built = helper.make_graph(
        nodes,
        "brightness",
        [value("image", TensorProto.UINT8, ["N", SIDE, SIDE, 1])],
        [
            value("probabilities", TensorProto.FLOAT, ["N", 2, *more]),
            value("prediction", TensorProto.INT64, ["N", *more]),
        ],
        constants,
    )
    return helper.make_model(built, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def build_model(folder: Path, *, dense: bool = False, seed: int = 0, precision: Precision = "float32") -> Model:
    card = ModelCard(
        name="artifact",
        task="segmentation" if dense else "classification",
        network=NetworkConfig(name="brightness"),
        classes=CLASSES,
        input=SPEC,
        data=DATA,
        precision=precision,
        seed=seed,  # models of different seeds have different digests
    )
    return write_model(folder, card, lambda temporary: onnx.save(graph(dense), temporary / "model.onnx"))


def encode(level: int, size: tuple[int, int] = (SIDE, SIDE)) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, level).save(buffer, format="PNG")
    return buffer.getvalue()


def build_evidence(model: str, accuracy: float = 0.9, **changes: Any) -> Evidence:
    figures = {
        "accuracy": Figure(value=accuracy, low=accuracy - 0.02, high=accuracy + 0.02),
        "worst_group_accuracy": Figure(value=accuracy - 0.1),
        "calibration_error": Figure(value=0.05, low=0.04, high=0.06),
        "robustness_accuracy": Figure(value=0.7, low=0.65, high=0.75),
        "latency_ms": Figure(value=1.0, unit="ms"),
        "size_bytes": Figure(value=500_000.0, unit="bytes"),
    }
    values = {"model": model, "data": DATA, "split": "test", "samples": 100, "primary": "accuracy", "figures": figures}
    return Evidence(**(values | changes))


def drift_report(share: float | None) -> DriftReport:
    """A comparison in which that share of the columns has drifted; None: there was nothing to compare with."""
    message = NO_REFERENCE if share is None else f"{share:.0%} of the columns"
    drifted = None if share is None else share > 0
    return DriftReport(
        reference=share is not None, drifted=drifted, share=share, families={}, columns={}, message=message
    )


def build_case(evidence: Evidence | None, **changes: Any) -> gates.Case:
    """A case that every gate passes, but for the changes."""
    artifact = evidence.model if evidence else "a" * 64
    values: dict[str, Any] = {
        "artifact": artifact,
        "data": DATA,
        "test": TEST,
        "evidence": evidence,
        "confidence": 0.95,
        "parent": build_evidence("f" * 64, 0.905),
        "parent_artifact": "f" * 64,
        "parity": 1e-6,
        "production": None,
        "against_production": None,
        "drift": drift_report(None),
        "newest": None,
        "at": NOW,
    }
    return gates.Case(**(values | changes))
