"""A model and what is known of it → a version in the registry, aliased `candidate`.

Everything that can fail happens before the version exists: the package is built, loaded from disk and asked for an
answer, and the files lie in the store. The version itself, with its tags and its description, is one request.
What becomes of it is decided in `decisions`.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.models import Model as Package
from mlflow.models import ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, Map, Object, Property, Schema

from components import machine, texts
from components.artifacts import Evidence, Model, Predictions
from components.members import ANSWERS, READERS
from components.registry.memory import manifest
from components.registry.memory.store import explained
from components.registry.memory.tracking import BATCH, DATASET, DIGEST, PROCESSOR, Tracking, evidence_metrics
from components.registry.versions import (
    ARTIFACT,
    CANDIDATE,
    DATA,
    EVIDENCE,
    FILES,
    PACKAGE,
    RUN,
    RegistryError,
    locked,
    problem,
    versions,
)
from components.targets import registry as targets
from components.tasks import registry as tasks

SERVED = Path(__file__).with_name("served.py")
PROJECT = Path(machine.__file__).parent
MACHINE = Path(machine.__file__)  # goes along, to tell processors apart in one way
REQUIREMENTS = ("mlflow", "numpy", "pandas", "onnxruntime")  # all that served.py imports in any case
TYPES: dict[str, Any] = {  # of a column of an answer, as MLflow knows it
    "string": DataType.string,
    "double": DataType.double,
    "doubles": Map(DataType.double),
    "strings": Map(DataType.string),
    "list of string": Array(DataType.string),
    "list of double": Array(DataType.double),
    "list of entity": Array(
        Object(
            [
                *(Property(name, DataType.long) for name in ("start", "end")),
                *(Property(name, DataType.string) for name in ("label", "text")),
                Property("score", DataType.double),
            ]
        )
    ),
}
COMPILED = "__pycache__"
DESCRIPTION = 4000  # characters: MLflow keeps 5,000
OPENING = "\n## Training"  # where the card's first lines end
MODEL_VERSIONS = "mlflow.modelVersions"  # tag of a logged model: what MLflow's pages show it is registered as


def register(
    tracking: Tracking,
    model: Model,
    evidence: Evidence,
    *,
    name: str,
    run_id: str,
    card: str,
    examples: Sequence[Any],
    tags: Mapping[str, str] | None = None,
    reference: pd.DataFrame | None = None,
    predictions: Predictions | None = None,
    links: Mapping[str, str] | None = None,
    candidate: bool = True,
) -> int:
    """Make `model` a version of `name`, alias it `candidate` unless told not to, and return its number.

    `card` is the model card in Markdown, `examples` are inputs as its reader takes them (one at least: the package must
    answer for them before it is registered), `reference` is the profile of the training data that later data is
    compared with, `links` are what the version's description leads to. The same artifact with the same evidence is not
    registered twice: its version is returned.
    Raises RegistryError where the evidence is of another artifact or the package does not answer.
    """
    if evidence.model != model.digest:
        raise RegistryError(
            f"{name}: the evidence was measured on artifact {evidence.model[:12]}, the model to register is "
            f"{model.digest[:12]}; evaluate this very artifact"
        )
    if not model.onnx.is_file() or not examples:
        raise RegistryError(f"{name}: expected {model.onnx} and at least one example, to try the answer on")
    with locked(tracking.root), explained(tracking.uri, f"registering {name}"):
        version = _registered(tracking, name, model.digest, evidence.digest)
        if version is None:
            labels = _tags(model, evidence, run_id, tags or {})
            with TemporaryDirectory() as temporary:
                files = Path(temporary) / "files"
                evidence.save(files)
                (files / "card.md").write_text(card, encoding="utf-8")
                if reference is not None:
                    reference.to_parquet(files / "reference.parquet", index=False)
                if predictions is not None:
                    predictions.save(files)
                labels[manifest.TAG] = manifest.write(files)
                tracking.client.log_artifacts(run_id, str(files), labels[FILES])
            version = _create(tracking, model, evidence, name, labels, card=card, examples=examples, links=links or {})
        if candidate:
            tracking.client.set_registered_model_alias(name, CANDIDATE, str(version))
    return version


# -- the package ----------------------------------------------------------------------------------------------------


def build_package(
    model: Model,
    folder: Path,
    examples: Sequence[Any],
    package: Package | None = None,
    evidence: Evidence | None = None,
) -> None:
    """Write an MLflow model to `folder` (new) that needs nothing of this project, and try it on the examples.

    On another kind of processor than that of the evidence it warns when it is loaded.
    """
    reading = _reading(model)
    example = pd.DataFrame({reading.COLUMN: list(examples)})
    served = folder.with_name("model")  # MLflow keeps the folder's name: it must be the same in every version
    shutil.copytree(model.folder, served)
    reader = folder.with_name("reader")
    pack_reader(reading, reader)
    answer = folder.with_name("answer")
    answer.mkdir()
    shutil.copyfile(Path(str(_writing(model).__file__)), answer / "answer.py")
    measured = folder.with_name("measured")
    measured.mkdir()
    shutil.copyfile(MACHINE, measured / MACHINE.name)
    packed = served, reader, answer, measured
    known = {"processor": evidence.processor, "sums": evidence.sums} if evidence is not None else {}
    (measured / "processor.json").write_text(json.dumps(known, indent=2), encoding="utf-8")
    mlflow.pyfunc.save_model(
        path=folder,
        mlflow_model=package,
        python_model=str(SERVED),
        artifacts={each.name: str(each) for each in packed},
        signature=signature(model),
        input_example=example.head(1),
        pip_requirements=[f"{requirement}=={installed(requirement)}" for requirement in requirements(model)],
        metadata={"task": model.card.task, "classes": list(model.card.classes), "artifact": model.digest},
    )
    _placeless(folder)
    try:
        answer = mlflow.pyfunc.load_model(str(folder)).predict(example)
    except MlflowException as error:
        raise RegistryError(f"{model.card.name}: the package does not answer for the examples: {error}") from error
    if len(answer) != len(examples) or set(answer.columns) != {entry.name for entry in signature(model).outputs}:
        raise RegistryError(
            f"{model.card.name}: the package answered {len(answer)} rows of {list(answer.columns)} for "
            f"{len(examples)} inputs; its ONNX graph does not fit task {model.card.task!r}"
        )
    for part in packed:
        shutil.rmtree(part)
    for cache in folder.rglob(COMPILED):
        shutil.rmtree(cache)
    # Where there is a file of this name, Python neither writes what it has compiled nor runs what somebody else has put
    # there: whoever loads the package, `mlflow models serve` too, leaves it as it was registered.
    (folder / COMPILED).write_text(
        "A file of this name keeps Python from writing what it compiles.\n", encoding="utf-8"
    )
    manifest.write(folder)


def _placeless(folder: Path) -> None:
    """Take out of MLmodel where things lay on the machine that packed them: the package has all of them, by name."""
    package = Package.load(str(folder))
    code = package.flavors["python_function"]
    code["model_code_path"] = SERVED.name
    for artifact in code["artifacts"].values():
        artifact["uri"] = artifact["path"]
    package.save(str(folder / "MLmodel"))


def requirements(model: Model) -> list[str]:
    """What must be installed where the package is to answer."""
    engines = {model.card.runtime, model.card.batch_runtime}
    return [*REQUIREMENTS, *_reading(model).REQUIRES, *(["openvino"] if "openvino" in engines else [])]


def signature(model: Model) -> ModelSignature:
    """What goes in and comes out, as MLflow shows it."""
    outputs: list[Any] = [ColSpec(TYPES[kind], name) for name, kind in _writing(model).COLUMNS.items()]
    reading = _reading(model)
    return ModelSignature(inputs=Schema([ColSpec(reading.TYPE, reading.COLUMN)]), outputs=Schema(outputs))


def pack_reader(reading: Any, folder: Path) -> None:
    """Put the module that reads inputs, and what it needs of the project, into `folder` (new)."""
    folder.mkdir()
    shutil.copyfile(Path(str(reading.__file__)), folder / "reader.py")
    needed = PROJECT / reading.NEEDS
    if not needed.is_dir():
        shutil.copyfile(needed, folder / needed.name)
        return
    (folder / needed.name).mkdir()
    for file in needed.glob("*.py"):
        shutil.copyfile(file, folder / needed.name / file.name)


def _reading(model: Model) -> Any:
    """The module that reads the model's inputs."""
    return READERS.load(model.card.input.kind)


