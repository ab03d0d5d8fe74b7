"""The int8 candidate of a float graph: its ranges taken in the best way, and its worst layers put back where needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.compress.judge import Answerer, session_answerer
from components.compress.quantization.control import Search, floating_nodes, search, sensitivity
from components.compress.quantization.measuring import signal_to_noise
from components.compress.quantization.report import Int8Facts
from components.compress.quantization.static import METHODS, Method, prepare, to_int8
from components.compress.runtime import Images, executed_kernels, open_session
from components.config import QuantizeConfig

# Images on which layers are ranked: their order settles long before, and each layer is asked for all of them.
RANKED_ON = 128

_INTEGER_KERNELS = ("QLinear", "QGemm", "MatMulInteger", "ConvInteger", "Qordered")

LossOf = Callable[[Path], float]  # a graph → what of the primary metric it loses on the validation split


@dataclass(frozen=True)
class Looked:
    """Training images: ranges are taken from `calibration`, ways of taking them are compared on `held_out`."""

    calibration: Images  # (N, H, W, C)
    held_out: Images  # others, where the split has others


@dataclass(frozen=True)
class Int8:
    """A graph in int8, how it came about, and what it lost before any layer was put back."""

    graph: Path
    facts: Int8Facts
    plain_loss: float


def to_best_int8(source: Path, looked: Looked, loss_of: LossOf, config: QuantizeConfig, folder: Path) -> Int8:
    """Write into `folder` the int8 graph of the float graph `source` that keeps to the allowance, if one is found.

    Raises CompressionError where nothing can be quantized.
    """
    folder.mkdir(parents=True)
    prepared, graph = folder / "prepared.onnx", folder / "int8.onnx"
    model = prepare(source, prepared)
    exact = session_answerer(open_session(source, config.threads))
    method, ratios = _method(prepared, graph, looked, exact, config)
    ranges = _ranges(folder, method)
    operators = to_int8(prepared, graph, looked.calibration, method, ranges=ranges)
    loss = loss_of(graph)
    found, worst = Search((), 0, ""), dict[str, float]()
    # Not <=: a loss that is not known is none that is allowed.
    if not loss <= config.allowance and config.control_seconds > 0:
        worst = sensitivity(prepared, looked.calibration[:RANKED_ON], method, ranges, exact, config.threads)

        def loss_with(kept: Sequence[str]) -> float:
            to_int8(prepared, graph, looked.calibration, method, ranges=ranges, kept=floating_nodes(model, kept))
            return loss_of(graph)

        found = search(list(worst), loss_with, config.allowance, config.control_seconds)
        kept = floating_nodes(model, found.kept or ())
        operators = to_int8(prepared, graph, looked.calibration, method, ranges=ranges, kept=kept)
    kernels = executed_kernels(graph)
    facts = Int8Facts(
        method=method,
        signal_to_noise=ratios,
        operators=operators,
        kernels={name: count for name, count in kernels.items() if name.startswith(_INTEGER_KERNELS)},
        kept=found.kept or (),
        sensitivity=worst,
        searched=found.tried,
        note=found.note,
    )
    return Int8(graph, facts, loss)


def _method(
    prepared: Path, graph: Path, looked: Looked, exact: Answerer, config: QuantizeConfig
) -> tuple[Method, dict[str, float]]:
    """The way to take ranges: the one that is asked for, or the one whose answers are closest to float32's."""
    if config.method != "auto":
        return config.method, {}
    ratios: dict[Method, float] = {}
    for method in METHODS:
        to_int8(prepared, graph, looked.calibration, method, ranges=_ranges(prepared.parent, method))
        rounded = session_answerer(open_session(graph, config.threads))
        ratios[method] = signal_to_noise(exact, rounded, looked.held_out)
    return max(ratios, key=lambda method: ratios[method]), {str(name): value for name, value in ratios.items()}


def _ranges(folder: Path, method: Method) -> Path:
    return folder / f"{method}.json"
