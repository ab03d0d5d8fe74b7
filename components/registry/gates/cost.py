"""Gates on what the compression cost and on what answering costs."""

from __future__ import annotations

import math

from components import machine
from components.artifacts import Figure, Verdict
from components.config.gates import Int8DropGate, LatencyGate, ParityGate, SizeGate
from components.registry.gates.case import Case, added_up, finite, judged, measured, parent_problem, refused

LATENCY = "latency_ms"  # figure: median for one sample, one thread
SIZE = "size_bytes"  # figure: of the file that is served
MEGABYTE = 1e6


def int8_drop(case: Case, gate: Int8DropGate) -> Verdict:
    """What is served loses at most so much of the primary metric against its float parent, on the same samples."""
    served, parent, own = measured(case), case.parent, case.evidence
    if isinstance(served, str):
        return refused(gate.gate, gate.limit, served)
    wrong = parent_problem(case)
    if wrong or parent is None or own is None:
        return refused(gate.gate, gate.limit, wrong)
    if (parent.primary, parent.samples) != (own.primary, own.samples):
        reason = (
            f"the float parent was measured by {parent.primary} on {parent.samples} samples, "
            f"this version by {own.primary} on {own.samples}"
        )
        return refused(gate.gate, gate.limit, reason)
    before = finite(parent, parent.primary)
    if isinstance(before, str):
        return refused(gate.gate, gate.limit, f"its float parent: {before}")
    lost = case.metric.lost(before.value, served.value)
    return judged(gate.gate, lost, gate.limit, Figure(value=lost), above=False, what="the loss", after=_whose(case))


def _whose(case: Case) -> str:
    alike = case.evidence is not None and case.evidence.sums == "either"
    return " (no int8 sum can saturate: the same on every processor)" if alike else added_up(case)


def parity(case: Case, gate: ParityGate) -> Verdict:
    """The exported float graph answers what the trained network answers."""
    if case.parity is None:
        return refused(gate.gate, gate.limit, "the exported graph was not compared with the network")
    figure = Figure(value=case.parity)
    if not math.isfinite(case.parity) or case.parity < 0:
        return refused(gate.gate, gate.limit, f"the largest difference is {case.parity}, not a distance", figure)
    return judged(gate.gate, case.parity, gate.limit, figure, above=False, what="the largest difference")


def latency(case: Case, gate: LatencyGate) -> Verdict:
    """One sample is answered within the limit, median, one thread."""
    processor = case.evidence.processor if case.evidence is not None else {}
    on = f" on {machine.said(processor)}" if processor else ""
    return _positive(case, gate.gate, LATENCY, 1.0, gate.limit, "the median in ms", on)


def size(case: Case, gate: SizeGate) -> Verdict:
    """The file that is served is no larger."""
    return _positive(case, gate.gate, SIZE, MEGABYTE, gate.limit, "megabytes")


def _positive(case: Case, gate: str, name: str, unit: float, limit: float, what: str, after: str = "") -> Verdict:
    figure = measured(case, name)
    if isinstance(figure, str):
        return refused(gate, limit, figure)
    figure = Figure(value=figure.value / unit)
    if figure.value <= 0:
        return refused(gate, limit, f"metric {name!r} is {figure.value:g}: nothing takes none", figure)
    return judged(gate, figure.value, limit, figure, above=False, what=what, after=after)
