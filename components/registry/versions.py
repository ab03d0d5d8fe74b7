"""What the registry of models holds: names, versions, aliases, and the files behind them. Reading only.

Versions come from `registration`; `decisions` moves aliases. MLflow's aliases are the stages of a version:
`candidate`, `staging`, `production`, and `previous` for the way back.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pandas as pd
from filelock import FileLock, Timeout
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from components import texts
from components.artifacts import ArtifactError, Evidence, Model, Predictions
from components.files import digest_values, replacing
from components.registry.memory import manifest
from components.registry.memory.store import MissingError, every, explained, is_server, local_path
from components.registry.memory.tracking import Tracking

CANDIDATE, STAGING, PRODUCTION, PREVIOUS = "candidate", "staging", "production", "previous"

ARTIFACT = "convoy.artifact"  # version tags: digest of the model folder that is served
EVIDENCE = "convoy.evidence"  # digest of the Evidence it was registered with
DATA = "convoy.data"  # digest of the data it was measured on
PACKAGE = "convoy.package"  # digest of the manifest of all that `mlflow models serve` loads, code included
RUN = "convoy.run"  # the run that registered it
FILES = "convoy.files"  # folder among that run's artifacts: evidence, card, drift reference, predictions

T = TypeVar("T")

LOCK_SECONDS = 120.0  # a registration takes about 5 s


class RegistryError(RuntimeError):
    """The registry refuses; says which model and version, what was expected and what to do."""


class UnreadableError(RegistryError):
    """Files of a version, or of a decision, are gone or are not those that were written; says which."""


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Nobody else of this project writes to the registry meanwhile. May be taken again by its holder."""
    path = root / ".convoy" / "locks" / "registry.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=LOCK_SECONDS, is_singleton=True)
    try:
        lock.acquire()
    except Timeout as error:
        raise RegistryError(
            f"{path}: another process has held the registry for {LOCK_SECONDS:.0f} s; wait for it, or end it"
        ) from error
    try:
        yield
    finally:
        lock.release()


def version_tags(tracking: Tracking, name: str, version: int) -> dict[str, str]:
    """The labels of a version; RegistryError where there is none."""
    return dict(_version(tracking, name, version).tags)


def aliased(tracking: Tracking, name: str, alias: str) -> int | None:
    """The version that an alias names, None where it names none."""
    return aliases(tracking, name).get(alias)


def aliases(tracking: Tracking, name: str) -> dict[str, int]:
    """Alias → version; empty for a model that was never registered."""
    with explained(tracking.uri, f"reading the aliases of {name}"):
        try:
            found = tracking.client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}
    return {alias: int(version) for alias, version in found.items()}


def versions(tracking: Tracking, name: str) -> dict[int, dict[str, str]]:
    """Version → its tags, for every version there is."""
    with explained(tracking.uri, f"reading the versions of {name}"):
        found = tracking.client.search_model_versions(f"name = {texts.mlflow_filter(name)}")
    return {int(entry.version): dict(entry.tags) for entry in sorted(found, key=lambda entry: int(entry.version))}


def names(tracking: Tracking) -> list[str]:
    """The registered models."""
    with explained(tracking.uri, "reading the registered models"):
        found = every(lambda token: tracking.client.search_registered_models(page_token=token))
    return sorted(str(entry.name) for entry in found)


def version_model(tracking: Tracking, name: str, version: int) -> Model:
    """The very artifact of a version; UnreadableError where its files are gone or not those that were registered."""
    entry = _version(tracking, name, version)
    return _read(tracking, entry, lambda: _model(tracking, entry))


def version_evidence(tracking: Tracking, name: str, version: int) -> Evidence:
    """The Evidence a version was registered with; UnreadableError where it is gone or another."""
    entry = _version(tracking, name, version)
    return _read(tracking, entry, lambda: evidence_in(_files(tracking, entry), entry.tags, _said(entry)))


def version_card(tracking: Tracking, name: str, version: int) -> str:
    """The model card a version was registered with, Markdown; UnreadableError where it is gone."""
    entry = _version(tracking, name, version)
    return _read(tracking, entry, lambda: _card(tracking, entry))


