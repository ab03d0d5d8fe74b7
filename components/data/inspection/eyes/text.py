"""Texts: compared as they read, whatever their case and blanks; shown as they are.

Doubtful labels are seen by what texts are written of, which a short negation hardly changes: of docstrings of eight
libraries of which one in twenty had another's label, a third of those were listed, and 34 of the 6,906 others.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from components import texts, tokenizing
from components.config import TextDeclaration
from components.data.inspection.embedding import Floats
from components.data.inspection.eyes import ngrams, shingles
from components.data.inspection.eyes.protocol import Glimpse, Indices
from components.data.inspection.findings import Finding, Kind
from components.data.inspection.rows import Pieces
from components.data.inspection.twins import DIGEST, Twins, digests_of
from components.inputs import vocabulary

COMPARED = 2**15  # characters of a text that are compared; whether two are the same is said by all of them
SHOWN = 400  # characters of a text that are kept to be shown: more than fit into a cell
LINE = 13  # pixels
_PAPER, _INK = (250, 250, 245), (20, 20, 20)


class Texts:
    """What is kept of each is its beginning as it was written, and as it is compared."""

    says: ClassVar[Mapping[Kind, str]] = {
        "corrupt": "cannot be read",
        "blank": "empty: there is nothing to be read",
        "duplicate": "the same words as another",
        "near-duplicate": "all but the same text as another",
    }
    likeness: ClassVar[str] = "similarity"
    cell: ClassVar[tuple[int, int]] = (286, 96)

    def __init__(self, declared: TextDeclaration, folder: Path) -> None:
        self.sizes: Counter[str] = Counter()  # characters, by powers of two → texts
        self.modes: Counter[str] = Counter()  # a text is held in one way
        self._folder = folder
        self._keys: list[ngrams.Hashes] = []
        self._files = ExitStack()

    def __enter__(self) -> Self:
        self._originals = self._files.enter_context(Pieces(self._folder))
        self._written = self._files.enter_context(Pieces(self._folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()

    def look(self, column: pa.Array) -> Glimpse:
        contents = vocabulary.texts(column)
        broken = {place: why for place, text in enumerate(contents) if (why := vocabulary.problem(text)) is not None}
        read = ["" if place in broken else text for place, text in enumerate(contents)]
        written = [normalised(text) for text in read]
        self._originals.append(text[:SHOWN].encode() for text in read)
        self._written.append(text[:COMPARED].encode() for text in written)
        self._keys.append(shingles.keys([text[:COMPARED] for text in written]))
        self.sizes += Counter(_range(len(text)) for place, text in enumerate(read) if place not in broken)
        readable = np.array([place not in broken for place in range(len(read))], dtype=bool)
        digests = [hashlib.blake2b(text.encode(), digest_size=DIGEST.itemsize).digest() for text in written]
        return Glimpse(readable, readable & np.array([not text for text in written]), digests_of(digests), broken)

    def notes(self) -> list[str]:
        return []

    def remarks(self) -> Iterator[Finding]:
        yield from ()

    def blank(self, sample: int) -> tuple[float, str]:
        return 1.0, "the text is empty: there is nothing to be read"

    def near_copies(self, samples: Indices) -> Twins:
        keyed = np.concatenate(self._keys)[samples]
        found = shingles.near_copies(keyed, lambda place: self._compared(int(samples[place])))
        return Twins(samples[found.pairs], found.likeness, found.notes)

    def faint_copies(self, samples: Indices) -> Twins:
        """Nothing is between an empty text and one that can be read."""
        return Twins.none()

    def descriptors(self, samples: Indices) -> Floats:
        return ngrams.descriptor([self._compared(sample) for sample in samples.tolist()])

    def _compared(self, sample: int) -> str:
        return self._written[sample].decode()

    def picture(self, sample: int) -> Image.Image:
        """Its first lines."""
        image = Image.new("RGB", self.cell, _PAPER)
        pen, font = ImageDraw.Draw(image), ImageFont.load_default(11)
        text = texts.visible(" ".join(self._originals[sample].decode().split()))
        for number, line in enumerate(_lines(text, font, self.cell[0] - 8)):
            if (top := 3 + number * LINE) + LINE > self.cell[1]:
                break
            pen.text((4, top), line, fill=_INK, font=font)
        return image


EYE = Texts


def normalised(text: str) -> str:
    """Equal for texts that read the same: composed (NFC), without case, blanks as one space."""
    composed = "".join(tokenizing.units(text, "character", lower=False))
    return " ".join(composed.casefold().split())


def _range(characters: int) -> str:
    """`33–64`: the range between powers of two that a length lies in."""
    if characters < 3:
        return str(characters)
    least = 1 << ((characters - 1).bit_length() - 1)
    return f"{least + 1:,}–{2 * least:,}"


def _lines(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> Iterator[str]:
    """The text in lines of a width in pixels, broken where it has blanks, or inside of words that are longer."""
    line = ""
    for word in text.split():
        if line and font.getlength(f"{line} {word}") > width:
            yield line
            line = ""
        line = f"{line} {word}" if line else word
        while font.getlength(line) > width:
            fits = next(end for end in range(len(line) - 1, 0, -1) if end == 1 or font.getlength(line[:end]) <= width)
            yield line[:fits]
            line = line[fits:]
    if line:
        yield line
