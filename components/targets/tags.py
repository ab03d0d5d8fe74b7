"""Entities in a text: the first character of each, the one behind its last, and a class, whatever the units are.

A network is asked about units, so what becomes of an entity depends on the text as it is cut into them, which the kind
is told by `beside`. Of units that an entity touches the first begins it and the others are inside (BIO); where two
touch one unit, it is the earlier one's. What lies behind the last unit that a network is given is not asked about.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts import DatasetCard, TextSpec
from components.inputs import vocabulary
from components.inputs.protocol import Expectation
from components.targets.plain import Plain
from components.targets.protocol import UNKNOWN, Layout, Numbers, Shown, UnreadableTargetError
from components.tokenizing import Tokenizer

NOT_ASKED = -100  # of a unit that there is not: PyTorch's own number for what costs nothing
OUTSIDE = 0  # of a unit that is in no entity; class k begins with 1 + 2k and goes on with 2 + 2k
WHOLE = 0.95  # of the texts whose entities should all be within what a network is given
STORED = pa.list_(
    pa.struct([pa.field("start", pa.int32()), pa.field("end", pa.int32()), pa.field("label", pa.int16())])
)
_UNDECLARED = "(none)"  # the name of a class that the data set does not declare
_NOWHERE = -(2**31)  # before every character
_BITS = 62  # classes that strata tell apart

Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int32]  # (U, 2) first character of each unit, and the one behind its last


@dataclass(frozen=True)
class Flat:
    """All entities of N rows one after the other, M of them; of one without a number, start and end are -1."""

    rows: Numbers  # (M,) of which row each is
    starts: Numbers
    ends: Numbers
    labels: Numbers
    missing: Flags  # (N,) rows that have no list at all

    @cached_property
    def counts(self) -> Numbers:
        """`(N,)` entities in each row."""
        return np.bincount(self.rows, minlength=len(self.missing)).astype(np.int64)

    @cached_property
    def places(self) -> Numbers:
        """`(M,)` the place of each in its row, from 0 on."""
        first = np.cumsum(self.counts) - self.counts
        return np.arange(len(self.rows)) - first[self.rows]

    @cached_property
    def empty(self) -> Flags:
        """`(M,)`: whether there is not one character in it."""
        return self.ends <= self.starts

    @cached_property
    def overlapping(self) -> Flags:
        """`(M,)`: whether an entity that begins before it (or with it, and stands first) goes on where it begins."""
        order = np.lexsort((self.places, self.starts, self.rows))
        found = np.zeros(len(order), dtype=bool)
        row, reached = -1, _NOWHERE
        for at in order.tolist():
            if self.rows[at] != row:
                row, reached = int(self.rows[at]), _NOWHERE
            found[at] = not self.empty[at] and self.starts[at] < reached
            reached = max(reached, int(self.ends[at]))
        return found

    def outside(self, lengths: Numbers) -> Flags:
        """`(M,)`: whether it is not within its text, of `(N,)` characters; not known of a text of -1."""
        own = lengths[self.rows]
        return ~self.empty & ((self.starts < 0) | ((own >= 0) & (self.ends > own)))

    def stored(self, kept: Flags | None = None) -> pa.Array:
        """The column again, of the entities that are `kept`, (M,)."""
        chosen = np.ones(len(self.rows), dtype=bool) if kept is None else kept
        lengths = np.bincount(self.rows[chosen], minlength=len(self.missing))
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        values = pa.StructArray.from_arrays(
            [
                pa.array(self.starts[chosen], pa.int32()),
                pa.array(self.ends[chosen], pa.int32()),
                pa.array(self.labels[chosen], pa.int16()),
            ],
            fields=list(STORED.value_type),
        )
        return pa.ListArray.from_arrays(pa.array(ends), values, type=STORED, mask=pa.array(self.missing))


def flat(column: pa.Array) -> Flat:
    """A column of lists of entities."""
    missing = column.is_null().to_numpy(zero_copy_only=False)
    lengths = np.where(missing, 0, column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    values = column.flatten()  # of what is null, nothing
    starts, ends, labels = (
        values.field(name).fill_null(UNKNOWN).to_numpy(zero_copy_only=False).astype(np.int64)
        for name in ("start", "end", "label")
    )
    return Flat(np.repeat(np.arange(len(column)), lengths), starts, ends, labels, missing)


class Tags(Plain):
    """A list of entities, each with the number of a class."""

    name = "tags"
    stored = STORED
    labelled: Literal["several"] = "several"
    says = "a text names several entities, each with its first and last character"
    task = "tagging"

    def __init__(self, texts: Sequence[Any] | None = None) -> None:
        self._known = texts  # those that the entities are in, once they are known

    def beside(self, inputs: pa.Array) -> Tags:
        """The kind for rows with these texts."""
        return Tags(vocabulary.texts(inputs))

    def captioned(self, column: pa.Array, inputs: pa.Array, classes: Sequence[str]) -> pa.Array:
        """The texts with their entities in brackets: `[Ann Lee|person] is here`."""
        spans = flat(column)
        written = vocabulary.texts(inputs)
        wrong = spans.empty | spans.overlapping | spans.outside(self._lengths(written))
        order = np.lexsort((-spans.starts, spans.rows))
        for at in order[~wrong[order]].tolist():
            row, start, end, label = (int(each[at]) for each in (spans.rows, spans.starts, spans.ends, spans.labels))
            name = classes[label] if 0 <= label < len(classes) else _UNDECLARED
            if isinstance(text := written[row], str):
                written[row] = f"{text[:start]}[{text[start:end]}|{name}]{text[end:]}"
        return pa.array([text if isinstance(text, str) else None for text in written], pa.string())

    # -- what it shows --

    def shown(self, column: pa.Array, classes: int) -> Shown:
        """Rows are stratified by which classes they have together."""
        spans = flat(column)
        known = (spans.labels >= 0) & (spans.labels < classes)
        pairs = np.unique(spans.rows[known] * max(classes, 1) + spans.labels[known])
        rows, labels = pairs // max(classes, 1), pairs % max(classes, 1)
        strata = np.zeros(len(column), dtype=np.int64)
        np.bitwise_or.at(strata, rows, np.int64(1) << (labels % _BITS))
        return Shown(rows, labels, strata)

    # -- on the way into a data set --

    def renamed(
        self, column: pa.Array, before: tuple[str, ...], after: tuple[str, ...], about: Mapping[str, Any]
    ) -> pa.Array:
        number = {name: index for index, name in enumerate(after)}
        lookup = np.array([*(number.get(name, UNKNOWN) for name in before), UNKNOWN], dtype=np.int64)
        spans = flat(column)
        known = (spans.labels >= 0) & (spans.labels < len(before))
        return replace(spans, labels=lookup[np.where(known, spans.labels, len(before))]).stored()

    def numbered(self, column: pa.Array, lookup: Numbers) -> pa.Array:
        """What becomes `UNKNOWN` goes; what is none of these classes stays, to be found later."""
        spans = flat(column)
        known = (spans.labels >= 0) & (spans.labels < len(lookup))
        labels = np.where(known, np.append(lookup, UNKNOWN)[np.where(known, spans.labels, -1)], spans.labels)
        return replace(spans, labels=labels).stored(~known | (labels != UNKNOWN))

    # -- what it must hold to --

    def facts(self, column: pa.Array, card: DatasetCard) -> dict[str, Sequence[Any]]:
        """Of each row how many entities it has, and of every rule the first that breaks it, in words.

        What depends on the texts is not known where these are not.
        """
        spans = flat(column)
        texts = self._texts(len(column))
        edges, behind = self._against_units(spans, texts, card)
        wrong = {
            "entity_empty": spans.empty,
            "entity_outside": spans.outside(self._lengths(texts)),
            "entity_of_no_class": (spans.labels < 0) | (spans.labels >= len(card.classes)),
            "entity_overlaps": spans.overlapping,
            "entity_within_unit": edges,
            "entity_not_given": behind,
        }
        return {
            "target": [None if bad else self.name for bad in spans.missing.tolist()],
            "entities": [
                None if bad else count for bad, count in zip(spans.missing.tolist(), spans.counts.tolist(), strict=True)
            ],
            **{name: _first(spans, which) for name, which in wrong.items()},
        }

    def expectations(self, card: DatasetCard) -> Sequence[Expectation]:
        return [
            _never("entity_empty", "every entity has a character at least"),
            _never("entity_outside", "every entity lies within its text"),
            _never("entity_of_no_class", f"every entity is of one of the {len(card.classes)} known classes"),
            _never("entity_overlaps", "no entity overlaps another"),
            _never(
                "entity_within_unit",
                "every entity begins and ends where a unit does (else the units that it touches are meant)",
                "warning",
            ),
            _never(
                "entity_not_given",
                "every entity is within what a network is given of its text (`text.length`)",
                "warning",
                WHOLE,
            ),
        ]

    # -- out of a data set --

    def layout(self, card: DatasetCard) -> Layout:
        return Layout((_spec(card).length,), np.dtype(np.int64))

    def arrays(self, column: pa.Array, card: DatasetCard) -> npt.NDArray[Any]:
        """`(N, L)`: of each unit its tag, `NOT_ASKED` behind the last."""
        spans, texts = flat(column), self._texts(len(column))
        lengths = self._lengths(texts)
        unknown = (spans.labels < 0) | (spans.labels >= len(card.classes))
        wrong = spans.empty | spans.overlapping | spans.outside(lengths) | unknown
        received = _first(spans, wrong)
        for row in range(len(column)):
            absent = "no list" if spans.missing[row] else "no text" if lengths[row] < 0 else None
            if (said := absent or received[row]) is not None:
                expected = f"entities of {len(card.classes):,} classes, apart from each other and within their text"
                raise UnreadableTargetError(row, f"expected {expected}, received {said}")
        tags = np.full((len(column), _spec(card).length), NOT_ASKED, dtype=np.int64)
        begins = np.concatenate([[0], np.cumsum(spans.counts)])
        order = np.lexsort((spans.starts, spans.rows))
        tokenizer = _tokenizer(_spec(card))
        for row, text in enumerate(texts):
            places = tokenizer.places(text)
            tags[row, : len(places)] = OUTSIDE
            taken = 0
            for at in order[begins[row] : begins[row + 1]].tolist():
                first, end = _touched(places, int(spans.starts[at]), int(spans.ends[at]))
                first = max(first, taken)
                if first < end:
                    tags[row, first:end] = 2 + 2 * spans.labels[at]
                    tags[row, first] -= 1
                    taken = end
        return tags

    def summary(self, arrays: npt.NDArray[Any], card: DatasetCard) -> dict[str, npt.NDArray[Any]]:
        """How many entities, their mean length in units, and which classes; NaN where there is none."""
        begins, tagged = arrays % 2 == 1, arrays > OUTSIDE
        entities = (begins & tagged).sum(axis=1)
        mean = tagged.sum(axis=1) / np.maximum(entities, 1)
        labels = np.where(tagged, (arrays - 1) // 2, UNKNOWN)
        return {
            "value_entities": entities,
            "value_length": np.where(entities > 0, mean, np.nan),
            **{
                f"share_{name}": (labels == number).any(axis=1).astype(np.float64)
                for number, name in enumerate(card.classes)
            },
        }

    # -- compared and seen --

    def described(self, classes: Sequence[str], about: Mapping[str, Any]) -> str:
        return f"in {len(classes):,} class{'' if len(classes) == 1 else 'es'} of entities"

    def digests(self, column: pa.Array, classes: tuple[str, ...] | None) -> pa.Array:
        """SHA-256 of a row's entities, in whatever order they are stored."""
        spans = flat(column)
        names = None if classes is None else (*classes, _UNDECLARED)
        content: list[list[tuple[int, int, str]]] = [[] for _ in range(len(column))]
        for row, start, end, label in zip(spans.rows, spans.starts, spans.ends, spans.labels, strict=True):
            known = names is not None and 0 <= label < len(names)
            called = str(label) if names is None else names[label] if known else _UNDECLARED
            content[row].append((int(start), int(end), called))
        return pa.array(
            [
                None if missing else hashlib.sha256(repr(sorted(each)).encode()).digest()
                for missing, each in zip(spans.missing.tolist(), content, strict=True)
            ],
            pa.binary(),
        )

    # -- texts --

    def _texts(self, rows: int) -> Sequence[Any]:
        """Those of the rows; None each where they are not known."""
        if self._known is None:
            return [None] * rows
        if len(self._known) != rows:
            raise ValueError(f"targets of kind {self.name}: expected {rows:,} texts, received {len(self._known):,}")
        return self._known

    def _lengths(self, texts: Sequence[Any]) -> Numbers:
        """`(N,)` characters; -1 of what is no text."""
        return np.array([-1 if vocabulary.problem(text) is not None else len(text) for text in texts], dtype=np.int64)

    def _against_units(self, spans: Flat, texts: Sequence[Any], card: DatasetCard) -> tuple[Flags, Flags]:
        """`(M,)` each: whether it begins or ends within a unit, and whether some of it is behind the last one given."""
        edges, behind = np.zeros(len(spans.rows), dtype=bool), np.zeros(len(spans.rows), dtype=bool)
        lengths = self._lengths(texts)
        sound = ~(spans.empty | spans.outside(lengths)) & (lengths[spans.rows] >= 0)
        tokenizer, row, places = _tokenizer(_spec(card)) if sound.any() else None, -1, np.zeros((0, 2), np.int32)
        for at in np.flatnonzero(sound).tolist():
            if tokenizer is not None and spans.rows[at] != row:
                row = int(spans.rows[at])
                places = tokenizer.places(texts[row])
            start, end = int(spans.starts[at]), int(spans.ends[at])
            behind[at] = len(places) == _spec(card).length and end > places[-1, 1]
            first, last = _touched(places, start, end)
            whole = first < last and places[first, 0] == start and (behind[at] or places[last - 1, 1] == end)
            edges[at] = not whole and not (behind[at] and first == last)
        return edges, behind