def problem(tracking: Tracking, name: str, version: int) -> str | None:
    """Why a version must not be used: a file of it is gone or not as it was registered; None where all are whole."""
    entry = _version(tracking, name, version)
    try:
        _read(tracking, entry, lambda: _checked(tracking, entry))
    except UnreadableError as error:
        return str(error)
    return None


def version_package(tracking: Tracking, name: str, version: int) -> Path:
    """The folder that `mlflow models serve` loads; UnreadableError where a file of it is gone or changed."""
    entry = _version(tracking, name, version)
    return _read(tracking, entry, lambda: _whole_package(tracking, entry))


def missing_model(tracking: Tracking, entry: ModelVersion) -> str | None:
    """What is said of a version of a local store whose model is not there; what is in it is not looked at."""
    if is_server(tracking.uri):
        return None
    place = local_path(str(entry.source))  # as it was registered; asking MLflow costs four requests a version
    try:
        folder = (place if place is not None and place.is_dir() else _package(tracking, entry)) / "artifacts" / "model"
    except ArtifactError as error:
        return f"its model is gone: {error}"
    return None if (folder / "model.json").is_file() else f"its model is gone: expected one in {folder}, found none"


def evidence_in(folder: Path, tags: Mapping[str, str], said: str) -> Evidence:
    """The Evidence in a version's folder of files, if it is the one its tags name; else UnreadableError."""
    try:
        evidence = Evidence.load(folder)
    except ArtifactError as error:
        raise UnreadableError(f"{said}: its evidence cannot be read: {error}") from error
    if evidence.digest != tags.get(EVIDENCE):
        raise UnreadableError(
            f"{said}: expected evidence {tags.get(EVIDENCE, '(no tag)')[:12]}, found {evidence.digest[:12]} in "
            f"{folder}; the file was changed after registration"
        )
    return evidence


def logged_model(tracking: Tracking, name: str, version: int) -> str:
    """The id by which MLflow knows the version's package among an experiment's models."""
    entry = _version(tracking, name, version)
    # A server does not say it of a version; the package's place does: …/models/m-…/artifacts.
    within = re.search(r"/models/(m-[0-9a-f]+)(?:/|$)", str(entry.source))
    found = entry.model_id or (within and within[1])
    if not found:
        raise RegistryError(f"{name} version {version}: expected a logged model's package, found {entry.source}")
    return str(found)


def production_model(tracking: Tracking, name: str) -> Model | None:
    """The artifact in production, None while nothing is; UnreadableError where its files are gone or changed."""
    version = aliased(tracking, name, PRODUCTION)
    return None if version is None else version_model(tracking, name, version)


def production_reference(tracking: Tracking, name: str) -> pd.DataFrame | None:
    """What the production model's training data looked like, None while nothing is in production.

    UnreadableError where there is a production version without one: "no drift" must not be the answer then.
    """
    version = aliased(tracking, name, PRODUCTION)
    if version is None:
        return None
    entry = _version(tracking, name, version)
    file = _files(tracking, entry) / "reference.parquet"
    if not file.is_file():
        raise UnreadableError(f"{_said(entry)} is in production and has no drift reference ({file})")
    return _table(file, entry)


def production_predictions(tracking: Tracking, name: str) -> Predictions | None:
    """What the production model answered on its own test split; None where nothing is in production or none was kept.

    For a comparison on other data let `production_model` answer anew: `paired_difference` refuses other samples.
    """
    version = aliased(tracking, name, PRODUCTION)
    if version is None:
        return None
    folder = _files(tracking, _version(tracking, name, version))
    return Predictions.load(folder) if (folder / "predictions.parquet").is_file() else None


def _version(tracking: Tracking, name: str, version: int) -> ModelVersion:
    with explained(tracking.uri, f"reading {name} version {version}"):
        try:
            return tracking.client.get_model_version(name, str(version))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            known = ", ".join(map(str, versions(tracking, name))) or "none"
            raise RegistryError(f"{name}: expected one of the versions {known}, received {version}") from error


def _said(entry: ModelVersion) -> str:
    return f"{entry.name} version {entry.version}"


def _read(tracking: Tracking, entry: ModelVersion, read: Callable[[], T]) -> T:
    """What `read` says; where files are unreadable that were fetched from a server, they are fetched once more."""
    try:
        return read()
    except UnreadableError:
        fetched = [_fetched(tracking, entry), tracking.fetched(entry.tags.get(RUN, "none"))]
        if not any(place.is_dir() for place in fetched):
            raise
    for place in fetched:
        shutil.rmtree(place, ignore_errors=True)
    return read()


