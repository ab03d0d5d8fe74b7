"""The deployments on one machine (`prefect.serve`), and what becomes of runs that were missed.

While nobody served them, runs that were due wait. The first of them that is started makes room for the newest: that
one sees all that has changed meanwhile, and the others are Skipped.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import serve as prefect_serve
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled

from flows.schedules.declared import Entry
from flows.schedules.deployments import build

if TYPE_CHECKING:
    from prefect import Flow


def serve(entries: dict[str, Entry], flows: dict[str, Flow[..., Any]]) -> None:
    """Register the deployments and run them on time, until interrupted.

    PREFECT_API_URL must name a server that stays: a temporary one has no scheduler.
    A scheduled run reads params.yaml when it starts; on unchanged data, code and parameters it finds every step done.
    """
    prefect_serve(
        *(build(name, entry, flows[name]) for name, entry in entries.items()),
        limit=sum(entry.overlap.limit for entry in entries.values()),
        pause_on_shutdown=False,
        print_starting_message=False,
    )


def made_up_for(flow_run: str | None) -> State[Any] | None:
    """Where a later run of the same deployment is due by now: the state with which this one, which was missed, ends.

    All that were missed are settled with it but the newest. None for a run that is nobody's predecessor, or that no
    schedule started.
    """
    if flow_run is None:
        return None
    with get_client(sync_client=True) as client:
        own = client.read_flow_run(UUID(flow_run))
        if not own.auto_scheduled or own.deployment_id is None or own.expected_start_time is None:
            return None
        open_states = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]
        due = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(any_=[own.deployment_id]),
                expected_start_time=FlowRunFilterExpectedStartTime(
                    after_=own.expected_start_time, before_=datetime.now(UTC)
                ),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=open_states)),
            )
        )
        later = sorted((run for run in due if run.auto_scheduled and run.id != own.id), key=_expected)
        if not later:
            return None
        skipped: State[Any] = Cancelled(
            name="Skipped", message=f"It was missed; the run of {_expected(later[-1]):%Y-%m-%d %H:%M} makes up for it."
        )
        for run in later[:-1]:
            if run.state_type == StateType.SCHEDULED:
                client.set_flow_run_state(run.id, skipped)
        return skipped


def _expected(run: FlowRun) -> datetime:
    assert run.expected_start_time is not None  # noqa: S101 — the filter compared it
    return run.expected_start_time
