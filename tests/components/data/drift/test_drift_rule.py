"""When a column counts as drifted, against independent tests of the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import binom, chi2_contingency

from components.config import DriftConfig
from components.data.drift import rule as drift_rule
from components.data.drift.comparison import judge
from tests.components.data.drift.drift_builders import pool


def test_the_threshold_of_a_distance_is_the_chi_square_tests() -> None:
    """Where every category is frequent, the permutation test and the two-sample chi-square say the same."""
    _, labels, classes, side = pool()
    random = np.random.default_rng(5)
    names = np.array(classes)
    before = pd.Series(names[labels[:side]])
    agree = 0
    for share in np.linspace(0.10, 0.16, 20):
        weights = np.r_[share, np.full(9, (1 - share) / 9)]
        now = pd.Series(random.choice(names, side, p=weights))
        crossed = pd.crosstab(np.r_[np.zeros(side), np.ones(side)], np.r_[before.to_numpy(), now.to_numpy()])
        distance = jensenshannon(*(each.value_counts().reindex(names, fill_value=0) for each in (before, now)))
        agree += (chi2_contingency(crossed).pvalue <= 0.01) == (
            distance >= drift_rule.distance_threshold(now, before, 0.01)
        )
    assert agree >= 19  # a close call may fall differently: the draws are 20,000


def test_evidentlys_own_chi_square_would_cry_wolf() -> None:
    """Why it is not used: it takes a reference as large as the current data for the truth."""
    from evidently.legacy.calculations.stattests import get_stattest

    _, labels, _, side = pool()
    side = min(side, len(labels) // 4)
    alarms = 0
    for seed in range(50):
        order = np.random.default_rng(seed).permutation(len(labels))
        halves = [pd.Series(labels[order[at : at + side]].astype(str)) for at in (0, side)]
        alarms += bool(get_stattest(*halves, "cat", "chisquare")(*halves, "cat", 0.01).drifted)
    assert alarms > binom.ppf(0.999, 50, 0.01)


def test_a_value_too_rare_for_both_sides_is_no_drift() -> None:
    before = pd.Series(["usual"] * 1999 + ["rare"])
    now = pd.Series(["usual"] * 2000)
    assert drift_rule.distance_threshold(now, before, 0.01) > jensenshannon([2000, 0], [1999, 1])


def test_sides_of_different_sizes_are_compared_by_their_shares() -> None:
    """What chance reaches depends on both sizes, and no more than it should."""
    random = np.random.default_rng(1)
    drifted = 0
    for _ in range(100):
        before, now = pd.Series(random.choice(list("abc"), 1500)), pd.Series(random.choice(list("abc"), 150))
        distance = jensenshannon(*(each.value_counts().sort_index() for each in (before, now)))
        drifted += distance >= drift_rule.distance_threshold(now, before, 0.1)
    assert 2 <= drifted <= 21  # 10 expected; the binomial's 0.1 % either way


def test_groups_of_many_values_count_their_rarest_together() -> None:
    ids = np.arange(3000)
    patients = pd.DataFrame({"id": ids.astype(str), "group_patient": [f"patient {number}" for number in ids]})
    now, _ = drift_rule.paired(patients, patients)
    assert now["group_patient"].nunique() <= drift_rule.MOST_VALUES
    assert (now["group_patient"] == drift_rule.OTHER).mean() > 0.9
    assert judge(patients, patients, DriftConfig()).drifted is False


def test_a_family_has_its_share_of_the_false_alarms_however_many_columns_it_has() -> None:
    levels = drift_rule.levels(["brightness", *(f"embedding_{index:02d}" for index in range(16)), "label"], 0.03)
    assert (levels["brightness"], levels["label"]) == (0.01, 0.01)
    assert sum(level for name, level in levels.items() if name.startswith("embedding_")) == np.float64(0.01)


def test_what_has_changed_is_said_in_figures() -> None:
    before, now = pd.Series(list("aaaaaabbcc")), pd.Series(list("aaaabbbccc"))
    assert drift_rule.change(now, before) == "a: 60.0% → 40.0%"
    assert drift_rule.change(pd.Series([0.0, 2.0]), pd.Series([1.0, 1.0])) == "1 ± 0 → 1 ± 1.4"
