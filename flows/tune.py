"""`convoy tune` as a flow: a parent run in the model's experiment, a child run a trial, and the best as a recipe."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run as this_flow_run

from components import texts
from components.artifacts import Dataset
from components.config import ConfigurationError
from components.files import digest_values
from components.provenance import code_digest
from components.registry.memory import tracking as memory
from components.secrecy import errors_without_secrets
from components.training.tuning.recipe import write_recipe
from components.training.tuning.study import Findings, Study, TrialEvent
from flows import steps
from flows.base.project import Project, enter, find
from flows.processes import progress
from flows.run import opening
from flows.run.check import complete
from flows.run.context import Line, line
from flows.run.known_by import flat, used
from flows.run.step import LEASE
from flows.run.study import checked, recipe_file

TRIAL = "convoy.trial"  # tag of a child run: how the trial ended
_reporter: progress.Reporter = progress.Silent()


@dataclass(frozen=True)
class Tuned:
    """What a study came to."""

    study: Study
    findings: Findings
    recipe: Path  # the file that was written
    run_id: str  # MLflow's parent run
    trial_runs: dict[int, str]  # of each trial
    experiment: str


@flow(name="tune", flow_run_name="{recipe}", persist_result=False, validate_parameters=True)
def tune(
    recipe: str = "default", overrides: list[str] | None = None, output: str | None = None, force: bool = False
) -> Tuned:
    """Find the settings with which a recipe's member network does best on the validation split.

    What is searched is `tune:` of `line:`. `output` is the recipe that is written, by default
    recipes/RECIPE-tuned.yaml. An interrupted study goes on where it was when it is started again.
    """
    overrides = overrides or []
    with _opened(recipe, overrides, output, force=force) as (run, study):
        data = steps.data(run.recipe.line.dataset)
        runs = Runs(run, study)
        with run.reporting("trials") as told, _workplace(run.project, study, data) as storage:
            findings = _trials(study, data, storage, runs)
            best = findings.best
            told(f"{len(findings.trials)} trials; best {study.metric} {best.value:.4f} in trial {best.number}")
        return _concluded(run, study, findings, runs.opened, recipe_file(run.project, recipe, output), recipe)


def reporting_to(reporter: progress.Reporter) -> None:
    """Where studies of this process show their progress; by default nowhere."""
    global _reporter  # noqa: PLW0603 — as in `flows.line`
    _reporter = reporter


@task(name="trials", cache_policy=NO_CACHE, persist_result=False, timeout_seconds=7 * 24 * 3600)
def _trials(study: Study, dataset: Dataset, storage: Path, runs: Runs) -> Findings:
    """Ray Tune: Optuna suggests, ASHA prunes, each trial trains one member network."""
    from components.training.tuning.tune import optimise

    with errors_without_secrets():
        findings = optimise(study, dataset, storage=storage, decoded=line().project.decoded, on_event=runs)
    create_table_artifact(
        table(study, findings), key="trials", description=f"{study.metric}, best in trial {findings.best.number}"
    )
    return findings


class Runs:
    """Listens to the study: each trial has a run below the study's, opened when it starts and closed when it ends."""

    def __init__(self, run: Line, study: Study) -> None:
        self._run, self._study = run, study
        self.opened: dict[int, str] = {}

    def __call__(self, event: TrialEvent) -> None:
        tracking, number = self._run.tracking, event.number
        if number not in self.opened:
            tags = {LEASE: self._run.lease.id, memory.KIND: "trial"}
            self.opened[number] = tracking.start_run(f"trial-{number}", parent=self._run.run_id, tags=tags)
            tracking.log_params(self.opened[number], self._params(event))
        run_id = self.opened[number]
        if event.kind == "epoch":
            tracking.log_metrics(run_id, event.metrics, step=event.epoch)
        if event.kind == "ended":
            said = {"convoy.message": event.message} if event.message else {}
            tracking.log_tags(run_id, {TRIAL: str(event.state), **said})
            status: memory.Status = "FAILED" if event.state == "failed" else "FINISHED"
            tracking.finish(run_id, "KILLED" if event.state == "stopped" else status)
        total, epochs = self._study.line.tune.trials, self._study.most_epochs
        done = number * epochs + (epochs if event.kind == "ended" else event.epoch)
        figure = event.metrics.get(self._study.metric)
        note = f"epoch {event.epoch}" + (f" · {self._study.metric} {figure:.4f}" if figure is not None else "")
        self._run.reporter.advanced(f"trial-{number}", min(done, total * epochs), total * epochs, note)

    def _params(self, event: TrialEvent) -> dict[str, Any]:
        try:
            job = self._study.job(event.values)
        except ConfigurationError:
            return dict(event.values)  # they do not go together: the trial fails, and says so
        return {
            "seed": job.seed,
            "members.epochs": job.epochs,
            **flat(job.network.model_dump(mode="json"), "members.networks.0."),
            **flat(job.training.model_dump(mode="json"), "training."),
            **flat(job.augment.model_dump(mode="json"), "augment."),
        }


