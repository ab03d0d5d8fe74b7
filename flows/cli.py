"""The `convoy` command. Imports no engine until a command needs it, so `--help` is instant."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from flows import (
    artifact_commands,
    clean_commands,
    completion,
    data_commands,
    decision_commands,
    doctor_commands,
    find_commands,
    progress,
    schedule_commands,
    status_commands,
    terminal,
)
from flows.project import EVIDENTLY_PORT, INDEX_PORT, MLFLOW_PORT, PREFECT_PORT, Project

if TYPE_CHECKING:
    from flows.line import Outcome

app = typer.Typer(
    name="convoy",
    help="A production line for convolutional networks: labelled data in, a promoted, compressed, audited network out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

app.add_typer(data_commands.app, name="data")
app.add_typer(find_commands.app, name="find")

RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe", "-r", help="`default` (params.yaml) or a file of recipes/.", autocompletion=completion.recipes
    ),
]
SetOption = Annotated[list[str] | None, typer.Option("--set", "-S", help="Override one key of `line:`, as key=value.")]


@app.command()
def run(recipe: RecipeOption = "default", overrides: SetOption = None) -> None:
    """Take a recipe's data set to a promoted network. Finished steps of earlier runs are not done again."""
    began = time.monotonic()
    project = terminal.project()
    terminal.checked(project, recipe, overrides or [])
    log = project.logs / f"line-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    with progress.quiet(log) as console, terminal.explained(console, log):
        console.print(f"[bold]convoy[/] {recipe} [dim]· log {terminal.short(log)}[/]", highlight=False)
        outcome = _run_line(project, console, recipe, overrides or [])
        from flows.summary import table, where_to_look

        console.print(table(outcome, console.width))
        console.print(where_to_look(outcome, time.monotonic() - began), highlight=False)
        if outcome.decision.action == "reject":
            raise typer.Exit(terminal.REJECTED)


@app.command()
def tune(
    recipe: RecipeOption = "default",
    search: Annotated[
        list[str] | None, typer.Option(help="KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C; a key of `line:`.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="How many are tried at most; by default 20.")] = None,
    seconds: Annotated[float | None, typer.Option(help="After which no trial goes on.")] = None,
    concurrent: Annotated[int | None, typer.Option(help="Trials side by side; by default 1.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the suggestions; by default 0.")] = None,
    output: Annotated[
        str | None, typer.Option(help="The recipe to write; by default recipes/RECIPE-tuned.yaml.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the recipe where it is there.")] = False,
    overrides: SetOption = None,
) -> None:
    """Search settings with which a member network does best on the validation split; the best becomes a recipe.

    Ray Tune, Optuna and ASHA. `tune:` of a recipe says the same as the options.
    """
    project = terminal.project()
    wanted: list[str] = []
    with terminal.wrong_is_told(project):
        from flows import study

        given = study.overrides_of(search or [], trials=trials, seconds=seconds, concurrent=concurrent, seed=seed)
        wanted = [*(overrides or []), *given]
        study.checked(project, recipe, wanted, output, force=force)
    log = project.logs / f"tune-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    goes_on = "interrupted; the same command goes on from the last finished epoch"
    with progress.quiet(log) as console, terminal.explained(console, log, goes_on):
        console.print(f"[bold]convoy tune[/] {recipe} [dim]· log {terminal.short(log)}[/]", highlight=False)
        with terminal.displayed(project, console) as display:
            from flows import tune as flow

            flow.reporting_to(display)
            outcome = flow.tune(recipe, wanted, output, force)
        from flows.tune_pages import page

        console.print(page(outcome), highlight=False)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of the page that links to all.")] = INDEX_PORT,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's pages.")] = MLFLOW_PORT,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's pages.")] = PREFECT_PORT,
    evidently_port: Annotated[int, typer.Option(help="Port of Evidently's pages.")] = EVIDENTLY_PORT,
) -> None:
    """Start the pages of MLflow, Prefect and Evidently on loopback, and one that links to all, until interrupted."""
    project = terminal.project()
    from flows import pages

    with terminal.explained(Console(stderr=True), project.logs / terminal.ERRORS):
        pages.serve(project, pages.Ports(port, mlflow_port, prefect_port, evidently_port), say=typer.echo)


for command in (*schedule_commands.COMMANDS, *decision_commands.COMMANDS):
    app.command()(command)
app.command()(artifact_commands.export)
app.command()(artifact_commands.bench)
app.command()(status_commands.status)
app.command()(status_commands.runs)
app.command()(status_commands.compare)
app.command("open")(status_commands.open_page)
app.command()(doctor_commands.doctor)
app.command()(clean_commands.clean)


def main() -> None:
    """Entry point of the `convoy` command."""
    # SIGTERM ends a command as Ctrl-C does: runs are closed, servers and Ray are stopped.
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    app()


def _run_line(project: Project, console: Console, recipe: str, overrides: list[str]) -> Outcome:
    with terminal.displayed(project, console) as display:
        from flows import line as flow

        flow.reporting_to(display)
        return flow.line(recipe, overrides)


@contextmanager
def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
