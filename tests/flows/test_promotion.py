"""Promotion from Prefect's page: it waits for people, and does what the command does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from components.config.gates import ApprovalsGate
from components.registry import decisions, ledger
from components.registry.memory import tracking
from components.registry.memory.tracking import Tracking
from components.registry.registration import register
from components.registry.versions import aliases
from tests.components.registry.registry_builders import LIMITS, build_case, build_evidence, build_model, encode

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    """A project with one staged version, which two people have to approve."""
    for file in ("params.yaml", "dvc.yaml"):
        (tmp_path / file).touch()
    monkeypatch.setenv("CONVOY_ROOT", str(tmp_path))
    (tmp_path / ".convoy").mkdir()
    shutil.copy(empty_database, tmp_path / ".convoy" / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = tracking.connect(tmp_path, "digits")
    model = build_model(tmp_path / "model")
    evidence = build_evidence(model.digest)
    run = store.start_run("register")
    version = register(store, model, evidence, name="digits", run_id=run, card="# A card", examples=[encode(200)])
    asked = ApprovalsGate(gate="approvals", required=2)
    decisions.decide(store, "digits", version, build_case(evidence), [*LIMITS, asked])
    return store


def flow_runs(flow: str) -> list[FlowRun]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])))


def waiting(known: set[UUID], seconds: float = 120.0) -> UUID:
    """The new run of `promotion` that shows its form."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        for run in flow_runs("promotion"):
            if run.id not in known and run.state is not None:
                assert not run.state.is_final(), run.state
                if run.state.is_paused():
                    return run.id
        time.sleep(0.3)
    raise TimeoutError(f"no run of `promotion` waits: {[run.state for run in flow_runs('promotion')]}")


def answer(run: UUID, name: str, *, approve: bool = True) -> None:
    from prefect.flow_runs import resume_flow_run

    resume_flow_run(run, run_input={"name": name, "reason": "looked at the report", "approve": approve})


def test_a_promotion_waits_for_people_and_goes_on_when_they_have_answered(
    prefect_server: None, store: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import promotion

    monkeypatch.setattr(promotion, "POLL_SECONDS", 0.2)
    with ThreadPoolExecutor() as pool:
        # given one rejection in time: the promotion ends, and says by whom
        known = {run.id for run in flow_runs("promotion")}
        first = pool.submit(promotion.promotion, "digits", by="Ada", reason="it is better")
        answer(waiting(known), "Katherine", approve=False)
        with pytest.raises(Exception, match="version 1 was rejected by Katherine"):
            first.result(timeout=60)
        # when she approves after all, and then one more person
        promotion.approval("digits", by="Katherine", reason="on second thoughts")
        known = {run.id for run in flow_runs("promotion")}
        second = pool.submit(promotion.promotion, "digits", by="Ada", reason="it is better")
        answer(waiting(known), "Grace")
        second.result(timeout=60)
    # then it is in production, with all of it on the record
    assert aliases(store, "digits")["production"] == 1
    told = [(each.action, each.by) for each in ledger.history(store, "digits")]
    assert told == [
        ("pass", "gates"), ("reject", "Katherine"), ("approve", "Katherine"), ("approve", "Grace"),
        ("promote", "Ada"),
    ]  # fmt: skip
    with pytest.raises(Exception, match="first in production; there is nothing to go back to"):
        promotion.rollback("digits", by="Ada", reason="why not")


def test_the_commands_approve_promote_and_tell(store: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    from flows.cli import app

    def convoy(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})

    early = convoy("promote", "digits", "--to", "production")
    assert early.exit_code == 1 and aliases(store, "digits").get("production") is None
    assert "0 of 2" in (early.output + early.stderr)
    first = json.loads(convoy("approve", "digits", "--by", "Grace", "--reason", "fine", "--json").stdout)
    assert (first["action"], first["by"], first["version"]) == ("approve", "Grace", 1)
    assert (first["waiting"]["required"], first["waiting"]["approved_by"]) == (2, ["Grace"])
    second = convoy("approve", "digits", "--by", "Katherine", "--reason", "fine", "--version", "1")
    assert "next: convoy promote digits --to production --version 1" in second.output
    done = convoy("promote", "digits", "--to", "production", "--version", "1", "--by", "Ada", "--reason", "better")
    assert "version 1 is production now (better)" in done.output
    told = json.loads(convoy("ledger", "digits", "--json").output)
    assert told["aliases"]["production"]["version"] == 1 and told["aliases"]["production"]["by"] == "Ada"
    assert [each["action"] for each in told["decisions"]] == ["pass", "approve", "approve", "promote"]
    before = json.loads(convoy("ledger", "digits", "--json", "--at", "2020-01-01").output)
    assert before["decisions"] == [] and before["aliases"] == {}
    table = convoy("ledger", "digits").output
    assert "promote: better" in table and "Katherine" in table


@contextmanager
def served(store: Tracking) -> Iterator[None]:
    """The deployment `promotion/test` on the test's server, in a process of its own."""
    program = "from flows.promotion import promotion; promotion.serve(name='test', print_starting_message=False)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CONVOY_ROOT": str(store.root)}
    from prefect.settings import PREFECT_API_URL

    environment["PREFECT_API_URL"] = str(PREFECT_API_URL.value())
    environment["PREFECT_RUNNER_POLL_FREQUENCY"] = "1"
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=ROOT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_deployed_promotion_is_suspended_and_begins_again_without_forgetting(
    prefect_server: None, store: Tracking
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.deployments import run_deployment
    from prefect.exceptions import ObjectNotFound

    def state(run: UUID) -> Any:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(run).state

    with served(store):
        parameters = {"name": "digits", "by": "Ada", "reason": "it is better"}
        limit = time.monotonic() + 120
        while True:
            try:
                run = run_deployment("promotion/test", parameters=parameters, timeout=0)
                break
            except ObjectNotFound:
                assert time.monotonic() < limit
                time.sleep(1)
        # both forms are answered by people; between them no process waits
        for person in ("Grace", "Katherine"):
            limit = time.monotonic() + 180
            while state(run.id).name != "Suspended":
                assert time.monotonic() < limit and not state(run.id).is_final(), state(run.id)
                time.sleep(0.5)
            answer(run.id, person)
        while not state(run.id).is_final():
            assert time.monotonic() < limit + 180
            time.sleep(0.5)
        assert state(run.id).is_completed(), state(run.id)
    told = [(each.action, each.by) for each in ledger.history(store, "digits")]
    assert told[1:] == [("approve", "Grace"), ("approve", "Katherine"), ("promote", "Ada")]
