"""What a person reads when the line has ended: the chain in one table, and where to look."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table

from components.artifacts import Decision, Evidence
from flows.project import LOOPBACK, MLFLOW_PORT, PREFECT_PORT

if TYPE_CHECKING:
    from flows.line import Outcome


def table(outcome: Outcome) -> Group:
    """Every stage with its figure, size and latency, and every gate with its verdict."""
    evidence = outcome.assessment.evidence
    title = f"{outcome.model} on {outcome.data.card.name} {outcome.data.digest[:12]}, test split"
    stages = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("", evidence.primary, "interval", "size", "ms at 1", "images/s at 64"):
        stages.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for name, each in outcome.assessment.stages.items():
        stages.add_row(name, *_stage(each))
    gates = Table(title="gates", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("gate", "verdict", "reason"):
        gates.add_column(heading)
    for verdict in outcome.decision.verdicts:
        gates.add_row(verdict.gate, "[green]passed" if verdict.passed else "[red]rejected", verdict.reason)
    return Group(stages, gates)


def where_to_look(outcome: Outcome, seconds: float) -> str:
    """The alias that moved, and the addresses."""
    decision = outcome.decision
    if decision.alias:
        head = f"[bold green]{decision.name} version {decision.version} is {decision.alias}[/]"
    else:
        head = f"[bold red]{decision.name} version {decision.version} is rejected[/]: {decision.reason}"
    nothing = "Nothing new: data, parameters, code and libraries are as they were." if outcome.unchanged else ""
    return "\n".join(
        [
            f"{head} after {seconds:.0f} s. {nothing}",
            "  look     convoy ui, then",
            f"           MLflow   http://{LOOPBACK}:{MLFLOW_PORT} (run {outcome.run_id})",
            f"           Prefect  http://{LOOPBACK}:{PREFECT_PORT}",
            f"  ask      {_store()}mlflow models serve -m models:/{decision.name}@{decision.alias or 'candidate'}"
            " --env-manager local",
            *([f"  promote  convoy promote {decision.name} --to production"] if decision.alias else []),
        ]
    )


def _store() -> str:
    """What MLflow's own commands need in front of them to find the project's database."""
    return "" if os.environ.get("MLFLOW_TRACKING_URI") else "MLFLOW_TRACKING_URI=sqlite:///.convoy/mlflow.db "


def decisions_table(name: str, decisions: Sequence[Decision]) -> Table:
    """Who decided what, when and why."""
    result = Table(title=f"decisions about {name}", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("when", "what", "version", "alias", "by", "why"):
        result.add_column(heading, no_wrap=heading != "why")
    for each in decisions:
        when = each.at[:16].replace("T", " ")
        result.add_row(when, each.action, str(each.version), each.alias or "–", each.by, each.reason)
    return result


def _stage(evidence: Evidence) -> list[str]:
    figures = evidence.figures
    primary = figures[evidence.primary]
    latency, throughput = figures.get("latency_ms"), figures.get("throughput_64")
    return [
        f"{primary.value:.4f}",
        f"{primary.low:.4f} – {primary.high:.4f}" if primary.low is not None else "–",
        f"{figures['size_bytes'].value / 1000:,.0f} kB",
        f"{latency.value:.3f}" if latency else "–",
        f"{throughput.value:,.0f}" if throughput else "–",
    ]
