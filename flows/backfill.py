"""The pipeline for past days, each on the data as it was at that day's end.

Steps that an earlier run did on such data are cached. Versions are registered and judged like any other, and stay where
they are: no alias moves for the past.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prefect import flow
from prefect.artifacts import create_table_artifact

from components.config import ConfigurationError
from flows.base import stopping
from flows.base.project import enter, find
from flows.course import Outcome
from flows.line import line
from flows.run import data_revisions
from flows.run.check import complete
from flows.schedules import notifications


@dataclass(frozen=True)
class Dated:
    """What the run came to for one day."""

    day: str
    data: str  # the digest it was pinned to
    run_id: str | None  # MLflow's; None where it failed
    version: int | None
    outcome: str


@flow(
    name="backfill",
    flow_run_name="{recipe} {since} to {until}",
    persist_result=False,
    on_crashed=[stopping.as_cancelled, notifications.of_failure],
)
def backfill(
    since: str, until: str, timezone: str = "UTC", recipe: str = "default", overrides: list[str] | None = None
) -> list[Dated]:
    """Run the pipeline for every day from `since` to `until`, both 2026-01-31 and included, oldest first.

    A day's data is what was last committed in dvc.lock, or last worked on by a line, before the day ended on the clock
    of `timezone`. Every day's is known before the first is begun. A day that fails does not keep the next from running.
    """
    ends = days(since, until, timezone)
    digests = pinned(ends, recipe, overrides or [])
    done = []
    for day, moment in ends.items():
        state = line(recipe, overrides, moment, return_state=True)
        result = state.result(raise_on_failure=False)
        done.append(_dated(day, digests[day], result))
    create_table_artifact([vars(each) for each in done], key="backfill", description=f"{len(done)} days of {recipe}")
    return done


def days(since: str, until: str, timezone: str) -> dict[str, datetime]:
    """Each day and the moment it ended; raises ConfigurationError for days that are none, not over or in no order."""
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigurationError(f"timezone: expected one such as Europe/Paris, received {timezone!r}") from None
    first, last = _day("--since", since), _day("--until", until)
    if first > last:
        raise ConfigurationError(f"--since: expected a day not after --until, received {since} and {until}")
    listed = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    ends = {str(day): datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC) for day in listed}
    if ends[str(last)] > datetime.now(UTC):
        raise ConfigurationError(f"--until: expected a day that is over ({timezone}), received {until}")
    return {day: end - timedelta(microseconds=1) for day, end in ends.items()}


def pinned(ends: dict[str, datetime], recipe: str, overrides: list[str]) -> dict[str, str]:
    """The data's digest for each day; raises ConfigurationError with every day of which nothing is known."""
    project = find()
    enter(project)
    settings = complete(project, recipe, overrides).line
    found, wrong = {}, []
    for day, moment in ends.items():
        try:
            found[day] = data_revisions.as_of(project.root, settings.dataset, settings.model, moment)
        except ConfigurationError as error:
            wrong.append(f"{day}: {error}")
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return found


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{option}: expected a day such as 2026-01-31, received {text!r}") from None


def _dated(day: str, digest: str, result: Outcome | BaseException) -> Dated:
    if isinstance(result, BaseException):
        return Dated(day, digest, None, None, f"failed: {result}")
    ran = sum(not step.cached for step in result.done)
    what = {"pass": "passed", "fail": "failed the gates"}.get(result.decision.action, result.decision.action)
    return Dated(day, digest, result.run_id, result.decision.version, f"{what}; {ran} of {len(result.done)} steps done")
