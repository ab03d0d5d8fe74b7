"""What the terminal shows of the lines there were, at the width that terminals have."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from components.registry.lines import Line
from flows.pages import status


def a_line(model: str, recipe: str, state: str, **changes: object) -> Line:
    known: dict[str, object] = {
        "id": "75aa0a24a23841109ff0de3a505d539b",
        "model": model,
        "experiment_id": "1",
        "recipe": recipe,
        "status": state,
        "started": time.time(),
        "seconds": 599.4,
        "metric": "accuracy",
        "value": 0.9423,
        "decision": "approve",
        "version": 12,
        "ran": {},
        "reused": {},
        "params": {},
        "origins": {},
        "flow_run": None,
    }
    return Line(**{**known, **changes})  # type: ignore[arg-type]


def shown(lines: list[Line]) -> str:
    stream = io.StringIO()
    Console(file=stream, width=80).print(status.runs_table(lines))
    return stream.getvalue()


@pytest.mark.parametrize("models", [["fashion-mnist"], ["fashion-mnist", "digits-segment"]])
def test_a_table_of_runs_is_whole_in_80_columns(models: list[str]) -> None:
    lines = [a_line(model, "fashion-mnist-best", "FINISHED") for model in models]
    lines.append(a_line(models[0], "digits", "KILLED", seconds=None, value=None, version=None))

    page = shown(lines)

    for words in ("75aa0a24", "599 s", "0.9423", "approved v12", "killed", "came to", "figure"):
        assert words in page
    assert ("runs of fashion-mnist" in page) == (len(models) == 1)
    assert ("model" in page) == (len(models) > 1)


def test_what_did_not_end_has_no_verdict() -> None:
    page = shown([a_line("digits", "digits", "FAILED"), a_line("digits", "digits", "RUNNING", seconds=None)])
    assert "failed" in page
    assert "running" in page
    assert "approved" not in page
