"""Work on many parts of a data set by one process a core, in order, with a bounded number of results waiting.

For work that Python's interpreter lock would keep on one core. The processes are spawned, import only what the work
needs, and die with the process that started them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

from components.data.errors import DataError

T = TypeVar("T")
R = TypeVar("R")

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
    from components.data.stages import end_with_parent

    starter = parent_process()  # whoever it was when this one was spawned: it may be dead by now
    end_with_parent(starter.pid if starter else None)
