"""Runs whose process or machine is gone: an automation of Prefect's ends them where a server stays.

On one machine the next start does it (`leases.settle`). A run that lives says so again and again
(PREFECT_FLOWS_HEARTBEAT_FREQUENCY, set by `project.enter`); the server ends one that has been silent, wherever it ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from flows.schedules import notifications

if TYPE_CHECKING:
    from flows.schedules.declared import Channel

NAME = "convoy: end runs that no longer answer"
SILENCE = timedelta(seconds=95)  # three heartbeats of 30 s, and a little for the way
FLOWS = ["pipeline", "line", "backfill", "promotion", "tune"]  # `line`: as earlier releases have registered it
_HEARTBEAT = "prefect.flow-run.heartbeat"
# What a run does besides beating: it ends, or it rests without a process.
_OTHERWISE = {"Completed", "Failed", "Cancelled", "Cancelling", "Crashed", "Paused", "Suspended", "AwaitingRetry"}


def watch(channels: Sequence[Channel], silence: timedelta = SILENCE) -> str:
    """Make the automation, or bring it up to date; says so. Needs PREFECT_API_URL.

    One that is as it should be is left alone: an update makes the server forget the runs that it is waiting to hear of.
    """
    from prefect.automations import AutomationCore, EventTrigger, Posture
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState, SendNotification

    message = f"Nothing was heard of the run for {silence.total_seconds():.0f} s: its process or machine is gone."
    subject, body = "{{ flow.name }} · {{ flow_run.name }} is gone", "{{ flow_run|ui_url }}\n" + message
    actions = [
        ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=message),
        *(
            SendNotification(block_document_id=block, subject=subject, body=body)
            for block in notifications.saved(channels, "failure")
        ),
    ]
    trigger = EventTrigger(
        after={_HEARTBEAT},
        expect={_HEARTBEAT, *(f"prefect.flow-run.{name}" for name in _OTHERWISE)},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": FLOWS},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=silence,
    )
    wanted = AutomationCore(name=NAME, trigger=trigger, actions=actions)
    with get_client(sync_client=True) as client:
        there = client.read_automations_by_name(NAME)
        if there and AutomationCore(**there[0].model_dump(exclude={"id"})) != wanted:
            client.update_automation(there[0].id, wanted)
        elif not there:
            client.create_automation(wanted)
    return f"the automation that ends runs which are silent for {silence.total_seconds():.0f} s"
