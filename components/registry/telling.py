"""An answer of a served version, for people: in a few words, and on the picture that was asked about.

Which way an answer is written is seen by its columns; one of a way that is not known here is told column by column.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from components import decoding, texts
from components.artifacts import ModelCard
from components.members import ANSWERS
from components.targets import registry as targets
from components.targets.palette import colour

Answer = Mapping[str, Any]

NAMED = 3  # classes or objects that words name; the others are counted, or too improbable
LEAST_SIDE = 256  # pixels of a picture's longer side, to which a smaller one is enlarged: else no word fits on it
LONGEST = 60  # characters of a name on a picture

_FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"  # it has more letters than most
_PAPER, _INK = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True)
class Way:
    """How answers of one kind are told."""

    says: Callable[[Answer], str]
    kind: str | None = None  # of target, as which the answer is drawn; None: words say it all
    target: Callable[[Answer, ModelCard, int], Any] | None = (
        None  # as that kind stores it, for a picture so much larger
    )
    labels: Callable[[Answer, ModelCard], Iterator[tuple[float, float, int, str]]] | None = None


def said(answer: Answer) -> str:
    """The answer in words, on one line."""
    return texts.visible(_way(answer).says(answer))


def drawn(content: bytes, answer: Answer, card: ModelCard) -> Image.Image:
    """The picture in RGB with what of its answer can be drawn on it, and the words below it.

    Small pictures are enlarged by whole pixels. Raises UndecodableError, as the package does for the same bytes.
    """
    form = decoding.Form.of(card.input.model_dump())
    picture = decoding.decode(content, range=form.range, frames=form.frames).image.convert("RGB")
    scale = max(1, math.ceil(LEAST_SIDE / max(picture.size)))
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    way = _way(answer)
    if way.kind is not None and way.target is not None:
        picture = targets.get(way.kind).drawn(picture, way.target(answer, card, scale), card.target)
    if way.labels is not None:
        for left, top, number, words in way.labels(answer, card):
            _label(picture, left * scale, top * scale, colour(number), texts.shown(words, LONGEST))
    return _captioned(picture, said(answer))


def _way(answer: Answer) -> Way:
    columns = set(answer)
    for name, way in _WAYS.items():
        if set(ANSWERS.load(name).COLUMNS) == columns:
            return way
    return Way(_columns)


# -- words -----------------------------------------------------------------------------------------------------------


def _class(answer: Answer) -> str:
    others = [each for each in _most(answer["probabilities"]) if each[0] != answer["label"]]
    return "  ".join(f"{name} {_share(value)}" for name, value in [(answer["label"], answer["probability"]), *others])


def _labels(answer: Answer) -> str:
    said = [f"{name} {_share(answer['probabilities'][name])}" for name in answer["labels"]]
    if said:
        return "  ".join(said)
    return "  ".join(["no label", *(f"{name} {_share(value)}" for name, value in _most(answer["probabilities"])[:1])])


def _mask(answer: Answer) -> str:
    return "  ".join(f"{name} {_share(value)}" for name, value in _most(answer["shares"]))


def _boxes(answer: Answer) -> str:
    found = list(zip(answer["label"], answer["score"], strict=True))
    if not found:
        return "nothing"
    rest = len(found) - NAMED
    return ", ".join(
        [*(f"{name} {score:.2f}" for name, score in found[:NAMED]), *([f"{rest:,} more"] if rest > 0 else [])]
    )


def _values(answer: Answer) -> str:
    told = []
    for name, value in answer["values"].items():
        low, high, unit = answer["low"][name], answer["high"][name], answer["units"][name]
        told.append(f"{name} {_number(value)}{f' {unit}' if unit else ''} [{_number(low)}, {_number(high)}]")
    return ", ".join(told)


def _columns(answer: Answer) -> str:
    """Column by column: of maps the greatest values, of long texts and lists how long they are."""
    told = []
    for name, value in answer.items():
        if isinstance(value, Mapping):
            said = " ".join(
                f"{key} {each:.4g}" if isinstance(each, float) else f"{key} {each}" for key, each in _most(value)
            )
        elif isinstance(value, list):
            said = f"{len(value):,} values" if len(value) > NAMED else ", ".join(map(str, value)) or "none"
        else:
            said = f"{value:.4g}" if isinstance(value, float) else texts.shown(str(value), LONGEST)
        told.append(f"{name}: {said}")
    return "; ".join(told)


def _most(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The greatest, where they are numbers; else the first."""
    entries = list(values.items())
    if all(isinstance(value, int | float) for _, value in entries):
        entries.sort(key=lambda entry: -entry[1])
    return entries[:NAMED]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


