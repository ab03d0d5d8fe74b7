"""Is this still the data the production model was trained on? The one package of Evidently.

Two profiles (`profile`) are compared column by column with Evidently's tests, the families of columns decide
(`rule`), and the comparison is kept as a page and as a run in Evidently's history. What to do about drift, and
where the reference comes from, is for the pipeline to say.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from components import texts
from components.config import DriftConfig
from components.data.drift import rule as drift_rule
from components.data.drift.rule import CATEGORIES_TEST, NUMBERS_TEST, ColumnDrift, DriftReport
from components.data.errors import DataError
from components.files import writing
from components.own_files import remove

if TYPE_CHECKING:
    from evidently.core.report import Snapshot
    from evidently.sdk.models import DashboardModel

NO_REFERENCE = "there is no reference yet: no model of this name is in production, so drift is not known"
PROJECT = "metadata.json"  # Evidently's file about a project
LOCK_SECONDS = 60.0  # adding a run takes about 0.2 s
_log = logging.getLogger(__name__)
_HISTORY = uuid.UUID("6f0a9f0e-4c53-5c7e-9a35-3d3c5b9e6a11")  # namespace of the identifiers below, drawn once
_DATA = re.compile(r"^(?P<name> {4}var \w+ = )(?P<json>\{.*\});$", re.MULTILINE)
_PANELS = {"share": ("Share of drifted columns", "line"), "count": ("Drifted columns", "bar")}


@dataclass(frozen=True)
class History:
    """Where a comparison is kept: an Evidently Workspace, with a project a model.

    The same key is the same comparison: it is written again, never a second time.
    """

    workspace: Path
    model: str
    key: str
    about: Mapping[str, str]  # what the history shows of it

    @property
    def project(self) -> uuid.UUID:
        return uuid.uuid5(_HISTORY, self.model)

    @property
    def run(self) -> uuid.UUID:
        return uuid.uuid5(self.project, self.key)


def compare(
    current: pd.DataFrame,
    reference: pd.DataFrame | None,
    config: DriftConfig,
    folder: Path,
    history: History | None = None,
    why_none: str | None = None,
) -> DriftReport:
    """Compare two profiles; writes `drift.json` and, where there is a reference, `drift.html` into `folder`.

    `why_none` is what the report says where there is none, by default that nothing is in production. With a `history`
    the comparison becomes a run of it. Raises DataError where the two have no column in common or a column has no
    values, and TimeoutError where another process keeps the history locked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if reference is None:
        report = DriftReport(
            reference=False, drifted=None, share=None, families={}, columns={}, message=why_none or NO_REFERENCE
        )  # fmt: skip
    else:
        report = judge(current, reference, config)
        shown = _shown(*drift_rule.paired(current, reference), report, history)
        with writing(folder / "drift.html") as page:
            page.write_text(_harmless(shown.get_html_str(as_iframe=False)), encoding="utf-8")
        if history is not None:
            _remember(shown, report, history)
    with writing(folder / "drift.json") as temporary:
        temporary.write_text(report.to_json(), encoding="utf-8")
    return report


def judge(current: pd.DataFrame, reference: pd.DataFrame, config: DriftConfig) -> DriftReport:
    """The decision alone: Evidently's test of every column, at its level. Raises as `compare`."""
    from evidently.legacy.calculations.stattests import get_stattest

    now, before = drift_rule.paired(current, reference)
    names = [str(name) for name in now.columns]
    empty = [name for name in names if now[name].notna().sum() == 0 or before[name].notna().sum() == 0]
    if empty or not names:
        raise DataError(
            f"drift: expected two profiles with columns in common and values in each, received {len(current)} rows of "
            f"{list(current.columns)} and {len(reference)} rows of {list(reference.columns)}; without values: {empty}"
        )
    columns: dict[str, ColumnDrift] = {}
    for name, level in drift_rule.levels(names, config.false_alarms).items():
        sides = before[name].dropna(), now[name].dropna()
        numeric = pd.api.types.is_numeric_dtype(sides[0])
        test, kind = (NUMBERS_TEST, "num") if numeric else (CATEGORIES_TEST, "cat")
        threshold = level if numeric else drift_rule.distance_threshold(sides[1], sides[0], level)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # exact p-values that overflow, where the test takes asymptotic ones
            answer = get_stattest(*sides, kind, test)(*sides, kind, threshold)
        if not np.isfinite(answer.drift_score):
            raise DataError(f"drift: expected a score of {test} for {name}, received {answer.drift_score}")
        columns[name] = ColumnDrift(
            family=drift_rule.family_of(name),
            drifted=bool(answer.drifted),
            test=test,
            score=float(answer.drift_score),
            threshold=threshold,
            change=drift_rule.change(sides[1], sides[0]),
        )
    alone = sorted((set(current.columns) | set(reference.columns)) - set(names) - {"id", "split"})
    return drift_rule.conclude(columns, alone, config.false_alarms)


