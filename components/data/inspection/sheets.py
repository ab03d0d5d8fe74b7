"""The worst findings of each kind as one picture a kind, for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from components import texts
from components.data.inspection.findings import Finding

MOST = 24  # findings on a sheet: what one looks at before one looks away
WIDTH = 576  # pixels of all cells beside one another, at least one pair
GAP = 6
LINES = 2  # of text below a cell
MOST_CHARACTERS = 100  # of a line: more than fit
_PAPER, _INK = (255, 255, 255), (20, 20, 20)


def draw(
    found: Sequence[Finding],
    picture: Callable[[str], Image.Image | None],
    path: Path,
    cell: tuple[int, int],
    *,
    pairs: bool = False,
) -> None:
    """Write a PNG with the first 24 findings: each picture with its id and score, twins side by side.

    `picture` gives a sample's, or None; `cell` is the width and height in pixels that each is given.
    """
    shown = found[:MOST]
    font = ImageFont.load_default(11)
    beside = 2 if pairs else 1
    wide = cell[0] * beside + (2 if pairs else 0)
    columns = min(max(WIDTH // (cell[0] * beside), 1), len(shown))
    height = cell[1] + LINES * 14 + GAP
    sheet = Image.new("RGB", (columns * (wide + GAP) + GAP, -(-len(shown) // columns) * height + GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, finding in enumerate(shown):
        left, top = GAP + number % columns * (wide + GAP), GAP + number // columns * height
        for place, name in enumerate([finding.id, finding.other] if pairs else [finding.id]):
            drawn = _cell(picture(name), cell)
            at = left + place * (cell[0] + 2) + (cell[0] - drawn.width) // 2, top + (cell[1] - drawn.height) // 2
            sheet.paste(drawn, at)
        score = f"{finding.score:.4f}"
        below = (f"{finding.id} | {finding.other}", score) if pairs else (finding.id, f"{score} {finding.other}")
        for line, text in enumerate(below):
            said = _fitting(texts.visible(text), font, wide)
            pen.text((left, top + cell[1] + 1 + 13 * line), said, fill=_INK, font=font)
    sheet.save(path, format="PNG", optimize=False)


def _cell(image: Image.Image | None, cell: tuple[int, int]) -> Image.Image:
    if image is None:
        return Image.new("RGB", cell, (200, 200, 200))
    image = image.convert("RGB")
    scale = min(cell[0] / image.width, cell[1] / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR)


def _fitting(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """The end of a text is what tells ids apart."""
    text = text[-MOST_CHARACTERS:]
    while font.getlength(text) > width and len(text) > 4:
        text = "…" + text[2:]
    return text
