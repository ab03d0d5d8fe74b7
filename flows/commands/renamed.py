"""Options under the names they had: understood for one more version, with a word on the name they have now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text
from typer.core import TyperCommand

from flows.base.screen import Screen

BATCH_SIZE = {"--most": "--max-batch-size"}
LEARNING_RATE = {"--lowest": "--min-lr", "--highest": "--max-lr"}
TUNE = {"--concurrent": "--max-concurrent"}
ADD = {"--replace": "--force"}
RESTORE = {"--to": "--output"}
BACKFILL = {"--from": "--since", "--to": "--until"}


def renaming(names: Mapping[str, str]) -> type[TyperCommand]:
    """A kind of command (`cls`) that takes old names → new ones, and says so on the standard error."""

    class Renaming(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            words = list(_current(names, args, quiet=ctx.resilient_parsing))  # while a shell completes
            return super().parse_args(ctx, words)

    return Renaming


def _current(names: Mapping[str, str], words: Sequence[str], *, quiet: bool) -> Iterator[str]:
    options = True
    for word in words:
        options = options and word != "--"
        option, equals, value = word.partition("=")
        if not options or option not in names:
            yield word
            continue
        if not quiet:
            told = f" {option} is called {names[option]} now; the old name goes with the next version"
            Screen(stderr=True).print(Text.assemble(("!", "yellow"), told), soft_wrap=True)
        yield f"{names[option]}{equals}{value}"
