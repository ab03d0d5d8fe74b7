from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from components.compress.runtime import answers, compare_latency, latency, open_session


def graph_of(path: Path, layers: int) -> Path:
    """uint8 (N, 64, 64, 1) → the image through `layers` matrix products."""
    weight = helper.make_tensor("weight", TensorProto.FLOAT, (64, 64), np.eye(64, dtype=np.float32).ravel())
    nodes = [helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT)]
    nodes.append(helper.make_node("Transpose", ["cast"], ["x0"], perm=[0, 3, 1, 2]))
    nodes += [helper.make_node("MatMul", [f"x{n}", "weight"], [f"x{n + 1}"]) for n in range(layers)]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 64, 64, 1])],
        [helper.make_tensor_value_info(f"x{layers}", TensorProto.FLOAT, ["batch", 1, 64, 64])],
        [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_alternating_rounds_tell_a_slow_graph_from_a_fast_one(tmp_path: Path) -> None:
    sessions = {
        "slow": open_session(graph_of(tmp_path / "slow.onnx", 40), 1),
        "fast": open_session(graph_of(tmp_path / "fast.onnx", 4), 1),
        "again": open_session(graph_of(tmp_path / "again.onnx", 40), 1),
    }
    found = compare_latency(sessions, 8, 1, rounds=9)
    assert 2 < found["slow"].median_ms / found["fast"].median_ms
    assert 0.6 < found["slow"].median_ms / found["again"].median_ms < 1.6
    for figures in found.values():
        assert figures.low_ms <= figures.median_ms <= figures.high_ms
        assert (figures.batch, figures.threads, figures.rounds) == (8, 1, 9)


def test_the_median_is_the_wall_clocks(tmp_path: Path) -> None:
    session = open_session(graph_of(tmp_path / "graph.onnx", 40), 1)
    images = np.zeros((8, 64, 64, 1), dtype=np.uint8)
    seconds = []
    for _ in range(40):
        start = time.perf_counter()
        session.run(None, {"image": images})
        seconds.append(time.perf_counter() - start)
    figures = latency(session, 8, rounds=9)
    assert figures.median_ms == pytest.approx(np.median(seconds) * 1000, rel=0.6)
    assert figures.images_per_second == pytest.approx(8000 / figures.median_ms)


def test_a_session_has_the_threads_it_was_asked_for_and_they_sleep(tmp_path: Path) -> None:
    session = open_session(graph_of(tmp_path / "graph.onnx", 1), 1)
    options = session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_no_image_is_refused_rather_than_answered(tmp_path: Path) -> None:
    session = open_session(graph_of(tmp_path / "graph.onnx", 1), 1)
    with pytest.raises(ValueError, match="expected at least one, received none"):
        answers(session, np.zeros((0, 64, 64, 1), dtype=np.uint8))
