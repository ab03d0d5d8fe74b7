"""What the numbers or colours of masks mean: which is which class, and which is none."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

PixelValue = Annotated[int, Field(ge=0, le=255)]
Colour = Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")]  # red, green and blue in hexadecimal
# The value of each of `names`, or several of one; whole numbers, or the colours of masks that are painted.
MaskValues = tuple[PixelValue | Colour | tuple[PixelValue | Colour, ...], ...]

MOST = 254  # classes beside pixels that are ignored: 255 stands for these, 254 for classes that nobody declares


def alone(value: object) -> object:
    """A validator: a single value stands for a list of it."""
    return (value,) if isinstance(value, int | str) else value


Ignored = Annotated[tuple[PixelValue | Colour, ...], BeforeValidator(alone)]  # values of no class; mostly one


def agreeing(
    names: tuple[str, ...] | None, values: MaskValues | None, ignored: tuple[PixelValue | Colour, ...] = ()
) -> None:
    """Raises ValueError where `values` do not go with `names`, or they and what is `ignored` with each other."""
    if ignored and names is not None and len(names) > MOST:
        raise ValueError(f"at most {MOST} `names` beside `ignore`")
    every = [*(value for each in values or () for value in (each if isinstance(each, tuple) else (each,))), *ignored]
    if values is not None and (names is None or len(values) != len(names)):
        raise ValueError("`values` beside one of `names` each (a list where a name has several)")
    said = "`values` and `ignore`" if ignored else "`values`"
    if len({each.lower() if isinstance(each, str) else each for each in every}) != len(every):
        raise ValueError(f"{said} that differ from each other")
    if len({type(each) for each in every}) > 1:
        raise ValueError(f"{said} that are all numbers, or all colours")
    if values is None and any(isinstance(each, str) for each in ignored):
        raise ValueError("colours to `ignore` beside the `values` of the classes, which are colours too")
