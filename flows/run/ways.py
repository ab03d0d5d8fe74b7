"""From one page to the next: what a pipeline run leads to in MLflow, and the same run in Prefect."""

from __future__ import annotations

import os
from collections.abc import Sequence

from components import texts
from components.artifacts import Decision
from components.registry.memory import addresses
from flows.run.context import Done, Line

# What a step leaves for people to look at, by the step that made it.
FILES = {
    "report": ("promote", "report/report.html"),
    "model card": ("register", "result/card.md"),
    "accuracy against cost": ("evaluate", "chain/pareto.png"),
    "augmented samples": ("augmentation", "augmentation/augmentation.png"),
    "data docs": ("data-validation", "data-validation/docs/index.html"),
    "drift": ("drift", "drift/drift.html"),
}


def inside(run: Line, decision: Decision) -> str:
    """Links for the description of the pipeline's run in MLflow: everything worth a look is one click away."""
    by_step = {done.step: done.run_id for done in run.done}
    links = [f"[version {decision.version}]({addresses.version(decision.name, decision.version)})"]
    for said, (step, path) in FILES.items():
        if step in by_step and run.tracking.has_artifact(by_step[step], path):
            links.append(f"[{said}]({run.tracking.inside(by_step[step], path)})")
    if flow_run := run.custody.get("convoy.prefect_flow_run"):
        links.append(f"[flow run]({flow_run_link(flow_run)})")
    return " · ".join(links)


def steps(run: Line, done: Sequence[Done]) -> list[str]:
    """The pipeline's steps as rows of a Markdown table for Prefect's page."""
    rows = ["| step | | MLflow run |", "|---|---|---|"]
    for each in done:
        link = run.tracking.run_link(each.run_id)
        said = f"{each.run_id[:8]}{' (reused)' if each.cached else ''}"
        rows.append(f"| {each.step} | {texts.markdown(each.summary)} | {f'[{said}]({link})' if link else said} |")
    return rows


def flow_run_link(flow_run: str) -> str:
    """Where Prefect's pages show a flow run."""
    return f"{os.environ['CONVOY_PREFECT_UI']}/runs/flow-run/{flow_run}"
