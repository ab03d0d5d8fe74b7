"""What a network is given, as cards keep it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from components.artifacts.card import Card

IMAGE: Literal["image"] = "image"
STRETCH: Literal["stretch"] = "stretch"


class ImageSpec(Card):
    """`(height, width, channels)` pixels of 8 bits, and their mean and deviation in [0, 1]."""

    digest: ClassVar[str] = "pixels_sha256"  # the column of prepared data that is equal where inputs are

    kind: Literal["image"] = Field(default=IMAGE, exclude_if=IMAGE.__eq__)  # cards of pictures do not say it
    height: int
    width: int
    channels: int
    mean: tuple[float, ...]  # a value a channel, over the training split
    std: tuple[float, ...]
    # How pictures are brought there: `image:` of the catalogue, by which serving reads as preparing did. A card of an
    # earlier version says nothing, and takes what comes, as it did then.
    resize: bool = True
    fit: Literal["stretch", "letterbox", "crop"] = Field(default=STRETCH, exclude_if=STRETCH.__eq__)
    range: tuple[float, float] | None = None
    frames: Literal["only", "first"] = "only"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array of one sample."""
        return (self.height, self.width, self.channels)

    @property
    def type(self) -> str:
        """Of its values, as NumPy and ONNX call it."""
        return "uint8"

    @property
    def layout(self) -> str:
        """What its axes are, N that of samples."""
        return "NHWC"

    @property
    def values(self) -> dict[str, str]:
        """What the numbers are, for whoever uses an exported graph."""
        return {
            "colour": "grey" if self.channels == 1 else "RGB",
            "values": "pixels as they are, 0 to 255; scaling and normalisation are inside",
        }

    @property
    def said(self) -> str:
        """How large a sample is, for people."""
        return f"{self.width}×{self.height}×{self.channels}"


class TextSpec(Card):
    """`(length,)` numbers of units: 0 where the text has ended, 1 for one that is unknown, then the vocabulary's."""

    digest: ClassVar[str] = "text_sha256"

    kind: Literal["text"]
    unit: Literal["byte", "character", "word"]
    length: int
    lower: bool
    # What is told apart, the most frequent first: unit n is the number n + 2. Empty for bytes, of which b is b + 2.
    vocabulary: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array of one sample."""
        return (self.length,)

    @property
    def type(self) -> str:
        """Of its values, as NumPy and ONNX call it."""
        return "int32"

    @property
    def layout(self) -> str:
        """What its axes are, N that of samples."""
        return "NL"

    @property
    def values(self) -> dict[str, str]:
        """What the numbers are, for whoever uses an exported graph."""
        return {"values": f"numbers of {self.unit}s by the vocabulary; 0 after the text's end, 1 for an unknown one"}

    @property
    def said(self) -> str:
        """How large a sample is, for people."""
        return f"{self.length:,} {self.unit}s"

    @property
    def numbers(self) -> int:
        """How many different numbers there are."""
        return 2 + (256 if self.unit == "byte" else len(self.vocabulary))


def _kind(spec: Any) -> str:
    said = spec.get("kind", IMAGE) if isinstance(spec, dict) else getattr(spec, "kind", IMAGE)
    return str(said)


InputSpec = Annotated[
    Annotated[ImageSpec, Tag("image")] | Annotated[TextSpec, Tag("text")],
    Discriminator(_kind),
]
