from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.artifacts import Evidence, Figure
from components.evaluate import chain
from components.evaluate.pareto import front
from components.metrics.metric import Metric

ACCURACY = Metric("accuracy")


def evidence(accuracy: float, size: float, latency: float | None, runtime: str, **others: float) -> Evidence:
    figures = {"accuracy": Figure(value=accuracy, low=accuracy - 0.01, high=accuracy + 0.01)}
    figures |= {"size_bytes": Figure(value=size, unit="bytes"), "parameters": Figure(value=size / 4)}
    figures |= {"latency_ms": Figure(value=latency, unit="ms")} if latency else {}
    figures |= {name: Figure(value=value) for name, value in others.items()}
    return Evidence(
        model="m", data="d" * 64, split="test", samples=100, primary="accuracy", figures=figures, runtime=runtime
    )


STAGES = {
    "member-0": evidence(0.90, 4000, 1.0, "pytorch"),
    "member-1": evidence(0.92, 4000, 1.0, "pytorch"),
    "ensemble": evidence(0.93, 8000, 2.0, "pytorch", calibration_error=0.02, robustness_accuracy=0.7),
    "student": evidence(0.91, 4000, 1.0, "pytorch", calibration_error=0.03, robustness_accuracy=0.6),
    "exported": evidence(0.91, 4100, 0.25, "onnxruntime", calibration_error=0.03, robustness_accuracy=0.6),
    "artifact": evidence(0.905, 1025, 0.125, "onnxruntime", calibration_error=0.03, robustness_accuracy=0.6),
}


def test_each_stage_is_held_against_what_it_was_made_of() -> None:
    changes = {change.stage: change for change in chain.changes(STAGES, ACCURACY)}
    assert {stage: change.of for stage, change in changes.items()} == {
        "ensemble": "member-1",  # the best of them
        "student": "ensemble",
        "exported": "student",
        "artifact": "exported",
    }
    assert changes["ensemble"].words == "accuracy +1.00 pp, 2.00× the parameters, 2.00× the size, 0.5× as fast at 1"
    assert changes["student"].words.startswith("accuracy -2.00 pp, calibration error +1.00 pp, corrupted -10.00 pp")
    assert "4.0× as fast at 1 (pytorch → onnxruntime)" in changes["exported"].words
    assert "0.25× the size, 2.0× as fast at 1" in changes["artifact"].words


def test_where_less_is_better_the_best_member_has_the_least() -> None:
    (ensemble, *_) = chain.changes(STAGES, Metric("accuracy", "less"))
    assert ensemble.of == "member-0"


def test_a_table_has_a_column_where_any_stage_has_a_value() -> None:
    rows = chain.rows(STAGES)
    assert [row[""] for row in rows] == list(STAGES)
    assert "worst group" not in rows[0] and "images/s at 64" not in rows[0]
    assert rows[0]["calibration"] == "–" and rows[2]["calibration"] == "0.0200"
    assert rows[-1]["ms at 1"] == "0.125" and rows[-1]["runtime"] == "onnxruntime"


def test_everything_is_written_for_people_and_for_programs(tmp_path: Path) -> None:
    chain.write(STAGES, tmp_path, ACCURACY)
    told = json.loads((tmp_path / "chain.json").read_text())
    assert list(told["variants"]) == list(STAGES)
    assert told["variants"]["artifact"]["figures"]["accuracy"]["value"] == 0.905
    assert [change["variant"] for change in told["changes"]] == ["ensemble", "student", "exported", "artifact"]
    page = (tmp_path / "chain.md").read_text()
    assert page.count("\n| ") == len(STAGES) + 1 and "**artifact**, of exported" in page
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("points", "higher", "expected"),
    [
        ({"a": (1.0, 0.9), "b": (2.0, 0.8), "c": (3.0, 0.95)}, True, ["a", "c"]),
        ({"a": (1.0, 0.9), "b": (2.0, 0.9)}, True, ["a"]),  # as good and dearer
        ({"a": (1.0, 0.8), "b": (1.0, 0.9)}, True, ["b"]),  # as dear and better
        ({"a": (1.0, 0.9), "b": (2.0, 0.8), "c": (3.0, 0.95)}, False, ["a", "b"]),
    ],
)
def test_the_front_is_what_no_other_beats_in_both(
    points: dict[str, tuple[float, float]], higher: bool, expected: list[str]
) -> None:
    assert front(points, Metric("accuracy", "more" if higher else "less")) == expected
