"""The one wrapper around every step: look-up, child run, result, artifacts, retries and timeout.

A step's key is the digest of its inputs, its section of the configuration, its code and the locked libraries. Where
MLflow has a finished run with that key, the step is not done again: Prefect shows it as Cached, and the parent run
links to the run that was reused. A step's body writes its result into a folder; that folder becomes an artifact of the
child run, and what the line goes on with is always read from there, so a reused result cannot differ from a fresh one.
A manifest goes with it: what is damaged is named and done again, and nothing is kept that was built on it.
"""

from __future__ import annotations

import functools
import inspect
import json
import shutil
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from filelock import FileLock
from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from components import texts
from components.artifacts import ArtifactError, Dataset, digest_values
from components.config import Section
from components.own_files import remove
from components.provenance import code_digest, lock_digest, meaning
from components.registry import manifest
from components.registry.manifest import RESULT
from components.registry.store import TrackingError
from components.registry.tracking import KEY, KIND, Tracking
from flows.context import Done, line

P = ParamSpec("P")
T = TypeVar("T")

LINE = "convoy.line"  # tag: the lease under which a run was opened
STEP = "convoy.step"  # tag: which step a child run is
PART = "convoy.part."  # tags: the digests that a step's key is made of
BECAUSE = "convoy.because"  # tag: why a step was done
SUMMARY = "summary.json"
CACHED = "Cached"  # the state on Prefect's page of a step that was found done
DAMAGED = "the result"  # how the reason begins where a step is done again for its files' sake
LONGEST = 4000  # characters of a reason; MLflow keeps 8,000 of a tag


@dataclass
class StepRun:
    """What a step's body is given besides its inputs."""

    id: str  # its MLflow run
    folder: Path  # where it puts what it hands on; logged as a whole when the body returns
    work: Path  # its own folder that survives a kill: the next try finds there what this one left
    datasets: tuple[Dataset, ...] = ()  # among its inputs
    summary: str = ""  # one line for the terminal and the pages
    table: list[dict[str, Any]] = field(default_factory=list)  # rows for the Prefect page

    def log_inputs(self, run_id: str, context: str) -> None:
        """Show the step's data sets as the inputs of a run, its own or one below it; `context` says what for."""
        for dataset in self.datasets:
            name = dataset.card.name
            line().tracking.log_dataset_input(run_id, name, dataset.digest, source=f"dvc:{name}", context=context)

    def show(self, folder: Path, title: str) -> None:
        """Pictures and pages for people, beside the result among the run's artifacts."""
        line().tracking.log_artifacts(self.id, folder, title)


Body = Callable[Concatenate[StepRun, P], None]


