"""The chain as one table: what each model is, how good it is, what it costs, and its trade-off.

Reads Evidence only. A stage is compared with what it was made of: the ensemble with its best member, every other stage
with the one before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import machine, texts
from components.artifacts import Evidence, Figure
from components.files import writing
from components.metrics.metric import SHARE, Metric, change, decimal

MEMBER = "member-"
FILES = ("chain.json", "chain.md", "pareto.png")  # that `write` leaves
# Columns; the others say what a stage can do.
COSTS = ("parameters", "MACs", "size", "runtime", "ms at 1", "images/s at 64")


@dataclass(frozen=True)
class Change:
    """What a variant of the model is against the one that it was made of."""

    stage: str
    of: str
    words: str


def rows(stages: Mapping[str, Evidence]) -> list[dict[str, str]]:
    """A row a stage, in the pipeline's order; a column is there where any stage has a value for it."""
    table = [_row(name, evidence) for name, evidence in stages.items()]
    columns = [column for column in table[0] if any(row[column] != "–" for row in table)]
    return [{column: row[column] for column in columns} for row in table]


def changes(stages: Mapping[str, Evidence], metric: Metric) -> list[Change]:
    """The trade-off of each model; nothing for the members, which are made of the data alone."""
    found = []
    before: str | None = None
    for name, evidence in stages.items():
        if name.startswith(MEMBER):
            # The ensemble is held against the best of them.
            before = name if before is None or _better(evidence, stages[before], metric) else before
            continue
        if before is not None:
            found.append(Change(name, before, _changed(stages[before], evidence, metric)))
        before = name
    return found


def markdown(stages: Mapping[str, Evidence], metric: Metric) -> str:
    """Table and changes for pages that show Markdown."""
    table = rows(stages)
    said = texts.markdown_table(list(table[0]), [[texts.markdown(cell) for cell in row.values()] for row in table])
    each = changes(stages, metric)
    told = [(texts.markdown(one.stage), texts.markdown(one.of), texts.markdown(one.words)) for one in each]
    on = next((machine.said(evidence.processor) for evidence in stages.values() if evidence.processor), "")
    measured = ["", f"Speed is that of {texts.markdown(on)}."] if on else []
    return "\n".join([said, *measured, "", *(f"- **{stage}**, of {of}: {words}" for stage, of, words in told), ""])


def write(stages: Mapping[str, Evidence], folder: Path, metric: Metric) -> None:
    """`chain.json`, every metric of every variant; `chain.md`, the table; `pareto.png`, accuracy against cost."""
    from components.evaluate.pareto import draw

    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {
        name: {
            "model": evidence.model,
            "runtime": evidence.runtime,
            "processor": evidence.processor,
            "samples": evidence.samples,
            "figures": {key: figure.model_dump(mode="json") for key, figure in evidence.figures.items()},
        }
        for name, evidence in stages.items()
    }
    first = next(iter(stages.values()))
    told = {
        "data": first.data,
        "split": first.split,
        "primary": first.primary,
        "variants": figures,
        "changes": [{"variant": each.stage, "of": each.of, "words": each.words} for each in changes(stages, metric)],
    }
    with writing(folder / "chain.json") as temporary:
        temporary.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with writing(folder / "chain.md") as temporary:
        temporary.write_text(markdown(stages, metric), encoding="utf-8")
    draw(stages, folder / "pareto.png", metric)


def _row(name: str, evidence: Evidence) -> dict[str, str]:
    figures, primary = evidence.figures, evidence.primary
    main, size = figures[primary], figures.get("size_bytes")
    latency, many, parameters = figures.get("latency_ms"), figures.get("throughput_64"), figures.get("parameters")
    macs = figures.get("macs")
    return {
        "": name,
        primary: _shown(main),
        "interval": f"{main.low:.4f} – {main.high:.4f}" if main.low is not None else "–",
        "calibration": _shown(figures.get("calibration_error")),
        "worst group": _shown(figures.get(f"worst_group_{primary}")),
        "corrupted": _shown(figures.get(f"robustness_{primary}")),
        "parameters": f"{parameters.value:,.0f}" if parameters else "–",
        "MACs": f"{macs.value / 1e6:,.2f} M" if macs else "–",
        "size": f"{size.value / 1000:,.0f} kB" if size else "–",
        "runtime": evidence.runtime or "–",
        "ms at 1": f"{latency.value:.3f}" if latency else "–",
        "images/s at 64": f"{many.value:,.0f}" if many else "–",
    }


def _shown(figure: Figure | None) -> str:
    return "–" if figure is None else decimal(figure.value, figure.unit)


def _better(one: Evidence, other: Evidence, metric: Metric) -> bool:
    return metric.beats(one.figures[one.primary].value, other.figures[other.primary].value)


def _changed(before: Evidence, after: Evidence, metric: Metric) -> str:
    parts = [_change(before.figures[before.primary], after.figures[after.primary], after.primary, metric.unit)]
    others = (
        ("calibration_error", "calibration error", SHARE),
        (f"robustness_{after.primary}", "corrupted", metric.unit),
    )
    for key, what, unit in others:
        if key in before.figures and key in after.figures:
            parts.append(_change(before.figures[key], after.figures[key], what, unit))
    for key, what in (("parameters", "parameters"), ("macs", "MACs"), ("size_bytes", "size")):
        if key in before.figures and key in after.figures:
            ratio = after.figures[key].value / before.figures[key].value
            parts += [f"{ratio:.2f}× the {what}"] if abs(ratio - 1) >= 0.005 else []
    if "latency_ms" in before.figures and "latency_ms" in after.figures:
        faster = before.figures["latency_ms"].value / after.figures["latency_ms"].value
        engines = f" ({before.runtime} → {after.runtime})" if before.runtime != after.runtime else ""
        parts.append(f"{faster:.1f}× as fast at 1{engines}")
    return ", ".join(parts)


def _change(before: Figure, after: Figure, what: str, unit: str) -> str:
    return f"{what} {change(before.value, after.value, unit)}"
