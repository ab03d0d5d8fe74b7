"""The one wrapper around every step: look-up, child run, result, artifacts, retries and timeout.

A step's key (`known_by`) is the digest of its inputs, its settings, its code and the libraries that run. Where MLflow
has a finished run with that key, the step is not done again: Prefect shows it as Cached, and the parent run links to
the run that was reused. A step's body writes its result into a folder; that folder becomes an artifact of the
child run, and what the run goes on with is always read from there, so a reused result cannot differ from a fresh one.
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
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from filelock import FileLock

from components import machine, texts
from components.artifacts import ArtifactError, Dataset
from components.config import Section
from components.files import digest_values
from components.own_files import remove
from components.parsed import meaning
from components.provenance import code_parts, libraries
from components.registry.memory import manifest
from components.registry.memory.manifest import RESULT
from components.registry.memory.store import TrackingError
from components.registry.memory.tracking import KEY, KIND, Tracking
from components.secrecy import errors_without_secrets
from flows.run.context import Done, NotYet, Plan, line
from flows.run.known_by import FILE, KnownBy, dotted, identity, is_setting, used

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State

P = ParamSpec("P")
T = TypeVar("T")

LEASE = "convoy.lease"  # tag: the lease under which a run was opened
STEP = "convoy.step"  # tag: which step a child run is
PART = "convoy.part."  # tags: the digests that a step's key is made of
BECAUSE = "convoy.because"  # tag: why a step was done
SUMMARY = "summary.json"
KNOWN = "key"  # folder of a run's artifacts: what its key is made of
ANEW = "it was asked for"
DAMAGED = "the result"  # how the reason begins where a step is done again for its files' sake
LONGEST = 4000  # characters of a reason; MLflow keeps 8,000 of a tag


@dataclass
class StepRun:
    """What a step's body is given besides its inputs."""

    id: str  # its MLflow run
    folder: Path  # where it puts what it hands on; logged as a whole when the body returns
    work: Path  # its own folder that survives a kill: the next attempt finds there what this one left
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
    """A step of the pipeline: call it with its inputs, get what it hands on."""

    def __init__(
        self,
        body: Body[P],
        title: str,
        load: Callable[[Path], T],
        code: Sequence[str],
        retries: int,
        minutes: float,
        holds: Callable[[T], bool],
        measures: bool,
    ) -> None:
        self.body, self.title, self.load, self.code, self.holds = body, title, load, code, holds
        self.retries, self.minutes, self.measures = retries, minutes, measures
        self._names = list(inspect.signature(body).parameters)[1:]  # the first is the run
        self.__doc__ = body.__doc__

    @functools.cached_property
    def _task(self) -> Task[..., Any]:
        """Made when the step is run for the first time, with which Prefect is imported."""
        from flows.run import orchestrated

        return orchestrated.task_of(
            self._run, self.title, self.body, retries=self.retries, delay=2.0, minutes=self.minutes
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the step, or find that it is done."""
        began = time.monotonic()
        shared = line()
        if shared.plan is not None:
            return self._looked_up(shared.plan, *args, **kwargs)
        from flows.run import orchestrated

        shared.begun += 1
        shared.reporter.started(self.title)
        try:
            state: State[Any] = self._task(*args, **kwargs, wait_for=shared.after, return_state=True)
            run_id = str(state.result())
        except BaseException as error:
            shared.reporter.failed(self.title, str(error))
            raise
        shared.after, cached = [state], state.name == orchestrated.CACHED
        shared.ended(told_by(shared.tracking, self.title, run_id, cached=cached), time.monotonic() - began)
        return self.load(shared.tracking.artifact_folder(run_id, RESULT))

    def _looked_up(self, plan: Plan, *args: P.args, **kwargs: P.kwargs) -> T:
        """Note whether the step is done; what it hands on, or what stands for it."""
        began = time.monotonic()
        known = self.known_by(*args, **kwargs)
        found, lost = self._finished(known.key(self.title))
        if self.title in line().fresh:
            found, lost = None, ANEW
        if found is None:
            plan.runs(self.title, self._because(known, lost))
            return cast(T, None if self.load is nothing else NotYet(self.title))
        plan.done(self.title, found, time.monotonic() - began)
        return self.load(line().tracking.artifact_folder(found, RESULT))

    def known_by(self, *args: P.args, **kwargs: P.kwargs) -> KnownBy:
        """Everything that the result depends on, by kind and name: nouns, settings, code, libraries, the machine."""
        given = dict(zip(self._names, args, strict=False)) | kwargs
        inputs: dict[str, str] = {}
        settings: dict[str, str] = {}
        for name, value in given.items():
            if is_setting(value):
                settings |= dotted(_key_of(name, value), value)
            else:
                inputs[name] = digest_values({name: identity(value)})
        body = meaning(textwrap.dedent(inspect.getsource(self.body)))
        code = code_parts(self.code, used(list(given.values())))
        return KnownBy(
            {
                "inputs": inputs,
                "settings": settings,
                "code": {f"the step {self.title}": digest_values({self.title: body}), **code},
                "libraries": libraries(line().project.root),
                "machine": machine.kind() if self.measures else {},
            }
        )

    def _run(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        with errors_without_secrets():  # Prefect keeps them
            return self._found_or_done(*args, **kwargs)

    def _found_or_done(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        from flows.run import orchestrated

        shared = line()
        known = self.known_by(*args, **kwargs)
        key = known.key(self.title)
        # Two runs at once: the second waits for the first one's result rather than making it again.
        with FileLock(shared.project.locks / f"step-{key[:32]}.lock"):
            found, lost = self._finished(key)
            if self.title in shared.fresh:
                found, lost = None, ANEW
            if found is not None:
                _show(self.title, found, cached=True)
                return orchestrated.found_done(found)
            if lost:
                orchestrated.warn_done_again(self.title, lost)
            run_id = self._do(key, known, lost, *args, **kwargs)
        _show(self.title, run_id, cached=False)
        return run_id

    def _finished(self, key: str) -> tuple[str | None, str]:
        """The run that did this step already, if its result is whole and still true; else why it does not count."""
        tracking = line().tracking
        found = tracking.find_finished(key)
        if found is None:
            return None, ""
        run = tracking.get(found)
        wrong = manifest.damage(tracking, run)
        if wrong:
            return None, f"{DAMAGED} of run {found} is damaged: {manifest.said(wrong)}"
        try:
            folder = tracking.artifact_folder(run, RESULT)
            _told(folder)
            result = self.load(folder)
        except (ArtifactError, TrackingError, OSError, ValueError, LookupError) as error:
            # One without a manifest, of an older release: what can be read counts.
            return None, f"{DAMAGED} of run {found} cannot be read: {error}"
        if not self.holds(result):
            return None, f"what run {found} did is no longer so"
        return found, ""

    def _because(self, known: KnownBy, lost: str) -> str:
        """Why the step is done: what became of its result, or what differs from the last time that it was done."""
        if lost:
            return lost[:LONGEST]
        tracking = line().tracking
        before = tracking.search({STEP: self.title}, status="FINISHED", limit=1)
        if not before:
            return "it was not done before"
        try:
            then = KnownBy.read((tracking.artifact_folder(before[0].id, KNOWN) / FILE).read_text(encoding="utf-8"))
            changed = known.changed(then)
        except (TrackingError, OSError, ValueError):  # of an earlier release, which kept the digests alone
            tags = before[0].tags
            changed = [part for part, digest in known.digests().items() if tags.get(PART + part) != digest]
        return f"changed: {'; '.join(changed)}"[:LONGEST] if changed else "the run that did it is gone"

    def _do(self, key: str, known: KnownBy, lost: str, *args: P.args, **kwargs: P.kwargs) -> str:
        shared = line()
        tracking = shared.tracking
        tags = {LEASE: shared.lease.id, STEP: self.title, KEY: key, KIND: "step", BECAUSE: self._because(known, lost)}
        tags |= {PART + part: digest for part, digest in known.digests().items()}
        # The number keeps a run's steps in its order wherever MLflow lists them.
        run_id = tracking.start_run(f"{shared.begun:02d} {self.title}", parent=shared.run_id, tags=tags)
        datasets = tuple(value for value in (*args, *kwargs.values()) if isinstance(value, Dataset))
        work = shared.project.work / key[:32]
        folder = work / RESULT
        try:
            if work.is_file():
                work.unlink()
            remove(folder)  # a half-written result of an earlier attempt
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
            (work / FILE).write_text(known.to_json(), encoding="utf-8")
            tracking.log_artifact(run_id, work / FILE, KNOWN)
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


def nothing(folder: Path) -> None:
    """How the result of a step is loaded that is for people alone."""


def step(
    title: str,
    *,
    load: Callable[[Path], T],
    code: Sequence[str],
    retries: int = 1,
    minutes: float = 30.0,
    holds: Callable[[T], bool] = lambda _: True,
    measures: bool = False,
) -> Callable[[Body[P]], Step[P, T]]:
    """Make a step of a body `(run, *inputs) -> None`.

    `load` reads what the body wrote; `code` names the modules it does its work with; `holds` says whether a finished
    result is still true, for steps that also change something outside; `measures` says that its figures are those of
    this kind of machine. Prefect sees to how often and for how long it is tried (`orchestrated`).
    """

    def make(body: Body[P]) -> Step[P, T]:
        return functools.wraps(body, updated=())(Step(body, title, load, code, retries, minutes, holds, measures))  # type: ignore[return-value]

    return make


def _key_of(name: str, value: Any) -> str:
    """The key of `line:` that a section, or a list of them, was written under; the argument's name for all else."""
    kind = type(value[0] if isinstance(value, tuple | list) and value else value)
    if not issubclass(kind, Section):
        return name
    for key, own in line().recipe.line:
        first = own[0] if isinstance(own, tuple | list) and own else own
        if own == value or (type(first) is kind and type(own) is type(value)):
            return key
    return name


def _require_whole_inputs(step: str, cause: BaseException | None = None) -> None:
    """ArtifactError where the result of a step before this one was damaged while the pipeline went on.

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
                f"{step}: the result of {done.step}, which it is built on, was damaged while the pipeline ran (run "
                f"{done.run_id}): {manifest.said(wrong)}. Start the same command again: {done.step} is done anew"
            ) from cause


def told_by(tracking: Tracking, title: str, run_id: str, *, cached: bool) -> Done:
    """How a step ended, by its run. ArtifactError where its summary cannot be read."""
    run = tracking.get(run_id)
    summary = str(_told(tracking.artifact_folder(run, RESULT))["summary"])
    because = "" if cached else run.tags[BECAUSE]
    if because.startswith(DAMAGED):
        summary = f"{summary}; done again: {because}"
    return Done(title, run_id, cached, summary, run.tags.get(f"{PART}code", ""), because)


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
    """The step on Prefect's page."""
    from flows.run import orchestrated

    tracking = line().tracking
    because = None if cached else tracking.get(run_id).tags[BECAUSE]
    told = _told(tracking.artifact_folder(run_id, RESULT))
    orchestrated.show(title, told, run_id, tracking.run_link(run_id), because)
