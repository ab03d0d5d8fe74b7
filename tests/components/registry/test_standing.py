"""What may be cleared out of a store: on which runs something stands, and on which nothing does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.registry import decisions, standing
from components.registry.memory.tracking import KEY, KIND, Tracking
from components.registry.registration import register
from tests.components.registry.registry_builders import build_evidence, build_model, encode

LATER = time.time() + 1e6  # everything that there is ended before


class Made:
    """One line in the store, as the flows write it."""

    def __init__(self, tracking: Tracking, recipe: str = "digits") -> None:
        self.tracking = tracking
        self.line = tracking.start_run(f"pipeline · {recipe}", tags={KIND: "pipeline", "convoy.recipe": recipe})
        self.steps: dict[str, str] = {}

    def step(self, name: str, key: str, status: str = "FINISHED") -> str:
        tags = {KIND: "step", "convoy.step": name, KEY: key}
        run = self.steps[name] = self.tracking.start_run(f"05 {name}", parent=self.line, tags=tags)
        network = self.tracking.start_run("member-0", parent=run, tags={KIND: "network"})
        self.tracking.log_metrics(run, {"seconds": 7.0})
        for each in (network, run):
            self.tracking.finish(each, status)  # type: ignore[arg-type]
        return run

    def end(self, status: str = "FINISHED", version: int | None = None, **reused: str) -> None:
        tags = {f"convoy.ran.{name}": run for name, run in self.steps.items()}
        tags |= {f"convoy.reused.{name}": run for name, run in reused.items()}
        if status == "FINISHED":  # a line that fails writes no conclusion
            said = {"convoy.version": str(version)} if version is not None else {}
            self.tracking.log_tags(self.line, {**tags, **said})
        self.tracking.finish(self.line, status)  # type: ignore[arg-type]


@pytest.fixture
def registered(tracking: Tracking, tmp_path: Path) -> Callable[[Made, int], int]:
    """Register a version from a step `register` of a line."""

    def build(line: Made, seed: int) -> int:
        model = build_model(tmp_path / f"model-{seed}", seed=seed)
        return register(
            tracking,
            model,
            build_evidence(model.digest, 0.9),
            name="digits",
            run_id=line.step("register", f"register-{seed}"),
            card="# A model",
            examples=[encode(200)],
            reference=pd.DataFrame({"mean": np.array([0.1])}),
        )

    return build


def idle(tracking: Tracking) -> set[str]:
    return {each.step for each in standing.idle(tracking, LATER)}


def test_steps_of_a_line_that_failed_are_idle_and_those_of_a_version_are_not(
    tracking: Tracking, registered: Callable[[Made, int], int]
) -> None:
    good, failed = Made(tracking), Made(tracking)
    good.step("train", "a")
    good.end(version=registered(good, 1))
    failed.step("train-anew", "b")
    failed.step("distil", "c", status="FAILED")
    failed.end("FAILED")

    found = standing.idle(tracking, LATER)

    assert {each.step for each in found} == {"train-anew", "distil"}
    assert [each.seconds for each in found] == [7.0, 0.0]  # what failed has cost nothing that would be lost
    assert all(len(each.below) == 1 and each.model == "digits" for each in found)
    assert standing.idle(tracking, time.time() - 3600) == []  # they ended just now
    kept = standing.standing(tracking)
    assert {good.line, failed.line, *good.steps.values()} <= kept.runs
    assert len(kept.models) == 1


def test_a_step_that_a_version_s_line_has_reused_is_not_idle(
    tracking: Tracking, registered: Callable[[Made, int], int]
) -> None:
    failed, good = Made(tracking), Made(tracking)
    reused, left = failed.step("train", "a"), failed.step("distil", "b")
    failed.end("FAILED")
    good.end(version=registered(good, 1), train=reused)

    assert [each.run for each in standing.idle(tracking, LATER)] == [left]
    assert {run.id for run in tracking.children(reused)} <= standing.standing(tracking).runs


def test_what_made_a_version_stays_without_any_tag_of_its_line(
    tracking: Tracking, registered: Callable[[Made, int], int]
) -> None:
    """Lines that were killed after the registration wrote no conclusion, and their version may be in production."""
    killed = Made(tracking)
    killed.step("train", "a")
    registered(killed, 1)
    killed.end("KILLED")
    assert killed.steps["register"] in standing.standing(tracking).runs
    assert idle(tracking) == {"train"}  # which no version's record leads to


def test_when_a_version_is_deleted_its_steps_are_idle_but_for_those_of_the_last_line(
    tracking: Tracking, registered: Callable[[Made, int], int]
) -> None:
    first, second = Made(tracking), Made(tracking)
    first.step("train", "a")
    first.end(version=registered(first, 1))
    second.step("train-again", "b")
    second.end(version=registered(second, 2))
    assert idle(tracking) == set()
    for version in ("1", "2"):
        tracking.client.delete_model_version("digits", version)
    assert {each.run for each in standing.idle(tracking, LATER)} == set(first.steps.values())


def test_decisions_stay_also_where_somebody_has_deleted_them(
    tracking: Tracking, registered: Callable[[Made, int], int]
) -> None:
    line = Made(tracking)
    line.end(version=registered(line, 1))
    run = tracking.start_run("approve", tags={KIND: "decision", "convoy.model": "digits"})
    tracking.finish(run)
    other = tracking.start_run("bench", tags={KIND: "bench"})
    tracking.finish(other)
    for each in (run, other, line.steps["register"]):
        tracking.client.delete_run(each)

    assert standing.deleted_runs(tracking, LATER) == [other]
    assert standing.deleted_runs(tracking, time.time() - 3600) == []
    assert decisions.aliases(tracking, "digits")["candidate"] == 1


def test_a_retired_step_is_not_found_and_can_be_taken_back(tracking: Tracking) -> None:
    line = Made(tracking)
    run = line.step("train", "key-1")
    line.end("FAILED")
    assert tracking.find_finished("key-1") == run

    standing.retire(tracking, [run])

    assert tracking.find_finished("key-1") is None
    assert tracking.get(run).metrics["seconds"] == 7.0  # comparisons of lines still have their figures
    assert standing.deleted_runs(tracking, time.time() - 3600) == [run]  # ours: nobody waits for it
    standing.take_back(tracking, [run])
    assert tracking.find_finished("key-1") == run
    assert standing.CLEANED not in tracking.get(run).tags


def test_a_package_that_no_version_has_is_found(tracking: Tracking, registered: Callable[[Made, int], int]) -> None:
    line = Made(tracking)
    registered(line, 1)
    left = tracking.client.create_logged_model(tracking.experiment_id, name="digits")
    tracking.client.delete_logged_model(left.model_id)
    for model in standing.standing(tracking).models:
        tracking.client.delete_logged_model(model)  # by hand; its version is still there

    assert standing.deleted_models(tracking, LATER) == [left.model_id]
