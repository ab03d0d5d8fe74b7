"""The rule book: every expectation that a prepared data set is asked, and whether it holds, told without an engine.

Great Expectations judges them in the run (`validate`), and so a user's own of any kind. `broken` judges the kinds that
the suite and the tasks use, as it does, for a check that is to answer at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from components import texts
from components.data.errors import DataError
from components.data.validation import suite
from components.data.validation.tables import Tables
from components.inputs.protocol import Expectation

EXAMPLES = 5  # rows that are named of each rule


@dataclass(frozen=True)
class Table:
    """A table that is judged: its rows, some at a time, as often as they are asked for; and what they must hold to."""

    name: str
    frames: Callable[[], Iterator[pd.DataFrame]]
    expectations: list[Expectation]


@dataclass(frozen=True)
class Broken:
    """A rule that does not hold, and of which rows."""

    says: str
    column: str
    ids: tuple[str, ...]  # of all rows, or examples where an engine has judged
    count: int
    rows: int

    @property
    def line(self) -> str:
        """The rule, how many rows break it, and the first of them."""
        first = ", ".join(texts.shown(name) for name in self.ids[:EXAMPLES])
        return f"{self.says}: {self.count:,} of {self.rows:,} rows do not; first: {first}"


def book(tables: Tables) -> list[Table]:
    """What a data set is asked, table by table; a user's own expectations aside."""
    card = tables.dataset.card
    samples = suite.of_samples(tables.config, tables.task.spec.target, card.groups, tables.across)
    asked = [Table("samples", tables.samples, samples)]
    if tables.fits:
        samples.extend(tables.kind.expectations(card))
        if card.classes:
            asked.append(Table("counts", lambda: iter([tables.counts()]), suite.of_counts(tables.config.checks)))
    if card.groups:
        asked.append(Table("groups", lambda: iter([tables.groups()]), suite.of_groups()))
    return asked


def broken(tables: Tables) -> list[Broken]:
    """The rules of severity `error` that do not hold."""
    found = []
    for table in book(tables):
        rules = [rule for rule in table.expectations if rule.severity == "error"]
        ids: dict[int, list[str]] = {number: [] for number in range(len(rules))}
        judged, rows = dict.fromkeys(ids, 0), 0
        for frame in table.frames():
            rows += len(frame)
            for number, rule in enumerate(rules):
                column = _column(frame, rule)
                ids[number] += [str(name) for name in frame.loc[fails(column, rule), "id"]]
                judged[number] += int(column.notna().sum())
        for number, rule in enumerate(rules):
            own, least = ids[number], float(str(rule.arguments.get("mostly", 1.0)))
            if own and (judged[number] == 0 or 1 - len(own) / judged[number] < least):
                found.append(Broken(rule.says, str(rule.arguments["column"]), tuple(own), len(own), rows))
    return found


def _column(frame: pd.DataFrame, rule: Expectation) -> pd.Series:
    name = str(rule.arguments["column"])
    if name not in frame.columns:
        raise DataError(f"{rule.says}: expected a column {name!r}, received none; no target can be read")
    return frame[name]


def fails(column: pd.Series, rule: Expectation) -> pd.Series:
    """Which values break the rule; a missing one breaks none but that there be a value."""
    known = column.notna()
    judged: Mapping[str, Callable[[], pd.Series]] = {
        "ExpectColumnValuesToNotBeNull": lambda: ~known,
        "ExpectColumnValuesToBeNull": lambda: known,
        "ExpectColumnValuesToBeInSet": lambda: known & ~column.isin(rule.arguments["value_set"]),
        "ExpectColumnValuesToBeBetween": lambda: known & ~_between(column, rule),
    }
    if rule.kind not in judged:
        raise DataError(f"{rule.says}: expected one of {', '.join(judged)}, received {rule.kind}")
    return judged[rule.kind]()


def _between(column: pd.Series, rule: Expectation) -> pd.Series:
    least, most = rule.arguments.get("min_value"), rule.arguments.get("max_value")
    inside = pd.Series(True, index=column.index)
    numbers = pd.to_numeric(column)
    if least is not None:
        inside &= numbers >= least
    if most is not None:
        inside &= numbers <= most
    return inside
