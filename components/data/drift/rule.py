"""When a column, a family of columns and the data as a whole count as drifted, and what is said of it.

Columns come in families that change for different reasons: pixels, embedding, labels, groups. A share of all columns
would overlook what moves few of them (a shift of the classes moves one in thirty), so each family decides for itself
and one drifted column is enough. What keeps that from crying wolf is the level: `false_alarms` is shared out equally
over the families and within each over its columns (Bonferroni), so that of comparisons of unchanged data at most that
share reports drift. `benchmarks/drift.md` has what was measured. The tests themselves are Evidently's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.artifacts import Card
from components.data.drift.profile import EMBEDDING, GROUP, ID, LABEL, SHARE, SPLIT, TRAINED, UNSEEN, VALUE

Family = Literal["pixels", "embedding", "labels", "groups"]
FAMILIES: tuple[Family, ...] = Family.__args__  # type: ignore[attr-defined]

# Evidently's names. Left to itself it takes one test up to 1,000 rows and another one above. Its chi-square takes the
# reference for the truth rather than for a sample, and so reports drift in half of all unchanged label columns at 5 %.
NUMBERS_TEST, CATEGORIES_TEST = "ks", "jensenshannon"

MOST_VALUES = 100  # of a column of categories; rarer ones count together, so that a page can show them
OTHER = "(other)"
_DRAWS = 20_000  # resamples behind a distance's threshold: 50 lie beyond it at the smallest usual level, 0.0025


class ColumnDrift(Card):
    """What one column's test said."""

    family: Family
    drifted: bool
    test: str  # Evidently's name of it
    score: float  # ks: a p-value, drifted where it is at most the threshold; jensenshannon: a distance, where at least
    threshold: float
    change: str  # from the reference to now, for people


class FamilyDrift(Card):
    """One family's decision."""

    drifted: bool
    columns: tuple[str, ...]  # those that drifted
    compared: int  # columns
    level: float  # its share of the false alarms

    @property
    def share(self) -> float:
        """Of the compared columns that drifted."""
        return len(self.columns) / self.compared


class DriftReport(Card):
    """`drift.json`."""

    reference: bool  # False: there was nothing to compare with
    drifted: bool | None  # whether any family has; None: not known, for want of a reference
    share: float | None  # of all columns that drifted
    families: dict[Family, FamilyDrift]
    columns: dict[str, ColumnDrift]
    message: str

    @classmethod
    def load(cls, folder: Path) -> DriftReport:
        return cls.read(folder / "drift.json")


def family_of(column: str) -> Family:
    if column == LABEL or column.startswith((SHARE, VALUE)):
        return "labels"
    if column.startswith(GROUP):
        return "groups"
    return "embedding" if column.startswith(EMBEDDING) else "pixels"


def families(columns: Sequence[str]) -> dict[Family, list[str]]:
    """Those that there are, each with its columns in their order."""
    found = {family: [name for name in columns if family_of(name) == family] for family in FAMILIES}
    return {family: names for family, names in found.items() if names}


