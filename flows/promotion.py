"""Promotion, approval and roll back as flows: started from Prefect's page, they wait there for people.

What they do is in `components.registry`; the commands in `decision_commands` do the same at once. A promotion that
lacks approvals shows a form and waits: a run of a deployment is suspended, so that no process waits with it, and goes
on from its beginning when somebody has answered; any other run pauses.
"""

from __future__ import annotations

from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment as this_deployment
from prefect.runtime import flow_run as this_flow_run

from components import texts
from components.artifacts import Decision
from components.registry import approvals, decisions
from components.registry.memory import tracking as memory
from components.registry.memory.tracking import Tracking
from components.registry.versions import PRODUCTION, STAGING, RegistryError, aliased
from flows.base.project import enter, find
from flows.schedules import notifications

PAUSE_SECONDS = 86_400  # a process that waits for people waits a day
POLL_SECONDS = 2  # between looks for an answer while it does


class Opinion(RunInput):
    """What a person is asked for: the form on Prefect's page."""

    name: str
    reason: str
    approve: bool = True


@flow(name="promotion", flow_run_name="{name} to {to}", persist_result=False, on_failure=[notifications.of_failure])
def promotion(
    name: str, by: str, reason: str, to: str = PRODUCTION, version: int | None = None, despite_rollback: bool = False
) -> None:
    """Move a version on, and wait for the people whose approval it needs.

    `name` is the registered model, `by` and `reason` go on the record, `version` is the one that is meant.
    """
    store = _store()
    meant = version if version is not None or to != PRODUCTION else aliased(store, name, STAGING)
    if to == PRODUCTION and meant is not None:
        _heard(store, name, meant)
    done = decisions.promote(store, name, to, by, reason, version=meant, despite_rollback=despite_rollback)
    _tell(done)


@flow(name="approval", flow_run_name="{name} by {by}", persist_result=False)
def approval(name: str, by: str, reason: str, approve: bool = True, version: int | None = None) -> None:
    """Approve of a staged version, or reject it."""
    state = approvals.approve if approve else approvals.reject
    _tell(state(_store(), name, by, reason, version=version))


@flow(name="rollback", flow_run_name="{name}", persist_result=False, on_failure=[notifications.of_failure])
def rollback(name: str, by: str, reason: str) -> None:
    """Put back into production what the production version took the place of."""
    _tell(decisions.rollback(_store(), name, by, reason))


def _heard(store: Tracking, name: str, version: int) -> None:
    """Return when enough people have approved of the version; RegistryError when somebody rejects it.

    A suspended run begins again: what was answered before is read again, and recorded once.
    """
    answered = _asked_before()
    for number in range(1, answered + 1):
        _record(store, name, version, number, _ask(number))
    number = answered
    while (waiting := approvals.waiting(store, name)) is not None and waiting.version == version:
        if waiting.rejected_by:
            raise RegistryError(f"{name} version {version} was rejected by {', '.join(waiting.rejected_by)}")
        number += 1
        get_run_logger().info(
            "%s version %s waits for approval: %s of %s so far",
            name, version, len(waiting.approved_by), waiting.required,
        )  # fmt: skip
        _record(store, name, version, number, _ask(number))


def _asked_before() -> int:
    """How many answers this run has had in its earlier lives."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(this_flow_run.get_id()))
    return len(run.empirical_policy.pause_keys or ())


def _ask(number: int) -> Opinion:
    """The answer to the so-manieth form; the same number is asked once in a run's lives."""
    key = f"opinion-{number}"
    if this_deployment.get_id():
        return suspend_flow_run(wait_for_input=Opinion, key=key)
    return pause_flow_run(wait_for_input=Opinion, key=key, timeout=PAUSE_SECONDS, poll_interval=POLL_SECONDS)


def _record(store: Tracking, name: str, version: int, number: int, opinion: Opinion) -> None:
    state = approvals.approve if opinion.approve else approvals.reject
    source = f"prefect {this_flow_run.get_id()} {number}"
    state(store, name, opinion.name, opinion.reason, version=version, source=source)


def _store() -> Tracking:
    project = find()
    enter(project)
    return memory.connect(project.root)


def _tell(decision: Decision) -> None:
    """The decision on Prefect's page, and to whoever is told of such."""
    notifications.of_decision(find(), decision)
    by, reason = texts.markdown(decision.by), texts.markdown(decision.reason)
    head = f"**{decision.action}** {decision.name} version {decision.version}, by {by}: {reason}"
    rows = [
        (each.gate, "passed" if each.passed else "FAILED", texts.markdown(each.reason)) for each in decision.verdicts
    ]
    table = ["", texts.markdown_table(("gate", "verdict", "reason"), rows)] if rows else []
    where = f"\n\n`{decision.alias}` is version {decision.version} now." if decision.alias else ""
    get_run_logger().info("%s version %s: %s by %s", decision.name, decision.version, decision.action, decision.by)
    create_markdown_artifact(key="decision", markdown="\n".join([head, *table]) + where, description=reason)
