"""The step that makes the student small and fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import Dataset, Model
from components.config import QuantizeConfig
from flows.step import StepRun, line, step

if TYPE_CHECKING:
    from components.compress.quantize import Quantized


def _quantized(folder: Path) -> Quantized:
    from components.compress.quantize import Quantized

    return Quantized.load(folder / "quantized")


@step("quantize", load=_quantized, code=["components.compress.quantize"])
def quantize(run: StepRun, student: Model, dataset: Dataset, config: QuantizeConfig) -> None:
    """Export to ONNX with pre- and post-processing inside, quantize to int8, and serve what measures better."""
    from components.compress.quantize import quantize

    report = quantize(student, dataset, config, run.folder / "quantized").report
    line().tracking.log_metrics(
        run.id,
        {
            "quantized_operators": report.quantized_operators,
            "speedup": report.speedup,
            f"validation_{report.metric}_float32": report.metric_float32,
            f"validation_{report.metric}_int8": report.metric_int8,
            "parity_float32": report.float32_from_pytorch.largest,
            "parity_int8": report.int8_from_float32.largest,
            "bytes_float32": report.bytes_float32,
            "bytes_int8": report.bytes_int8,
        },
    )
    run.summary = report.reason
    run.table = [
        {
            "precision": name,
            f"validation {report.metric}": f"{metric:.4f}",
            "bytes": size,
            **{f"ms at {each.batch}": f"{each.median_ms:.3f}" for each in latencies},
        }
        for name, metric, size, latencies in (
            ("float32", report.metric_float32, report.bytes_float32, report.latency_float32),
            ("int8", report.metric_int8, report.bytes_int8, report.latency_int8),
        )
    ]
