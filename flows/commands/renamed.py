"""Options, commands and keys under the names they had: understood for one more version, with a warning."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text
from typer.core import TyperCommand

from components.config.renamed import RenamedWarning
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


def told(old: str, new: str) -> None:
    """Say on the standard error that `old` is called `new` now."""
    _warn(f"{old} is called {new} now; the old name goes with the next version")


def watch_configuration() -> None:
    """From now on what is said of renamed keys of the configuration (`RenamedWarning`) is told as options are, once."""
    others, said = warnings.showwarning, set[str]()

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, RenamedWarning):
            others(message, category, *place, **more)
        elif str(message) not in said:
            said.add(str(message))
            _warn(str(message))

    warnings.showwarning = show


def _warn(text: str) -> None:
    Screen(stderr=True).print(Text.assemble(("!", "yellow"), f" {text}"), soft_wrap=True)


def _current(names: Mapping[str, str], words: Sequence[str], *, quiet: bool) -> Iterator[str]:
    options = True
    for word in words:
        options = options and word != "--"
        option, equals, value = word.partition("=")
        if not options or option not in names:
            yield word
            continue
        if not quiet:
            told(option, names[option])
        yield f"{names[option]}{equals}{value}"
