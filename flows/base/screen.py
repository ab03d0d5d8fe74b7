"""The terminal: the one door to it for what commands print.

Names and messages come from data, files and other people: they are printed as they stand. No string is read as Rich's
markup or as the name of an emoji, and what would move the cursor, colour the text or turn its direction is seen as an
escape, wherever it was hidden. Styles are given by `Text` and `style=`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from components import texts
from components.secrecy import scrub


class Screen(Console):
    """Rich's console without markup, emoji names and highlights, which shows what is not seen."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As Rich's, each piece printable and no secret, also where it would be broken over lines."""
        segments = list(super().render(_without_secrets(renderable), options))
        whole = "".join(segment.text for segment in segments if not segment.control)
        secret = scrub(whole) != whole  # looked for once: this is called for every frame of a display
        for segment in segments:
            said = scrub(segment.text) if secret and not segment.control else segment.text
            if said == segment.text and (segment.control or said.isprintable()):
                yield segment
            else:
                yield Segment(texts.storable(said), segment.style)


def _without_secrets(renderable: RenderableType) -> RenderableType:
    """Text before it is broken into lines; all else as it is, since it comes here again by its parts."""
    if isinstance(renderable, str):
        return scrub(renderable)
    if isinstance(renderable, Text) and (said := scrub(renderable.plain)) != renderable.plain:
        return Text(said, renderable.style, justify=renderable.justify, overflow=renderable.overflow)
    return renderable


def say(text: str, *, nl: bool = True) -> None:
    """A line, or several, on the standard output: of any length, and not broken at the terminal's width."""
    typer.echo(texts.printable(scrub(text)), nl=nl)


def say_json(value: Any, **options: Any) -> None:
    """The same for programs."""
    typer.echo(scrub(texts.as_json(value, **options)))