# -- pictures --------------------------------------------------------------------------------------------------------


def _as_mask(answer: Answer, card: ModelCard, scale: int) -> bytes:
    mask = decoding.load(base64.b64decode(answer["mask"]))
    buffer = io.BytesIO()
    mask.resize((mask.width * scale, mask.height * scale), Image.Resampling.NEAREST).save(buffer, format="PNG")
    return buffer.getvalue()


def _as_boxes(answer: Answer, card: ModelCard, scale: int) -> list[dict[str, Any]]:
    sides = ("left", "top", "right", "bottom")
    return [
        {
            "label": card.classes.index(label),
            **{side: answer[side][number] * scale for side in sides},
            "ignored": False,
            "visible": 1.0,
        }
        for number, label in enumerate(answer["label"])
    ]


def _on_boxes(answer: Answer, card: ModelCard) -> Iterator[tuple[float, float, int, str]]:
    for label, score, left, top in zip(*(answer[each] for each in ("label", "score", "left", "top")), strict=True):
        yield left, top, card.classes.index(label), f"{label} {score:.2f}"


_WAYS: dict[str, Way] = {
    "class": Way(_class),
    "labels": Way(_labels),
    "mask": Way(_mask, "mask", _as_mask),
    "boxes": Way(_boxes, "boxes", _as_boxes, _on_boxes),
    "values": Way(_values),
}


def _font(picture: Image.Image) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FONT), max(11, max(picture.size) // 40))


def _label(picture: Image.Image, left: float, top: float, fill: tuple[int, int, int], words: str) -> None:
    """Words on a ground of that colour, above the point where there is room, and within the picture."""
    pencil, font = ImageDraw.Draw(picture), _font(picture)
    _, _, width, height = (math.ceil(each) for each in pencil.textbbox((0, 0), words, font=font))
    x = min(max(0, round(left)), max(0, picture.width - width - 4))
    y = round(top) - height - 3
    y = y if y >= 0 else max(0, round(top))
    pencil.rectangle((x, y, x + width + 3, y + height + 2), fill=fill)
    dark = sum(fill) < 300
    pencil.text((x + 2, y), words, fill=_PAPER if dark else _INK, font=font)


def _captioned(picture: Image.Image, words: str) -> Image.Image:
    """The picture with the words on white below it, in as many lines as they take."""
    font = _font(picture)
    pencil = ImageDraw.Draw(picture)
    lines: list[str] = []
    for part in words.split("  "):
        together = f"{lines[-1]}  {part}" if lines else part
        if lines and pencil.textlength(together, font=font) <= picture.width - 8:
            lines[-1] = together
        else:
            lines += _broken(part, lambda text: pencil.textlength(text, font=font) <= picture.width - 8)
    height = round(font.size * 1.35)
    whole = Image.new("RGB", (picture.width, picture.height + height * len(lines) + 6), _PAPER)
    whole.paste(picture, (0, 0))
    pencil = ImageDraw.Draw(whole)
    for number, line in enumerate(lines):
        pencil.text((4, picture.height + 2 + number * height), line, fill=_INK, font=font)
    return whole


def _broken(text: str, fits: Callable[[str], bool]) -> list[str]:
    """The text in lines that fit, broken between words, and within one that is too long."""
    lines = [""]
    for word in text.split(" "):
        together = f"{lines[-1]} {word}".lstrip()
        if fits(together):
            lines[-1] = together
            continue
        lines += [word] if lines[-1] else []
        lines[-1] = lines[-1] or word
        while not fits(lines[-1]) and len(lines[-1]) > 1:
            cut = next(end for end in range(len(lines[-1]) - 1, 0, -1) if end == 1 or fits(lines[-1][:end]))
            lines[-1:] = [lines[-1][:cut], lines[-1][cut:]]
    return lines
