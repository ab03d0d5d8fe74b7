"""Where a picture of any size lies in one of the declared size, there and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

# stretch: both sides are met, whatever becomes of the shape. letterbox: the whole picture, its shape kept, in the
# middle, black around it. crop: the largest part of the declared shape, from the middle.
Fit = Literal["stretch", "letterbox", "crop"]


class Placing(NamedTuple):
    """The part `taken` of a picture fills the part `covers` of the fitted one; both as left, top, right, bottom."""

    size: tuple[int, int]  # width and height of the picture
    whole: tuple[int, int]  # of the fitted one
    taken: tuple[float, float, float, float]
    covers: tuple[int, int, int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Fitted pixels per pixel of the picture, across and down."""
        (left, top, right, bottom), (first, upper, last, lower) = self.taken, self.covers
        return (last - first) / (right - left), (lower - upper) / (bottom - top)

    def there(self, x: float, y: float) -> tuple[float, float]:
        """A point of the picture, in pixels from its upper left corner, in the fitted one."""
        across, down = self.scale
        return self.covers[0] + (x - self.taken[0]) * across, self.covers[1] + (y - self.taken[1]) * down

    def back(self, x: float, y: float) -> tuple[float, float]:
        """A point of the fitted picture in the picture, cut to it."""
        across, down = self.scale
        found = (self.taken[0] + (x - self.covers[0]) / across, self.taken[1] + (y - self.covers[1]) / down)
        return _within(found, self.size)


def place(size: tuple[int, int], whole: tuple[int, int], fit: Fit) -> Placing:
    """Where a picture of `size`, width and height, lies in one of the size `whole`."""
    (width, height), (across, down) = size, whole
    taken, covers = (0.0, 0.0, float(width), float(height)), (0, 0, across, down)
    if fit == "letterbox":
        scale = min(across / width, down / height)
        inner = max(1, min(across, round(width * scale))), max(1, min(down, round(height * scale)))
        left, top = (across - inner[0]) // 2, (down - inner[1]) // 2
        covers = (left, top, left + inner[0], top + inner[1])
    elif fit == "crop":
        scale = max(across / width, down / height)
        part = min(float(width), across / scale), min(float(height), down / scale)
        first, upper = (width - part[0]) / 2, (height - part[1]) / 2
        taken = (first, upper, first + part[0], upper + part[1])
    return Placing(size, whole, taken, covers)


def _within(point: Iterable[float], size: tuple[int, int]) -> tuple[float, float]:
    x, y = (min(max(value, 0.0), float(side)) for value, side in zip(point, size, strict=True))
    return x, y