def _model(tracking: Tracking, entry: ModelVersion) -> Model:
    expected = entry.tags.get(ARTIFACT)
    if expected is None:
        raise UnreadableError(f"{_said(entry)} was registered by no run of the pipeline: it has no tag {ARTIFACT}")
    try:
        model = Model.load(_package(tracking, entry) / "artifacts" / "model")
        found = model.digest
    except (ArtifactError, MissingError, OSError) as error:
        raise UnreadableError(f"{_said(entry)}: its model cannot be read: {error}") from error
    if found != expected:
        raise UnreadableError(
            f"{_said(entry)}: expected artifact {expected[:12]}, found {found[:12]} in {model.folder}; "
            "its files were changed after registration"
        )
    return model


def _card(tracking: Tracking, entry: ModelVersion) -> str:
    try:
        return (_files(tracking, entry) / "card.md").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{_said(entry)}: its card cannot be read: {error}") from error


def _checked(tracking: Tracking, entry: ModelVersion) -> None:
    """Raises UnreadableError for the first file that is gone or not as it was registered."""
    _model(tracking, entry)
    _whole_package(tracking, entry)
    folder = _files(tracking, entry)
    evidence_in(folder, entry.tags, _said(entry))
    _card(tracking, entry)
    tag = entry.tags.get(manifest.TAG)
    if tag is None:  # registered before there were manifests: what can be read counts
        for file in sorted(folder.glob("*.parquet")):
            _table(file, entry)
        return
    if wrong := manifest.held_against(folder / manifest.FILE, tag, folder):
        raise UnreadableError(f"{_said(entry)}: {manifest.said(wrong)}")


def _files(tracking: Tracking, entry: ModelVersion) -> Path:
    """The folder with a version's evidence, card, drift reference and predictions."""
    try:
        return tracking.artifact_folder(entry.tags[RUN], entry.tags[FILES])
    except (KeyError, MissingError) as error:
        raise UnreadableError(f"{_said(entry)}: its evidence and card are not in the store: {error}") from error


def _table(file: Path, entry: ModelVersion) -> pd.DataFrame:
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:  # pa.ArrowInvalid is a ValueError
        raise UnreadableError(f"{_said(entry)}: {file}: expected a table: {error}") from error


def _whole_package(tracking: Tracking, entry: ModelVersion) -> Path:
    """The package, where every file that will be loaded or run is the one that was registered."""
    try:
        folder = _package(tracking, entry)
    except ArtifactError as error:
        raise UnreadableError(f"{_said(entry)}: its package is gone: {error}") from error
    tag = entry.tags.get(PACKAGE)
    if tag is not None and (wrong := manifest.held_against(folder / manifest.FILE, tag, folder)):
        raise UnreadableError(f"{_said(entry)}: its package was changed after registration: {manifest.said(wrong)}")
    return folder


def _package(tracking: Tracking, entry: ModelVersion) -> Path:
    """The version's MLflow model as a local folder."""
    with explained(tracking.uri, f"fetching {entry.name} version {entry.version}"):
        place = local_path(tracking.client.get_model_version_download_uri(entry.name, entry.version))
        if place is None:
            place = _download(tracking, entry)
    if not place.is_dir():
        raise ArtifactError(f"{place}: expected a package, found none")
    return place


def _download(tracking: Tracking, entry: ModelVersion) -> Path:
    """Versions never change, so what was fetched once is kept."""
    place = _fetched(tracking, entry)
    if not place.is_dir():
        with replacing(place) as temporary:
            address = f"models:/{entry.name}/{entry.version}"
            download_artifacts(address, dst_path=str(temporary), tracking_uri=tracking.uri)
    return place


def _fetched(tracking: Tracking, entry: ModelVersion) -> Path:
    known = str(entry.tags.get(ARTIFACT) or "")
    if not re.fullmatch(r"[0-9a-f]{64}", known):  # tags are edited in MLflow's pages, and this one names a folder
        known = digest_values({"source": str(entry.source), "artifact": known})
    return tracking.root / ".convoy" / "downloads" / "versions" / known
