"""A part of the pipeline as a task of Prefect's: its retries and its timeout, its state, and what its page says.

Imported by a part that is run; one that is only looked up needs no orchestration.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from prefect import Task, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from components import texts
from components.registry.memory.store import TrackingError

CACHED = "Cached"  # the state on Prefect's page of a step that need not be done again
LONGEST = 4000  # characters of a summary in the log


def task_of(
    work: Callable[..., Any], name: str, about: Callable[..., Any], *, retries: int, delay: float, minutes: float
) -> Task[..., Any]:
    """The task that does `work` and reads as `about`; `delay` in seconds, between two attempts.

    Only passing troubles (a lost connection, a full disk) are tried again: a wrong input stays wrong.
    """
    return task(
        name=name,
        task_run_name=name,  # Prefect's page reads like the list in the terminal
        description=inspect.getdoc(about),
        retries=retries,
        retry_delay_seconds=delay,
        retry_condition_fn=passing,
        timeout_seconds=minutes * 60,
        cache_policy=NO_CACHE,
        persist_result=False,
    )(work)


def passing(task: Any, task_run: Any, state: State[Any]) -> bool:
    """Whether trying again can help."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError | ConnectionError | TrackingError) and not isinstance(error, FileNotFoundError)


def found_done(run_id: str) -> State[str]:
    """How a task ends whose work an earlier run has done."""
    return Completed(name=CACHED, message=f"MLflow run {run_id}", data=run_id)


def warn_done_again(title: str, why: str) -> None:
    """A word in the task's log."""
    get_run_logger().warning("%s is done again: %s", title, why)


def show(title: str, told: Mapping[str, Any], run_id: str, link: str | None, because: str | None) -> None:
    """The task's page: the step's summary, its table and the way to its MLflow run; `because` is None where it was
    cached.
    """
    summary = texts.markdown(told["summary"])
    parts = [f"**{summary}**", f"MLflow run [{run_id}]({link})" if link else f"MLflow run {run_id}"]
    if because is None:
        parts.append("Nothing that this step depends on has changed: the result of that run was reused.")
    else:
        parts.append(f"It was done because {texts.markdown(because)}.")
    if told["table"]:
        columns = list(told["table"][0])
        rows = [[texts.markdown(str(row.get(column, ""))) for column in columns] for row in told["table"]]
        parts.append(texts.markdown_table([texts.markdown(column) for column in columns], rows))
    done = "cached" if because is None else "done"
    get_run_logger().info("%s: %s", done, texts.shown(told["summary"], LONGEST))
    create_markdown_artifact(key=title, markdown="\n\n".join(parts), description=summary)
