"""The line: raw images go in, a promoted int8 network comes out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from prefect import flow
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.runtime import flow_run as this_flow_run

from components import texts
from components.artifacts import Dataset, Decision
from components.config import LineConfig
from components.registry.memory import tracking as memory
from flows import steps
from flows.base import stopping
from flows.base.project import enter, find
from flows.processes import progress
from flows.run import comparison, opening, order, ways
from flows.run.check import complete
from flows.run.context import Done, Line
from flows.schedules import notices, schedules

_reporter: progress.Reporter = progress.Silent()


@dataclass(frozen=True)
class Outcome:
    """What a run of the line came to."""

    model: str
    run_id: str  # MLflow's parent run
    data: Dataset
    assessment: steps.Assessment  # members, ensemble, student, pruned, what is served
    decision: Decision
    done: list[Done]
    compared: comparison.Compared  # with the run before it

    @property
    def unchanged(self) -> bool:
        """Whether every step had been done before."""
        return all(step.cached for step in self.done)


@flow(
    name="line",
    flow_run_name="{recipe}",
    persist_result=False,
    validate_parameters=True,
    on_failure=[notices.of_failure],
    on_crashed=[stopping.as_cancelled, notices.of_failure],
)
def line(
    recipe: str = "default",
    overrides: list[str] | None = None,
    as_of: datetime | None = None,
    fresh: list[str] | None = None,
) -> Outcome:
    """Take the data set of a recipe to a promoted, compressed, audited network.

    `recipe` is `default` (params.yaml as it stands) or the name of a file in recipes/; `overrides` are `key=value`
    with keys of `line:`. `as_of` is a past moment: the data is taken as it was then, and no alias moves. The steps
    named in `fresh` are done anew, whether or not they are done.
    """
    if missed := schedules.made_up_for(this_flow_run.get_id()):
        return cast(Outcome, missed)
    with opened(recipe, overrides or [], as_of) as run:
        run.fresh = order.named(fresh or [])
        return concluded(run, *through(run.recipe.line))


def through(settings: LineConfig) -> tuple[Dataset, steps.Assessment, Decision]:
    """The steps, one after the other."""
    training, augment, seed = settings.training, settings.augment, settings.seed

    data = steps.data(settings.dataset)  # DVC: ingest, prepare, validate
    steps.validation(data)
    drift = steps.drift(data, settings.model, settings.drift)
    steps.augmentation(data, augment, seed)
    members = steps.train(data, settings.members, training, augment, seed)  # Ray: one worker group, K members
    teacher = steps.ensemble(members, data, settings.ensemble)
    unlabelled = steps.unlabelled(settings.student)
    student = steps.distil(teacher, data, settings.student, training, augment, seed + len(members), unlabelled)
    taught = teacher, settings.student, training, augment, seed, unlabelled  # how a network is trained on
    pruned = steps.prune(student, data, settings.prune, *taught)
    quantized = steps.quantize(pruned, data, settings.quantize, *taught)
    assessment = steps.evaluate(members, teacher, student, pruned, quantized, data, settings.evaluate)
    version = steps.register(quantized, assessment, data, settings.model, settings.drift)
    decision = steps.promote(version, quantized, assessment, data, drift, settings.evaluate, settings.gates)
    return data, assessment, decision


def reporting_to(reporter: progress.Reporter) -> None:
    """Where lines of this process show their progress; by default nowhere."""
    global _reporter  # noqa: PLW0603 — the flow's arguments are what Prefect stores, and a display cannot be stored
    _reporter = reporter


@contextmanager
def opened(recipe: str, overrides: list[str], as_of: datetime | None = None) -> Iterator[Line]:
    """Check the configuration, tidy up after killed lines, and open the parent run; close it however the block ends."""
    project = find()
    enter(project)
    settings = complete(project, recipe, overrides)
    with opening.opened(project, settings, recipe, "line", _reporter, as_of) as run:
        try:
            if link := run.tracking.run_link(run.run_id):
                about = "the same run in MLflow"
                create_link_artifact(link, link_text=f"line · {recipe}", key="mlflow", description=about)
            with stopping.cancellable(this_flow_run.get_id()):
                yield run
        finally:
            shutil.rmtree(run.restored, ignore_errors=True)


def concluded(run: Line, data: Dataset, assessment: steps.Assessment, decision: Decision) -> Outcome:
    """Write the conclusion on the parent run and on Prefect's page, and hand it back."""
    from components.evaluate import chain
    from components.registry import versions
    from components.tasks import registry as tasks

    tags = {**run.custody, memory.DATA: data.digest, comparison.CODE: comparison.code(run.done)}
    compared = comparison.with_earlier(run.tracking, run.custody["convoy.recipe"], run.run_id, tags)
    outcome = Outcome(
        model=run.recipe.line.model,
        run_id=run.run_id,
        data=data,
        assessment=assessment,
        decision=decision,
        done=list(run.done),
        compared=compared,
    )
    if any(step.step == "promote" and not step.cached for step in outcome.done):
        notices.of_decision(run.project, decision)  # once: a run that finds it decided has no news
    primary = assessment.evidence.primary
    rows = [
        (done.step, _linked(run, done), texts.markdown(done.summary), texts.markdown(done.because))
        for done in outcome.done
    ]
    # The page shows the first lines and folds the rest.
    why = texts.markdown(decision.reason)
    note = [ways.inside(run, decision), "", f"**{decision.action} version {decision.version}**: {why}", ""]
    note += [*(["Nothing new: every step was found done.", ""] if outcome.unchanged else []), compared.said(), ""]
    note += [texts.markdown_table(("step", "run", "", "done because"), rows)]
    create_table_artifact(compared.table(), key="compared", description=compared.said())
    metric = tasks.of(data.card).spec.primary
    said = chain.markdown(assessment.stages, metric)
    run.tracking.log_note(run.run_id, "\n".join([*note, "", said]))
    run.tracking.log_model_output(run.run_id, versions.logged_model(run.tracking, decision.name, decision.version))
    table = "\n".join([f"**{decision.action} version {decision.version}**", "", *ways.steps(run, outcome.done)])
    create_markdown_artifact(key="line", markdown=table, description="the steps, and what came of them")
    create_markdown_artifact(key="chain", markdown=said, description="the stages: what each paid and bought")
    with TemporaryDirectory(prefix="convoy-chain-") as folder:
        chain.write(assessment.stages, Path(folder), metric)
        run.tracking.log_artifacts(run.run_id, Path(folder), "chain")
    run.tracking.log_tags(
        run.run_id,
        {
            "convoy.decision": decision.action,
            "convoy.version": str(decision.version),
            comparison.CODE: tags[comparison.CODE],
            **{f"convoy.{'reused' if done.cached else 'ran'}.{done.step}": done.run_id for done in outcome.done},
        },
    )
    seconds = {f"seconds.{part}": value for part, value in run.seconds.items()}
    run.tracking.log_metrics(run.run_id, {primary: assessment.evidence.figures[primary].value, **seconds})
    return outcome


def _linked(run: Line, done: Done) -> str:
    text = f"{done.run_id[:8]}{' (reused)' if done.cached else ''}"
    return f"[{text}]({run.tracking.inside(done.run_id)})"
