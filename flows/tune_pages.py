"""What a person reads when a study has ended: its trials, what mattered, and the recipe."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from components import offered
from flows.base.project import LOOPBACK, MLFLOW_PORT
from flows.commands import terminal
from flows.tune import Tuned, table

STYLES = {"finished": "", "pruned": "dim", "failed": "red", "stopped": "dim"}


def page(outcome: Tuned) -> Group:
    """The trials in the order of their start, the best of them marked, and where to go on."""
    study, findings = outcome.study, outcome.findings
    rows = table(study, findings)
    shown = Table(title=f"{outcome.experiment}: {study.metric}", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in rows[0]:
        shown.add_column(heading, justify="left" if heading == "state" else "right", no_wrap=True)
    for row, trial in zip(rows, findings.trials, strict=True):
        best = trial.number == findings.best.number
        state = "best" if best else trial.state
        cells = [_plain(value) for value in {**row, "state": state}.values()]
        shown.add_row(*cells, style="bold green" if best else STYLES[trial.state])
    found = [f"{key} {share:.2f}" for key, share in (findings.importances or {}).items()]
    failed = next((trial for trial in findings.trials if trial.state == "failed"), None)
    lines = [
        f"shares of the variance: {', '.join(found)}" if found else "too few trials finished to say which key mattered",
        *([f"trial {failed.number} failed: {failed.message.splitlines()[0]}"] if failed is not None else []),
        f"  look     {offered.command('convoy', 'ui')}, then http://{LOOPBACK}:{MLFLOW_PORT} (run {outcome.run_id})",
        f"  recipe   {terminal.short(outcome.recipe)}",
        f"  run it   {offered.command('convoy', 'run', '--recipe', outcome.recipe.stem)}",
    ]
    return Group(shown, Text("\n".join(lines)))


def _plain(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
