"""Boxes as targets: arrays, figures and rules compared with loops over the boxes one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from components.artifacts import DatasetCard, ImageSpec
from components.targets.boxes import MANY, TARGET
from components.targets.flat_boxes import COLUMNS, column_of, flat
from components.targets.protocol import UnreadableTargetError

NAMES = ("cat", "dog", "owl")
SPEC = ImageSpec(height=30, width=40, channels=1, mean=(0.5,), std=(0.2,))


def box(label: int, left: float, top: float, right: float, bottom: float, **other: Any) -> dict[str, Any]:
    return dict(zip(COLUMNS, (label, left, top, right, bottom, False, 1.0), strict=True)) | other


def random_rows(count: int, seed: int = 0) -> list[list[dict[str, Any]]]:
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        row = []
        for _ in range(int(random.integers(0, 6))):
            x, y, right, bottom = random.uniform(0, 15, 2).tolist() + random.uniform(16, 30, 2).tolist()
            flags = {"ignored": bool(random.random() < 0.2), "visible": float(np.float32(random.random()))}
            row.append(box(int(random.integers(0, 3)), *map(float, map(np.float32, (x, y, right, bottom))), **flags))
        rows.append(row)
    return rows


def card(rows: pa.Array) -> DatasetCard:
    return DatasetCard.model_construct(classes=NAMES, input=SPEC, target=TARGET.record({}, [rows]))


def test_arrays_hold_every_box_in_its_order_and_nothing_behind() -> None:
    rows = random_rows(50)
    column = column_of(rows)
    arrays = TARGET.arrays(column, card(column))
    assert arrays.shape == (50, max(map(len, rows)), 7)
    for row, array in zip(rows, arrays, strict=True):
        expected = [[float(each[name]) for name in COLUMNS] for each in row]
        assert array[: len(row)].tolist() == expected
        assert (array[len(row) :, 0] == -1).all() and (array[len(row) :, 1:] == 0).all()


def test_a_part_of_a_column_is_read_as_if_it_were_alone() -> None:
    rows = random_rows(20)
    column = column_of([*rows[:10], *rows[10:]])
    part, alone = column.slice(7, 6), column_of(rows[7:13])
    assert flat(part).stored().equals(alone)
    assert TARGET.arrays(part, card(column)).tolist() == TARGET.arrays(alone, card(column)).tolist()
    kept = flat(part).labels == 1
    assert flat(part).stored(kept).to_pylist() == [
        [each for each in row if each["label"] == 1] for row in alone.to_pylist()
    ]


def test_arrays_are_as_long_as_the_most_of_any_split() -> None:
    few, many = column_of([[box(0, 0, 0, 1, 1)]]), column_of([[], [box(0, 0, 0, n, 1) for n in range(1, 6)]])
    assert TARGET.record({}, [few], [many]) == {"kind": "boxes", "most": 5}
    assert TARGET.record({}, [], [column_of([[]])])["most"] == 1
    with pytest.raises(UnreadableTargetError, match=r"at most 1 boxes .*, received 5"):
        TARGET.arrays(many, card(few))


def test_what_follows_for_drift_is_that_of_each_picture_s_objects() -> None:
    rows = random_rows(60, seed=1)
    column = column_of(rows)
    told = TARGET.summary(TARGET.arrays(column, card(column)), card(column))
    for at, row in enumerate(rows):
        judged = [each for each in row if not each["ignored"]]
        sides = [(each["right"] - each["left"], each["bottom"] - each["top"]) for each in judged]
        assert told["value_objects"][at] == len(judged)
        expected = [np.median([w * h / 1200 for w, h in sides]), np.median([w / h for w, h in sides])] if sides else []
        found = [told["value_area"][at], told["value_aspect"][at]]
        assert np.isnan(found).all() if not sides else found == pytest.approx(expected, rel=1e-5)
        for number, name in enumerate(NAMES):
            assert told[f"share_{name}"][at] == any(each["label"] == number for each in judged)


def test_rows_are_stratified_by_what_covers_most_and_ignored_objects_show_nothing() -> None:
    column = column_of(
        [
            [box(0, 0, 0, 4, 4), box(1, 0, 0, 3, 3), box(1, 5, 5, 8, 8)],
            [box(2, 0, 0, 9, 9, ignored=True), box(0, 0, 0, 1, 1)],
            [box(2, 0, 0, 9, 9, ignored=True)],
            [],
        ]
    )
    shown = TARGET.shown(column, 3)
    assert list(zip(shown.rows.tolist(), shown.classes.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0)]
    assert shown.strata.tolist() == [2, 1, 0, 0]


def test_every_rule_names_the_first_box_that_breaks_it() -> None:
    good = box(0, 1, 1, 40, 30)
    column = column_of(
        [
            [good],
            [good, box(0, 5, 5, 5, 9), box(0, 9, 9, 5, 5)],
            [good, box(1, 5, 5, 41, 9)],
            [box(0, 1, 1, math.inf, 2)],
            [box(3, 1, 1, 2, 2), box(-1, 2, 2, 3, 3)],
            [good, box(1, 1, 1, 40, 30), good],
            [],
        ]
    )
    facts = TARGET.facts(column, card(column))
    assert facts["target"] == ["boxes", "boxes", "boxes", None, "boxes", "boxes", "boxes"]
    assert facts["boxes"] == [1, 3, 2, 1, 2, 3, 0]
    told = {name: {at: said for at, said in enumerate(values) if said} for name, values in facts.items()}
    assert told["box_without_area"] == {1: "box 2 of class 0, 5, 5 to 5, 9"}
    assert told["box_outside"] == {2: "box 2 of class 1, 5, 5 to 41, 9"}
    assert told["box_without_numbers"] == {3: "box 1 of class 0, 1, 1 to inf, 2"}
    assert told["box_of_no_class"] == {4: "box 1 of class 3, 1, 1 to 2, 2"}
    assert told["box_twice"] == {5: "box 3 of class 0, 1, 1 to 40, 30"}
    assert {each.arguments["column"] for each in TARGET.expectations(card(column))} <= set(facts)
    assert MANY in [each.arguments.get("max_value") for each in TARGET.expectations(card(column))]


def test_classes_that_are_left_out_take_their_boxes_along() -> None:
    rows = random_rows(30, seed=2)
    numbered = TARGET.numbered(column_of(rows), np.array([0, -1, 1]))
    lookup = {0: 0, 2: 1}
    assert numbered.to_pylist() == [
        [each | {"label": lookup[each["label"]]} for each in row if each["label"] in lookup] for row in rows
    ]


def test_boxes_follow_a_picture_by_its_own_size() -> None:
    column = column_of([[box(0, 2, 3, 10, 12)], [box(0, 2, 3, 10, 12)], [box(0, 2, 3, 10, 12), box(0, 0, 0, 9, 9)]])
    fitted = TARGET.fitted(column, [(20, 30), None, (8, 30)], (40, 30), "stretch", {}).to_pylist()
    sides = [[[each[side] for side in COLUMNS[1:5]] for each in row] for row in fitted]
    assert sides == [[[4, 3, 20, 12]], [[2, 3, 10, 12]], [[2, 3, 10, 12], [0, 0, 9, 9]]]


def test_boxes_keep_their_form_in_a_letterbox_and_are_cut_by_a_crop() -> None:
    column = column_of([[box(0, 2, 3, 10, 12), box(1, 2, 5, 10, 25)]])

    (boxed,) = TARGET.fitted(column, [(20, 40)], (40, 40), "letterbox", {}).to_pylist()
    assert [[each[side] for side in COLUMNS[1:5]] for each in boxed] == [[12, 3, 20, 12], [12, 5, 20, 25]]

    (cut,) = TARGET.fitted(column, [(20, 40)], (40, 40), "crop", {}).to_pylist()  # the middle half, twice as large
    assert cut == [box(1, 4, 0, 20, 30, visible=0.75)]  # of the other less than a third is left


def test_versions_differ_by_boxes_and_not_by_their_order_or_their_classes_numbers() -> None:
    one = max(random_rows(9, seed=3), key=len)
    one[0] |= {"ignored": False, "label": 1}
    for changed in ({"left": 0.125}, {"label": 0}, {"ignored": True}):
        other = [one[0] | changed, *one[1:]]
        column = column_of([one, one[::-1], other, []])
        for classes in (None, NAMES):
            first, turned, differs, none = TARGET.digests(column, classes).to_pylist()
            assert first == turned and len({first, differs, none}) == 3
    renamed = TARGET.renamed(column_of([one]), NAMES, NAMES[::-1], {})
    assert TARGET.digests(renamed, NAMES[::-1]).equals(TARGET.digests(column_of([one]), NAMES))


def test_boxes_are_drawn_along_their_inner_edges_in_the_colour_of_their_class() -> None:
    picture = Image.new("L", (40, 30))
    row = [box(0, 4, 3, 20, 15), box(1, 25, 10, 40, 30), box(2, 1, 20, 8, 28, ignored=True)]
    drawn = np.asarray(TARGET.drawn(picture, row, {}))
    colours = TARGET.colours(NAMES, {})
    for name, corners in (("cat", [(3, 4), (3, 19), (14, 4), (14, 19)]), ("dog", [(10, 25), (29, 39)])):
        assert {tuple(drawn[at].tolist()) for at in corners} == {colours[name]}
    assert drawn[20, 1].tolist() == [160, 160, 160]
    assert not drawn[4:14, 5:19].any() and not drawn[:10].any(axis=2)[:, 21:].any()
    assert TARGET.drawn(picture, [], {}) is picture
