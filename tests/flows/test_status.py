"""What the terminal shows of the lines there were, at the width that terminals have."""

from __future__ import annotations

import io
import time
from dataclasses import replace

import pytest
from rich.console import Console, Group

from components.artifacts import CellFigure, Decision, Evidence, Figure, Verdict
from components.config.gates import WorstGroupGate
from components.metrics.metric import Metric
from components.registry.comparing import Compared, Comparison
from components.registry.gates import judge
from components.registry.lines import Line, Standing
from flows.pages import comparison, judgement, status
from tests.components.registry.registry_builders import build_case


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
        "decision": "pass",
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

    for words in ("75aa0a24", "599 s", "0.9423", "v12 passed", "killed", "outcome", "metric"):
        assert words in page
    assert ("runs of fashion-mnist" in page) == (len(models) == 1)
    assert ("model" in page) == (len(models) > 1)


def test_what_did_not_end_has_no_verdict() -> None:
    page = shown([a_line("digits", "digits", "FAILED"), a_line("digits", "digits", "RUNNING", seconds=None)])
    assert "failed" in page
    assert "running" in page
    assert "passed" not in page


AMX, OLDER = "x86_64 with AVX-512 and VNNI, 2 cores", "x86_64 with AVX2 without VNNI, 64 cores"
PRODUCTION = Standing(
    "fashion-mnist", "production", 11, "accuracy", 0.896, 0.8902, 0.902, "75aa0a24", latency_ms=0.0451, processor=AMX
)


def printed(page: Group) -> str:
    """A page as `convoy status` prints it, 80 columns wide."""
    stream = io.StringIO()
    status.show(Console(file=stream, width=80), page)
    return stream.getvalue()


def test_status_names_the_processor_that_each_version_was_timed_on_in_80_columns() -> None:
    staged = replace(PRODUCTION, alias="staging", version=12, latency_ms=0.0512, processor=OLDER)
    lost = replace(PRODUCTION, alias="previous", version=9, latency_ms=None, processor=None, problem="it is gone")
    earlier = replace(PRODUCTION, alias="candidate", version=10, processor=None)

    one = printed(status.page([], [PRODUCTION, replace(PRODUCTION, alias="staging")], [], []))
    several = printed(status.page([], [PRODUCTION, staged, lost], [], []))
    unknown = printed(status.page([], [earlier], [], []))

    assert one.count("0.045") == 1 and f"fashion-mnist version 11  {AMX}" in one
    assert "cannot be compared" not in one
    assert f"0.045  fashion-mnist version 11  {AMX}" in several
    assert f"0.051  fashion-mnist version 12  {OLDER}" in several
    assert "! times of two kinds of processor cannot be compared" in several
    assert "a processor that nobody noted" in unknown
    assert all(len(line) <= 80 for page in (one, several) for line in page.splitlines())


@pytest.mark.parametrize(
    ("other", "comparable", "expected"),
    [
        (AMX, True, ("+0.0060", f"timed on {AMX}")),
        (OLDER, False, ("other processor", "! times of two kinds of processor cannot be compared")),
        (None, False, ("other processor", "a processor that nobody noted")),
    ],
)
def test_compare_says_what_was_timed_on_what_in_80_columns(
    other: str | None, comparable: bool, expected: tuple[str, ...]
) -> None:
    figures = [
        Compared("test.accuracy", (0.896, 0.8902, 0.902), (0.897, 0.8912, 0.903)),
        Compared("test.latency_ms", (0.0451, 0.045, 0.0453), (0.0511, 0.051, 0.0512), comparable),
    ]
    one = a_line("fashion-mnist", "fashion-mnist", "FINISHED")
    found = Comparison(one, replace(one, id="b" * 32), [], [], [], figures, (AMX, other))

    page = printed(comparison.page(found))

    for words in ("+0.0010", *expected):
        assert words in page
    assert ("+0.0060" in page) == comparable
    assert all(len(line) <= 80 for line in page.splitlines())


def test_where_no_time_differs_no_processor_is_named() -> None:
    one = a_line("digits", "digits", "FINISHED")
    figures = [Compared("test.accuracy", (0.896, None, None), (0.897, None, None))]
    page = printed(comparison.page(Comparison(one, one, [], [], [], figures, (AMX, OLDER))))
    assert "x86_64" not in page and "processor" not in page


def test_one_run_is_shown_with_what_its_gates_found_the_failed_ones_first() -> None:
    verdicts = (
        Verdict(gate="floor", passed=True, value=0.94, low=0.92, high=0.95, limit=0.88, reason="accuracy is enough"),
        Verdict(gate="latency", passed=False, value=61.5, limit=50.0, reason="61.5 ms are more than 50 ms"),
    )
    decision = Decision(
        action="fail",
        name="digits",
        version=12,
        alias=None,
        by="gates",
        at="2026-01-02T03:04:05+00:00",
        reason="latency failed",
        evidence=None,
        verdicts=verdicts,
        production=11,
        test_evaluations=3,
    )
    steps = {"ran": {"promote": "a", "evaluate": "b"}, "reused": {"train": "c"}}
    stream = io.StringIO()
    console = Console(file=stream, width=80)

    console.print(judgement.page(a_line("digits", "digits", "FINISHED", decision="fail", **steps), decision))

    page = stream.getvalue()
    assert max(map(len, page.splitlines())) <= 80
    assert page.index("latency") < page.index("floor")
    for words in (
        "v12 failed",
        "failed",
        "61.5 ms are more than 50",
        "0.9400 [0.9200, 0.9500]",
        "0.8800",
        "version 11",
    ):
        assert words in " ".join(page.split())
    for words in ("done in this run: promote, evaluate", "cached: train", "evaluation 3", "gates.latency", "--report"):
        assert words in page


def test_the_class_and_group_that_failed_a_version_are_named_with_what_would_help() -> None:
    figure = Figure(value=36 / 61, low=0.4568, high=0.7145)
    cell = CellFigure(column="group_site", group="south", label="defective", metric="recall", samples=61, figure=figure)
    evidence = Evidence(
        model="m", data="d", split="test", samples=1000, primary="accuracy", figures={"accuracy": Figure(value=0.95)},
        cells=(cell,), min_samples=20,
    )  # fmt: skip
    case = build_case(evidence, artifact="m", data="d", class_metric=Metric("recall"))
    verdicts = judge(case, [WorstGroupGate(gate="worst_group", limit=0.7)])
    decision = Decision(
        action="fail", name="cells", version=1, alias=None, by="gates", at="", reason="worst_group failed",
        evidence=None, verdicts=verdicts,
    )  # fmt: skip
    stream = io.StringIO()
    Console(file=stream, width=400).print(judgement.page(a_line("cells", "cells", "FINISHED"), decision))
    assert "recall of defective in site south" in stream.getvalue()
    assert "more such samples to learn from would help" in stream.getvalue()
    assert "0.5902 [0.4568, 0.7145]" in stream.getvalue()


def test_a_run_that_was_never_judged_says_so() -> None:
    stream = io.StringIO()
    Console(file=stream, width=80).print(judgement.page(a_line("digits", "digits", "FAILED", version=None), None))
    assert "no gate has judged it" in stream.getvalue()