def _writing(model: Model) -> Any:
    """The module that writes the model's answers."""
    return ANSWERS.load(tasks.of(model.card).spec.written)


def _create(
    tracking: Tracking,
    model: Model,
    evidence: Evidence,
    name: str,
    labels: Mapping[str, str],
    *,
    card: str,
    examples: Sequence[Any],
    links: Mapping[str, str],
) -> int:
    """Build, try and store the package, then create the version. A failure leaves no version and no usable model."""
    client, run_id = tracking.client, labels[RUN]
    experiment = client.get_run(run_id).info.experiment_id
    # Registered models may have dots in their names, logged ones may not.
    called = texts.mlflow_key(name, dots=False)
    logged = client.create_logged_model(experiment, name=called, source_run_id=run_id, tags=dict(labels))
    try:
        package = Package(artifact_path=f"models:/{logged.model_id}", run_id=run_id, model_id=logged.model_id)
        with TemporaryDirectory() as temporary:
            folder = Path(temporary) / "package"
            build_package(model, folder, examples, package, evidence)
            labels = {**labels, PACKAGE: manifest.Manifest.read(folder / manifest.FILE).digest}
            client.log_model_artifacts(logged.model_id, str(folder))
        client.finalize_logged_model(logged.model_id, "READY")
        tracking.log_model_output(run_id, logged.model_id)
        _log_figures(tracking, evidence, run_id, logged.model_id, labels.get(DATASET, name))
        _ensure_name(tracking, name, model)
        created = client.create_model_version(
            name,
            source=logged.artifact_location,
            run_id=run_id,
            tags=dict(labels),
            description=describe(card, links),
            model_id=logged.model_id,
        )
    except BaseException:
        client.delete_logged_model(logged.model_id)
        raise
    # A server does this itself, a database of one's own does not.
    registered = json.dumps([{"name": name, "version": int(created.version)}])
    client.set_logged_model_tags(logged.model_id, {MODEL_VERSIONS: registered})
    return int(created.version)