class Step(Generic[P, T]):
    """A step of the line: call it with its inputs, get what it hands on."""

    def __init__(
        self,
        body: Body[P],
        title: str,
        load: Callable[[Path], T],
        code: Sequence[str],
        retries: int,
        minutes: float,
        holds: Callable[[T], bool],
    ) -> None:
        self.body, self.title, self.load, self.code, self.holds = body, title, load, code, holds
        self.__doc__ = body.__doc__
        self._task = task(
            name=title,
            task_run_name=title,  # Prefect's page reads like the list in the terminal
            description=inspect.getdoc(body),
            retries=retries,
            retry_delay_seconds=2,
            retry_condition_fn=passing,
            timeout_seconds=minutes * 60,
            cache_policy=NO_CACHE,
            persist_result=False,
        )(self._run)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the step, or find that it is done."""
        began = time.monotonic()
        shared = line()
        shared.begun += 1
        shared.reporter.started(self.title)
        try:
            state: State[Any] = self._task(*args, **kwargs, wait_for=shared.after, return_state=True)
            run_id = str(state.result())
        except BaseException as error:
            shared.reporter.failed(self.title, str(error))
            raise
        shared.after, cached = [state], state.name == CACHED
        folder = shared.tracking.artifact_folder(run_id, RESULT)
        summary = str(_told(folder)["summary"])
        shared.seconds[self.title] = time.monotonic() - began
        tags = shared.tracking.get(run_id).tags
        because = "" if cached else tags[BECAUSE]
        if because.startswith(DAMAGED):
            summary = f"{summary}; done again: {because}"
        shared.done.append(Done(self.title, run_id, cached, summary, tags.get(f"{PART}code", ""), because))
        shared.reporter.finished(self.title, summary, cached=cached)
        return self.load(folder)

    def parts(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, str]:
        """Everything that the result depends on, by kind, as digests: nouns, settings, code and libraries."""
        given = {**{str(place): value for place, value in enumerate(args)}, **kwargs}
        known = {name: identity(value) for name, value in sorted(given.items())}
        settings = {name for name, value in given.items() if is_setting(value)}
        body = meaning(textwrap.dedent(inspect.getsource(self.body)))
        return {
            "inputs": digest_values({name: value for name, value in known.items() if name not in settings}),
            "settings": digest_values({name: value for name, value in known.items() if name in settings}),
            "code": digest_values({"body": body, "modules": code_digest(self.code)}),
            "libraries": lock_digest(line().project.root),
        }

    def key(self, parts: dict[str, str]) -> str:
        """What the step is known by: the digest of its name and of everything that its result depends on."""
        return digest_values({"step": self.title, **parts})

    def _run(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        shared = line()
        parts = self.parts(*args, **kwargs)
        key = self.key(parts)
        # Two lines at once: the second waits for the first one's result rather than making it again.
        with FileLock(shared.project.locks / f"step-{key[:32]}.lock"):
            found, lost = self._finished(key)
            if found is not None:
                _show(self.title, found, cached=True)
                return Completed(name=CACHED, message=f"MLflow run {found}", data=found)
            if lost:
                get_run_logger().warning("%s is done again: %s", self.title, lost)
            run_id = self._do(key, parts, lost, *args, **kwargs)
        _show(self.title, run_id, cached=False)
        return run_id

    def _finished(self, key: str) -> tuple[str | None, str]:
        """The run that did this step already, if its result is whole and still true; else why it does not count."""
        tracking = line().tracking
        found = tracking.find_finished(key)
        if found is None:
            return None, ""
        wrong = manifest.damage(tracking, found)
        if wrong:
            return None, f"{DAMAGED} of run {found} is damaged: {manifest.said(wrong)}"
        try:
            folder = tracking.artifact_folder(found, RESULT)
            _told(folder)
            result = self.load(folder)
        except (ArtifactError, TrackingError, OSError, ValueError, LookupError) as error:
            # One without a manifest, of an older release: what can be read counts.
            return None, f"{DAMAGED} of run {found} cannot be read: {error}"
        if not self.holds(result):
            return None, f"what run {found} did is no longer so"
        return found, ""

    def _because(self, parts: dict[str, str], lost: str) -> str:
        """Why the step is done: what became of its result, or what differs from the last time that it was done."""
        if lost:
            return lost[:LONGEST]
        before = line().tracking.search({STEP: self.title}, status="FINISHED", limit=1)
        changed = [part for part, digest in parts.items() if not before or before[0].tags.get(PART + part) != digest]
        if not before:
            return "it was not done before"
        return f"changed: {', '.join(changed)}" if changed else "the run that did it is gone"

    def _do(self, key: str, parts: dict[str, str], lost: str, *args: P.args, **kwargs: P.kwargs) -> str:
        shared = line()
        tracking = shared.tracking
        tags = {LINE: shared.lease.id, STEP: self.title, KEY: key, KIND: "step", BECAUSE: self._because(parts, lost)}
        tags |= {PART + part: digest for part, digest in parts.items()}
        # The number keeps a line's steps in its order wherever MLflow lists them.
        run_id = tracking.start_run(f"{shared.begun:02d} {self.title}", parent=shared.run_id, tags=tags)
        datasets = tuple(value for value in (*args, *kwargs.values()) if isinstance(value, Dataset))
        work = shared.project.work / key[:32]
        folder = work / RESULT
        try:
            if work.is_file():
                work.unlink()
            remove(folder)  # a half-written result of an earlier try
            folder.mkdir(parents=True)
            began = time.monotonic()
            step_run = StepRun(run_id, folder, work, datasets)
            step_run.log_inputs(run_id, self.title)
            self.body(step_run, *args, **kwargs)
            _require_whole_inputs(self.title)
            tracking.log_metrics(run_id, {"seconds": time.monotonic() - began})
            told = {"summary": step_run.summary, "table": step_run.table}
            (folder / SUMMARY).write_text(json.dumps(told), encoding="utf-8")
            tracking.log_artifacts(run_id, folder, RESULT)
            manifest.record(tracking, run_id, folder)
            tracking.log_note(run_id, texts.markdown(step_run.summary))
            tracking.finish(run_id)
        except BaseException as error:
            stopped = isinstance(error, Exception)
            _close(tracking, run_id, "FAILED" if stopped else "KILLED")
            if stopped and not isinstance(error, TrackingError):
                _require_whole_inputs(self.title, error)
            raise
        shutil.rmtree(work)
        return run_id


def step(
    title: str,
    *,
    load: Callable[[Path], T],
    code: Sequence[str],
    retries: int = 1,
    minutes: float = 30.0,
    holds: Callable[[T], bool] = lambda _: True,
) -> Callable[[Body[P]], Step[P, T]]:
    """Make a step of a body `(run, *inputs) -> None`.

    `load` reads what the body wrote; `code` names the modules it does its work with; `holds` says whether a finished
    result is still true, for steps that also change something outside. Only passing troubles (a lost connection, a
    full disk) are tried again: a wrong input stays wrong.
    """

    def make(body: Body[P]) -> Step[P, T]:
        return functools.wraps(body, updated=())(Step(body, title, load, code, retries, minutes, holds))  # type: ignore[return-value]

    return make


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted keys: what MLflow compares runs by. Gates go by their names, as with `-S`."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        name, below = f"{prefix}{key}", _by_gate(value)
        result |= flat(below, f"{name}.") if isinstance(below, dict) and below else {name: value}
    return result


def _by_gate(value: Any) -> Any:
    """A list of gates as a mapping; anything else as it is."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) and "gate" in entry for entry in value):
        return value
    named = {" ".join(filter(None, (entry["gate"], entry.get("metric")))): entry for entry in value}
    return {
        name: {key: said for key, said in entry.items() if key not in ("gate", "metric")}
        for name, entry in named.items()
    }


