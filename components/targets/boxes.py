"""Objects in a picture: a box and a class of each, in pixels of the picture as it is stored.

Left and top are the edges of the first pixel, right and bottom those behind the last: a box is as wide as right less
left. What is `ignored` (a crowd, what annotators called difficult) is neither learnt nor judged; `visible` is the share
that nothing covers, 1 where it is not known. A picture may have no object at all.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image, ImageDraw
from pydantic import BaseModel, ConfigDict, Field

from components.artifacts import DatasetCard
from components.decoding import Fit, place
from components.inputs.protocol import Expectation, Size
from components.targets.flat_boxes import COLUMNS, STORED, Flags, Flat, Floats, flat, flat_row
from components.targets.palette import colour
from components.targets.plain import Plain
from components.targets.protocol import UNKNOWN, Layout, Numbers, Shown, UnreadableTargetError

MANY = 300  # boxes in one picture from which on it is worth a look: every picture's array is as long as the longest
LEFT = 0.3  # share of a box that a crop must leave, for it to be still learnt
_TINY = 1e-12
_ROUNDING = 0.01  # pixels by which float32 may carry an edge over the picture's
_UNDECLARED = "(none)"  # the name of a class that the data set does not declare
_IGNORED = (160, 160, 160)  # in which boxes are drawn that are neither learnt nor judged
_LINES = 96  # of a picture's longer side: how thick a box is drawn


class Record(BaseModel):
    """What a data set's card, and its models', keep of its boxes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["boxes"] = "boxes"
    most: int = Field(ge=1)  # boxes in one picture of any split: how long the arrays are


