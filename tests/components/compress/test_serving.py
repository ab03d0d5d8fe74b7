from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.artifacts import Dataset, Model
from components.compress.quantization.serving import choose_runtime, decide
from components.data.reading.loading import load_split
from components.runtimes import openvino, registry
from components.runtimes.execution import answers, open_model
from components.tasks import registry as tasks


@pytest.mark.parametrize(
    ("speedups", "agreement", "runtime", "batch_runtime", "batch_from"),
    [
        ({1: 2.0, 8: 2.0, 64: 2.0}, 1.0, "openvino", None, 1),
        ({1: 0.8, 8: 1.3, 64: 1.4}, 1.0, "onnxruntime", "openvino", 8),
        ({1: 0.8, 8: 1.02, 64: 1.4}, 1.0, "onnxruntime", "openvino", 64),
        ({1: 1.5, 8: 0.9, 64: 1.04}, 1.0, "onnxruntime", None, 1),  # not where more images come at a time
        ({1: 1.04, 8: 1.04, 64: 1.04}, 1.0, "onnxruntime", None, 1),  # within what a graph differs from itself
        ({1: 2.0, 8: 2.0, 64: 2.0}, 0.99, "onnxruntime", None, 1),  # fast, and another network
    ],
)
def test_each_engine_answers_where_it_is_measurably_faster(
    speedups: dict[int, float], agreement: float, runtime: str, batch_runtime: str | None, batch_from: int
) -> None:
    choice = decide(speedups, agreement)
    assert (choice.runtime, choice.batch_runtime, choice.batch_from) == (runtime, batch_runtime, batch_from)


def test_the_choice_is_measured_and_tells_why(exported: Model, digits: Dataset) -> None:
    choice = choose_runtime(
        tasks.get("classification"),
        exported.onnx,
        load_split(digits, "validation", limit=50).inputs,
        batch=64,
        threads=1,
    )
    assert set(choice.speedups) == {"1", "8", "64"}
    assert choice.agreement == 1.0
    assert choice.largest is not None and choice.largest < 1e-5
    assert f"{choice.speedups['64']:.2f}× at 64" in choice.reason


def test_without_openvino_onnx_runtime_answers_and_it_is_said(
    exported: Model, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Model(exported.folder, exported.card.model_copy(update={"runtime": "openvino"}))
    images = load_split(digits, "test", limit=20).inputs
    with_it = answers(served, images)["probabilities"]
    monkeypatch.setattr(openvino, "RUNTIME", replace(openvino.RUNTIME, package="no_such_engine"))
    with pytest.warns(UserWarning, match="onnxruntime answers in its place"):
        without = answers(served, images)["probabilities"]
    np.testing.assert_allclose(with_it, without, atol=1e-5)


def test_the_engine_for_batches_answers_from_that_many_images_on(exported: Model, digits: Dataset) -> None:
    changes = {"batch_runtime": "openvino", "batch_from": 3}
    answer = open_model(Model(exported.folder, exported.card.model_copy(update=changes)), 1)
    images = load_split(digits, "test", limit=5).inputs
    engines = {name: registry.get(name).open(exported.onnx, 1) for name in ("onnxruntime", "openvino")}
    differing = 0
    for size, name in ((1, "onnxruntime"), (2, "onnxruntime"), (3, "openvino"), (5, "openvino")):
        given = answer(images[:size])["embedding"]
        np.testing.assert_array_equal(given, engines[name](images[:size])["embedding"])
        differing += int((engines["onnxruntime"](images[:size])["embedding"] != given).any())
    assert differing > 0  # to the last bit the two are not the same, or this test could not tell them apart
