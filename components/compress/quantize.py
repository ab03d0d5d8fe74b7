"""The student in 8-bit integers, measured against its float self; what is faster and good enough is served.

Everything is measured here on the validation split, because a choice is made by it. What the chosen artifact is worth
is measured again, on the test split, by `components.evaluate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import onnx

from components.artifacts import (
    Ancestor,
    Card,
    Dataset,
    DatasetCard,
    Model,
    ModelCard,
    digest_values,
    replacing,
    write_model,
)
from components.compress.errors import require_trained_on
from components.compress.export import describe, export
from components.compress.int8 import to_int8
from components.compress.judge import Answerer, batches, judge, session_answerer, torch_answerer
from components.compress.runtime import Images, LatencyFigures, compare_latency, executed_kernels, open_session
from components.config import QuantizeConfig
from components.data.reading.loading import Arrays, load_split
from components.models.network import load_network
from components.tasks import registry as tasks

Precision = Literal["float32", "int8"]

# Below this the two are equally fast: medians of 15 alternating rounds of one graph against itself differed by up to
# 4 % at batch 64 on a busy two-core machine, and full accuracy is worth more than what the next run may turn round.
FASTER = 1.05

COMPARED = 256  # validation images on which PyTorch's, float's and int8's answers are compared: enough for a maximum

_INTEGER_KERNELS = ("QLinear", "QGemm", "MatMulInteger", "ConvInteger", "Qordered")


class Difference(Card):
    """How far two executions of one network are from each other on the same images."""

    samples: int
    largest: float  # of a probability
    mean: float  # of a probability, absolute
    agreement: float  # share of equal predictions (of samples, or of pixels)


class QuantizationReport(Card):
    """Both networks in figures, which of them is served, and why."""

    served: Precision
    reason: str
    method: str
    calibration_split: str
    calibration_samples: int
    quantized_operators: int  # convolutions and matrix products in the int8 graph that take quantized inputs
    integer_kernels: dict[str, int]  # what the runtime executes of it in integers, after its fusions
    metric: str  # the task's primary metric, on the validation split
    metric_samples: int
    metric_float32: float
    metric_int8: float
    loss: float  # of the metric by int8, positive where int8 is worse
    allowance: float
    speedup: float  # of int8 over float at the configured batch: median ratio of rounds timed one after the other
    latency_float32: tuple[LatencyFigures, ...]  # one sample, then the configured batch
    latency_int8: tuple[LatencyFigures, ...]
    bytes_float32: int
    bytes_int8: int
    float32_from_pytorch: Difference
    int8_from_float32: Difference


@dataclass(frozen=True)
class Quantized:
    """A folder: `served`, what it was chosen from (`float32`, graph and weights, and `int8`), and the report."""

    folder: Path
    served: Model
    float32: Model
    int8: Model
    report: QuantizationReport

    @property
    def digest(self) -> str:
        return digest_values(
            {"served": self.served.digest, "float32": self.float32.digest, "report": self.report.digest}
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises ArtifactError naming what is missing."""
        models = {name: Model.load(folder / name) for name in ("served", "float32", "int8")}
        return cls(folder, report=QuantizationReport.read(folder / "quantization.json"), **models)


def quantize(student: Model, dataset: Dataset, config: QuantizeConfig, folder: Path) -> Quantized:
    """Export, quantize, measure both and choose.

    Calibrates on a seeded subset of the training split only: ranges taken from the validation split would flatter int8
    there. Raises CompressionError where nothing of the network can be quantized, or where it is of other data.
    """
    require_trained_on(student, dataset)
    calibration = load_split(dataset, "train", limit=config.calibration_samples)
    with replacing(folder) as temporary:
        float32 = export(student, temporary / "float32")
        card = _made_of(student, "student-int8", "int8")

        bare = temporary / ".int8.onnx"
        operators = to_int8(float32.onnx, bare, calibration.images, config.method)
        int8 = write_model(temporary / "int8", card, lambda target: _rewrite(bare, target, card, student))
        bare.unlink()
        report = _measure(
            student,
            float32,
            int8,
            validation=load_split(dataset, "validation"),
            card=dataset.card,
            config=config,
            operators=operators,
            calibrated=len(calibration.images),
        )
        chosen = int8 if report.served == "int8" else float32
        served = _made_of(student, "served", report.served)
        write_model(temporary / "served", served, lambda target: _rewrite(chosen.onnx, target, served, student))
        (temporary / "quantization.json").write_text(report.to_json(), encoding="utf-8")
    return Quantized.load(folder)


