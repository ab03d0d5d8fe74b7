"""The int8 candidate of a float graph: its ranges taken in the best way, and its worst layers put back where needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx

from components.compress.quantization.control import Search, floating_nodes, search, sensitivity
from components.compress.quantization.measuring import signal_to_noise
from components.compress.quantization.report import Int8Facts
from components.compress.quantization.rewriting.equalization import equalized
from components.compress.quantization.rewriting.saturating import saturating
from components.compress.quantization.rewriting.static import METHODS, Bits, Method, prepare, to_int8
from components.config import QuantizeConfig
from components.runtimes.execution import Inputs, executed_kernels, open_session
from components.runtimes.onnxruntime import session_answerer
from components.runtimes.protocol import Answerer
from components.tasks.protocol import Task

# Images on which layers are ranked: their order settles long before, and each layer is asked for all of them.
RANKED_ON = 128

_INTEGER_KERNELS = ("QLinear", "QGemm", "MatMulInteger", "ConvInteger", "Qordered")

LossOf = Callable[[Path], float]  # a graph → what of the primary metric it loses at worst on the validation split


@dataclass(frozen=True)
class Looked:
    """Training inputs: ranges are taken from `calibration`, ways of taking them are compared on `held_out`."""

    calibration: Inputs  # (N, H, W, C)
    held_out: Inputs  # others, where the split has others


@dataclass(frozen=True)
class Way:
    """How the float graph is made int8."""

    prepared: Path  # the float graph, as it is or equalized
    pairs: int  # of convolutions that were equalized
    method: Method  # of taking ranges

    @property
    def name(self) -> str:
        return f"{self.method}, equalized" if self.pairs else str(self.method)

    @property
    def ranges(self) -> Path:
        """The file that keeps them: they are taken once, however many graphs are made."""
        return self.prepared.with_name(f"{self.prepared.stem}-{self.method}.json")


@dataclass(frozen=True)
class Int8:
    """A graph in int8, how it came about, and what it lost before any layer was put back."""

    graph: Path
    facts: Int8Facts
    plain_loss: float


def to_best_int8(
    task: Task, source: Path, looked: Looked, loss_of: LossOf, config: QuantizeConfig, folder: Path
) -> Int8:
    """Write into `folder` the int8 graph of the float graph `source` that keeps to the allowance, if one is found.

    Raises CompressionError where nothing can be quantized.
    """
    folder.mkdir(parents=True)
    graph = folder / "int8.onnx"
    exact = session_answerer(open_session(source, config.threads))
    way, ratios = _best(task, _ways(source, folder, config), graph, looked, exact, config)
    prepared, method, ranges = way.prepared, way.method, way.ranges
    model = onnx.load(prepared)
    make = partial(to_int8, prepared, graph, looked.calibration, method, ranges=ranges)
    bits, loss = _fewest_bits(make, graph, loss_of, config)
    make = partial(make, bits=bits)
    operators = make()
    found, worst = Search((), 0, ""), dict[str, float]()
    # Not <=: a loss that is not known is none that is allowed.
    if not loss <= config.allowance and config.control_seconds > 0:
        worst = sensitivity(task, prepared, looked.calibration[:RANKED_ON], method, ranges, exact, config.threads, bits)

        def loss_with(kept: Sequence[str]) -> float:
            make(kept=floating_nodes(model, kept))
            return loss_of(graph)

        found = search(list(worst), loss_with, config.allowance, config.control_seconds)
        operators = make(kept=floating_nodes(model, found.kept or ()))
    kernels = executed_kernels(graph)
    facts = Int8Facts(
        method=method,
        equalized=way.pairs,
        signal_to_noise=ratios,
        bits=bits,
        saturable=saturating(onnx.load(graph))[1],
        operators=operators,
        kernels={name: count for name, count in kernels.items() if name.startswith(_INTEGER_KERNELS)},
        kept=found.kept or (),
        sensitivity=worst,
        searched=found.tried,
        note=found.note,
    )
    return Int8(graph, facts, loss)


def _fewest_bits(make: Callable[..., int], graph: Path, loss_of: LossOf, config: QuantizeConfig) -> tuple[Bits, float]:
    """7 where they keep to the allowance, for then every processor answers alike; else what loses less at worst."""
    make(bits=7)
    seven = loss_of(graph)
    if seven <= config.allowance:
        return 7, seven
    make(bits=8)
    eight = loss_of(graph)
    return (8, eight) if eight < seven else (7, seven)


def _ways(source: Path, folder: Path, config: QuantizeConfig) -> list[Way]:
    """All that are to be tried; the simplest first, which wins a tie."""
    plain = folder / "prepared.onnx"
    model, graphs = prepare(source, plain), [(plain, 0)]
    if config.equalization != "none":
        changed, pairs = equalized(model)
        if pairs:
            target = folder / "equalized.onnx"
            onnx.save(changed, target)
            graphs = [(target, pairs)] if config.equalization == "always" else [*graphs, (target, pairs)]
    methods: Sequence[Method] = tuple(METHODS) if config.method == "auto" else (config.method,)
    return [Way(prepared, pairs, method) for prepared, pairs in graphs for method in methods]


def _best(
    task: Task, ways: Sequence[Way], graph: Path, looked: Looked, exact: Answerer, config: QuantizeConfig
) -> tuple[Way, dict[str, float]]:
    """The way whose answers are closest to float32's, and how close all are; where there is but one, none is asked."""
    if len(ways) == 1:
        return ways[0], {}
    ratios = {}
    for way in ways:
        to_int8(way.prepared, graph, looked.calibration, way.method, ranges=way.ranges)
        rounded = session_answerer(open_session(graph, config.threads))
        ratios[way.name] = signal_to_noise(task, exact, rounded, looked.held_out)
    return max(ways, key=lambda way: ratios[way.name]), ratios