TARGET = Tags()


def _touched(places: Places, start: int, end: int) -> tuple[int, int]:
    """The first of the units that have a character from `start` to before `end`, and the one behind the last."""
    first = int(np.searchsorted(places[:, 1], start, side="right"))
    return first, max(first, int(np.searchsorted(places[:, 0], end, side="left")))


def _spec(card: DatasetCard) -> TextSpec:
    if not isinstance(card.input, TextSpec):
        raise ValueError(
            f"{card.name}: expected texts, in which entities are, received inputs of kind {card.input.kind}"
        )
    return card.input


@lru_cache(maxsize=8)
def _tokenizer(spec: TextSpec) -> Tokenizer:
    return Tokenizer(spec.model_dump())


def _first(spans: Flat, which: Flags) -> list[str | None]:
    """Of each row the first of these entities in words; None where it has none."""
    found: list[str | None] = [None] * len(spans.missing)
    for at in np.flatnonzero(which)[::-1].tolist():
        found[int(spans.rows[at])] = _said(spans, at)
    return found


def _said(spans: Flat, at: int) -> str:
    return f"entity {spans.places[at] + 1} of class {spans.labels[at]}, {spans.starts[at]} to {spans.ends[at]}"


def _never(column: str, says: str, severity: Literal["error", "warning"] = "error", mostly: float = 1.0) -> Expectation:
    arguments = {"column": column} if mostly == 1.0 else {"column": column, "mostly": mostly}
    return Expectation("ExpectColumnValuesToBeNull", arguments, severity, says)
