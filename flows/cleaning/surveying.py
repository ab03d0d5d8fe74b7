"""Looking for what can go. Changes nothing."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from components.data import places
from flows.base.project import Project
from flows.cleaning.kinds import DAY, HOUR, KINDS, Removable, Survey
from flows.cleaning.living import Living, living
from flows.cleaning.measuring import use

# The names that `files.writing`, `files.replacing` and this room give to what is on its way.
HALF = re.compile(r"^\.(?P<name>.+)\.[0-9a-f]{8}(?P<old>\.old)?$")
# In a person's own folders: the files that Convoy writes there. Eight digits are a date more often than ours.
IN_ROOT = re.compile(r"^\.(?P<name>params\.yaml|dvc\.lock)\.(?!\d{8}$)[0-9a-f]{8}$")
IN_RECIPES = re.compile(r"^\.(?P<name>.+\.ya?ml)\.(?!\d{8}$)[0-9a-f]{8}$")
RESTORING = re.compile(r"^\.(?P<name>.+)\.restoring-[0-9a-f]{8}(-old)?$")  # `versions.restore`
DVC_HALF = re.compile(r"^\.[A-Za-z0-9_-]{22}\.tmp$")  # `dvc_objects.fs.utils.tmp_fname`
# Names that `tempfile` gives to ours, and what is left of a cleaning or a look; nobody chooses them by hand.
TEMPORARY = re.compile(r"^\.?convoy-((ray|chain|check|bench|range|apt)-[a-z0-9_]{8}|writes-here)(\.[0-9a-f]{8})?$")
LOGS = ("*.log", "*.jsonl", "detached-*.txt")  # of commands, what they showed, and what was printed unseen
LATELY = 20  # runs that are looked at for one that has just ended
USED_BY_LINES = {"decoded", "work", "downloads", "steps", "deleted"}


@dataclass(frozen=True)
class Looking:
    """What a search goes by: only what was used before `before` may go, and before `hour` for what does not age."""

    project: Project
    before: float  # seconds since 1970
    hour: float
    lines: Sequence[Living]


def survey(
    project: Project, kinds: Iterable[str] | None = None, older_than: float = 30.0, now: float | None = None
) -> Survey:
    """What can go, of these kinds (all by default) and not used for `older_than` days; in any case for an hour.

    `now` is in seconds since 1970, by default the clock's. Raises ValueError for a kind that there is not.
    """
    wanted = list(KINDS) if kinds is None else list(kinds)
    if unknown := [kind for kind in wanted if kind not in KINDS]:
        raise ValueError(f"--only: expected one of {', '.join(KINDS)}, received {', '.join(unknown)}")
    moment = time.time() if now is None else now
    lines = living(project)
    hour = min([moment - HOUR, *(each.since for each in lines)])
    looking = Looking(project, min(hour, moment - older_than * DAY), hour, lines)
    found: list[Removable] = []
    stays: list[str] = []
    for kind in wanted:
        if lines and kind in USED_BY_LINES:
            stays.append(f"{kind}: a run is under way that may use them ({lines[0].said})")
            continue
        for each in _SEARCHES[kind](looking):
            if isinstance(each, Removable):
                found.append(each)
            else:
                stays.append(f"{kind}: {each}")
    return Survey(tuple(found), tuple(stays))


Search = Callable[[Looking], Iterator[Removable | str]]


# -- leftovers -------------------------------------------------------------------------------------------------------


def _leftovers(looking: Looking) -> Iterator[Removable | str]:
    project = looking.project
    for place in _half_written(project):
        if (found := use(place)).used < looking.hour:
            yield Removable("leftovers", _short(project, place), (place,), found.size)
    if not looking.lines:
        for pattern in ("step-*.lock", "tune-*.lock"):
            for lock in sorted(project.locks.glob(pattern)):
                if use(lock).used < looking.hour:
                    yield Removable("leftovers", _short(project, lock), (lock,), use(lock).size, lock=lock)
    yield from _in_temporary_folder(looking)


def _half_written(project: Project) -> Iterator[Path]:
    """What was to be moved to its place and never was. Prefect's and Evidently's folders are theirs."""
    root, state = project.root, project.state
    shallow = [state, state / "mlartifacts", state / "mlartifacts" / "models", root / places.KEPT]
    for stage in places.FOLDERS.values():
        shallow += [root / places.KEPT / stage, *_folders(root / places.KEPT / stage)]
    shallow += [root / places.DOWNLOADS]
    yield from _matching(root, IN_ROOT)
    yield from _matching(root / "recipes", IN_RECIPES)
    for folder in shallow:
        yield from _matching(folder, HALF, RESTORING)
    for name in ("work", "decoded", "downloads", "cards", "locks", "lines", "logs"):
        for place, folders, _ in os.walk(state / name):
            yield from _matching(Path(place), HALF)
            folders[:] = [each for each in folders if not HALF.match(each)]
    for folder in (root / ".dvc" / "cache" / "files" / "md5", *_folders(root / ".dvc" / "cache" / "files" / "md5")):
        yield from _matching(folder, DVC_HALF)


def _matching(folder: Path, *patterns: re.Pattern[str]) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for place in sorted(folder.iterdir()):
        found = next(filter(None, (pattern.match(place.name) for pattern in patterns)), None)
        if found is None or place.is_symlink():
            continue
        # Moved aside to make room for what never came: it may be the only one of its name.
        aside = place.name.endswith((".old", "-old"))
        if not aside or (folder / found["name"]).exists():
            yield place


def _in_temporary_folder(looking: Looking) -> Iterator[Removable]:
    """Folders of ours in the system's temporary folder that no process of ours speaks of any more."""
    folder = Path(tempfile.gettempdir())
    mine = [place for place in sorted(folder.iterdir()) if TEMPORARY.match(place.name) and _is_ours(place)]
    if not mine:
        return
    spoken = _spoken()
    for place in mine:
        found = use(place)
        if found.used < looking.hour and str(place) not in spoken:
            yield Removable("leftovers", str(place), (place,), found.size)


