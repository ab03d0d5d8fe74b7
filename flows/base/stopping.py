"""A run that somebody cancels on Prefect's page, where no worker of Prefect's stands beside it to end it.

A worker (and `convoy schedule`) ends the process of a run that is to be cancelled. A run that was started by hand has
only itself: it looks, and interrupts itself, so its MLflow runs are closed as after any other interruption.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

SECONDS = 3.0  # between two looks; a request takes some milliseconds
_asked: set[UUID] = set()


@contextmanager
def cancellable(flow_run: str | None) -> Iterator[None]:
    """While the block runs, a cancellation of this flow run interrupts it (SIGTERM to this process)."""
    if flow_run is None or _has_worker() or threading.current_thread() is not threading.main_thread():
        yield
        return
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(UUID(flow_run), over), name="cancellation", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def was_asked(flow_run: UUID) -> bool:
    """Whether this run ended because somebody had cancelled it."""
    return flow_run in _asked


def as_cancelled(flow: Any, flow_run: Any, state: Any) -> None:
    """A hook of Prefect's: what was asked to stop is Cancelled, not Crashed."""
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled

    if was_asked(flow_run.id):
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Cancelled(message="Cancelled in Prefect's web UI."), force=True)


def _has_worker() -> bool:
    """Whether Prefect's own runner or worker looks after this process (it says so in its environment)."""
    return os.environ.get("PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS", "true").lower() == "false"


def _watch(flow_run: UUID, over: threading.Event) -> None:
    from httpx import HTTPError
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    with get_client(sync_client=True) as client:
        while not over.wait(SECONDS):
            try:
                state = client.read_flow_run(flow_run).state
            except (HTTPError, PrefectHTTPStatusError):
                continue  # the server is away for a moment: the run goes on, and so does the looking
            if state is not None and (state.is_cancelling() or state.is_cancelled()):
                _asked.add(flow_run)
                os.kill(os.getpid(), signal.SIGTERM)
                return
