"""A run whose machine is gone is ended by the server, and one that lives is not: a real server, real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType

from flows.base.project import Project
from flows.schedules import zombies

SILENCE = timedelta(seconds=45)  # a heartbeat and a half: Prefect beats every 30 s at most
PATIENCE = 240.0  # seconds
LONG = """
import sys, time
from prefect import flow
from prefect.runtime import flow_run

@flow(name="pipeline")
def waiting():
    print(flow_run.id, flush=True)
    time.sleep(600)

waiting()
"""


@contextmanager
def lasting(address: str) -> Iterator[tuple[subprocess.Popen[str], uuid.UUID]]:
    """A flow run that only waits, in a process of its own."""
    environment = {**os.environ, "PREFECT_API_URL": f"{address}/api", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    command = [sys.executable, "-c", LONG]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as run:
        try:
            assert run.stdout is not None
            yield run, uuid.UUID(run.stdout.readline().strip())
        finally:
            run.kill()


@pytest.mark.slow  # heartbeats are half a minute apart
def test_a_silent_run_is_ended_and_one_that_lives_is_left_alone(lasting_server: tuple[Project, str]) -> None:
    _, address = lasting_server
    zombies.watch([], SILENCE)
    with (
        get_client(sync_client=True) as client,
        lasting(address) as (killed, gone),
        lasting(address) as (_, alive),
    ):
        time.sleep(35)  # both have beaten once
        killed.send_signal(signal.SIGKILL)
        limit = time.monotonic() + PATIENCE
        while (state := client.read_flow_run(gone).state) is not None and state.type == StateType.RUNNING:
            assert time.monotonic() < limit, "the server has not noticed"
            time.sleep(1)
        assert state is not None
        assert state.type == StateType.CRASHED
        assert "45 s" in str(state.message)
        other = client.read_flow_run(alive).state
        assert other is not None
        assert other.type == StateType.RUNNING
