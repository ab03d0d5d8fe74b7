"""Small matrices on one thread: where cores are shared, BLAS's own threads wait for each other longer than they work.

Measured on two busy cores, the inspection of scikit-learn's digits: 0.4 s of processor time on one thread, 6.7 s on
two; on two idle ones a second thread saves a tenth of the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with BLAS kept to one thread while it runs."""

    @wraps(function)
    def limited(*arguments: P.args, **named: P.kwargs) -> R:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1):
            return function(*arguments, **named)

    return limited
