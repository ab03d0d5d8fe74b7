"""What the line says at its end fits the terminal that it is said in."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from components.artifacts import Evidence, Figure
from flows.commands.artifact_commands import numbers
from flows.commands.summary import stage_tables

FIGURES = {
    "accuracy": Figure(value=0.9, low=0.88, high=0.92),
    "calibration_error": Figure(value=0.02),
    "worst_group_accuracy": Figure(value=0.8),
    "robustness_accuracy": Figure(value=0.7),
    "parameters": Figure(value=308_554.0),
    "size_bytes": Figure(value=1_864_000.0, unit="bytes"),
    "latency_ms": Figure(value=1.25, unit="ms"),
    "throughput_64": Figure(value=4_229.0),
}


def stage() -> Evidence:
    return Evidence(
        model="m", data="d", split="test", samples=9, primary="accuracy", figures=FIGURES, runtime="onnxruntime"
    )


@pytest.mark.parametrize(("width", "tables"), [(160, 1), (100, 2), (80, 2), (50, 5)])
def test_the_chain_takes_as_many_tables_as_it_must_and_no_figure_is_cut(width: int, tables: int) -> None:
    made = stage_tables({"member-0": stage(), "artifact": stage()}, "a model", width)
    assert len(made) == tables
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    for table in made:
        console.print(table)
    text = stream.getvalue()
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    for said in ("0.9000", "0.8800 – 0.9200", "0.0200", "0.8000", "0.7000", "308,554", "1,864 kB", "1.250", "4,229"):
        assert text.count(said) == 2, said
    assert text.count("artifact") == tables


def test_numbers_of_threads_and_images_are_read_as_they_are_meant() -> None:
    assert numbers("batch", "64, 1,8,8") == [1, 8, 64]
    assert numbers("threads", "1,all")[0] == 1
    for wrong in ("0", "1;2", "some", ""):
        with pytest.raises(ValueError, match="--threads: expected numbers with commas between them"):
            numbers("threads", wrong)
