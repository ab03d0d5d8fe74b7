"""Annotated objects → the target of their picture: boxes in its pixels, upright, none over its edge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from components.data.sources.annotations import frames
from components.data.sources.annotations.boxes import Box
from components.data.sources.annotations.frames import Frame
from components.data.sources.base.faults import Kind
from components.targets.flat_boxes import COLUMNS

NO_BOX = Kind("object", "objects", "with a box", "without one")


@dataclass(frozen=True)
class Object:
    """One object; its box is in pixels of the frame, and `boxes` has nothing against it."""

    label: str
    box: Box
    ignored: bool = False  # neither learnt nor judged: a crowd, or what annotators called difficult
    visible: float = 1.0  # the share that nothing covers


def target(objects: Iterable[Object], frame: Frame, number: dict[str, int]) -> list[dict[str, Any]]:
    """As `components.targets.boxes` stores it, without those of a class that has no number: nothing is learnt of it."""
    width, height = frame.upright
    found = []
    for each in objects:
        if each.label in number:
            left, top, right, bottom = frames.turned_box(each.box, frame.size, frame.orientation)
            sides = (max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom))
            values = (number[each.label], *sides, each.ignored, each.visible)
            found.append(dict(zip(COLUMNS, values, strict=True)))
    return found
