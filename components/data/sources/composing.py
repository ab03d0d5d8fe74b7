"""One scene: a background, things over it and over each other, light, noise; and what of each thing is to be seen.

A thing's share that is seen counts pixels: of all that it would have, those that neither the edge cuts off nor a later
thing covers. None is left with less than `LEAST` of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import zoom

from components.config import SceneDeclaration
from components.targets.flat_boxes import COLUMNS

LEAST, HALF = 0.2, 0.5  # shares of a thing that are seen: of each at least, and at most of one that is to be hidden
TRIES = 40  # for a place; after that the scene has one thing less
ALPHA = 0.5  # of opacity: where a cut-out is, and not what lies below
_CONTRAST = 0.3  # least difference of brightness between a grey thing and its scene, of full scale
_LIGHT = 0.35  # by which light falls off at most, towards either side
_COLOURED = 0.25  # by which colours differ from grey, at most

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Thing:
    """What scenes are made of: how much ink each pixel has, and its colour, if it has one of its own."""

    ink: Floats  # (h, w) in [0, 1]; of a cut-out its opacity
    colour: Floats | None  # (h, w, 3) in [0, 1]
    least: float  # of ink, where the thing is


@dataclass(frozen=True)
class Scene:
    """One picture, and what is in it."""

    image: npt.NDArray[np.uint8]  # (size, size, channels)
    mask: npt.NDArray[np.uint8]  # (size, size): 1 more than the class of what is on top
    objects: tuple[dict[str, Any], ...]  # boxes, as `components.targets.boxes` stores them


@dataclass
class _Canvas:
    """A scene on its way."""

    pixels: Floats  # (size, size, channels)
    owner: npt.NDArray[np.int64]  # (size, size): which thing is on top, -1 where there is none
    whole: list[int] = field(default_factory=list)  # pixels of each thing, as if nothing hid any
    seen: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    sides: list[tuple[int, int, int, int]] = field(default_factory=list)  # left, top, right, bottom, within the scene


def compose(
    source: SceneDeclaration, drawn: Callable[[np.random.Generator], tuple[Thing, int]], random: np.random.Generator
) -> Scene:
    """The scene that `random` makes; `drawn` gives a thing and its class."""
    canvas = _background(source, random)
    for _ in range(int(random.integers(source.objects[0], source.objects[1] + 1))):
        thing, label = drawn(random)
        _add(canvas, _sized(thing, source, random), label, source, random)
    light = canvas.pixels * _light(source.size, random)[..., None]
    noisy = light + source.noise * random.standard_normal(light.shape)
    image = np.rint(np.clip(noisy, 0.0, 1.0) * 255.0).astype(np.uint8)
    mask = np.array([0, *(label + 1 for label in canvas.labels)], dtype=np.uint8)[canvas.owner + 1]
    objects = tuple(
        dict(zip(COLUMNS, (label, *sides, False, seen / whole), strict=True))
        for label, sides, seen, whole in zip(canvas.labels, canvas.sides, canvas.seen, canvas.whole, strict=True)
    )
    return Scene(image, mask, objects)


# -- what lies below, and the light ----------------------------------------------------------------------------------


def _background(source: SceneDeclaration, random: np.random.Generator) -> _Canvas:
    """Clouds of a coarseness and a colour by lot, with stripes over some."""
    size, channels = source.size, source.channels
    level = np.full(channels, random.uniform(0.15, 0.85)) + random.uniform(-_COLOURED, _COLOURED, channels) / 2
    texture = _clouds(size, int(random.integers(2, 12)), channels, random) * random.uniform(0.05, 0.25)
    if random.random() < 0.5:
        down, across = np.mgrid[:size, :size] / size
        angle, often = random.uniform(0, np.pi), random.uniform(3, 20)
        stripes = np.sin(2 * np.pi * often * (np.cos(angle) * across + np.sin(angle) * down))
        texture += stripes[..., None] * random.uniform(0.02, 0.08)
    return _Canvas(np.clip(level + texture, 0.0, 1.0), np.full((size, size), -1))


def _clouds(size: int, cells: int, channels: int, random: np.random.Generator) -> Floats:
    coarse = random.uniform(-1.0, 1.0, (cells, cells, channels))
    coarse = 0.3 * coarse + 0.7 * coarse.mean(axis=2, keepdims=True)
    return _resized(coarse, size, size)


def _light(size: int, random: np.random.Generator) -> Floats:
    """`(size, size)`: light that comes from one side."""
    angle, fall = random.uniform(0, 2 * np.pi), random.uniform(0.0, _LIGHT)
    down, across = np.mgrid[:size, :size] / max(size - 1, 1) * 2 - 1
    light: Floats = 1.0 + fall * (np.cos(angle) * across + np.sin(angle) * down) / np.sqrt(2)
    return light


# -- things ----------------------------------------------------------------------------------------------------------


def _sized(thing: Thing, source: SceneDeclaration, random: np.random.Generator) -> Thing:
    """The thing as large as it is in the scene: its longer side a share of the scene's."""
    longer = max(thing.ink.shape)
    side = random.uniform(*source.scale) * source.size
    height, width = (max(2, round(each * side / longer)) for each in thing.ink.shape)
    ink = np.clip(_resized(thing.ink[..., None], height, width)[..., 0], 0.0, 1.0)
    colour = None if thing.colour is None else np.clip(_resized(thing.colour, height, width), 0.0, 1.0)
    return Thing(ink, colour, thing.least)


