"""What lines came to, as it is read back; the runs are written as the line writes them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from components import machine
from components.artifacts import Evidence, Figure
from components.registry import comparing, lines, registration
from components.registry.comparing import Difference
from components.registry.memory import addresses
from components.registry.memory.store import TrackingError
from components.registry.memory.tracking import KIND, Tracking
from components.registry.versions import RegistryError
from tests.components.registry.registry_builders import DATA, build_evidence

Register = Callable[..., tuple[int, Evidence]]


def write_line(
    tracking: Tracking, *, accuracy: float, epochs: int, distil: str = "", kind: str = "pipeline", **measured: object
) -> str:
    tags = {KIND: kind, "convoy.recipe": "digits", "convoy.dataset": "digits", "mlflow.source.git.commit": "c0ffee"}
    run = tracking.start_run("pipeline · digits", tags=tags)
    step = tracking.start_run("09 evaluate", parent=run, tags={KIND: "step"})
    tracking.log_evidence(step, build_evidence("a" * 64, accuracy, **measured))
    tracking.finish(step)
    tracking.log_params(run, {"student.epochs": epochs, "seed": 0})
    done = {"convoy.ran.evaluate": step, **({"convoy.reused.distil": distil} if distil else {})}
    tracking.log_tags(run, {"convoy.decision": "pass", "convoy.version": "1", "convoy.data": DATA, **done})
    tracking.log_metrics(run, {"accuracy": accuracy, "seconds.evaluate": 1.0})
    tracking.finish(run)
    return run


def test_the_newest_lines_of_all_models_come_first_and_nothing_else_counts_as_one(tracking: Tracking) -> None:
    first = write_line(tracking, accuracy=0.9, epochs=2)
    second = write_line(tracking.within("letters"), accuracy=0.8, epochs=2)
    write_line(tracking, accuracy=0.7, epochs=2, kind="tune")

    found = lines.recent(tracking, 5)

    assert {line.id for line in found} == {first, second}
    assert found[0].started >= found[1].started
    assert [line.id for line in lines.recent(tracking, 5, "letters")] == [second]
    assert len(lines.recent(tracking, 1)) == 1
    line = lines.find(tracking, first)
    assert (line.metric, line.value, line.version, line.decision) == ("accuracy", 0.9, 1, "pass")
    assert line.origins == {"recipe": "digits", "data set": "digits", "data": DATA, "commit": "c0ffee"}


def test_a_line_is_found_by_what_people_call_it(tracking: Tracking, register_version: Register) -> None:
    run = write_line(tracking, accuracy=0.9, epochs=2)
    step = lines.find(tracking, run).ran["evaluate"]

    assert lines.find(tracking, "last").id == lines.find(tracking, run[:8]).id == lines.find(tracking, step).id == run
    for wrong, said in (
        ("0000dead", "no run of that id"),
        ("las", "expected `last`"),
        ("digits@production", "no model"),
    ):
        with pytest.raises(RegistryError, match=said):
            lines.find(tracking, wrong)
    register_version(0)
    with pytest.raises(TrackingError, match="belongs to no run of the pipeline"):  # it was registered by hand
        lines.find(tracking, "digits:1")
    with pytest.raises(RegistryError, match="digits has no alias production; there are: digits@candidate"):
        lines.find(tracking, "digits@production")


def test_a_comparison_tells_what_differs_and_nothing_else(tracking: Tracking) -> None:
    one = lines.find(tracking, write_line(tracking, accuracy=0.9, epochs=2, distil="d1"))
    other = lines.find(tracking, write_line(tracking, accuracy=0.95, epochs=4, distil="d1"))

    found = comparing.compare(tracking, one, other)

    assert found.origins == []
    assert found.params == [Difference("student.epochs", "2", "4")]
    assert [each.what for each in found.steps] == ["evaluate"]
    assert {row.what for row in found.figures} == {"test.accuracy", "test.worst_group_accuracy"}  # latency is the same
    accuracy = next(row for row in found.figures if row.what == "test.accuracy")
    assert accuracy.one == pytest.approx((0.9, 0.88, 0.92)) and accuracy.other == pytest.approx((0.95, 0.93, 0.97))
    nothing = comparing.compare(tracking, one, one)
    assert not (nothing.origins or nothing.params or nothing.steps or nothing.figures)


AMX = {"architecture": "x86_64", "instructions": "avx2 avx512_vnni amx_int8", "cores": "2"}
OLDER = {"architecture": "x86_64", "instructions": "avx avx2", "cores": "2"}


@pytest.mark.parametrize(
    ("first", "second", "comparable"),
    [
        (AMX, AMX, True),
        (AMX, AMX | {"cores": "64"}, True),  # the number of cores is no other kind
        (AMX, OLDER, False),
        ({}, AMX, False),
        ({}, {}, True),  # evidence of earlier versions: as they were compared before
    ],
)
def test_times_of_two_kinds_of_processor_are_not_compared_and_other_figures_are(
    tracking: Tracking, first: dict[str, str], second: dict[str, str], comparable: bool
) -> None:
    def run(latency: float, processor: dict[str, str]) -> str:
        figures = {"accuracy": Figure(value=latency / 10), "latency_ms": Figure(value=latency, unit="ms")}
        return write_line(tracking, accuracy=0.9, epochs=2, figures=figures, processor=processor)

    one, other = lines.find(tracking, run(1.0, first)), lines.find(tracking, run(2.0, second))
    found = comparing.compare(tracking, one, other)

    assert {row.what: row.comparable for row in found.figures} == {
        "test.accuracy": True,
        "test.latency_ms": comparable,
    }
    assert found.processors == tuple(machine.said(each) if each else None for each in (first, second))


def test_a_version_is_told_with_its_time_and_what_that_was_taken_on(
    tracking: Tracking, register_version: Register
) -> None:
    register_version(0, processor=AMX)
    tracking.client.set_registered_model_alias("digits", "production", "1")
    register_version(1)

    found = {each.alias: (each.latency_ms, each.processor) for each in lines.standings(tracking)}

    assert found == {"production": (1.0, "x86_64 with AMX, 2 cores"), "candidate": (1.0, None)}


def test_every_alias_is_told_with_the_figure_of_its_version(tracking: Tracking, register_version: Register) -> None:
    register_version(0, accuracy=0.8)
    tracking.client.set_registered_model_alias("digits", "production", "1")
    register_version(1, accuracy=0.9)

    found = lines.standings(tracking)

    assert [(each.alias, each.version, each.value) for each in found] == [("production", 1, 0.8), ("candidate", 2, 0.9)]


def test_the_model_in_mlflow_knows_its_figures_its_data_and_what_it_is_registered_as(
    tracking: Tracking, register_version: Register
) -> None:
    register_version(0, accuracy=0.9)

    (logged,) = tracking.client.search_logged_models([str(tracking.experiment_id)])

    accuracy = next(metric for metric in logged.metrics if metric.key == "test.accuracy")
    assert accuracy.value == 0.9 and accuracy.dataset_digest == DATA[:36]
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "digits", "version": 1}]


def test_a_version_is_described_by_the_cards_first_lines_and_the_ways_from_there() -> None:
    card = "# digits\n\nA network.\n\n## Intended use\n\nNone.\n\n## Training\n\nLong.\n"
    said = registration.describe(card, {"the run": addresses.run("1", "abc")})
    assert said.split("\n\n") == [
        "A network.",
        "[the run](#/experiments/1/runs/abc?workflowType=machine_learning)",
        "## Intended use",
        "None.",
    ]
    assert registration.describe("# Model 0", {}) == "# Model 0"
    assert len(registration.describe("word " * 2000, {})) == registration.DESCRIPTION