def choose(metric: str, loss: float, allowance: float, speedup: float, batch: int) -> tuple[Precision, str]:
    """What is served and why, in words. `loss` is in the metric's own unit, `speedup` is int8's over float's.

    A loss that could not be measured is not allowed.
    """
    points, allowed = f"{_points(abs(loss))} of {metric}", f"(allowed {_points(allowance)})"
    if not math.isfinite(loss):
        why = f"the {metric} of int8 or of float32 could not be computed, so the loss is not known"
    elif loss > allowance:
        why = f"int8 loses {points} {allowed}, at {speedup:.1f}× the speed at batch {batch}"
    elif speedup < 1.0:
        why = f"int8 is slower ({speedup:.2f}× the speed at batch {batch})"
    elif speedup < FASTER:
        why = f"int8 is not measurably faster ({speedup:.2f}× at batch {batch}, needs {FASTER}×)"
    else:
        change = "keeps" if loss == 0 else "loses" if loss > 0 else "gains"
        price = f"{change} {metric if loss == 0 else points} {allowed}"
        return "int8", f"int8: {speedup:.1f}× faster at batch {batch} and {price}"
    return "float32", f"float32: {why}"


def _points(share: float) -> str:
    return f"{share * 100:.2g} pp"


def difference(one: Answerer, other: Answerer, images: Images, batch: int = 64) -> Difference:
    """Compare what two executions answer for `images` (N, H, W, C) uint8."""
    largest, total, values, equal, units = 0.0, 0.0, 0, 0, 0
    for part in batches(len(images), batch):
        left, right = one(images[part]), other(images[part])
        gap = np.abs(left["probabilities"].astype(np.float64) - right["probabilities"])
        largest, total, values = max(largest, float(gap.max())), total + float(gap.sum()), values + gap.size
        same = left["prediction"] == right["prediction"]
        equal, units = equal + int(same.sum()), units + same.size
    return Difference(samples=len(images), largest=largest, mean=total / values, agreement=equal / units)


def _measure(
    student: Model,
    float32: Model,
    int8: Model,
    *,
    validation: Arrays,
    card: DatasetCard,
    config: QuantizeConfig,
    operators: int,
    calibrated: int,
) -> QuantizationReport:
    task = tasks.get(student.card.task)
    sessions = {name: open_session(model, config.threads) for name, model in (("float32", float32), ("int8", int8))}
    answerers = {name: session_answerer(session) for name, session in sessions.items()}
    metrics = {
        name: judge(task, answerer, validation, card, batch=config.batch).primary
        for name, answerer in answerers.items()
    }
    timings = [compare_latency(sessions, batch, config.threads) for batch in sorted({1, config.batch})]
    loss = (metrics["float32"] - metrics["int8"]) * (1 if task.spec.higher_is_better else -1)
    speedup = timings[-1].speedup("int8", over="float32")
    served, reason = choose(task.spec.primary_metric, loss, config.allowance, speedup, config.batch)
    compared = validation.images[:COMPARED]
    kernels = executed_kernels(int8.onnx)
    return QuantizationReport(
        served=served,
        reason=reason,
        method=config.method,
        calibration_split="train",
        calibration_samples=calibrated,
        quantized_operators=operators,
        integer_kernels={name: count for name, count in kernels.items() if name.startswith(_INTEGER_KERNELS)},
        metric=task.spec.primary_metric,
        metric_samples=len(validation.images),
        metric_float32=metrics["float32"],
        metric_int8=metrics["int8"],
        loss=loss,
        allowance=config.allowance,
        speedup=speedup,
        latency_float32=tuple(timing.figures("float32") for timing in timings),
        latency_int8=tuple(timing.figures("int8") for timing in timings),
        bytes_float32=float32.onnx.stat().st_size,
        bytes_int8=int8.onnx.stat().st_size,
        float32_from_pytorch=difference(torch_answerer(task, load_network(student)), answerers["float32"], compared),
        int8_from_float32=difference(answerers["float32"], answerers["int8"], compared),
    )


def _made_of(student: Model, name: str, precision: Precision) -> ModelCard:
    parents = (Ancestor(role="float", digest=student.digest),)
    changes: dict[str, Any] = {"name": name, "precision": precision, "parents": parents}
    return student.card.model_copy(update=changes)


def _rewrite(source: Path, target: Path, card: ModelCard, student: Model) -> None:
    """The graph of `source` with what `card` says in its metadata; weights are inside the file on both sides."""
    graph = onnx.load(source)
    describe(graph, card, source=student.digest)
    onnx.checker.check_model(graph)
    onnx.save(graph, target / "model.onnx")
