"""Many things at once, in a number of requests that does not grow with them: experiments, runs, registered models.

For lists and pages. Reading only: nothing here makes an experiment, and what is broken is left to the caller to show.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from mlflow.entities import ViewType
from mlflow.entities.model_registry import ModelVersion

from components import texts
from components.registry.memory.store import TrackingError, every, explained
from components.registry.memory.tracking import EARLIER, KIND, UNUSED, Run, Status, Tracking, deleted_experiment, run_of
from components.registry.versions import ARTIFACT

PAGE = 1000  # entries a request: MLflow's own limit for runs and registered models
IDS = 200  # named in one request

Versions = dict[tuple[str, int], ModelVersion]  # by name and number


def within(tracking: Tracking, experiment: str) -> Tracking:
    """The same connection within an experiment that is there; only lines make new ones.

    TrackingError naming those that there are, and how one that was deleted is brought back.
    """
    with explained(tracking.uri, "opening the experiment"):
        found = tracking.client.get_experiment_by_name(experiment)
    if found is None:
        known = ", ".join(sorted(str(place.experiment) for place in places(tracking))) or "none yet"
        raise TrackingError(
            f"{experiment}: expected a model that there were runs of, found no experiment of that name; "
            f"there are: {known}"
        )
    if found.lifecycle_stage != "active":
        raise TrackingError(deleted_experiment(tracking.uri, experiment, found.experiment_id))
    return replace(tracking, experiment=experiment, experiment_id=found.experiment_id)


def places(tracking: Tracking, *, deleted: bool = False) -> list[Tracking]:
    """The same connection within each experiment, but for the one that MLflow makes by itself."""
    view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
    with explained(tracking.uri, "reading the experiments"):
        found = every(lambda token: tracking.client.search_experiments(view_type=view, page_token=token))
    named = [each for each in found if each.name != UNUSED]
    return [replace(tracking, experiment=str(each.name), experiment_id=each.experiment_id) for each in named]


def runs(
    tracking: Tracking,
    within: Sequence[Tracking],
    tags: Mapping[str, str],
    status: Status | None = None,
    limit: int | None = None,
    *,
    pipelines: bool = False,
) -> list[tuple[Tracking, Run]]:
    """Runs with all these tags in several experiments, newest first, each with its experiment.

    With `pipelines` those of the pipeline alone, also from before their kind was called so.
    """
    by_id = {str(place.experiment_id): place for place in within}
    conditions = [f"tags.`{key}` = {texts.mlflow_filter(value)}" for key, value in tags.items()]
    conditions += [f"tags.`{KIND}` LIKE '%{EARLIER}'"] if pipelines else []  # both end so, and no other kind does
    conditions += [f"attributes.status = '{status}'"] if status is not None else []
    return [(by_id[place], run) for place, run in _search(tracking, list(by_id), " and ".join(conditions), limit=limit)]


def runs_by_id(tracking: Tracking, within: Sequence[Tracking], ids: Collection[str]) -> dict[str, Run]:
    """The runs of these ids that there are in the experiments, those that were deleted among them."""
    wanted, found = sorted(set(ids)), dict[str, Run]()
    for start in range(0, len(wanted), IDS):
        named = ", ".join(f"'{each}'" for each in wanted[start : start + IDS])
        condition, view = f"attributes.run_id IN ({named})", ViewType.ALL
        found |= {run.id: run for _, run in _search(tracking, [str(p.experiment_id) for p in within], condition, view)}
    return found


def models(tracking: Tracking) -> dict[str, dict[str, int]]:
    """Every registered model with its aliases and the versions that they name."""
    with explained(tracking.uri, "reading the registered models"):
        found = every(lambda token: tracking.client.search_registered_models(max_results=PAGE, page_token=token))
    return {str(each.name): {alias: int(number) for alias, number in each.aliases.items()} for each in found}


def versions(tracking: Tracking) -> Versions:
    """Every version that a run has registered, of all models."""
    ours = f"tags.`{ARTIFACT}` LIKE '%'"
    with explained(tracking.uri, "reading the versions"):
        found = every(lambda token: tracking.client.search_model_versions(ours, page_token=token))
    return {(str(each.name), int(each.version)): each for each in found}


def _search(
    tracking: Tracking,
    experiments: list[str],
    condition: str,
    view: int = ViewType.ACTIVE_ONLY,
    limit: int | None = None,
) -> list[tuple[str, Run]]:
    if not experiments:
        return []
    found: list[tuple[str, Run]] = []
    token: str | None = None
    while limit is None or len(found) < limit:
        with explained(tracking.uri, "searching runs"):
            page = tracking.client.search_runs(
                experiments,
                condition,
                run_view_type=view,
                max_results=PAGE if limit is None else min(PAGE, limit - len(found)),
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
        found += [(str(entity.info.experiment_id), run_of(entity)) for entity in page]
        token = page.token
        if not token:
            break
    return found