# -- files -----------------------------------------------------------------------------------------------------------


def _restored(looking: Looking) -> Iterator[Removable | str]:
    """`work/data-LEASE` of runs that are over."""
    alive = {each.id for each in looking.lines}
    for place in sorted(looking.project.work.glob("data-*")):
        found = use(place)
        if place.name.removeprefix("data-") not in alive and found.used < looking.hour:
            yield Removable("restored", _short(looking.project, place), (place,), found.size)


def _logs(looking: Looking) -> Iterator[Removable | str]:
    # What was read lately may still be old: for a log only its writing counts.
    files = sorted(file for pattern in LOGS for file in looking.project.logs.glob(pattern))
    old = [file for file in files if file.stat().st_mtime < looking.before]
    open_now = _open_files() if old else set()
    for file in old:
        if str(file) not in open_now:
            yield Removable("logs", _short(looking.project, file), (file,), use(file).size)


def _decoded(looking: Looking) -> Iterator[Removable | str]:
    lock = looking.project.decoded / "lock"
    for folder in _folders(looking.project.decoded):
        found = use(folder)
        if not folder.name.startswith(".") and found.used < looking.before:
            yield Removable("decoded", _short(looking.project, folder), (folder,), found.size, lock=lock)


def _work(looking: Looking) -> Iterator[Removable | str]:
    """A folder a key of a step, or a study of `convoy tune`; whoever works there holds the lock of that name."""
    for folder in _folders(looking.project.work):
        found = use(folder)
        if folder.name.startswith((".", "data-")) or found.used >= looking.before:
            continue
        name = folder.name if folder.name.startswith(("tune-", "study-")) else f"step-{folder.name}"
        lock = looking.project.locks / f"{name}.lock"
        yield Removable("work", _short(looking.project, folder), (folder,), found.size, lock=lock)


