"""The line for past days: which days, which data, and that nothing of today's is moved."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from components.config import ConfigurationError
from components.data import versions as data_versions
from components.registry import versions
from components.registry.memory import tracking
from flows.backfill import backfill, days
from flows.line import Outcome, line
from flows.run import data_revisions


def test_days_end_on_the_clock_they_are_asked_for() -> None:
    ends = days("2026-03-28", "2026-03-30", "Europe/Paris")
    spoken = {day: moment.isoformat() for day, moment in ends.items()}
    assert spoken == {  # the clocks go forward on the 29th
        "2026-03-28": "2026-03-28T22:59:59.999999+00:00",
        "2026-03-29": "2026-03-29T21:59:59.999999+00:00",
        "2026-03-30": "2026-03-30T21:59:59.999999+00:00",
    }


@pytest.mark.parametrize(
    ("since", "until", "timezone", "said"),
    [
        ("yesterday", "2026-01-02", "UTC", "--since: expected a day such as 2026-01-31, received 'yesterday'"),
        ("2026-01-03", "2026-01-02", "UTC", "--since: expected a day not after --until"),
        ("2026-01-01", "2999-01-01", "UTC", "--until: expected a day that is over"),
        ("2026-01-01", "2026-01-02", "Europe/Nowhere", "timezone: expected one such as Europe/Paris"),
    ],
)
def test_days_that_are_none_are_told(since: str, until: str, timezone: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        days(since, until, timezone)


@pytest.fixture
def changed_since(project: Path, outcome: Outcome) -> Iterator[datetime]:
    """A moment after the line ran and before the data was made anew with other splits."""
    moment = datetime.now(UTC)
    path = project / "params.yaml"
    before = path.read_text(encoding="utf-8")
    params = yaml.safe_load(before)
    params["datasets"]["digits"]["split"]["seed"] = 7
    path.write_text(yaml.safe_dump(params), encoding="utf-8")
    try:
        data_versions.reproduce(project, "digits", log=project / "data.log")
        yield moment
    finally:
        path.write_text(before, encoding="utf-8")
        data_versions.reproduce(project, "digits", log=project / "data.log")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow  # a line must have run
def test_a_past_moment_means_the_data_of_then_and_moves_nothing(
    project: Path, outcome: Outcome, changed_since: datetime
) -> None:
    store = tracking.connect(project, "digits")
    named = versions.aliases(store, "digits")
    prepared, lock = contents(project / ".convoy" / "data" / "prepared" / "digits"), (project / "dvc.lock").read_bytes()
    assert data_versions.digest(project, "digits") != outcome.data.digest

    past = line("digits", as_of=changed_since)

    assert past.data.digest == outcome.data.digest
    reused = {done.step for done in past.done if done.cached}
    assert {"augmentation", "train", "ensemble", "distil", "quantize", "evaluate"} <= reused
    assert past.decision.alias is None
    assert versions.aliases(store, "digits") == named
    assert contents(project / ".convoy" / "data" / "prepared" / "digits") == prepared
    assert (project / "dvc.lock").read_bytes() == lock
    assert list((project / ".convoy" / "work").glob("data-*")) == []
    tags = store.get(past.run_id).tags
    assert tags[data_revisions.AS_OF] == changed_since.isoformat()
    assert "judged when it was made" in tags["convoy.skipped.validation"]


@pytest.mark.slow  # a line must have run
def test_a_day_takes_what_was_committed_and_each_day_has_its_run(project: Path, outcome: Outcome) -> None:
    today = datetime.now(UTC).date()
    since, until = (str(today - timedelta(days=number)) for number in (3, 2))
    with pytest.raises(ConfigurationError, match=f"{since}: .*expected a version of digits from before that moment"):
        data_revisions_for(since, until)

    commit(project, f"{today - timedelta(days=4)}T12:00:00+00:00")
    try:
        done = backfill(since, until, recipe="digits")
    finally:
        shutil.rmtree(project / ".git")

    assert [each.day for each in done] == [since, until]
    assert {each.data for each in done} == {outcome.data.digest}
    assert all(each.outcome.startswith("passed") for each in done)
    assert done[1].outcome == "passed; 0 of 9 steps done"


def data_revisions_for(since: str, until: str) -> None:
    from flows.backfill import pinned

    pinned(days(since, until, "UTC"), "digits", [])


def commit(root: Path, moment: str) -> None:
    who = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t"}
    environment = {**who, "GIT_COMMITTER_DATE": moment, "GIT_AUTHOR_DATE": moment, "PATH": "/usr/bin:/bin"}
    for words in (["init", "-q"], ["add", "dvc.lock"], ["commit", "-q", "-m", "the data"]):
        subprocess.run(["git", *words], cwd=root, env=environment, check=True)
