"""Headers, pictures, and pixels in a declared form: what this package is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from .eight_bits import GREY, Range, eight_bits
from .errors import UndecodableError
from .opening import Frames, load_frame, open_image, room, told
from .orientation import SIDEWAYS, TURN, orientation, tiff_orientation
from .placing import Fit, Placing, place

Pixels = npt.NDArray[np.uint8]

MODE = {1: "L", 3: "RGB"}
# Modes that become the declared number of channels without losing anything one can see.
LOSSLESS = {1: frozenset({"L", "1"}), 3: frozenset({"RGB", "L", "1", "P"})}
TRANSPARENT = " with transparency"  # behind a mode that does not say so itself

_PRINT = frozenset({"CMYK", "YCbCr", "LAB", "HSV"})
_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


class Header(NamedTuple):
    """What a file says of itself; nothing is decoded."""

    format: str  # Pillow's name
    mode: str  # Pillow's name, and `TRANSPARENT` behind it where a colour is see-through
    size: tuple[int, int]  # width, height; upright
    orientation: int = 1  # EXIF's number for what turns the stored pixels upright

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height of the pixels as they are stored."""
        return self.size[::-1] if self.orientation in SIDEWAYS else self.size

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]


class Picture(NamedTuple):
    """A decoded image."""

    image: Image.Image  # mode L or RGB, upright
    header: Header
    own: bool  # these are the file's own pixels: nothing was converted, turned or left out
    peak: int | None  # greatest value of a 16-bit grey picture that was read by its type's range


class Form(NamedTuple):
    """What every picture of a data set becomes: the keys of `image:` in the catalogue."""

    height: int
    width: int
    channels: int
    resize: bool = False  # False: pictures of another size or mode are refused
    range: Range | None = None
    frames: Frames = "only"
    fit: Fit = "stretch"  # how, where they are resized

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Form:
        """From a declaration or a model's card, which may say more."""
        return cls(**{name: values[name] for name in cls._fields if name in values})

    def place(self, size: tuple[int, int]) -> Placing:
        """Where a picture of this width and height lies in the form."""
        return place(size, (self.width, self.height), self.fit)


def is_grey(mode: str) -> bool:
    """Whether a `Header.mode` is without colour."""
    return mode.removesuffix(TRANSPARENT) in GREY


def read_as(mode: str, range: Range | None = None) -> str | None:
    """In words, how pictures of a `Header.mode` become grey or RGB; None where that goes without saying."""
    plain = mode.removesuffix(TRANSPARENT)
    said = []
    if plain.startswith(("I", "F")):
        low, high = range or ((0, 1) if plain == "F" else (0, 65_535))
        said.append(f"{low:,g} is black and {high:,g} is white")
    elif plain in _PRINT:
        said.append("converted to sRGB, embedded colour profiles aside")
    if plain in _ALPHA or plain != mode:
        said.append("what is see-through is laid over white")
    return "; ".join(said) or None


def header(content: Any) -> Header:
    """Of encoded bytes (anything with the buffer protocol); raises UndecodableError."""
    try:
        view = memoryview(content).cast("B")
        image = open_image(content, view)
        return _header(image, orientation(image, view))
    except Exception as error:
        raise told(error) from None


def load(content: Any, *, frames: Frames = "only", least: int | None = None) -> Image.Image:
    """The image in its own mode, decoded to the end and upright; raises UndecodableError.

    With `least`, a JPEG may come out smaller, by 2, 4 or 8, as long as neither side falls below that many pixels: its
    decoder shrinks at a fraction of the cost.
    """
    try:
        view = memoryview(content).cast("B")
        image = open_image(content, view)
        lies = orientation(image, view)
        with room(image.width * image.height):
            load_frame(image, frames, least)
            return image if lies == 1 else image.transpose(TURN[lies])
    except Exception as error:
        raise told(error) from None


def decode(content: Any, *, range: Range | None = None, frames: Frames = "only", least: int | None = None) -> Picture:
    """The image in mode L or RGB, upright, by the rules above; `least` as in `load`. Raises UndecodableError."""
    with opened(content, range=range, frames=frames, least=least) as picture:
        return picture


@contextmanager
def opened(
    content: Any, *, range: Range | None = None, frames: Frames = "only", least: int | None = None
) -> Iterator[Picture]:
    """`decode`, for as long as the picture is used: threads that use large ones wait for each other (`room`)."""
    try:
        view = memoryview(content).cast("B")
        image = open_image(content, view)
        lies = orientation(image, view)
        about = _header(image, lies)
        upright = about.orientation == 1
    except Exception as error:
        raise told(error) from None
    with room(about.pixels):
        try:
            several = load_frame(image, frames, least)
            plain, peak = eight_bits(image, view, range)
            own = plain is image and upright and not several
            del image  # of a large one there is no room for two
            if lies != 1:
                plain = plain.transpose(TURN[lies])
        except Exception as error:
            raise told(error) from None
        yield Picture(plain, about, own, peak)


def unlike(picture: Picture, form: Form) -> str | None:
    """Why a picture may not be brought to the form, where nothing may be lost; None where it may."""
    mode, (width, height) = picture.header.mode, picture.image.size
    if form.resize or ((width, height) == (form.width, form.height) and mode in LOSSLESS[form.channels]):
        return None
    return (
        f"expected an image of {form.width}×{form.height} in mode {MODE[form.channels]}, received {width}×{height} in "
        f"mode {mode}; bring it there, or set `image.fit` (stretch, letterbox, crop) in params.yaml before training"
    )


def fit(image: Image.Image, form: Form) -> Image.Image:
    """A picture in mode L or RGB at the size and in the mode of `form`."""
    mode, size = MODE[form.channels], (form.width, form.height)
    if image.mode != mode:
        image = image.convert(mode)
    if image.size == size:
        return image
    placing = form.place(image.size)
    left, top, right, bottom = placing.covers
    part = image.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=placing.taken, reducing_gap=3.0)
    if part.size == size:
        return part
    whole = Image.new(mode, size)
    whole.paste(part, (left, top))
    return whole


def read(content: Any, form: Form) -> tuple[Pixels, tuple[int, int]]:
    """`(H, W, C)` pixels in the declared form, and the picture's own `(width, height)`.

    Raises UndecodableError for what is no picture, and for one that the form does not allow.
    """
    with opened(content, range=form.range, frames=form.frames) as picture:
        problem = unlike(picture, form)
        if problem is not None:
            raise UndecodableError(problem)
        try:
            return to_array(fit(picture.image, form)), picture.image.size
        except Exception as error:
            raise told(error) from None


def indices(content: Any) -> Pixels:
    """`(H, W)`: the numbers of a picture in mode P or L as they stand in the file, such as a mask's; upright."""
    image = load(content)
    if image.mode not in ("L", "P"):
        raise UndecodableError(f"has mode {image.mode}, not P or L, whose pixels are numbers")
    return np.asarray(image, dtype=np.uint8)


def to_array(image: Image.Image) -> Pixels:
    """`(H, W, C)` of an image in mode L or RGB."""
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _header(image: Image.Image, orientation: int) -> Header:
    (width, height), mode = image.size, image.mode
    if mode not in _ALPHA and ("transparency" in image.info or (mode == "P" and image.has_transparency_data)):
        mode += TRANSPARENT
    size = (height, width) if orientation in SIDEWAYS else (width, height)
    lies = tiff_orientation(image) if image.format == "TIFF" else orientation
    return Header(str(image.format), mode, size, lies or 1)
