"""Every kind of target keeps what the rooms of data ask of it, on small columns with what may lie in one: sound values,
a null, one that cannot be read, one of no known class."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from components.artifacts import DatasetCard, ImageSpec
from components.inputs import png
from components.members import TARGETS
from components.targets import registry
from components.targets.protocol import UNKNOWN, TargetKind, UnreadableTargetError
from tests.components.targets.target_builders import NAMES, given_of

SPEC = ImageSpec(height=4, width=6, channels=1, mean=(0.5,), std=(0.2,))
CARD = DatasetCard(name="n", task="t", classes=NAMES, groups=(), input=SPEC, splits={}, fingerprint="")


def card(kind: TargetKind, spec: ImageSpec = SPEC) -> DatasetCard:
    """As prepared, of the sound targets."""
    given = given_of(kind.name)
    learnt = given.column.take(pa.array(given.sound))
    record = kind.record(given.about, [learnt.slice(0, 1), learnt.slice(1)])
    classes = () if kind.labelled == "never" else NAMES
    return CARD.model_copy(update={"target": record, "input": given.spec or spec, "classes": classes})


@pytest.fixture(params=TARGETS.names())
def kind(request: pytest.FixtureRequest) -> TargetKind:
    return registry.get(request.param)


def test_each_is_called_as_its_file_and_is_known_by_name_only() -> None:
    assert [registry.get(name).name for name in TARGETS.names()] == TARGETS.names()
    with pytest.raises(ValueError, match=f"expected one of {', '.join(TARGETS.names())}, received"):
        registry.get("boxes_of_chocolate")


def test_what_is_shown_is_each_class_once_and_counted_by_part(kind: TargetKind) -> None:
    given = given_of(kind.name)
    shown = kind.shown(given.column, len(NAMES))
    pairs = list(zip(shown.rows.tolist(), shown.classes.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    assert [{number for row, number in pairs if row == each} for each in range(len(given.column))] == given.shown
    assert len(shown.strata) == len(given.column)
    counts = shown.counts(len(NAMES))
    assert counts.tolist() == [sum(number in each for each in given.shown) for number in range(len(NAMES))]
    first = np.arange(len(given.column)) == 0
    assert (shown.counts(len(NAMES), first) + shown.counts(len(NAMES), ~first)).tolist() == counts.tolist()


def test_labels_are_those_of_a_kind_that_has_one_a_sample(kind: TargetKind) -> None:
    given = given_of(kind.name)
    one = [next(iter(each)) if len(each) == 1 else UNKNOWN for each in given.shown]
    expected = one if kind.labelled == "once" else [UNKNOWN] * len(one)
    assert kind.labels(given.column, len(NAMES)).tolist() == expected


def test_renamed_targets_show_the_same_names_and_back_again_the_same(kind: TargetKind) -> None:
    given = given_of(kind.name)
    other = ("dog", "nothing", "cat")
    renamed = kind.renamed(given.column, NAMES, other, {})
    assert renamed.type == kind.stored

    def named(column: pa.Array, names: tuple[str, ...]) -> list[set[str]]:
        shown = kind.shown(column, len(names))
        pairs = list(zip(shown.rows.tolist(), shown.classes.tolist(), strict=True))
        return [{names[number] for row, number in pairs if row == each} for each in range(len(column))]

    assert named(renamed, other) == named(given.column, NAMES)
    back = kind.renamed(renamed, other, NAMES, {}).take(pa.array(given.sound[:2]))
    assert back.equals(given.column.take(pa.array(given.sound[:2])))
    # a class that the data set does not declare is known no more
    fewer = ("nothing", "cat")
    assert "dog" not in set().union(*named(kind.renamed(given.column, NAMES, fewer, {}), fewer))


def test_arrays_are_as_the_layout_says_and_what_cannot_be_read_is_named_by_its_row(kind: TargetKind) -> None:
    given = given_of(kind.name)
    layout = kind.layout(card(kind))
    for count in (0, 1, len(given.sound)):
        some = given.beside(kind, given.sound[:count])
        arrays = some.arrays(given.column.take(pa.array(given.sound[:count], pa.int64())), card(kind))
        assert (arrays.shape, arrays.dtype) == ((count, *layout.shape), layout.type)
        assert all(
            len(values) == count
            for values in kind.summary(arrays if kind.labelled == "never" else arrays % len(NAMES), card(kind)).values()
        )
    if len(given.sound) < len(given.column) and layout.shape:
        with pytest.raises(UnreadableTargetError) as raised:
            given.beside(kind).arrays(given.column, card(kind))
        assert raised.value.row == min(set(range(len(given.column))) - set(given.sound))


def test_a_target_follows_its_picture_or_stays_where_it_does_not_go_with_it(kind: TargetKind) -> None:
    given = given_of(kind.name)
    column = given.column.take(pa.array(given.sound))
    larger = kind.fitted(column, [(6, 4)] * len(column), (12, 8), "stretch", given.about)
    spec = SPEC.model_copy(update={"height": 8, "width": 12})
    assert (
        kind.shown(larger, len(NAMES)).counts(len(NAMES)).tolist() == kind.shown(column, len(NAMES)).counts(3).tolist()
    )
    sound = given.beside(kind, given.sound)
    assert sound.arrays(larger, card(kind, spec)).shape == (len(column), *kind.layout(card(kind, spec)).shape)
    assert kind.fitted(larger, [(12, 8)] * len(column), (6, 4), "stretch", given.about).equals(column)
    assert kind.fitted(column, [(5, 5)] * len(column), (12, 8), "stretch", given.about).equals(column)


def test_around_a_letterboxed_mask_is_background_or_what_its_data_ignores() -> None:
    mask = registry.get("mask")
    column = png.encode(np.ones((1, 4, 4), dtype=np.uint8))
    for about, around in (({}, 0), ({"ignore": png.IGNORED}, png.IGNORED)):
        (placed,) = png.decode_masks(mask.fitted(column, [(4, 4)], (8, 4), "letterbox", about))
        assert placed is not None and placed[0].tolist() == [around] * 2 + [1] * 4 + [around] * 2


def test_expectations_are_ones_that_great_expectations_knows_of_columns_that_there_are(kind: TargetKind) -> None:
    known = importlib.import_module("great_expectations.expectations")
    given = given_of(kind.name)
    facts = given.beside(kind).facts(given.column, card(kind))
    assert all(len(values) == len(given.column) for values in facts.values())
    for expectation in kind.expectations(card(kind)):
        built = getattr(known, expectation.kind)(**expectation.arguments)  # an unknown argument raises
        assert built.column in facts
        assert expectation.says


def test_two_versions_differ_where_targets_do_and_only_there(kind: TargetKind) -> None:
    given = given_of(kind.name)
    column = given.column.take(pa.array(given.sound[:2]))
    other = ("dog", "nothing", "cat")

    def compared(column: pa.Array, classes: tuple[str, ...]) -> list[tuple[Any, Any]]:
        names, digests = kind.names(column, classes), kind.digests(column, classes)
        return list(zip(names.to_pylist(), digests.to_pylist(), strict=True))

    assert compared(column, NAMES) == compared(kind.renamed(column, NAMES, other, {}), other)
    first, second = compared(column, NAMES)
    assert first != second
    assert kind.digests(column, None).to_pylist() == kind.digests(column.take(pa.array([0, 1])), None).to_pylist()


def test_a_page_counts_every_sound_target_in_some_part(kind: TargetKind) -> None:
    given = given_of(kind.name)
    parts, parted = kind.parts(card(kind)), kind.parted(given.column, card(kind))
    assert parts and len(set(parts)) == len(parts)
    assert set(parted.rows.tolist()) >= {row for row in given.sound if kind.labelled == "never" or given.shown[row]}
    assert parted.counts(len(parts)).sum() == len(parted.rows)
    assert kind.described(card(kind).classes, card(kind).target).startswith(("in ", "with "))


def test_numbered_anew_targets_show_the_same_names(kind: TargetKind) -> None:
    given = given_of(kind.name)
    column = given.column.take(pa.array(given.sound[:2]))
    numbered = kind.numbered(column, np.array([0, 2, 1]))
    assert numbered.type == kind.stored
    assert kind.numbered(numbered, np.array([0, 2, 1])).equals(column)


def test_drawing_needs_nothing_but_the_picture(kind: TargetKind) -> None:
    given = given_of(kind.name)
    picture = Image.new("L", (6, 4), 100)
    for target in given.column.to_pylist():
        drawn = kind.drawn(picture, target, {})
        assert drawn.size == picture.size
    colours = kind.colours(NAMES, {})
    assert set(colours) <= set(NAMES)
    drawn = kind.drawn(picture, given.column[0].as_py(), {})
    assert bool(colours) == (drawn.convert("RGB").getpixel((5, 2)) != (100, 100, 100))


def test_a_kind_is_what_the_card_says_or_what_the_column_shows(kind: TargetKind) -> None:
    assert registry.stored_as(kind.stored, card(kind)) is kind
    with pytest.raises(ValueError, match="received float"):
        registry.stored_as(pa.float32(), CARD)
    assert given_of(kind.name).column.type == kind.stored