def identity(value: Any) -> Any:
    """What a step's input contributes to its key: the digest of a noun, the value of a plain one."""
    if isinstance(value, Section):
        return value.digest()
    digest = getattr(value, "digest", None)
    if isinstance(digest, str):
        return digest
    if isinstance(value, tuple | list):
        return [identity(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a step's input must be a noun, a section or a plain value, received {type(value).__name__}")


def is_setting(value: Any) -> bool:
    """Whether a step's input comes from the configuration rather than from another step."""
    if isinstance(value, tuple | list):
        return all(is_setting(item) for item in value)
    return isinstance(value, Section | str | int | float | bool | None)


def passing(task: Any, task_run: Any, state: State[Any]) -> bool:
    """Whether trying again can help."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError | ConnectionError | TrackingError) and not isinstance(error, FileNotFoundError)


def _require_whole_inputs(step: str, cause: BaseException | None = None) -> None:
    """ArtifactError where the result of a step before this one was damaged while the line went on.

    Asked when a step's work is done, and when it failed: files do not heal, so what is whole then was whole before.
    """
    for done in line().done:
        try:
            wrong = manifest.damage(line().tracking, done.run_id)
        except TrackingError:
            if cause is None:
                raise
            return  # MLflow cannot be asked: the error under way is the one to be told
        if wrong:
            raise ArtifactError(
                f"{step}: the result of {done.step}, which it is built on, was damaged while the line ran (run "
                f"{done.run_id}): {manifest.said(wrong)}. Start the same command again: {done.step} is done anew"
            ) from cause


def _told(folder: Path) -> dict[str, Any]:
    """What a step says of its result; ArtifactError where that cannot be read."""
    file = folder / SUMMARY
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return {"summary": str(told["summary"]), "table": list(told["table"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{file}: expected a step's summary and table: {error}") from error


def _close(tracking: Tracking, run_id: str, status: Any) -> None:
    try:
        for child in tracking.children(run_id):
            if child.status == "RUNNING":
                tracking.finish(child.id, status)
        tracking.finish(run_id, status)
    except TrackingError:
        # MLflow is what failed: the error under way says so, and the next start closes the run.
        line().lease.leave_open()


def _show(title: str, run_id: str, *, cached: bool) -> None:
    """The step on Prefect's page: its summary, its table and the way to its MLflow run."""
    shared = line()
    told = _told(shared.tracking.artifact_folder(run_id, RESULT))
    link = shared.tracking.run_link(run_id)
    summary = texts.markdown(told["summary"])
    parts = [f"**{summary}**", f"MLflow run [{run_id}]({link})" if link else f"MLflow run {run_id}"]
    if cached:
        parts.append("Nothing that this step depends on has changed: the result of that run was reused.")
    else:
        parts.append(f"It was done because {texts.markdown(shared.tracking.get(run_id).tags[BECAUSE])}.")
    if told["table"]:
        columns = list(told["table"][0])
        rows = [[texts.markdown(str(row.get(column, ""))) for column in columns] for row in told["table"]]
        parts.append(texts.markdown_table([texts.markdown(column) for column in columns], rows))
    get_run_logger().info("%s: %s", "cached" if cached else "done", texts.shown(told["summary"], LONGEST))
    create_markdown_artifact(key=title, markdown="\n\n".join(parts), description=summary)
