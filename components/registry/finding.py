"""What a person calls a model → its files: `NAME`, `NAME@alias`, `NAME:version`, a run of the pipeline, or a folder.

`NAME/version`, as MLflow's own addresses have it, is `NAME:version`.

Reading only. A version holds what is served; the weights that it was made of are looked up in the run that made it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from components.artifacts import ArtifactError, Model
from components.registry import versions
from components.registry.memory import manifest
from components.registry.memory.store import TrackingError
from components.registry.memory.tracking import Run, Tracking
from components.registry.versions import PRODUCTION, RUN, STAGING, RegistryError

_RUN_ID = re.compile(r"^(?P<run>[0-9a-f]{32})(/(?P<model>[A-Za-z0-9][A-Za-z0-9._-]*))?$")
# The artifact to be deployed, as the step `quantize` names it; the second name is that of earlier releases.
ARTIFACTS = ("artifact", "served")
_VERSION = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*?)(@(?P<alias>[A-Za-z0-9._-]+)|[:/](?P<version>[0-9]+))?$")

_ORIGINS = (
    "convoy.recipe", "convoy.dataset", "convoy.data", "convoy.parameters", "convoy.lock", "mlflow.source.git.commit",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A model by whatever name it was asked for."""

    said: str  # how to speak of it: `digits version 3`, `student of run 0123abcd`
    served: Model
    weights: Model | None = None  # what it was made of, in float32
    run_id: str | None = None  # the run that made it
    experiment: str | None = None  # name of the model in the registry, where it has one
    about: dict[str, str] = field(default_factory=dict)  # where it comes from


def find(tracking: Tracking, text: str) -> Found:
    """The model that `text` names. Raises RegistryError saying what names there are."""
    place = Path(text)
    if place.is_dir():
        return _in_folder(place)
    by_run = _RUN_ID.match(text)
    if by_run:
        return _of_run(tracking, by_run["run"], by_run["model"])
    by_name = _VERSION.match(text)
    if by_name is None:
        names = "NAME, NAME@alias, NAME:version, a run's id or a model's folder"
        raise RegistryError(f"expected {names}, received {text!r}")
    return _of_version(tracking, by_name["name"], _number(tracking, by_name))


def find_version(tracking: Tracking, text: str) -> tuple[str, int]:
    """The registered model and the version that `text` names; of `NAME` alone what is in production, or else staging.

    Raises RegistryError saying what names there are. Whether there is a version of that number is not asked.
    """
    by_name = _VERSION.match(text)
    if by_name is None:
        raise RegistryError(f"expected NAME, NAME@alias or NAME:version of a registered model, received {text!r}")
    return by_name["name"], _number(tracking, by_name)


def _in_folder(folder: Path) -> Found:
    if (artifact := _artifact(folder)).is_dir():  # what the step `quantize` leaves
        return Found(str(folder), Model.load(artifact), _with_weights(folder / "float32"))
    model = Model.load(folder)
    return Found(str(folder), model, model if model.weights.is_file() else None)


def _artifact(folder: Path) -> Path:
    """Where the step `quantize` has left the artifact that is deployed."""
    return next((folder / name for name in ARTIFACTS if (folder / name).is_dir()), folder / ARTIFACTS[0])


def _of_run(tracking: Tracking, run_id: str, name: str | None) -> Found:
    run = tracking.get(run_id)
    line = _line_of(tracking, run)
    folder = _quantized(tracking, run)
    if folder is not None and name in (None, *ARTIFACTS, "float32", "int8"):
        served = Model.load(_artifact(folder) if name in (None, *ARTIFACTS) else folder / name)
        said = f"{name or ARTIFACTS[0]} of run {run_id[:8]}"
        return Found(said, served, _with_weights(folder / "float32"), line.id, about=_about(line, run))
    known = _trained(tracking, run_id)
    if name is None and len(known) == 1:
        name = next(iter(known))
    if name not in known:
        choice = ", ".join(f"{run_id}/{each}" for each in known) or "none; name a run of the pipeline or of a step"
        raise RegistryError(f"run {run_id}: expected one of its models, received {name or 'no name'}. It has: {choice}")
    model = known[name]
    weights = model if model.weights.is_file() else None
    return Found(f"{name} of run {run_id[:8]}", model, weights, line.id, about=_about(line, run))


def _number(tracking: Tracking, found: re.Match[str]) -> int:
    name, alias, number = found["name"], found["alias"], found["version"]
    if number is not None:
        return int(number)
    aliases = versions.aliases(tracking, name)
    wanted = [alias] if alias else [PRODUCTION, STAGING]
    version = next((aliases[each] for each in wanted if each in aliases), None)
    if version is None:
        known = ", ".join(f"{name}@{each}" for each in sorted(aliases))
        known = known or f"none of {name}; registered are: {', '.join(versions.names(tracking)) or 'none'}"
        raise RegistryError(f"{name}: expected a version with the alias {' or '.join(wanted)}; there are: {known}")
    return version


def _of_version(tracking: Tracking, name: str, version: int) -> Found:
    served = versions.version_model(tracking, name, version)
    about = {"registered": f"{name} version {version}"}
    try:
        run = tracking.get(versions.version_tags(tracking, name, version)[RUN])
        line = _line_of(tracking, run)
        folder = _quantized(tracking, line)
        # The run's own, or one that made the same artifact: an artifact of another digest was made of other weights.
        made = folder is not None and Model.load(_artifact(folder)).digest == served.digest
    except (KeyError, TrackingError, ArtifactError):  # its runs were deleted, or their files
        return Found(f"{name} version {version}", served, None, None, name, about)
    weights = _with_weights(folder / "float32") if made and folder is not None else None
    return Found(f"{name} version {version}", served, weights, line.id, name, {**about, **_about(line, run)})


def _quantized(tracking: Tracking, run: Run) -> Path | None:
    """What the step `quantize` left, of the step's own run or of the pipeline run that ran or reused it."""
    step = run.tags.get("convoy.ran.quantize") or run.tags.get("convoy.reused.quantize") or run.id
    try:
        found = tracking.artifact_folder(step, "result/quantized")
    except TrackingError:
        return None
    manifest.whole(tracking, step)
    return found


def _trained(tracking: Tracking, run_id: str) -> dict[str, Model]:
    """What a step that trains or combines left; empty for any other run."""
    try:
        folder = tracking.artifact_folder(run_id, "result/models")
    except TrackingError:
        return {}
    manifest.whole(tracking, run_id)
    return {place.name: Model.load(place) for place in sorted(folder.iterdir()) if place.is_dir()}


def _line_of(tracking: Tracking, run: Run) -> Run:
    while run.parent is not None:
        run = tracking.get(run.parent)
    return run


def _with_weights(folder: Path) -> Model | None:
    try:
        model = Model.load(folder)
    except ArtifactError:
        return None
    return model if model.weights.is_file() else None


def _about(line: Run, run: Run) -> dict[str, str]:
    return {"pipeline_run": line.id, "run": run.id, **{key: line.tags[key] for key in _ORIGINS if key in line.tags}}