def _resized(values: Floats, height: int, width: int) -> Floats:
    """`(h, w, C)` → `(height, width, C)`, linear; of what becomes less than half the size, after it was averaged."""
    factor = max(1, min(values.shape[0] // height, values.shape[1] // width))
    if factor > 1:
        rows, columns = (each // factor * factor for each in values.shape[:2])
        blocks = values[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor, -1)
        values = blocks.mean(axis=(1, 3))
    found: Floats = zoom(
        values, (height / values.shape[0], width / values.shape[1], 1), order=1, mode="nearest", grid_mode=True
    )
    return found


def _add(canvas: _Canvas, thing: Thing, label: int, source: SceneDeclaration, random: np.random.Generator) -> None:
    """Lay a thing over the others, at a place where enough is seen of each; none is added where there is no such."""
    where = thing.ink >= thing.least
    whole = int(where.sum())
    if whole == 0:
        return
    hiding = random.random()
    over, edge = hiding < source.hidden * 2 / 3, hiding > 1 - source.hidden / 3
    for attempt in range(TRIES):
        if attempt == TRIES // 2:
            over = edge = False
        row, column = _place(canvas, where.shape, random, over=over)
        area, own = _within(where.shape, row, column, source.size)
        inside = int(where[own].sum())
        left = _left(canvas, area, where[own])
        shares = [seen / each for seen, each in zip(left, canvas.whole, strict=True)]
        hid = any(
            LEAST <= share <= HALF and share * each < seen
            for share, each, seen in zip(shares, canvas.whole, canvas.seen, strict=True)
        )
        enough = all(share >= LEAST for share in shares) and inside / whole >= (LEAST if edge else HALF)
        if enough and (not over or hid) and (not edge or inside / whole <= HALF):
            break
    else:
        return
    canvas.seen[:] = left
    canvas.owner[area] = np.where(where[own], len(canvas.whole), canvas.owner[area])
    canvas.pixels[area] = _painted(canvas.pixels[area], thing, own, random)
    down, across = np.flatnonzero(where[own].any(axis=1)), np.flatnonzero(where[own].any(axis=0))
    top, first = area[0].start, area[1].start
    canvas.sides.append(
        (int(first + across[0]), int(top + down[0]), int(first + across[-1] + 1), int(top + down[-1] + 1))
    )
    canvas.whole.append(whole)
    canvas.seen.append(inside)
    canvas.labels.append(label)


def _place(canvas: _Canvas, shape: tuple[int, ...], random: np.random.Generator, *, over: bool) -> tuple[int, int]:
    """The row and column of a thing's first pixel: around another thing, or anywhere that it touches the scene."""
    size = len(canvas.owner)
    if over and canvas.sides:
        left, top, right, bottom = canvas.sides[int(random.integers(len(canvas.sides)))]
        return int(random.integers(top - shape[0] + 1, bottom)), int(random.integers(left - shape[1] + 1, right))
    return int(random.integers(1 - shape[0], size)), int(random.integers(1 - shape[1], size))


def _within(shape: tuple[int, ...], row: int, column: int, size: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where in the scene a thing lies, and which of its own pixels that are."""
    starts = (max(0, row), max(0, column))
    ends = (min(size, row + shape[0]), min(size, column + shape[1]))
    area = tuple(slice(start, end) for start, end in zip(starts, ends, strict=True))
    own = tuple(slice(each.start - at, each.stop - at) for each, at in zip(area, (row, column), strict=True))
    return area, own


def _left(canvas: _Canvas, area: tuple[slice, ...], where: Flags) -> list[int]:
    """Pixels that would still be seen of each thing."""
    covered = canvas.owner[area][where]
    lost = np.bincount(covered[covered >= 0], minlength=len(canvas.seen))
    return [seen - int(each) for seen, each in zip(canvas.seen, lost, strict=True)]


def _painted(below: Floats, thing: Thing, own: tuple[slice, ...], random: np.random.Generator) -> Floats:
    """The scene's pixels with the thing over them: in its own colour, or in one that differs from what lies below."""
    ink = thing.ink[own][..., None]
    channels = below.shape[2]
    if thing.colour is not None:
        colour = thing.colour[own]
        paint = colour if channels == 3 else colour.mean(axis=2, keepdims=True)
        return np.where(ink >= thing.least, below * (1 - ink) + paint * ink, below)
    level = float(below.mean())
    lighter = random.random() < 0.5 if 0.4 < level < 0.6 else level < 0.5
    most = (1.0 - level) if lighter else level
    contrast = random.uniform(min(_CONTRAST, most), max(_CONTRAST, 0.9 * most)) * (1 if lighter else -1)
    paint = level + contrast + random.uniform(-_COLOURED, _COLOURED, channels) / 2
    return np.where(ink >= thing.least, below * (1 - ink) + np.clip(paint, 0.0, 1.0) * ink, below)
