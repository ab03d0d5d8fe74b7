"""Every kind of input keeps what the rooms of data and of judgement ask of it, on a small column with what may lie in
one: sound inputs, none, and some that cannot be read. A file in `given` has them, called as the kind is."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest

from components.artifacts import DatasetCard
from components.data.card.views import registry as views
from components.data.checking.survey import of_kind
from components.data.inspection.eyes import registry as eyes
from components.inputs import registry
from components.inputs.protocol import InputKind, UnreadableInputError, Values
from components.members import EYES, INPUTS, SURVEYS, VIEWS, Member

CARD = {"name": "n", "task": "t", "classes": ("a",), "groups": (), "splits": {}, "fingerprint": ""}


@pytest.fixture(params=INPUTS.names())
def kind(request: pytest.FixtureRequest) -> InputKind:
    return registry.get(request.param)


def given_of(kind: InputKind) -> ModuleType:
    return importlib.import_module(f"tests.components.inputs.given.{kind.name}")


def card(kind: InputKind) -> DatasetCard:
    """As prepared, of the sound inputs."""
    given = given_of(kind)
    described = kind.describe(given.COLUMN, given.DECLARED, map)
    gathered = kind.gathering(given.DECLARED)
    gathered.add(described, np.isin(np.arange(len(given.COLUMN)), given.SOUND))
    return DatasetCard.model_validate({**CARD, "input": gathered.spec()})


def arrays(kind: InputKind) -> Values:
    given = given_of(kind)
    stored = kind.describe(given.COLUMN, given.DECLARED, map).stored
    return kind.arrays(stored.take(pa.array(given.SOUND)), card(kind).input)


def test_each_is_called_as_its_file_and_is_known_by_name_only() -> None:
    assert [registry.get(name).name for name in INPUTS.names()] == INPUTS.names()
    with pytest.raises(ValueError, match=f"expected one of {', '.join(INPUTS.names())}, received 'smell'"):
        registry.get("smell")


def test_each_can_be_inspected_surveyed_and_shown(kind: InputKind) -> None:
    assert all(Member(each, kind.name).exists for each in (EYES, SURVEYS, VIEWS))
    assert {"corrupt", "blank", "duplicate", "near-duplicate"} <= set(eyes.of_kind(kind.name).says)
    assert set(views.of_kind(kind.name).columns) <= {name for name, _ in kind.facts}
    given = given_of(kind)
    survey = of_kind(kind.name)({})
    survey.add(pa.chunked_array([given.COLUMN.take(pa.array(given.SOUND))]))
    type(given.DECLARED).model_validate(survey.fitting("stretch").section)
    assert survey.size > 0 and all(survey.told().values())


def test_facts_are_of_every_row_and_say_of_which_why_it_cannot_be_read(kind: InputKind) -> None:
    given = given_of(kind)
    described = kind.describe(given.COLUMN, given.DECLARED, map)
    assert described.stored.type == kind.stored and len(described.stored) == len(given.COLUMN)
    assert [(name, column.type) for name, column in described.facts.items()] == list(kind.facts)
    readable, problems = (described.facts[name].to_pylist() for name in ("decodable", "problem"))
    assert [problem is None for problem in problems] == readable
    assert all(readable[row] for row in given.SOUND) and not all(readable)
    digests = described.facts[kind.digest].to_pylist()
    assert [digest is None for digest in digests] == [not each for each in readable]
    assert digests[given.SOUND[0]] != digests[given.SOUND[1]]


def test_rows_are_described_alike_whatever_stands_beside_them(kind: InputKind) -> None:
    given = given_of(kind)
    whole = kind.describe(given.COLUMN, given.DECLARED, map)
    for row in range(len(given.COLUMN)):
        alone = kind.describe(given.COLUMN.slice(row, 1), given.DECLARED, map)
        assert alone.stored.cast(pa.binary()).equals(whole.stored.slice(row, 1).cast(pa.binary()))
        assert {name: column.to_pylist() for name, column in alone.facts.items()} == {
            name: column.slice(row, 1).to_pylist() for name, column in whole.facts.items()
        }
    assert kind.rows(given.DECLARED) >= 1


def test_a_card_is_the_same_in_whatever_order_and_is_read_back_as_it_was_written(kind: InputKind) -> None:
    given = given_of(kind)
    chosen = np.ones(1, dtype=bool)
    specs = []
    for order in (given.SOUND, given.SOUND[::-1]):
        gathered = kind.gathering(given.DECLARED)
        for row in order:
            gathered.add(kind.describe(given.COLUMN.slice(row, 1), given.DECLARED, map), chosen)
            gathered.add(kind.describe(given.COLUMN, given.DECLARED, map), np.zeros(len(given.COLUMN), dtype=bool))
        specs.append(gathered.spec())
    assert specs[0] == specs[1] == card(kind).input
    written = card(kind)
    assert DatasetCard.model_validate(json.loads(written.to_json())) == written
    assert registry.of(written) is kind and written.input.digest == kind.digest


def test_what_describing_leaves_of_inputs_is_not_needed_for_the_card_to_be_made(kind: InputKind) -> None:
    given = given_of(kind)
    described = kind.describe(pa.nulls(3, kind.stored), given.DECLARED, map)
    gathered = kind.gathering(given.DECLARED)
    gathered.add(replace(described, facts={}), np.ones(3, dtype=bool))
    assert gathered.spec().shape == card(kind).input.shape


def test_arrays_are_as_the_card_says_and_what_cannot_be_read_is_named_by_its_row(kind: InputKind) -> None:
    given, spec = given_of(kind), card(kind).input
    found = arrays(kind)
    assert (found.shape, str(found.dtype)) == ((len(given.SOUND), *spec.shape), spec.type)
    assert not np.array_equal(found[0], found[1])
    assert kind.arrays(pa.array([], kind.stored), spec).shape == (0, *spec.shape)
    for row in sorted(set(range(len(given.COLUMN))) - set(given.SOUND)):
        with pytest.raises(UnreadableInputError) as raised:
            kind.arrays(given.COLUMN.take(pa.array([given.SOUND[0], row])), spec)
        assert raised.value.row == 1


def test_noise_is_seeded_and_of_the_same_form(kind: InputKind) -> None:
    spec = card(kind).input
    one, again, other = (registry.noise(spec, 5, seed) for seed in (0, 0, 1))
    assert (one.shape, str(one.dtype)) == ((5, *spec.shape), spec.type)
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_statistics_and_corruptions_are_of_every_input(kind: InputKind) -> None:
    spec, values = card(kind).input, arrays(kind)
    sliced = kind.sliced(values)
    assert set(sliced) == set(kind.slices)
    told = {**sliced, **kind.summary(values, spec)}
    assert told and all(len(column) == len(values) and np.isfinite(column).all() for column in told.values())
    noise = registry.noise(spec, 20)
    for name, corruption in kind.corruptions.items():
        for severity in range(1, 6):
            one, again = (corruption(noise, severity, np.random.default_rng(3)) for _ in range(2))
            assert (one.shape, one.dtype) == (noise.shape, noise.dtype), name
            assert np.array_equal(one, again), name
        assert not np.array_equal(one, noise), name


def test_expectations_are_ones_that_great_expectations_knows_of_facts_that_there_are(kind: InputKind) -> None:
    known = importlib.import_module("great_expectations.expectations")
    expectations = kind.expectations(given_of(kind).DECLARED)
    assert any(each.arguments["column"] == "problem" and each.severity == "error" for each in expectations)
    for expectation in expectations:
        built = getattr(known, expectation.kind)(**expectation.arguments)  # an unknown argument raises
        assert built.column in {name for name, _ in kind.facts}
        assert expectation.says
