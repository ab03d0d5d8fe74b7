"""What `infra/deployments.yaml` says, as deployments of Prefect's.

The file is read and checked as a whole before a server hears of it. `deploy` registers it with a server whose workers
run it; `schedules.serve` runs it from this machine.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config import ConfigurationError, load
from components.release import CODE
from flows.base.project import PREFECT_EARLY
from flows.schedules.declared import FILE, Deployments, Entry, Overlap, When, WorkPool, read

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import ConcurrencyLimitConfig
    from prefect.deployments.runner import RunnerDeployment

TAG = "convoy"  # on every deployment that came from a file of this kind


def checked(root: Path, values: Deployments) -> dict[str, Flow[..., Any]]:
    """Each deployment's flow; raises ConfigurationError with every mistake that only flows and recipes show."""
    flows: dict[str, Flow[..., Any]] = {}
    wrong: list[str] = []
    for name, entry in values.deployments.items():
        key = f"{FILE.name}: deployments.{name}"
        if entry.work_pool not in values.work_pools:
            known = ", ".join(values.work_pools) or "none, since the file has none"
            wrong.append(f"{key}.work_pool: expected one of {known}, received {entry.work_pool!r}")
        wrong += [problem for number, when in enumerate(entry.schedules) for problem in _problems(when, key, number)]
        flow = _flow(root, entry.entrypoint)
        if isinstance(flow, str):
            wrong.append(f"{key}.entrypoint: {flow}")
            continue
        flows[name] = flow
        wrong += _wrong_parameters(root, flow, entry, f"{key}.parameters")
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return flows


def build(name: str, entry: Entry, flow: Flow[..., Any]) -> RunnerDeployment:
    """The deployment as Prefect has it, without a work pool."""
    from prefect.schedules import Cron

    return flow.to_deployment(  # type: ignore[return-value]  # outside of an event loop it is no coroutine
        name,
        description=entry.description,
        parameters=entry.parameters,
        schedules=[Cron(when.cron, timezone=when.timezone, active=when.active) for when in entry.schedules],
        concurrency_limit=_limit(entry.overlap),
        tags=[TAG, *entry.tags],
    )


def deploy(root: Path) -> list[str]:
    """Register pools, deployments and the automation that ends dead runs with Prefect; a sentence for each.

    Doing it again takes over what has changed. Deployments that left the file stay, and are named. Workers must find
    the project where it is now: the run starts in its root. Needs PREFECT_API_URL; raises ConfigurationError.
    """
    from prefect import flow as prefect_flow

    from flows.schedules import zombies

    values = read(root)
    flows = checked(root, values)
    told = [_made_pool(name, pool) for name, pool in values.work_pools.items()]
    for name, entry in values.deployments.items():
        placed = prefect_flow.from_source(source=str(code(root, entry.entrypoint)), entrypoint=entry.entrypoint)
        made = build(name, entry, placed)  # type: ignore[arg-type]
        made.job_variables = {"env": PREFECT_EARLY}  # a run of `serve` has the environment of `convoy schedule`
        made.apply(work_pool_name=entry.work_pool)
        told.append(f"{flows[name].name}/{name} in the pool {entry.work_pool}: {said(entry)}")
    told.append(zombies.watch(values.notifications))
    left = _registered() - {f"{flows[name].name}/{name}" for name in flows}
    return [*told, *(f"{name} is registered and no longer in {FILE}: delete it on its page" for name in sorted(left))]


def code(root: Path, entrypoint: str) -> Path:
    """The folder that an entrypoint starts from: the project, or where this code lies when it is used for another."""
    return root if (root / entrypoint.rpartition(":")[0]).is_file() else CODE


def said(entry: Entry) -> str:
    """When it runs, for people."""
    active = [when for when in entry.schedules if when.active]
    return " and ".join(f"'{when.cron}' ({when.timezone})" for when in active) or "started by hand"


def _limit(overlap: Overlap) -> ConcurrencyLimitConfig:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

    strategy = {"enqueue": ConcurrencyLimitStrategy.ENQUEUE, "cancel": ConcurrencyLimitStrategy.CANCEL_NEW}
    return ConcurrencyLimitConfig(limit=overlap.limit, collision_strategy=strategy[overlap.then])


def _problems(when: When, key: str, number: int) -> list[str]:
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        CronSchedule(cron=when.cron, timezone=when.timezone)
    except ValidationError as error:
        expected = {"cron": "minute hour day month weekday", "timezone": "a time zone such as Europe/Paris"}
        fields = [str(item["loc"][0]) if item["loc"] else "cron" for item in error.errors()]
        return [
            f"{key}.schedules.{number}.{each}: expected {expected[each]}, received {getattr(when, each)!r}"
            for each in fields
        ]
    return []


def _flow(root: Path, entrypoint: str) -> Flow[..., Any] | str:
    """The flow, or what is wrong with its entrypoint."""
    from prefect import Flow
    from prefect.exceptions import MissingFlowError
    from prefect.flows import load_flow_from_entrypoint

    file, _, function = entrypoint.rpartition(":")
    place = code(root, entrypoint)
    if not file.endswith(".py") or not function.isidentifier() or not (place / file).is_file():
        return f"expected FILE.py:FLOW with a file below {root}, received {entrypoint!r}"
    try:
        found: object = load_flow_from_entrypoint(f"{place / file}:{function}")
    except MissingFlowError:
        return f"expected a flow of {file}, received {function!r}"
    return found if isinstance(found, Flow) else f"expected a flow, received {function!r}, which is none"


def _wrong_parameters(root: Path, flow: Flow[..., Any], entry: Entry, key: str) -> list[str]:
    from prefect.exceptions import ParameterTypeError, SignatureMismatchError

    known = inspect.signature(flow.fn).parameters
    asked = [name for name, each in known.items() if each.default is each.empty and name not in entry.parameters]
    if asked and entry.schedules:
        return [f"{key}: expected {', '.join(asked)} too, since it is started by a schedule and nobody is asked"]
    if asked:  # whoever starts it fills in the form
        return [f"{key}.{name}: expected no such key" for name in entry.parameters if name not in known]
    try:
        values = flow.validate_parameters(dict(entry.parameters))
    except (ParameterTypeError, SignatureMismatchError) as error:
        return [f"{key}: {line}" for line in str(error).splitlines()[:3]]
    if "recipe" not in values:
        return []
    recipe = values["recipe"]
    try:
        load(root, None if recipe == "default" else recipe, values.get("overrides") or [])
    except ConfigurationError as error:
        return [f"{key}: {line}" for line in str(error).splitlines()]
    return []


def _made_pool(name: str, pool: WorkPool) -> str:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(name)
            client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=pool.limit))
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=name, type=pool.type, concurrency_limit=pool.limit))
    return f"the pool {name} ({pool.type}, {pool.limit} at once)"


def _registered() -> set[str]:
    """FLOW/DEPLOYMENT of all that files of this kind have put on the server."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    with get_client(sync_client=True) as client:
        found = client.read_deployments(deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])))
        return {f"{client.read_flow(each.flow_id).name}/{each.name}" for each in found}
