"""All candidates side by side on the same samples and in the same minutes: what each costs and what it buys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.artifacts import DatasetCard, Model, Predictions
from components.compress.quantization.measuring import (
    difference,
    group_losses,
    loss,
    measured,
    members,
)
from components.compress.quantization.report import CandidateReport, Int8Facts
from components.compress.quantization.worst import saturating_answerer, worse
from components.config import QuantizeConfig
from components.data.reading.loading import Arrays
from components.runtimes.execution import Timings, compare_latency, open_session
from components.runtimes.onnxruntime import session_answerer
from components.runtimes.protocol import Answerer
from components.tasks.asking import ask
from components.tasks.protocol import Task

COMPARED = 1_000  # validation inputs at most on which PyTorch's, float's and int8's answers are compared


@dataclass(frozen=True)
class Made:
    """A candidate that has yet to be measured."""

    name: str
    model: Model
    int8: Int8Facts | None = None
    stored: int = 0  # layers whose weights are stored in fewer bits


def compared(
    task: Task, made: Sequence[Made], validation: Arrays, card: DatasetCard, config: QuantizeConfig
) -> list[CandidateReport]:
    """All candidates in figures, in their order; the first is float32, and they are timed in turns."""
    sessions = {each.name: open_session(each.model, config.threads) for each in made}
    answerers = {name: session_answerer(session) for name, session in sessions.items()}
    timings = [compare_latency(sessions, batch, config.threads) for batch in sorted({1, config.batch})]
    who = members(task, validation, card)
    exact = ask(task, answerers["float32"], validation, card, batch=config.batch)
    reference = measured(task, exact)
    found = []
    for each in made:
        own = exact if each.name == "float32" else _at_worst(task, each, answerers[each.name], validation, card, config)
        metric = reference if own is exact else measured(task, own)
        lost = loss(task, reference, metric)
        found.append(
            CandidateReport(
                name=each.name,
                precision=each.model.card.precision,
                allowed=lost.value <= config.allowance,
                metric=metric.figure,
                loss=lost,
                groups=() if own is exact else group_losses(task, exact, own, who, config.allowance),
                bytes=each.model.onnx.stat().st_size,
                speedup=timings[-1].speedup(each.name, over="float32"),
                speedup_low=float(np.quantile(_ratios(timings[-1], each.name), 0.25)),
                latency=tuple(timing.figures(each.name) for timing in timings),
                from_float32=difference(task, answerers["float32"], answerers[each.name], validation.inputs[:COMPARED]),
                stored=each.stored,
                int8=each.int8,
            )
        )
    return found


def _at_worst(
    task: Task, each: Made, answerer: Answerer, validation: Arrays, card: DatasetCard, config: QuantizeConfig
) -> Predictions:
    """What it answers here, or where its int8 sums saturate if that is worse."""
    own = ask(task, answerer, validation, card, batch=config.batch)
    saturating = saturating_answerer(each.model.onnx, config.threads) if each.int8 is not None else None
    if saturating is None:
        return own
    held = ask(task, saturating, validation, card, batch=config.batch)
    return held if worse(task, own, held) else own


def _ratios(timings: Timings, name: str) -> npt.NDArray[np.float64]:
    """How many times as fast as float32 it was in each round."""
    ratios: npt.NDArray[np.float64] = np.asarray(timings.seconds["float32"]) / np.asarray(timings.seconds[name])
    return ratios
