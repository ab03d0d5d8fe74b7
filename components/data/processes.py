"""Processes that work on data and die with the one that waits for them, and work on many parts by one process per core.

The latter is for work that Python's interpreter lock would keep on one core: results come in order, a bounded number of
them waits, and the processes are spawned and import only what the work needs.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TypeVar

from components.data.errors import DataError

T = TypeVar("T")
R = TypeVar("R")

PARENT_VARIABLE = "CONVOY_STAGE_PARENT"  # the process whose end ends the stage, where it is not the direct parent
AHEAD = 2  # parts a process that are worked on or wait to be taken: enough that nobody waits, and no more memory
_inside = False


def in_processes(work: Callable[[T], R], parts: Sequence[T]) -> Iterator[R]:
    """`map(work, parts)`; `work` and `parts` must travel between processes.

    Raises what `work` raises, and DataError where a process was killed (for want of memory, most likely).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn"), initializer=_begin) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for part in parts:
                waiting.append(pool.submit(work, part))
                if len(waiting) > AHEAD * cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                "a process that decodes images was killed, for want of memory most likely; make room and run again"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def inside() -> bool:
    """Whether this is one of those processes."""
    return _inside


def _begin() -> None:
    global _inside  # noqa: PLW0603 — a fact about this process
    _inside = True
    starter = parent_process()  # whoever it was when this one was spawned: it may be dead by now
    end_with_parent(starter.pid if starter else None)


def end_with_parent(parent: int | None = None) -> None:
    """Die with the process that waits for this one: an orphaned stage would write beside its successor.

    `parent` is its process id where this process was told it; it may have gone before this is called. Linux only;
    elsewhere a stage runs to its end, and its result is whole or absent all the same.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes
    import signal
    import threading
    import time

    direct = os.getppid()
    wanted = parent or int(os.environ.get(PARENT_VARIABLE) or direct)
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != direct or not Path(f"/proc/{wanted}").exists():
        os.kill(os.getpid(), signal.SIGKILL)  # the parent went before we asked to be told
    if wanted != direct:  # a shell stands between: its own end is not the one that matters

        def watch() -> None:
            while Path(f"/proc/{wanted}").exists():
                time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=watch, daemon=True).start()
