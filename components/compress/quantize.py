"""The student in fewer bits, in every way that is asked for, each measured against float32; one of them is served.

Everything is measured here on the validation split, because a choice is made by it. What the chosen artifact is worth
is measured again, on the test split, by `components.evaluate`; how a graph gets fewer bits, `quantization` knows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

from components.artifacts import Ancestor, Dataset, DatasetCard, Model, ModelCard, Precision, write_model
from components.compress.quantization.choice import Outcome, choose
from components.compress.quantization.comparing import COMPARED, Made, compared
from components.compress.quantization.integer import Looked, to_best_int8
from components.compress.quantization.measuring import difference
from components.compress.quantization.quantized import ARTIFACT, Quantized
from components.compress.quantization.report import CandidateReport, QuantizationReport
from components.compress.quantization.serving import choose_runtime
from components.compress.quantization.weights import stored
from components.compress.quantization.worst import saturating_answerer
from components.config import QuantizeConfig
from components.data.reading.loading import Arrays, load_split
from components.export.errors import require_trained_on
from components.export.export import describe, export
from components.files import replacing
from components.metrics.metric import Metric
from components.models.network import load_network
from components.runtimes.execution import open_session
from components.runtimes.onnxruntime import session_answerer
from components.runtimes.protocol import Answerer
from components.tasks import registry as tasks
from components.tasks.asking import ask, primary
from components.tasks.network import torch_answerer

TrainAware = Callable[[Model], Model]  # a network → the same one, trained on while it feels int8's rounding


def quantize(
    student: Model,
    dataset: Dataset,
    config: QuantizeConfig,
    folder: Path,
    *,
    train_aware: TrainAware | None = None,
) -> Quantized:
    """Export, make the candidates, measure all and choose.

    Calibrates on a seeded subset of the training split only: ranges taken from the validation split would flatter int8
    there. `train_aware` is called at most once, where `config.aware` is set and int8 in all layers costs too much.
    Raises CompressionError where nothing of the network can be quantized, or where it is of other data.
    """
    require_trained_on(student, dataset)
    looked = _looked(dataset, config)
    validation = load_split(dataset, "validation")
    with replacing(folder) as temporary, TemporaryDirectory() as work:
        float32 = export(student, temporary / "float32")
        made, left_out = _candidates(
            float32, student, looked, validation, dataset.card, config, temporary, Path(work), train_aware
        )
        report = _measure(student, made, validation, dataset.card, config, len(looked.calibration), left_out)
        chosen = next(each.model for each in made if each.name == report.served)
        runtime = choose_runtime(
            tasks.of(student.card), chosen.onnx, validation.inputs, batch=config.batch, threads=config.threads
        )
        card = runtime.told(_made_of(student, ARTIFACT, chosen.card.precision))
        _write(temporary / ARTIFACT, onnx.load(chosen.onnx), card, student)
        (temporary / "runtime.json").write_text(runtime.to_json(), encoding="utf-8")
        (temporary / "quantization.json").write_text(report.to_json(), encoding="utf-8")
    return Quantized.load(folder)


def _looked(dataset: Dataset, config: QuantizeConfig) -> Looked:
    calibration = load_split(dataset, "train", limit=config.calibration_samples)
    others = load_split(dataset, "train", limit=2 * config.calibration_samples, seed=1)
    free = others.inputs[~np.isin(others.ids, calibration.ids)][: config.calibration_samples]
    return Looked(calibration.inputs, free if len(free) else calibration.inputs)


def _candidates(
    float32: Model,
    student: Model,
    looked: Looked,
    validation: Arrays,
    card: DatasetCard,
    config: QuantizeConfig,
    folder: Path,
    work: Path,
    train_aware: TrainAware | None,
) -> tuple[list[Made], dict[str, str]]:
    """Float32 and everything that is asked for, and what was asked for and not made, with the reason."""
    task = tasks.of(student.card)

    def figure(answerer: Answerer) -> float:
        return primary(task, ask(task, answerer, validation, card, batch=config.batch))

    exact = figure(session_answerer(open_session(float32.onnx, config.threads)))

    def loss_of(graph: Path) -> float:
        saturating = saturating_answerer(graph, config.threads)
        ways = [session_answerer(open_session(graph, config.threads)), *([saturating] if saturating else [])]
        return float(np.max([task.spec.primary.lost(exact, figure(way)) for way in ways]))  # NaN where either is

    def write(name: str, precision: Precision, graph: onnx.ModelProto) -> Model:
        return _write(folder / name, graph, _made_of(student, f"student-{name}", precision), student)

    made, left_out = [Made("float32", float32)], {}
    for name in config.candidates:
        if name != "int8":
            graph, count = stored(onnx.load(float32.onnx), name, looked.calibration)
            made.append(Made(name, write(name, name, graph), stored=count))
            continue
        plain = to_best_int8(task, float32.onnx, looked, loss_of, config, work / name)
        made.append(Made(name, write(name, "int8", onnx.load(plain.graph)), plain.facts))
        if config.aware is None:
            continue
        if plain.plain_loss <= config.allowance:
            left_out["int8-aware"] = "int8 in all layers keeps to the allowance without"
            continue
        if train_aware is None:
            left_out["int8-aware"] = "nobody was there to train it"
            continue
        trained = export(train_aware(student), work / "aware")
        aware = to_best_int8(task, trained.onnx, looked, loss_of, config, work / "int8-aware")
        made.append(Made("int8-aware", write("int8-aware", "int8", onnx.load(aware.graph)), aware.facts))
    return made, left_out


def _measure(
    student: Model,
    made: list[Made],
    validation: Arrays,
    card: DatasetCard,
    config: QuantizeConfig,
    calibrated: int,
    left_out: dict[str, str],
) -> QuantizationReport:
    task = tasks.of(student.card)
    candidates = compared(task, made, validation, card, config)
    outcomes = [
        Outcome(each.name, each.loss.value, each.speedup, each.speedup_low, candidates[0].bytes / each.bytes)
        for each in candidates[1:]
    ]
    served, reason = choose(outcomes, task.spec.primary, config.allowance, config.batch, config.goal)
    chosen = next(each for each in candidates if each.name == served)
    float32 = session_answerer(open_session(made[0].model, config.threads))
    exact = torch_answerer(task, load_network(student))
    return QuantizationReport(
        served=served,
        reason="; ".join([reason, *_remarks(chosen, task.spec.primary)]),
        metric=task.spec.primary_metric,
        metric_samples=len(validation),
        allowance=config.allowance,
        calibration_samples=calibrated,
        float32_from_pytorch=difference(task, exact, float32, validation.inputs[:COMPARED]),
        candidates=tuple(candidates),
        left_out=left_out,
    )


def _remarks(chosen: CandidateReport, metric: Metric) -> list[str]:
    """What must not be overlooked about what is served."""
    remarks = []
    if chosen.int8 is not None and chosen.int8.kept:
        layers = len(chosen.int8.kept) + chosen.int8.operators
        remarks.append(f"{len(chosen.int8.kept)} of {layers} layers stay in float32")
    if chosen.int8 is not None and chosen.int8.saturable:
        remarks.append(f"{chosen.int8.saturable} sums can saturate on x86 without VNNI, so the worse of both was taken")
    for each in chosen.flagged:
        remarks.append(
            f"{each.column} {each.group} loses {metric.amount(each.loss.value)}, all others {metric.amount(each.rest)}"
        )
    return remarks


def _made_of(student: Model, name: str, precision: Precision) -> ModelCard:
    parents = (Ancestor(role="float", digest=student.digest),)
    changes: dict[str, Any] = {"name": name, "precision": precision, "parents": parents}
    return student.card.model_copy(update=changes)


def _write(folder: Path, graph: onnx.ModelProto, card: ModelCard, student: Model) -> Model:
    """The graph with what `card` says in its metadata; the weights are inside."""
    describe(graph, card, source=student.digest)
    onnx.checker.check_model(graph)
    return write_model(folder, card, lambda target: onnx.save(graph, target / "model.onnx"))
