"""The pipeline as a flow of Prefect's: raw images go in, a promoted int8 network comes out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import cast

from prefect import flow
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.runtime import flow_run as this_flow_run

from flows.base import stopping
from flows.base.project import enter, find
from flows.course import Outcome, concluded, through
from flows.processes import progress
from flows.run import opening, order, ways
from flows.run.check import complete
from flows.run.context import Line
from flows.schedules import notifications, schedules

_reporter: progress.Reporter = progress.Silent()


@flow(
    name="pipeline",
    flow_run_name="{recipe}",
    persist_result=False,
    validate_parameters=True,
    on_failure=[notifications.of_failure],
    on_crashed=[stopping.as_cancelled, notifications.of_failure],
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
        outcome = concluded(run, *through(run.recipe.line))
        _show(run, outcome)
        return outcome


def reporting_to(reporter: progress.Reporter) -> None:
    """Where lines of this process show their progress; by default nowhere."""
    global _reporter  # noqa: PLW0603 — the flow's arguments are what Prefect stores, and a display cannot be stored
    _reporter = reporter


@contextmanager
def opened(recipe: str, overrides: list[str], as_of: datetime | None = None) -> Iterator[Line]:
    """Check the configuration, tidy up after killed runs, and open the parent run; close it however the block ends."""
    project = find()
    enter(project)
    settings = complete(project, recipe, overrides)
    with opening.opened(project, settings, recipe, "pipeline", _reporter, this_flow_run.get_id(), as_of) as run:
        try:
            if link := run.tracking.run_link(run.run_id):
                about = "the same run in MLflow"
                create_link_artifact(link, link_text=f"pipeline · {recipe}", key="mlflow", description=about)
            with stopping.cancellable(this_flow_run.get_id()):
                yield run
        finally:
            shutil.rmtree(run.restored, ignore_errors=True)


def _show(run: Line, outcome: Outcome) -> None:
    """The conclusion on Prefect's page."""
    from components.evaluate import chain
    from components.tasks import registry as tasks

    decision, compared = outcome.decision, outcome.compared
    table = "\n".join([f"**{decision.action} version {decision.version}**", "", *ways.steps(run, outcome.done)])
    said = chain.markdown(outcome.assessment.stages, tasks.of(outcome.data.card).spec.primary)
    create_table_artifact(compared.table(), key="compared", description=compared.said())
    create_markdown_artifact(key="pipeline", markdown=table, description="the steps and their results")
    create_markdown_artifact(key="chain", markdown=said, description="the models: the trade-off of each")