def paired(current: pd.DataFrame, reference: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The columns that two profiles have in common, of the rows that each family is judged by, NaN behind their end.

    A profile without a column `split` is from when the embedding was one of training rows: it is left out.
    """
    tables = []
    for table in (current, reference):
        if SPLIT in table:
            tables.append(table)
        else:
            kept = [name for name in table.columns if not str(name).startswith(EMBEDDING)]
            tables.append(table[kept].assign(**{SPLIT: TRAINED}))
    shared = [str(name) for name in tables[0].columns if name in tables[1] and name not in (ID, SPLIT)]
    rows = [{split: table[table[SPLIT] == split].reset_index(drop=True) for split in (TRAINED, UNSEEN)}
            for table in tables]  # fmt: skip
    sides: tuple[dict[str, pd.Series], dict[str, pd.Series]] = ({}, {})
    for name in shared:
        pair = [side[UNSEEN if family_of(name) == "embedding" else TRAINED][name] for side in rows]
        if not pd.api.types.is_numeric_dtype(pair[0]):
            counts = pd.concat(pair).value_counts()
            if len(counts) > MOST_VALUES:
                rare = set(counts.index[MOST_VALUES - 1 :])
                pair = [values.where(~values.isin(rare), OTHER) for values in pair]
        for side, values in zip(sides, pair, strict=True):
            side[name] = values
    return pd.DataFrame(sides[0]), pd.DataFrame(sides[1])


def levels(columns: Sequence[str], false_alarms: float) -> dict[str, float]:
    """Column → the share of comparisons of unchanged data in which it alone may drift."""
    of = families(columns)
    return {name: false_alarms / len(of) / len(names) for names in of.values() for name in names}


def distance_threshold(current: pd.Series, reference: pd.Series, level: float) -> float:
    """The Jensen-Shannon distance (natural logarithm) of two columns of categories that chance reaches at `level`.

    If nothing has changed, every way to deal the values of both out to the two sides is as likely as any other: the
    threshold is the quantile of seeded draws of that (a permutation test), whatever the sizes and however rare a value.
    """
    from scipy.spatial.distance import jensenshannon

    now, before = current.value_counts(), reference.value_counts()
    together = now.add(before, fill_value=0).to_numpy().astype(np.int64)
    drawn = np.random.default_rng(0).multivariate_hypergeometric(together, int(now.sum()), size=_DRAWS)
    by_chance: npt.NDArray[np.float64] = np.sort(jensenshannon(drawn, together - drawn, axis=1))
    beyond = max(1, int(level * (_DRAWS + 1)))  # the observed distance counts as a draw of its own
    return float(by_chance[-beyond]) + 1e-9  # drift is what is farther; sums in another order differ by less


def change(current: pd.Series, reference: pd.Series) -> str:
    """From the reference to now: mean ± deviation, or the category whose share has moved most."""
    if pd.api.types.is_numeric_dtype(current):
        return f"{reference.mean():.4g} ± {reference.std():.2g} → {current.mean():.4g} ± {current.std():.2g}"
    before, now = (side.value_counts(normalize=True) for side in (reference, current))
    moved = now.sub(before, fill_value=0).abs()
    most = sorted(moved.index, key=lambda value: (-moved[value], str(value)))[0]
    return f"{most}: {before.get(most, 0.0):.1%} → {now.get(most, 0.0):.1%}"


def conclude(columns: Mapping[str, ColumnDrift], alone: Sequence[str], false_alarms: float) -> DriftReport:
    """The families' decisions and the message; `alone` are the columns that only one side has."""
    of = families(list(columns))
    decided: dict[Family, FamilyDrift] = {}
    for family, names in of.items():
        drifted = tuple(name for name in names if columns[name].drifted)
        decided[family] = FamilyDrift(
            drifted=bool(drifted), columns=drifted, compared=len(names), level=false_alarms / len(of)
        )
    moved = [f"{family} ({_listed(family, each.columns)})" for family, each in decided.items() if each.drifted]
    still = [family for family, each in decided.items() if not each.drifted]
    message = f"drift in {' and '.join(moved)}" if moved else "no drift"
    if still:
        message += f"{'; none' if moved else ''} in {', '.join(still)}"
    if alone:
        missing = [_listed(family, names) for family, names in families(alone).items()]
        message += f"; not compared, since only one side has them: {', '.join(missing)}"
    return DriftReport(
        reference=True,
        drifted=bool(moved),
        share=sum(column.drifted for column in columns.values()) / len(columns),
        families=decided,
        columns=dict(columns),
        message=message,
    )


def _listed(family: Family, names: Sequence[str]) -> str:
    """Directions of an embedding have no names that would tell anybody anything."""
    return (
        f"{len(names)} direction{'s' if len(names) > 1 else ''} of what the model sees"
        if family == "embedding"
        else ", ".join(names)
    )