def table(study: Study, findings: Findings) -> list[dict[str, Any]]:
    """A row a trial, in the order of their start."""
    return [
        {
            "trial": trial.number,
            **{key: trial.values[key] for key in study.space},
            "epochs": trial.epochs,
            study.metric: trial.value,
            "state": trial.state,
        }
        for trial in findings.trials
    ]


@contextmanager
def _opened(recipe: str, overrides: list[str], output: str | None, *, force: bool) -> Iterator[tuple[Line, Study]]:
    """Check everything, tidy up after killed runs, and open the parent run; close it however the block ends."""
    project = find()
    enter(project)
    study = checked(project, recipe, overrides, output, force=force)
    settings = complete(project, recipe, overrides)
    with opening.opened(project, settings, recipe, "tune", _reporter, this_flow_run.get_id()) as run:
        yield run, study


@contextmanager
def _workplace(project: Project, study: Study, dataset: Dataset) -> Iterator[Path]:
    """The study's own folder, which stays when it is interrupted, so that the same study goes on there."""
    key = digest_values(
        {
            # More trials, or more time, are the same study.
            "line": study.line.model_dump(mode="json", exclude={"tune": {"trials", "seconds"}}),
            "data": dataset.digest,
            "code": code_digest(["components.training.tuning.conductor"], used([study.line, dataset])),
        }
    )[:32]
    folder = project.work / f"tune-{key}"
    with FileLock(project.locks / f"tune-{key}.lock"):
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        shutil.rmtree(folder)


def _concluded(run: Line, study: Study, findings: Findings, opened: dict[int, str], target: Path, recipe: str) -> Tuned:
    """Write the recipe, and the conclusion on the parent run."""
    from components.training.tuning.picture import draw

    best = findings.best
    origin = {
        "of": f"recipe {recipe}, data {run.recipe.line.dataset} {line_data(run)}",
        "run": f"MLflow {run.run_id}, {time.strftime('%Y-%m-%d')}",
    }
    write_recipe(study, findings, target, origin)
    rows = table(study, findings)
    folder = run.project.work / f"study-{run.run_id}"
    draw(study, findings, folder)
    shutil.copy(target, folder / target.name)
    _write_csv(rows, folder / "trials.csv")
    run.tracking.log_artifacts(run.run_id, folder, "study")
    shutil.rmtree(folder)
    states = [trial.state for trial in findings.trials]
    run.tracking.log_metrics(
        run.run_id,
        {
            study.metric: best.value if best.value is not None else float("nan"),
            **{f"trials_{state}": float(states.count(state)) for state in ("finished", "pruned", "failed", "stopped")},
            **{f"importance.{key}": share for key, share in (findings.importances or {}).items()},
        },
    )
    run.tracking.log_tags(run.run_id, {"convoy.best": opened[best.number]})
    run.tracking.log_note(run.run_id, _note(study, findings, rows, target, opened))
    return Tuned(study, findings, target, run.run_id, dict(opened), run.recipe.line.model)


def line_data(run: Line) -> str:
    """The digest of the data, as the parent run has it."""
    return run.tracking.get(run.run_id).tags[memory.DATA][:12]


def _write_csv(rows: Sequence[dict[str, Any]], file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {key: texts.cell(value) if isinstance(value, str) else value for key, value in row.items()} for row in rows
        )


def _note(
    study: Study, findings: Findings, rows: Sequence[dict[str, Any]], target: Path, opened: dict[int, str]
) -> str:
    best = findings.best
    found = texts.markdown(", ".join(f"{key} {_plain(best.values[key])}" for key in study.space))
    columns = list(rows[0])
    lines = [
        f"**{study.metric} {best.value:.4f}** in trial {best.number} ({opened[best.number][:8]}): {found}",
        "",
        f"The recipe is {texts.markdown(target.name)}, also among the artifacts. Its metric is the best of several on "
        "the validation split, and so a flattering one.",
        "",
        texts.markdown_table(
            [texts.markdown(column) for column in columns],
            [[texts.markdown(_plain(row[column])) for column in columns] for row in rows],
        ),
    ]
    return "\n".join(lines)


def _plain(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
