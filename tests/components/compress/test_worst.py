"""What evidence says of int8 whose sums can saturate: here, where small trained networks are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from components import machine
from components.artifacts import Dataset, Model, write_model
from components.compress.quantization.rewriting.static import Bits, prepare, to_int8
from components.compress.quantization.worst import saturating_answerer
from components.config import EvaluateConfig
from components.data.reading.loading import load_split
from components.evaluate.evaluate import quality
from components.export.export import export
from components.runtimes.execution import answers

CONFIG = EvaluateConfig(bootstrap=100, corruptions=None)


def served(student: Model, digits: Dataset, folder: Path, bits: Bits) -> Model:
    float32 = export(student, folder / "float32")
    prepare(float32.onnx, folder / "prepared.onnx")
    to_int8(folder / "prepared.onnx", folder / "int8.onnx", load_split(digits, "train", limit=96).inputs, bits=bits)
    card = student.card.model_copy(update={"name": "artifact", "precision": "int8"})
    graph = onnx.load(folder / "int8.onnx")
    return write_model(folder / "artifact", card, lambda target: onnx.save(graph, target / "model.onnx"))


def test_int8_that_can_saturate_is_judged_by_the_worse_of_both(student: Model, digits: Dataset, tmp_path: Path) -> None:
    model = served(student, digits, tmp_path, 8)
    test = load_split(digits, "test")
    held = saturating_answerer(model.onnx)
    assert held is not None
    predicted = {"as run": answers(model, test.inputs)["prediction"], "saturating": held(test.inputs)["prediction"]}
    right = {name: float(np.mean(found == test.targets)) for name, found in predicted.items()}
    evidence, table = quality(model, digits, CONFIG)
    assert (predicted["as run"] != predicted["saturating"]).any()
    assert evidence.figures["accuracy_as_run"].value == pytest.approx(right["as run"])
    assert evidence.figures["accuracy_saturating"].value == pytest.approx(right["saturating"])
    assert evidence.figures["accuracy"].value == pytest.approx(min(right.values()))
    assert evidence.sums == ("saturating" if right["saturating"] < right["as run"] else "as run")
    assert table.table.column("prediction").to_pylist() == predicted[evidence.sums].tolist()
    assert f"{right['saturating']:.4f} there" in evidence.notes[-1]
    assert evidence.processor == machine.kind()


def test_seven_bits_and_float_answer_in_one_way(student: Model, digits: Dataset, tmp_path: Path) -> None:
    model = served(student, digits, tmp_path, 7)
    evidence, _ = quality(model, digits, CONFIG)
    exact, _ = quality(student, digits, CONFIG)
    assert (evidence.sums, exact.sums) == ("either", "")
    assert not {"accuracy_as_run", "accuracy_saturating"} & set(evidence.figures)
