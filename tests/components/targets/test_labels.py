"""Labels of a sample: what is stored, said and counted of none, one and several; and by what splits are drawn."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from components.artifacts import DatasetCard, ImageSpec
from components.config import SplitDeclaration
from components.data.preparing.splits import assign, assign_folds
from components.targets.labels import NO_LABEL, TARGET
from components.targets.strata import ENOUGH, Strata, by_labels

NAMES = ("cat", "dog", "cow", "hen", "pig", "fox")
SPEC = ImageSpec(height=4, width=4, channels=1, mean=(0.5,), std=(0.2,))
CARD = DatasetCard(name="n", task="t", classes=NAMES, groups=(), input=SPEC, splits={}, fingerprint="")


def column(rows: list[list[int] | None]) -> pa.Array:
    return pa.array(rows, TARGET.stored)


def test_captions_name_the_first_labels_and_count_the_others() -> None:
    said = TARGET.captions(column([[0, 2], [], None, [0, 1, 2, 3, 4, 5]]), NAMES).to_pylist()
    assert said == ["cat, cow", NO_LABEL, None, "cat, dog, cow, hen and 2 more"]


def test_a_page_counts_samples_by_label_and_those_without_any() -> None:
    parted = TARGET.parted(column([[0, 2], [], None, []]), CARD)
    assert TARGET.parts(CARD) == (*NAMES, NO_LABEL)
    assert parted.counts(len(NAMES) + 1).tolist() == [1, 0, 1, 0, 0, 0, 2]


def test_what_is_left_out_or_joined_leaves_each_label_once_in_order() -> None:
    found = TARGET.numbered(column([[0, 1, 3], [2], None, []]), np.array([1, 0, -1, 0, 2, 3]))
    assert found.to_pylist() == [[0, 1], [], None, []]
    part = column([[9], [0, 1, 3], [2]]).slice(1)  # a slice knows its own rows alone
    assert TARGET.numbered(part, np.array([1, 0, -1, 0, 2, 3])).to_pylist() == [[0, 1], []]


def test_arrays_are_flags_and_drift_follows_how_many_and_which() -> None:
    arrays = TARGET.arrays(column([[0, 2], []]), CARD)
    assert arrays.tolist() == [[1, 0, 1, 0, 0, 0], [0] * 6]
    told = TARGET.summary(arrays, CARD)
    assert told["value_labels"].tolist() == [2, 0] and told["share_cow"].tolist() == [1, 0]


def test_rows_with_the_same_labels_are_a_stratum_and_rare_combinations_go_with_their_rarest_label() -> None:
    sets = [(0,)] * 30 + [(0, 1)] * ENOUGH + [(0, 1, 2)] * 3 + [(0, 2)] * 2 + [()] * 5
    strata = by_labels(sets)
    groups = [set(strata[:30]), set(strata[30:50]), set(strata[50:55]), set(strata[55:])]
    assert all(len(each) == 1 for each in groups) and len(set.union(*groups)) == 4


def test_strata_and_splits_are_the_same_whichever_way_the_rows_come() -> None:
    random = np.random.default_rng(0)
    rows = [sorted(np.flatnonzero(random.random(6) < 0.3).tolist()) for _ in range(200)]
    ids = [f"s{number}" for number in range(200)]

    def drawn(order: list[int], step: int) -> tuple[list[int], list[str]]:
        strata = Strata()
        for start in range(0, 200, step):
            strata.add(TARGET.shown(column([rows[place] for place in order[start : start + step]]), 6))
        named, found = [ids[place] for place in order], strata.found()
        splits = assign(named, found, [None] * 200, SplitDeclaration(), labels=strata.labels)
        return found, list(splits)

    whole, order = drawn(list(range(200)), 200), random.permutation(200).tolist()
    assert drawn(list(range(200)), 30) == whole
    assert drawn(order, 200) == tuple([each[place] for place in order] for each in whole)


def test_every_label_keeps_its_share_in_every_split_and_fold() -> None:
    """Labels of very different sizes, of which some go together; a draw that does not look at them is much worse."""
    random = np.random.default_rng(1)
    true = random.random((2000, 8)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01]
    true[:, 5] |= true[:, 3] & (random.random(2000) < 0.4)
    sets = [tuple(np.flatnonzero(row).tolist()) for row in true]
    ids = [f"s{number}" for number in range(2000)]

    def worst(labels: list[tuple[int, ...]] | None) -> float:
        """By how many samples a label is off its share in any split, the split's own size aside."""
        splits = np.array(assign(ids, [0] * 2000, [None] * 2000, SplitDeclaration(), labels=labels))
        assert abs(int((splits == "test").sum()) - 400) <= 2
        shares = {"test": 0.2, "validation": 0.1, "train": 0.7}
        return max(
            float(np.abs(true[splits == name].sum(axis=0) - share * true.sum(axis=0)).max())
            for name, share in shares.items()
        )

    assert worst(sets) <= 2.0
    assert worst(None) > 10.0
    folds = np.array(assign_folds(ids, [0] * 2000, 5, 0, labels=sets))
    shares = np.stack([true[folds == number].sum(axis=0) for number in range(5)])
    np.testing.assert_allclose(shares, np.tile(true.sum(axis=0) / 5, (5, 1)), atol=2.0)


def test_twins_stay_together_and_each_label_still_has_its_share() -> None:
    random = np.random.default_rng(2)
    true = random.random((600, 4)) < [0.5, 0.3, 0.2, 0.1]
    true[1::10] = true[::10]  # every tenth has a twin with the same labels
    sets = [tuple(np.flatnonzero(row).tolist()) for row in true]
    ids = [f"s{number}" for number in range(600)]
    twins = [(ids[place], ids[place + 1]) for place in range(0, 600, 10)]
    splits = assign(ids, by_labels(sets), [None] * 600, SplitDeclaration(), labels=sets, families=twins)
    assert all(splits[place] == splits[place + 1] for place in range(0, 600, 10))
    tests = np.array(splits) == "test"
    np.testing.assert_allclose(true[tests].sum(axis=0), 0.2 * true.sum(axis=0), atol=8)
