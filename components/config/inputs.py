"""What a data set declares of its inputs: the pictures, or the texts, that a network is going to be given."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from components.config.section import Section, Side

STRETCH: Literal["stretch"] = "stretch"
LARGEST_PIXELS = 64_000_000  # `components.decoding` has the same: it imports nothing, and the configuration no Pillow


def _apart(limits: tuple[float, float]) -> tuple[float, float]:
    """A validator: black below white."""
    if limits[0] >= limits[1]:
        raise ValueError("two different limits, the value that is black first")
    return limits


class ImageDeclaration(Section):
    """What every image of the set must be; what differs is resized or refused, as `resize` says."""

    many: ClassVar[str] = "images"
    own_numbers: ClassVar[bool] = False

    height: Side  # pixels
    width: Side  # pixels
    channels: Literal[1, 3]  # 1: grey; 3: colour
    resize: bool = False  # True: images of another size are resized in `prepare`; False: they fail validation
    # How: `stretch` meets both sides, `letterbox` keeps the shape, with black around it, `crop` keeps the shape and
    # takes the middle. Who names one need not say `resize`; `exact` is `resize: false`.
    fit: Literal["stretch", "letterbox", "crop"] = Field(default=STRETCH, exclude_if=STRETCH.__eq__)
    # What is black and what is white in grey pictures of 16 or 32 bits and in floating point, linear between; None: 16
    # bits by their type's range, floating point in [0, 1], and nothing else.
    range: Annotated[tuple[float, float], AfterValidator(_apart)] | None = None
    frames: Literal["only", "first"] = "only"  # of animations and files of several pages: refused, or the first one

    @model_validator(mode="before")
    @classmethod
    def _fit_resizes(cls, values: Any) -> Any:
        """`fit` says both whether and how."""
        if not isinstance(values, dict) or "fit" not in values:
            return values
        fits = values["fit"] != "exact"
        if values.get("resize", fits) is not fits:
            raise ValueError(f"`fit: {values['fit']}` or `resize: {str(values['resize']).lower()}`")
        rest = {key: value for key, value in values.items() if key != "fit" or fits}
        return {**rest, "resize": fits}

    @model_validator(mode="after")
    def _not_too_large(self) -> ImageDeclaration:
        if self.height * self.width > LARGEST_PIXELS:
            raise ValueError(f"`height` times `width` of at most {LARGEST_PIXELS:,} pixels")
        return self

    @property
    def size(self) -> str:
        """How large each is, in words."""
        return f"{self.height}×{self.width} in {self.channels} channels"


class TextDeclaration(Section):
    """How texts become numbers: units of one kind, as many for every text."""

    many: ClassVar[str] = "texts"

    unit: Literal["byte", "character", "word"] = (
        "word"  # bytes of UTF-8; Unicode code points; runs of letters or digits
    )
    length: Annotated[int, Field(ge=1, le=65_536)] = 128  # units: of a longer text the first, a shorter one is padded
    # The most frequent units of the training split, this many at most; any other is `unknown`. Bytes are all known.
    vocabulary: Annotated[int, Field(ge=1, le=200_000)] = 20_000
    least: Annotated[int, Field(ge=1, le=1_000_000)] = 2  # times that a unit occurs in the training split to be one
    lower: bool = True  # words and characters: upper and lower case are the same

    @property
    def size(self) -> str:
        """How large each is, in words."""
        return f"{self.length:,} {self.unit}s"

    @property
    def own_numbers(self) -> bool:
        """Whether a number means something else in every data set: what it has most of is numbered first."""
        return self.unit != "byte"