class Boxes(Plain):
    """A list of boxes, each with the number of a class."""

    name = "boxes"
    stored = STORED
    labelled: Literal["several"] = "several"
    says = "a picture shows several objects"
    task = "detection"
    fit: Fit = "letterbox"  # a box that is stretched is of another form than what it holds

    def shown(self, column: pa.Array, classes: int) -> Shown:
        """Objects that are ignored show nothing. Rows are stratified by the class whose boxes are largest together."""
        boxes = flat(column)
        known = (boxes.labels >= 0) & (boxes.labels < classes) & ~boxes.ignored
        rows, labels = boxes.rows[known], boxes.labels[known]
        area = np.zeros((len(column), classes + 1))  # the first is what shows nothing
        np.add.at(area, (rows, labels + 1), boxes.areas[known])
        pairs = np.unique(rows * max(classes, 1) + labels)
        return Shown(pairs // max(classes, 1), pairs % max(classes, 1), area.argmax(axis=1).astype(np.int64))

    def measures(self, column: pa.Array, about: Mapping[str, Any]) -> dict[str, Floats]:
        return {}

    def renamed(
        self, column: pa.Array, before: tuple[str, ...], after: tuple[str, ...], about: Mapping[str, Any]
    ) -> pa.Array:
        number = {name: index for index, name in enumerate(after)}
        lookup = np.array([*(number.get(name, UNKNOWN) for name in before), UNKNOWN], dtype=np.int64)
        boxes = flat(column)
        known = (boxes.labels >= 0) & (boxes.labels < len(before))
        return replace(boxes, labels=lookup[np.where(known, boxes.labels, len(before))]).stored()

    def numbered(self, column: pa.Array, lookup: Numbers) -> pa.Array:
        """What becomes `UNKNOWN` goes; what is none of these classes stays, to be found later."""
        boxes = flat(column)
        known = (boxes.labels >= 0) & (boxes.labels < len(lookup))
        labels = np.where(known, np.append(lookup, UNKNOWN)[np.where(known, boxes.labels, -1)], boxes.labels)
        return replace(boxes, labels=labels).stored(~known | (labels != UNKNOWN))

    def fitted(
        self, column: pa.Array, pictures: Iterable[Size | None], size: Size, fit: Fit, about: Mapping[str, Any]
    ) -> pa.Array:
        """Boxes go with their picture where they all lie in it; what a crop leaves less than `LEFT` of is gone."""
        boxes = flat(column)
        placings = [place(size if own is None else own, size, fit) for own in pictures]
        sizes = np.array([placing.size for placing in placings], dtype=np.float64).reshape(-1, 2)
        apart = np.zeros(len(column), dtype=bool)
        apart[boxes.rows[_outside(boxes, sizes[boxes.rows])]] = True
        scale = np.array([placing.scale for placing in placings]).reshape(-1, 2)
        begins = np.array([placing.there(0.0, 0.0) for placing in placings]).reshape(-1, 2)
        scale[apart], begins[apart] = 1.0, 0.0
        moved = boxes.corners * np.tile(scale, 2)[boxes.rows] + np.tile(begins, 2)[boxes.rows]
        if fit != "crop":
            return replace(boxes, corners=moved).stored()
        cut = np.where(apart[boxes.rows, None], moved, np.clip(moved, 0.0, np.tile(np.array(size, np.float64), 2)))
        left = replace(boxes, corners=cut).areas / np.maximum(replace(boxes, corners=moved).areas, _TINY)
        left[apart[boxes.rows] | ~boxes.finite] = 1.0
        return replace(boxes, corners=cut, visible=boxes.visible * left).stored(left >= LEFT)

    def record(
        self, about: Mapping[str, Any], columns: Iterable[pa.Array], others: Iterable[pa.Array] = ()
    ) -> dict[str, Any]:
        lengths = (flat(column).counts.max(initial=1) for part in (columns, others) for column in part)
        return Record(most=max((int(each) for each in lengths), default=1)).model_dump(mode="json")

    def facts(self, column: pa.Array, card: DatasetCard) -> dict[str, Sequence[Any]]:
        """Of each row how many boxes it has, and of every rule the first box that breaks it, in words."""
        boxes = flat(column)
        sizes = np.broadcast_to(np.array([card.picture.width, card.picture.height], np.float64), (len(boxes.rows), 2))
        extent = boxes.corners[:, 2:] - boxes.corners[:, :2]
        broken = np.zeros(len(column), dtype=bool)
        broken[boxes.rows[~boxes.finite]] = True
        wrong = {
            "box_without_numbers": ~boxes.finite,
            "box_without_area": boxes.finite & ~(extent > 0).all(axis=1),
            "box_outside": boxes.finite & (extent > 0).all(axis=1) & _outside(boxes, sizes),
            "box_of_no_class": (boxes.labels < 0) | (boxes.labels >= len(card.classes)),
            "box_twice": _again(boxes),
        }
        return {
            "target": [None if bad else "boxes" for bad in (boxes.missing | broken).tolist()],
            "boxes": [
                None if bad else count for bad, count in zip(boxes.missing.tolist(), boxes.counts.tolist(), strict=True)
            ],
            **{name: _first(boxes, which) for name, which in wrong.items()},
        }

    def expectations(self, card: DatasetCard) -> Sequence[Expectation]:
        width, height = card.picture.width, card.picture.height
        return [
            _never("box_without_numbers", "every box has four finite numbers"),
            _never("box_without_area", "every box has an area"),
            _never("box_outside", f"every box lies in its picture of {width}×{height}"),
            _never("box_of_no_class", f"every box is of one of the {len(card.classes)} known classes"),
            _never("box_twice", "no box is there twice", "warning"),
            Expectation(
                "ExpectColumnValuesToBeBetween",
                {"column": "boxes", "max_value": MANY},
                "warning",
                f"no picture has more than {MANY} boxes: every other one's target is as long in memory",
            ),
        ]

    def layout(self, card: DatasetCard) -> Layout:
        return Layout((record_of(card).most, len(COLUMNS)), np.dtype(np.float32))

    def arrays(self, column: pa.Array, card: DatasetCard) -> npt.NDArray[Any]:
        """`(N, M, 7)`: columns as `COLUMNS`, rows as they are stored; label -1 where there is no box, all behind."""
        boxes, most = flat(column), record_of(card).most
        wrong = boxes.missing | (boxes.counts > most)
        wrong[boxes.rows[~boxes.finite]] = True
        if wrong.any():
            row = int(wrong.argmax())
            received = "none" if boxes.missing[row] else f"{boxes.counts[row]:,}, or some without numbers"
            raise UnreadableTargetError(row, f"expected at most {most:,} boxes of finite numbers, received {received}")
        arrays = np.zeros((len(column), most, len(COLUMNS)), dtype=np.float32)
        arrays[..., 0] = UNKNOWN
        every = [boxes.labels, *boxes.corners.T, boxes.ignored, boxes.visible]
        arrays[boxes.rows, boxes.places] = np.stack(every, axis=1)
        return arrays

    def summary(self, arrays: npt.NDArray[Any], card: DatasetCard) -> dict[str, npt.NDArray[Any]]:
        """How many objects, their median share of the picture and form, and which classes; NaN where there is none."""
        labels = arrays[..., 0]
        there = (labels >= 0) & (arrays[..., 5] == 0)
        extent = np.maximum(arrays[..., 3:5] - arrays[..., 1:3], np.finfo(np.float32).tiny)
        share = extent.prod(axis=-1) / (card.picture.width * card.picture.height)
        form = extent[..., 0] / extent[..., 1]
        return {
            "value_objects": there.sum(axis=1),
            "value_area": _median(share, there),
            "value_aspect": _median(form, there),
            **{
                f"share_{name}": ((labels == number) & there).any(axis=1).astype(np.float64)
                for number, name in enumerate(card.classes)
            },
        }

    def described(self, classes: Sequence[str], about: Mapping[str, Any]) -> str:
        return f"in {len(classes):,} class{'' if len(classes) == 1 else 'es'} of objects"

    def digests(self, column: pa.Array, classes: tuple[str, ...] | None) -> pa.Array:
        """SHA-256 of a row's boxes, in whatever order they are stored."""
        boxes = flat(column)
        codes = boxes.labels if classes is None else _codes(classes)[_known(boxes.labels, len(classes))]
        values = np.column_stack([codes, boxes.corners, boxes.ignored, boxes.visible]).astype(np.float64)
        order = np.lexsort((*values.T[::-1], boxes.rows))
        content, ends = values[order].tobytes(), np.cumsum(boxes.counts) * values.itemsize * values.shape[1]
        starts = np.concatenate([[0], ends[:-1]])
        return pa.array(
            [
                None if missing else hashlib.sha256(content[start:end]).digest()
                for missing, start, end in zip(boxes.missing.tolist(), starts.tolist(), ends.tolist(), strict=True)
            ],
            pa.binary(),
        )

    def drawn(self, picture: Image.Image, target: Any, about: Mapping[str, Any]) -> Image.Image:
        """Edges in the colours of the classes, the largest box first; grey of what is ignored or of no class."""
        return _drawn(picture, flat(pa.array([target], STORED)))

    def marked(self, picture: Image.Image, target: npt.NDArray[Any], about: Mapping[str, Any]) -> Image.Image:
        return _drawn(picture, flat_row(target))

    def colours(self, classes: Sequence[str], about: Mapping[str, Any]) -> dict[str, tuple[int, int, int]]:
        return {name: colour(number) for number, name in enumerate(classes)}


TARGET = Boxes()


def _drawn(picture: Image.Image, boxes: Flat) -> Image.Image:
    if not len(boxes.rows):
        return picture
    image = picture.convert("RGB")
    pencil, width = ImageDraw.Draw(image), max(1, round(max(image.size) / _LINES))
    for number in np.argsort(-boxes.areas, kind="stable").tolist():
        if not boxes.finite[number] or not boxes.areas[number]:
            continue
        left, top, right, bottom = boxes.corners[number].tolist()
        label = int(boxes.labels[number])
        plain = boxes.ignored[number] or label < 0
        edges = (math.floor(left), math.floor(top), math.ceil(right) - 1, math.ceil(bottom) - 1)
        pencil.rectangle(edges, outline=_IGNORED if plain else colour(label), width=width)
    return image


def record_of(card: DatasetCard) -> Record:
    """What the card keeps of its boxes."""
    return Record.model_validate(card.target)


def _outside(boxes: Flat, sizes: Floats) -> Flags:
    """Which boxes reach over the edge of their pictures, `(B, 2)` of width and height."""
    before, behind = boxes.corners[:, :2] < -_ROUNDING, boxes.corners[:, 2:] > sizes + _ROUNDING
    found: Flags = np.logical_or.reduce(before | behind, axis=1)
    return found


def _again(boxes: Flat) -> Flags:
    """Which boxes have been in their row before, of the same class."""
    values = np.column_stack([boxes.rows, boxes.labels, boxes.corners])
    _, first = np.unique(values, axis=0, return_index=True)
    found = np.ones(len(values), dtype=bool)
    found[first] = False
    return found


def _first(boxes: Flat, which: Flags) -> list[str | None]:
    """Of each row the first of these boxes in words: `box 3, 5, 5 to 5, 9`; None where it has none."""
    found: list[str | None] = [None] * len(boxes.missing)
    for at in np.flatnonzero(which)[::-1].tolist():
        corners = "{:g}, {:g} to {:g}, {:g}".format(*boxes.corners[at])
        found[int(boxes.rows[at])] = f"box {boxes.places[at] + 1} of class {boxes.labels[at]}, {corners}"
    return found


def _median(values: npt.NDArray[Any], there: Flags) -> Floats:
    """`(N,)` of `(N, M)` values that are there."""
    ordered = np.sort(np.where(there, values, np.inf), axis=1).astype(np.float64)
    count = there.sum(axis=1)
    rows = np.arange(len(values))
    middle = (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, count // 2]) / 2
    return np.where(count > 0, middle, np.nan)


def _known(labels: Numbers, classes: int) -> Numbers:
    """The same numbers; `classes` for what is none of these."""
    return np.where((labels >= 0) & (labels < classes), labels, classes)


def _codes(classes: tuple[str, ...]) -> Floats:
    """A number of each name, and of what has none: the same in every version, whatever the classes' numbers there."""
    names = (*classes, _UNDECLARED)
    return np.array([int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") for name in names], np.float64)


def _never(column: str, says: str, severity: Literal["error", "warning"] = "error") -> Expectation:
    return Expectation("ExpectColumnValuesToBeNull", {"column": column}, severity, says)
