"""What becomes of runs that were missed, killed, cancelled or could not be closed: each has an end, in every place."""

from __future__ import annotations

import signal
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import pytest
import yaml
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import StateType
from prefect.runtime import flow_run as this_flow_run
from prefect.states import Cancelling, Crashed, Running

from components.registry.memory import tracking
from flows.base import stopping
from flows.base.project import Project
from flows.processes import leases
from flows.run.step import LEASE
from flows.schedules import declared, deployments, notifications, schedules
from tests.flows.test_notifications import WEBHOOK, Receiver, listening


def interrupted() -> NoReturn:
    raise KeyboardInterrupt


@flow(name="pipeline")
def nothing() -> None:
    """A flow to have runs of."""


@pytest.fixture
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as found:
        yield found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project's folders, and MLflow's tables."""
    project = Project(tmp_path_factory.mktemp("place"))
    for folder in (project.leases, project.locks, project.work):
        folder.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracking.connect(project.root, "digits")
    return project


@pytest.fixture
def store(place: Project, monkeypatch: pytest.MonkeyPatch) -> tracking.Tracking:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tracking.connect(place.root, "digits")


def test_what_a_line_could_not_close_is_closed_by_the_next_start(place: Project, store: tracking.Tracking) -> None:
    with leases.leased(place) as lease:
        lease.note(experiment="digits")
        run_id = store.start_run("line", tags={LEASE: lease.id})
        lease.leave_open()
    assert lease.path.exists()

    told = leases.settle(place)

    assert store.get(run_id).status == "KILLED"
    assert len(told) == 1 and leases.settle(place) == []


def test_a_line_that_lives_is_left_alone(place: Project, store: tracking.Tracking) -> None:
    with leases.leased(place) as lease:
        lease.note(experiment="digits")
        run_id = store.start_run("line", tags={LEASE: lease.id})
        assert leases.settle(place) == []
        assert store.get(run_id).status == "RUNNING"
        store.finish(run_id)


@pytest.mark.parametrize(("state", "status"), [(Running(), "RUNNING"), (Crashed(), "KILLED")])
def test_a_line_of_another_machine_is_closed_when_prefect_says_that_it_is_over(
    place: Project, store: tracking.Tracking, client: SyncPrefectClient, state: Any, status: str
) -> None:
    flow_run = client.create_flow_run(nothing, state=state)
    lease = leases.Lease(place.leases / f"{uuid.uuid4().hex}.json")
    lease.note(pid=1, started=0.0, host="elsewhere", experiment="digits", flow_run=str(flow_run.id))
    run_id = store.start_run("line", tags={LEASE: lease.id})
    try:
        leases.settle(place)
        assert store.get(run_id).status == status
    finally:
        lease.path.unlink(missing_ok=True)
        store.finish(run_id, "KILLED")


def test_a_killed_line_is_closed_in_both_places_and_people_are_told_once(
    place: Project, store: tracking.Tracking, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_run = client.create_flow_run(nothing, state=Running())
    lease = leases.Lease(place.leases / f"{uuid.uuid4().hex}.json")
    host = socket.gethostname()
    lease.note(pid=2**22 + 1, started=0.0, host=host, experiment="digits", flow_run=str(flow_run.id))
    run_id = store.start_run("line", tags={LEASE: lease.id})
    left = place.work / f"data-{lease.id}"
    left.mkdir()
    file = place.root / declared.FILE
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump({"notifications": [WEBHOOK]}), encoding="utf-8")
    with listening(Receiver()) as receiver:
        monkeypatch.setenv("TEST_WEBHOOK_URL", receiver.url)
        leases.settle(place)
        leases.settle(place)
    file.unlink()

    assert store.get(run_id).status == "KILLED"
    state = client.read_flow_run(flow_run.id).state
    assert state is not None and state.type == StateType.CRASHED
    assert not left.exists()
    assert [content["subject"] for _, content in receiver.received] == ["a run of digits was killed"]


def test_a_flow_that_fails_is_told_with_its_reason(
    place: Project, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    @flow(name="pipeline", flow_run_name="digits", on_failure=[notifications.of_failure])
    def failing() -> None:
        raise ValueError("the data is spoilt")

    for name in ("params.yaml", "dvc.yaml"):
        (place.root / name).touch()
    file = place.root / declared.FILE
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump({"notifications": [WEBHOOK]}), encoding="utf-8")
    monkeypatch.setenv("CONVOY_ROOT", str(place.root))
    with listening(Receiver()) as receiver:
        monkeypatch.setenv("TEST_WEBHOOK_URL", receiver.url)
        with pytest.raises(ValueError, match="spoilt"):
            failing()
    file.unlink()
    ((_, content),) = receiver.received
    assert content["subject"] == "pipeline · digits failed" and "the data is spoilt" in content["body"]


def test_of_runs_that_were_missed_the_newest_is_made_up_for_and_the_rest_are_skipped(
    client: SyncPrefectClient,
) -> None:
    entry = declared.Entry(
        entrypoint="tests/flows/test_outcomes.py:nothing",
        schedules=(declared.When(cron="0 * * * *"),),
        work_pool="none",
    )
    identifier = uuid.UUID(str(deployments.build("missed", entry, nothing).apply()))
    now = datetime.now(UTC)
    span = {"start_time": (now - timedelta(hours=5)).isoformat(), "end_time": now.isoformat(), "min_runs": 10}
    client._client.post(f"/deployments/{identifier}/schedule", json=span).raise_for_status()
    found = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[identifier]))
    )
    runs = sorted((run for run in found if schedules._expected(run) <= now), key=schedules._expected)
    assert len(runs) >= 4
    oldest, *between, newest = runs

    state = schedules.made_up_for(str(oldest.id))

    assert state is not None and (state.type, state.name) == (StateType.CANCELLED, "Skipped")
    assert f"{schedules._expected(newest):%Y-%m-%d %H:%M}" in str(state.message)
    names = {run.id: client.read_flow_run(run.id).state_name for run in runs}
    assert {names[run.id] for run in between} == {"Skipped"}
    assert names[newest.id] in ("Scheduled", "Late")
    assert schedules.made_up_for(str(newest.id)) is None
    client.delete_deployment(identifier)


def test_a_run_that_no_schedule_started_makes_room_for_nobody(client: SyncPrefectClient) -> None:
    assert schedules.made_up_for(str(client.create_flow_run(nothing, state=Running()).id)) is None
    assert schedules.made_up_for(None) is None


def test_a_run_by_hand_that_is_cancelled_on_the_page_stops_and_is_cancelled(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "SECONDS", 0.1)
    seen: dict[str, Any] = {}

    @flow(name="pipeline", on_crashed=[stopping.as_cancelled])
    def waiting() -> None:
        seen["id"] = this_flow_run.get_id()
        with stopping.cancellable(seen["id"]):
            threading.Timer(0.3, lambda: client.set_flow_run_state(uuid.UUID(seen["id"]), Cancelling())).start()
            try:
                time.sleep(30)
                seen["slept"] = True
            except BaseException as error:
                seen["closed"] = not isinstance(error, Exception)  # as an interruption: MLflow's runs become KILLED
                raise

    # Prefect passes the signal on to who had it before, which for a command is an interruption.
    before = signal.signal(signal.SIGTERM, lambda *_: interrupted())
    try:
        with pytest.raises(KeyboardInterrupt):
            waiting()
    finally:
        signal.signal(signal.SIGTERM, before)

    state = client.read_flow_run(uuid.UUID(seen["id"])).state
    assert state is not None and state.type == StateType.CANCELLED
    assert seen["closed"] and "slept" not in seen


def test_a_database_that_is_locked_for_a_while_is_waited_for(store: tracking.Tracking) -> None:
    run_id = store.start_run("locked")
    other = sqlite3.connect(store.root / ".convoy" / "mlflow.db", isolation_level=None, check_same_thread=False)
    other.execute("begin exclusive")
    release = threading.Timer(4.0, lambda: other.execute("commit"))
    release.start()
    began = time.monotonic()
    store.log_metrics(run_id, {"accuracy": 0.5})
    assert time.monotonic() - began > 2.0
    release.join()
    other.close()
    assert store.get(run_id).metrics == {"accuracy": 0.5}
    store.finish(run_id)


@pytest.mark.slow  # starts a server of its own
def test_prefects_database_that_is_locked_for_a_while_is_waited_for(lasting_server: tuple[Project, str]) -> None:
    project, address = lasting_server
    other = sqlite3.connect(project.prefect_home / "prefect.db", isolation_level=None, check_same_thread=False)
    release = threading.Timer(8.0, lambda: other.execute("commit"))
    with get_client(sync_client=True) as client:
        assert str(client.api_url).startswith(address)
        other.execute("begin exclusive")
        release.start()
        began = time.monotonic()
        run = client.create_flow_run(nothing, state=Running())
        assert time.monotonic() - began > 6.0
        release.join()
        other.close()
        state = client.read_flow_run(run.id).state
    assert state is not None
    assert state.type == StateType.RUNNING