def describe(card: str, links: Mapping[str, str]) -> str:
    """What a version's page says at its top: the card's first lines, with the ways to run, data and figures in them."""
    text = card.partition("\n\n")[2] if card.startswith("# ") else card  # the page has the name itself
    first, _, more = (text.partition(OPENING)[0].strip() or card).partition("\n\n")
    ways = " · ".join(f"[{said}]({address})" for said, address in links.items())
    return "\n\n".join(part for part in (first, ways, more) if part)[:DESCRIPTION]


def _log_figures(tracking: Tracking, evidence: Evidence, run_id: str, model_id: str, dataset: str) -> None:
    """The figures on the logged model's own page, each with the data that it was measured on."""
    now = int(time.time() * 1000)
    about = {"model_id": model_id, "dataset_name": dataset, "dataset_digest": evidence.data[:DIGEST], "run_id": run_id}
    known = {key: value for key, value in evidence_metrics(evidence).items() if math.isfinite(value)}  # else shown as 0
    entries = [Metric(key, value, now, 0, **about) for key, value in known.items()]
    for start in range(0, len(entries), BATCH):
        tracking.client.log_batch(run_id, metrics=entries[start : start + BATCH])


def _ensure_name(tracking: Tracking, name: str, model: Model) -> None:
    try:
        card, kind = model.card, targets.get(tasks.of(model.card).spec.target)
        asked = f": {', '.join(card.classes)}" if card.classes else f" {kind.described(card.classes, card.target)}"
        about = f"A network for {card.task}{texts.markdown(texts.shown(asked))}."
        tracking.client.create_registered_model(name, description=about)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _registered(tracking: Tracking, name: str, artifact: str, evidence: str) -> int | None:
    """The newest version of that artifact with that evidence whose files are whole: a damaged one is made again."""
    same = [
        version
        for version, tags in versions(tracking, name).items()
        if tags.get(ARTIFACT) == artifact and tags.get(EVIDENCE) == evidence
    ]
    return next((version for version in sorted(same, reverse=True) if problem(tracking, name, version) is None), None)


def _tags(model: Model, evidence: Evidence, run_id: str, extra: Mapping[str, str]) -> dict[str, str]:
    figures = {f"metric.{name}": f"{figure.value:.6g}" for name, figure in evidence.figures.items()}
    return {
        **figures,
        **extra,
        ARTIFACT: model.digest,
        EVIDENCE: evidence.digest,
        DATA: evidence.data,
        FILES: f"version/{model.digest[:12]}-{evidence.digest[:12]}",
        RUN: run_id,
        "convoy.task": model.card.task,
        "convoy.precision": model.card.precision,
        **({PROCESSOR: machine.said(evidence.processor)} if evidence.processor else {}),
        **({"convoy.int8_sums": evidence.sums} if evidence.sums else {}),
        "convoy.network": model.card.network.name,
    }
