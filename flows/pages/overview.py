"""The state of a project as its first page shows it: what waits for whom, what runs, models, drift, plans and disk.

Only gathers, with the functions that `convoy status` has; `overview_page` shows it. Each part is asked for by itself,
so one that fails is one broken box and not a broken page.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from components.secrecy import scrub
from flows.base.project import Project
from flows.cleaning.measuring import use

if TYPE_CHECKING:
    from components.registry.drifts import Drift
    from components.registry.lines import Line, Standing
    from components.registry.memory.tracking import Tracking
    from components.registry.verification import NotDecided
    from flows.pages.status import Asked, Planned, Waiting
    from flows.pages.under_way import UnderWay

T = TypeVar("T")

RUNS = 20  # that are shown
COMPARED = 60  # runs whose comparisons for drift are looked at: reading 200 of them costs seconds
FRESH_SECONDS = 2.0  # several people who look at the page have it gathered once
DISK_SECONDS = 60.0  # a hundred thousand files take a second to measure
MEASURING_SECONDS = 0.1  # that is waited for it: small projects are measured within
PATIENCE_SECONDS = 0.3  # that a visitor waits for what is new: five models and twenty runs take about that long
WORDS = 300  # characters of an error


@dataclass(frozen=True)
class Part(Generic[T]):
    """What one part of the page shows; or, where that could not be had, why."""

    value: T | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Disk:
    """Bytes on the disk, by place, and what is free there. `places` is None while it is measured for the first time."""

    places: Mapping[str, int] | None
    free: int


@dataclass(frozen=True)
class Overview:
    """Everything that the page shows besides its links, and when it was asked for (seconds since 1970)."""

    at: float
    models: Part[Sequence[Standing]]
    not_decided: Part[Mapping[str, Sequence[NotDecided]]]  # by model: aliases that were moved past Convoy
    waiting: Part[Sequence[Waiting]]
    running: Part[Sequence[UnderWay]]
    runs: Part[Sequence[Line]]
    drift: Part[Sequence[Drift]]
    plans: Part[Sequence[Planned]]
    disk: Part[Disk]


class Watch:
    """Gathers beside whenever it is asked, and answers at once: with what is new where that comes soon, or the last.

    The page says of when what it shows is. The disk is measured once a minute at most.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._last: Overview | None = None
        self._gathering: threading.Thread | None = None
        self._measured: tuple[float, dict[str, int]] | None = None
        self._measuring: threading.Thread | None = None

    def warm(self) -> None:
        """Begin with it: the first time costs the engines' imports, three seconds that no visitor has to wait."""
        with self._lock:
            self._begin()

    def __call__(self) -> Overview:
        with self._lock:
            gathering = self._begin()
        gathering.join(PATIENCE_SECONDS if self._last is not None else None)  # the first visitor waits
        if self._last is None:
            raise RuntimeError("the state of the project could not be gathered; the terminal says why")
        return self._last

    def _begin(self) -> threading.Thread:
        if self._gathering is None or not (self._gathering.is_alive() or self._is_fresh()):
            self._gathering = threading.Thread(target=self._gather, name="overview", daemon=True)
            self._gathering.start()
        return self._gathering

    def _is_fresh(self) -> bool:
        return self._last is not None and time.time() - self._last.at < FRESH_SECONDS

    def _gather(self) -> None:
        self._last = gather(self._project, self._disk)

    def _disk(self) -> Disk:
        if self._measured is None or time.monotonic() - self._measured[0] > DISK_SECONDS:
            if self._measuring is None or not self._measuring.is_alive():
                self._measuring = threading.Thread(target=self._measure, name="disk", daemon=True)
                self._measuring.start()
            self._measuring.join(MEASURING_SECONDS)
        free = shutil.disk_usage(self._project.root).free
        return Disk(self._measured[1] if self._measured else None, free)

    def _measure(self) -> None:
        root = self._project.root
        places = {name: use(root / name).size for name in (".convoy", ".dvc/cache")}
        self._measured = (time.monotonic(), places)


def gather(project: Project, disk: Callable[[], Disk]) -> Overview:
    """All parts, each by itself."""
    at = time.time()
    pool = ThreadPoolExecutor(max_workers=1)  # Prefect's server answers while MLflow's database is read
    coming = pool.submit(part, _plans)
    pool.shutdown(wait=False)
    connection = part(lambda: _connected(project))
    store = connection.value
    if store is None:
        why: Part[Any] = Part(problem=connection.problem)
        return Overview(at, why, why, why, why, why, why, coming.result(), part(disk))
    runs, models = part(lambda: _runs(project, store)), part(lambda: _models(store))
    running, drift = part(lambda: _running(project, store)), part(lambda: _drift(store, runs))
    asked = part(lambda: _asked(store, models))
    plans = coming.result()
    waiting = part(lambda: _waiting(models, plans, asked))
    moved = Part[Mapping[str, Sequence["NotDecided"]]](asked.value[1] if asked.value else None, asked.problem)
    last = Part(runs.value[:RUNS]) if runs.value is not None else runs
    return Overview(at, models, moved, waiting, running, last, drift, plans, part(disk))


def part(ask: Callable[[], T]) -> Part[T]:
    """What is answered; whatever goes wrong, of whichever engine, becomes words in its own box."""
    try:
        return Part(ask())
    except Exception as error:
        said = scrub(str(error).strip() or type(error).__name__)
        return Part(problem=said if len(said) <= WORDS else f"{said[:WORDS]}…")


def _connected(project: Project) -> Tracking:
    from components.registry.memory import tracking

    return tracking.connect(project.root)


def _runs(project: Project, store: Tracking) -> Sequence[Line]:
    from components.registry import lines
    from flows.pages import status

    return status.truly(project, store, lines.recent(store, COMPARED))


def _running(project: Project, store: Tracking) -> Sequence[UnderWay]:
    from flows.pages import under_way

    return under_way.now(project, store)


def _drift(store: Tracking, runs: Part[Sequence[Line]]) -> Sequence[Drift]:
    from components.registry import drifts

    return drifts.last(store, _known(runs, "what ran"))


def _models(store: Tracking) -> Sequence[Standing]:
    from components.registry import lines

    return lines.standings(store)


def _asked(store: Tracking, models: Part[Sequence[Standing]]) -> Asked:
    from flows.pages import status

    return status.asked(store, _known(models, "which versions are staged"))


def _waiting(models: Part[Sequence[Standing]], plans: Part[Sequence[Planned]], asked: Part[Asked]) -> Sequence[Waiting]:
    """Staged versions and paused flow runs, and the words that let them go on."""
    from flows.pages import status

    wanted, _ = _known(asked, "what people have said")
    return status.waiting(_known(models, "which versions are staged"), plans.value or [], wanted)


def _known(found: Part[T], what: str) -> T:
    """What another part has found; RuntimeError with its problem where it has found nothing."""
    if found.value is None:
        raise RuntimeError(f"{what} is not known: {found.problem}")
    return found.value


def _plans() -> Sequence[Planned]:
    """What Prefect has on its list; without a server's address, its client would start one for the question."""
    from flows.pages import status

    if not os.environ.get("PREFECT_API_URL"):
        raise RuntimeError("no Prefect server is named (PREFECT_API_URL)")
    return status.planned()
