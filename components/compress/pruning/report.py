"""What pruning did, round by round: what is left, what it costs, and what it buys here."""

from __future__ import annotations

from pydantic import Field

from components.artifacts import Card, Figure
from components.compress.quantization.choice import FASTER
from components.metrics.metric import SHARE, recorded
from components.runtimes.execution import LatencyFigures


class Round(Card):
    """A network on the way; round 0 is the unpruned one. Speed is that of its float32 graph in ONNX Runtime."""

    round: int
    parameters: int
    nonzero: int  # of the parameters
    macs: (
        int  # multiply-accumulates of convolutions and matrix products for one image, zeros counted like other numbers
    )
    compressed_bytes: int  # of the weights' file, by zlib
    latency: tuple[LatencyFigures, ...]  # one image, then `BATCH`
    speedup: float  # over the unpruned one, one image: median ratio of rounds timed one after the other
    batch_speedup: float  # the same for `BATCH` images at a time
    untrained: float | None = None  # the metric right after the cut, before training
    metric: Figure
    loss: Figure  # of the metric, positive where it is worse than the unpruned network; paired interval


class PruningReport(Card):
    """All rounds on the same validation samples, timed in the same minutes."""

    kind: str
    metric: str
    unit: str = Field(default=SHARE, exclude_if=lambda unit: unit == SHARE)  # of the metric
    samples: int
    rounds: tuple[Round, ...]  # the unpruned network first

    @property
    def before(self) -> Round:
        return self.rounds[0]

    @property
    def after(self) -> Round:
        return self.rounds[-1]

    def figures(self, number: int) -> dict[str, float]:
        """One round's, to be logged."""
        each = self.rounds[number]
        found = {
            f"validation_{self.metric}": each.metric.value,
            f"validation_loss_of_{self.metric}": each.loss.value,
            "parameters": float(each.parameters),
            "nonzero_parameters": float(each.nonzero),
            "macs": float(each.macs),
            "compressed_bytes": float(each.compressed_bytes),
            "speedup": each.speedup,
            "batch_speedup": each.batch_speedup,
            **{f"latency_ms_{one.batch}": one.median_ms for one in each.latency},
        }
        return found | ({} if each.untrained is None else {f"untrained_{self.metric}": each.untrained})

    def says(self) -> str:
        """One line for people; what was not gained is said too."""
        before, after = self.before, self.after
        lost = recorded(self.metric, True, self.unit).amount(abs(after.loss.value))
        change = "loses" if after.loss.value > 0 else "gains"
        parts = [f"validation {self.metric} {after.metric.value:.4f}, {change} {lost}"]
        if after.nonzero < after.parameters:
            parts.append(f"{1 - after.nonzero / after.parameters:.0%} of the parameters are zero")
        if after.parameters != before.parameters:
            parts.append(f"{after.parameters / before.parameters:.2f}× the parameters")
            parts.append(f"{after.macs / before.macs:.2f}× the MACs")
        parts.append(f"{after.compressed_bytes / before.compressed_bytes:.2f}× the size once compressed")
        speeds = after.speedup, after.batch_speedup
        many = after.latency[-1].batch
        parts.append(f"{speeds[0]:.2f}× as fast at 1 and {speeds[1]:.2f}× at {many}")
        if after.macs == before.macs:
            parts.append("no speed-up is to be had: ONNX Runtime multiplies by zeros as by anything else")
        elif max(speeds) < FASTER:
            parts.append("not measurably faster")
        return ", ".join(parts[:-1]) + ("; " if after.macs == before.macs or max(speeds) < FASTER else ", ") + parts[-1]

    def table(self) -> list[dict[str, str]]:
        """The rounds as a table for people."""
        return [
            {
                "round": str(each.round) if each.round else "unpruned",
                "parameters": f"{each.parameters:,}",
                "not zero": f"{each.nonzero:,}",
                "MACs": f"{each.macs:,}",
                f"validation {self.metric}": f"{each.metric.value:.4f}",
                "before training": "–" if each.untrained is None else f"{each.untrained:.4f}",
                "loss": f"{each.loss.value:+.4f}",
                **{f"ms at {one.batch}": f"{one.median_ms:.3f}" for one in each.latency},
            }
            for each in self.rounds
        ]