def _shown(now: pd.DataFrame, before: pd.DataFrame, report: DriftReport, history: History | None) -> Snapshot:
    """Evidently's report with the same tests and thresholds: a family's count of drifted columns, then its columns."""
    from evidently import DataDefinition, Report
    from evidently import Dataset as Table
    from evidently.metrics import DriftedColumnsCount, ValueDrift

    metrics: list[Any] = []
    for family in report.families:
        columns = {name: column for name, column in report.columns.items() if column.family == family}
        metrics.append(
            DriftedColumnsCount(
                columns=list(columns),
                drift_share=1 / len(columns),  # one column is enough
                num_method=NUMBERS_TEST,
                cat_method=CATEGORIES_TEST,
                per_column_threshold={name: column.threshold for name, column in columns.items()},
            )
        )
        metrics += [
            ValueDrift(column=name, method=column.test, threshold=column.threshold) for name, column in columns.items()
        ]
    definition = DataDefinition(
        numerical_columns=[name for name, column in report.columns.items() if column.test == NUMBERS_TEST],
        categorical_columns=[name for name, column in report.columns.items() if column.test == CATEGORIES_TEST],
    )
    about = {"verdict": report.message, **(history.about if history else {})}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # divisions by zero in constant columns, which its plots then leave out
        return Report(metrics, include_tests=True).run(
            Table.from_pandas(now, definition), Table.from_pandas(before, definition), metadata=about,
            tags=["drift" if report.drifted else "no drift"],
        )  # fmt: skip


def _harmless(page: str) -> str:
    """Evidently's page, in whose data, one JSON per line, a class called `</script>` would end the script.

    Raises DataError where the page has no such lines any more, rather than write one that may do anything.
    """
    mended, lines = _DATA.subn(lambda found: f"{found['name']}{texts.script(found['json'])};", page)
    if not lines:
        raise DataError(
            "drift: expected Evidently's report to have its data in lines of JSON, received another form of report"
        )
    return mended


# -- history --------------------------------------------------------------------------------------------------------


def _remember(shown: Snapshot, report: DriftReport, history: History) -> None:
    """Add the comparison to the history. Every file comes in one move: a page that is open never reads half of one."""
    from evidently.sdk.models import ProjectModel
    from evidently.ui.storage.local.base import LocalState

    path = history.workspace.parent / "locks" / "evidently.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=LOCK_SECONDS):
            # Beside the workspace: Evidently takes every folder in it for a project. A killed run may have left it.
            beside = history.workspace.with_name(f".{history.workspace.name}.writing")
            shutil.rmtree(beside, ignore_errors=True)
            written = LocalState(str(beside))
            about = "Each run compares a data set with what the model in production then was trained on."
            written.write_project(ProjectModel(id=history.project, name=history.model, description=about))
            there = _dashboard_of(history, dropped := history.workspace.with_name("evidently.damaged"))
            written.write_dashboard(history.project, _dashboard(there, report))
            written.write_snapshot(history.project, history.run, shown.to_snapshot_model())
            source, place = beside / str(history.project), history.workspace / str(history.project)
            history.workspace.mkdir(parents=True, exist_ok=True)
            if place.is_dir() and (place / PROJECT).is_file():
                (place / "snapshots").mkdir(exist_ok=True)
                for file in (f"snapshots/{history.run}.json", "dashboard.json"):
                    (source / file).replace(place / file)
            else:
                if place.exists():
                    _set_aside(place, dropped)
                source.replace(place)
            shutil.rmtree(beside)
    except Timeout as error:
        raise TimeoutError(
            f"{path}: another process has held the history of drift for {LOCK_SECONDS:.0f} s; wait for it, or end it"
        ) from error


def _dashboard_of(history: History, dropped: Path) -> DashboardModel:
    """The dashboard as it is; a damaged one goes into `dropped`, as do runs that no page could show, and it is new."""
    from evidently.sdk.models import DashboardModel
    from evidently.ui.storage.local.base import LocalState

    state, place = LocalState(str(history.workspace)), history.workspace / str(history.project)
    for file in [place / PROJECT, *place.glob("snapshots/*.json")]:
        if file.exists() and not isinstance(_parsed(file), dict):
            _set_aside(file, dropped)
    try:
        return state.read_dashboard(history.project)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        _set_aside(place / "dashboard.json", dropped)
        return DashboardModel(tabs=[], panels=[])


def _parsed(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _set_aside(path: Path, dropped: Path) -> None:
    """Out of the workspace: Evidently would take whatever lies in it for its own."""
    dropped.mkdir(exist_ok=True)
    remove(dropped / path.name)
    path.replace(dropped / path.name)
    _log.warning("%s was damaged: it is in %s now, and a new one is begun", path, dropped)


def _dashboard(there: DashboardModel, report: DriftReport) -> DashboardModel:
    """A panel for each of `_PANELS` with a series a family; what people have changed on the page is left as it is.

    Evidently tells a family's count from another's by its columns, so columns that come or go begin a new series.
    """
    from evidently.sdk.models import DashboardModel, DashboardTabModel, PanelMetric
    from evidently.sdk.panels import bar_plot_panel, line_plot_panel

    board = there.copy(deep=True)
    if not board.tabs:
        about = "A family of columns has drifted when one of its columns has."
        make = {"line": line_plot_panel, "bar": partial(bar_plot_panel, stacked=True)}
        panels = [make[plot](title=title, values=[], description=about) for title, plot in _PANELS.values()]
        board = DashboardModel(tabs=[DashboardTabModel(title="Drift", panels=[each.id for each in panels])],
                               panels=panels)  # fmt: skip
    titles = {title: kind for kind, (title, _) in _PANELS.items()}
    for panel in board.panels:
        if panel.title not in titles:
            continue
        for family in report.families:
            columns = [name for name, column in report.columns.items() if column.family == family]
            value = PanelMetric(
                legend=family,
                metric="DriftedColumnsCount",
                metric_labels={"columns": str(columns), "value_type": titles[panel.title]},
            )
            if value not in panel.values:
                panel.values.append(value)
    return board
