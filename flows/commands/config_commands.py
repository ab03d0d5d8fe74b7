"""`convoy config …`: what a run would be told, before it is. Imports no engine."""

from __future__ import annotations

import difflib
import json as written
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from components.config import ConfigurationError, Value, effective
from flows.base.project import find
from flows.base.screen import Screen, say_json
from flows.commands import completion, terminal

app = typer.Typer(help="Show the effective configuration of a run.", no_args_is_help=True)


@app.command()
def show(
    key: Annotated[
        str, typer.Argument(help="Show only this key and those below it, such as `training` or `gates.floor`.")
    ] = "",
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            "-r",
            help="`default` (params.yaml) or the name of a file in recipes/.",
            autocompletion=completion.recipes,
        ),
    ] = "default",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", "-S", help="Override one key of `line:`, as KEY=VALUE. May be repeated."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on the standard output.")] = False,
) -> None:
    """The effective values of a recipe, and where each comes from: the code, params.yaml, the recipe or -S."""
    try:
        project = find()
    except ConfigurationError as error:
        terminal.stop(Screen(stderr=True), str(error), terminal.WRONG)
    with terminal.wrong_is_told(project):
        every = effective(project.root, None if recipe == "default" else recipe, overrides or [])
    found = _below(every, key)
    if not found:
        close = difflib.get_close_matches(key, [each.key for each in every], 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        terminal.stop(Screen(stderr=True), f"{key}: there is no such key of the configuration{meant}", terminal.WRONG)
    if json:
        values = {each.key: {"value": each.value, "origin": each.origin} for each in found}
        say_json({"recipe": recipe, "values": values})
    else:
        Screen().print(_table(found))


def _below(values: list[Value], key: str) -> list[Value]:
    """Those of a key and below it, which may be written with or without `line.`; all where there is none."""
    asked = "" if key == "line" else key.removeprefix("line.")
    return [each for each in values if not asked or each.key == asked or each.key.startswith(f"{asked}.")]


def _table(found: list[Value]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("key", "value", "comes from"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "value")
    for each in found:
        style = "dim" if each.origin == "default" else ""
        table.add_row(Text(each.key), Text(_said(each.value)), Text(each.origin), style=style)
    return table


def _said(value: Any) -> str:
    """As `-S` takes it: YAML on one line."""
    return value if isinstance(value, str) else written.dumps(value, ensure_ascii=False)
