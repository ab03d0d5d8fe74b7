from __future__ import annotations

import itertools
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from components.runtimes.execution import Timings, answers, compare_latency, latency, open_session


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


class Sleeper:
    """A session whose time is known: `run` takes what it is told to, call by call."""

    def __init__(self, name: str, seconds: list[float], calls: list[str]) -> None:
        self.name, self.seconds, self.calls = name, itertools.cycle(seconds), calls

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="image", type="tensor(uint8)", shape=["batch", 4, 4, 1])]

    def run(self, names: None, feed: dict[str, Any]) -> None:
        assert feed["image"].shape == (8, 4, 4, 1)
        self.calls.append(self.name)
        time.sleep(next(self.seconds))


def test_a_known_time_is_measured() -> None:
    figures = latency(Sleeper("model", [0.03], []), 8, rounds=5)
    assert 30 <= figures.median_ms < 90
    assert figures.low_ms <= figures.median_ms <= figures.high_ms
    assert (figures.batch, figures.threads, figures.rounds) == (8, 1, 5)
    assert figures.images_per_second == pytest.approx(8000 / figures.median_ms)


def test_sessions_take_turns_so_that_a_busy_moment_hits_both() -> None:
    calls: list[str] = []
    compare_latency({"one": Sleeper("one", [0.02], calls), "two": Sleeper("two", [0.02], calls)}, 8, 1, rounds=4)
    # after the warm-up (three calls each) every round has each once, in turning order
    assert calls[6:] == ["one", "two", "two", "one", "one", "two", "two", "one"]


def test_rounds_slowed_down_by_something_else_do_not_decide() -> None:
    # given int8 half as slow, and a machine that is ten times slower for 4 of 9 rounds (0.02 · 3 are the warm-up)
    times = [0.02] * 3 + [0.02] * 5 + [0.2] * 4
    sessions = {"float32": Sleeper("float32", times, []), "int8": Sleeper("int8", [t / 2 for t in times], [])}
    timings = compare_latency(sessions, 8, 1, rounds=9)
    assert timings.speedup("int8", over="float32") == pytest.approx(2.0, rel=0.3)
    assert timings.figures("float32").median_ms < 60


def test_the_speedup_compares_a_round_with_itself() -> None:
    # the same sessions, the machine slower from round to round: each is at another time the slower one
    timings = Timings(8, 1, {"float32": [2.0, 20.0, 6.0], "int8": [1.0, 10.0, 3.0]})
    assert timings.speedup("int8", over="float32") == 2.0
    assert timings.speedup("float32", over="int8") == 0.5
    assert timings.figures("int8").median_ms == 3000.0


def test_a_session_has_the_threads_it_was_asked_for_and_they_sleep(tmp_path: Path) -> None:
    session = open_session(graph_of(tmp_path / "graph.onnx", 1), 1)
    options = session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_no_image_is_refused_rather_than_answered(tmp_path: Path) -> None:
    session = open_session(graph_of(tmp_path / "graph.onnx", 1), 1)
    with pytest.raises(ValueError, match="expected at least one, received none"):
        answers(session, np.zeros((0, 64, 64, 1), dtype=np.uint8))