def _downloads(looking: Looking) -> Iterator[Removable | str]:
    """Of a server's artifacts, and of sources, with what did not come to its end."""
    project = looking.project
    for folder in (*_folders(project.state / "downloads"), *_folders(project.state / "downloads" / "versions")):
        if folder.name == "versions" or folder.name.startswith("."):
            continue
        if (found := use(folder)).used < looking.before:
            yield Removable("downloads", _short(project, folder), (folder,), found.size)
    for folder in _folders(project.root / places.DOWNLOADS):
        if HALF.match(folder.name):
            continue
        if (found := use(folder)).used < looking.before:
            lock = folder.with_name(f".{folder.name.removeprefix('.').removesuffix('.partial')}.lock")
            yield Removable("downloads", _short(project, folder), (folder,), found.size, lock=lock)


# -- MLflow ----------------------------------------------------------------------------------------------------------


def _steps(looking: Looking) -> Iterator[Removable | str]:
    project = looking.project
    if why := _not_ours(project):
        yield why
        return
    from components.registry import lines, standing
    from components.registry.memory import tracking

    store = tracking.connect(project.root)
    lately = [each for each in lines.recent(store, LATELY) if each.started + (each.seconds or 0) >= looking.hour]
    if lately:
        yield f"a run ended within the last hour ({lately[0].id[:8]}), and may be started again"
        return
    for each in standing.idle(store, looking.before):
        runs = (each.run, *each.below)
        paths = tuple(place for run in runs if (place := _artifacts(project, run)).is_dir())
        what = f"{each.step} of {each.model}, {each.status.lower()} (run {each.run[:8]})"
        yield Removable("steps", what, paths, use(*paths).size, runs=runs, seconds=each.seconds)


def _deleted(looking: Looking) -> Iterator[Removable | str]:
    project = looking.project
    if why := _not_ours(project):
        yield why
        return
    from components.registry import standing
    from components.registry.memory import tracking

    store = tracking.connect(project.root)
    for run in standing.deleted_runs(store, looking.before):
        if (place := _artifacts(project, run)).is_dir():
            yield Removable("deleted", f"run {run[:8]}", (place,), use(place).size)
    for model in standing.deleted_models(store, looking.before):
        if (place := project.state / "mlartifacts" / "models" / model).is_dir():
            yield Removable("deleted", f"package {model[:10]}", (place,), use(place).size)


def _not_ours(project: Project) -> str | None:
    """Why MLflow's runs are left alone; None where the store is the project's own."""
    from components.registry.standing import is_own

    if is_own(project.root):
        return None
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return "the store that MLFLOW_TRACKING_URI names is not this project's alone, and is left as it is"
    return "there is no store yet"


def _artifacts(project: Project, run: str) -> Path:
    """Where the project keeps a run's files: below its own folder, wherever it was when the run was made."""
    return project.state / "mlartifacts" / run


_SEARCHES: dict[str, Search] = {
    "leftovers": _leftovers,
    "restored": _restored,
    "logs": _logs,
    "decoded": _decoded,
    "work": _work,
    "downloads": _downloads,
    "steps": _steps,
    "deleted": _deleted,
}


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(place for place in folder.iterdir() if place.is_dir() and not place.is_symlink())


def _is_ours(place: Path) -> bool:
    try:
        return not place.is_symlink() and place.stat().st_uid == os.getuid()
    except FileNotFoundError:
        return False


def _spoken() -> str:
    """What processes of ours were started with: arguments and environments, which name what they work in."""
    words: list[str] = []
    for process in psutil.process_iter():
        try:
            words += [*process.cmdline(), *process.environ().values()]
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return " ".join(words)


def _open_files() -> set[str]:
    """What processes of ours have open: a server that writes seldom would lose its log."""
    found: set[str] = set()
    for process in psutil.process_iter():
        try:
            found |= {opened.path for opened in process.open_files()}
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return found


def _short(project: Project, place: Path) -> str:
    return place.relative_to(project.root).as_posix()
