"""The `convoy` command. Imports no engine until a command needs it, so `--help` is instant."""

from __future__ import annotations

import getpass
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from components.config import ConfigurationError, load, recipes
from flows import data_commands, progress, terminal
from flows.project import MLFLOW_PORT, PREFECT_PORT, Project

if TYPE_CHECKING:
    from components.artifacts import Decision
    from components.registry.tracking import Tracking
    from flows.line import Outcome

app = typer.Typer(
    name="convoy",
    help="A production line for convolutional networks: labelled data in, a promoted, compressed, audited network out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

app.add_typer(data_commands.app, name="data")

RecipeOption = Annotated[str, typer.Option("--recipe", "-r", help="`default` (params.yaml) or a file of recipes/.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", "-S", help="Override one key of `line:`, as key=value.")]
ByOption = Annotated[str | None, typer.Option(help="Who decides; by default the user of this machine.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is recorded.")]


@app.command()
def run(recipe: RecipeOption = "default", overrides: SetOption = None) -> None:
    """Take a recipe's data set to a promoted network. Finished steps of earlier runs are not done again."""
    began = time.monotonic()
    project = terminal.project()
    _checked(project, recipe, overrides or [])
    log = project.logs / f"line-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    with progress.quiet(log) as console, terminal.explained(console, log):
        console.print(f"[bold]convoy[/] {recipe} [dim]· log {terminal.short(log)}[/]", highlight=False)
        outcome = _run_line(project, console, recipe, overrides or [])
        from flows.summary import table, where_to_look

        console.print(table(outcome))
        console.print(where_to_look(outcome, time.monotonic() - began), highlight=False)
        if outcome.decision.action == "reject":
            raise typer.Exit(terminal.REJECTED)


@app.command()
def ui(
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's pages.")] = MLFLOW_PORT,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's pages.")] = PREFECT_PORT,
) -> None:
    """Start the MLflow and Prefect pages on loopback, until interrupted."""
    project = terminal.project()
    from flows import pages

    with terminal.explained(Console(stderr=True), project.logs / terminal.ERRORS):
        pages.serve(project, mlflow_port, prefect_port, say=typer.echo)


@app.command()
def schedule(
    cron: Annotated[str, typer.Option(help="When: minute hour day month weekday.")] = "0 3 * * *",
    timezone: Annotated[str, typer.Option(help="Whose clock.")] = "UTC",
    recipe: RecipeOption = "default",
    overrides: SetOption = None,
    prefect_port: Annotated[int, typer.Option(help="Port of the Prefect server that is started.")] = PREFECT_PORT,
) -> None:
    """Register the line on a cron expression and serve it, until interrupted."""
    project = terminal.project()
    _checked(project, recipe, overrides or [])
    from flows import pages

    explained = terminal.explained(Console(stderr=True), project.logs / terminal.ERRORS)
    with explained, pages.lasting_prefect_server(project, prefect_port) as address:
        from flows import schedules

        typer.echo(f"line/{recipe} runs at '{cron}' ({timezone}); its page is {address}/deployments. Ctrl-C ends it.")
        schedules.serve(recipe, overrides or [], cron, timezone)


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    to: Annotated[str, typer.Option(help="`staging` or `production`.")],
    by: ByOption = None,
    reason: ReasonOption = "promoted by hand",
    despite_rollback: Annotated[bool, typer.Option(help="Allow a version that was rolled back before.")] = False,
) -> None:
    """Move a version on: the candidate to staging, or what is staged to production."""
    with _deciding() as store:
        from components.registry import decisions

        who = by or getpass.getuser()
        _tell(decisions.promote(store, name, to, who, reason, despite_rollback=despite_rollback))


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    by: ByOption = None,
    reason: ReasonOption = "rolled back by hand",
) -> None:
    """Put back into production what the production version took the place of."""
    with _deciding() as store:
        from components.registry import decisions

        _tell(decisions.rollback(store, name, by or getpass.getuser(), reason))


@app.command()
def history(name: Annotated[str, typer.Argument(help="The registered model.")]) -> None:
    """Every decision about a model's versions, oldest first."""
    with _deciding() as store:
        from components.registry import decisions
        from flows.summary import decisions_table

        Console().print(decisions_table(name, decisions.history(store, name)))


def main() -> None:
    """Entry point of the `convoy` command."""
    # SIGTERM ends a command as Ctrl-C does: runs are closed, servers and Ray are stopped.
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    app()


def _run_line(project: Project, console: Console, recipe: str, overrides: list[str]) -> Outcome:
    from flows import startup

    with startup.leased(project) as lease, startup.prefect_server(project, lease) as server:
        with console.status("starting Prefect's temporary server"):
            from flows import line as flow

            if server is not None:
                server.wait()
        with progress.Display(console) as display:
            flow.reporting_to(display)
            return flow.line(recipe, overrides)


@contextmanager
def _deciding() -> Iterator[Tracking]:
    project = terminal.project()
    with terminal.explained(Console(stderr=True), project.logs / terminal.ERRORS):
        from components.registry import tracking

        yield tracking.connect(project.root)


def _tell(decision: Decision) -> None:
    typer.echo(f"{decision.name}: version {decision.version} is {decision.alias} now ({decision.reason})")


def _checked(project: Project, recipe: str, overrides: list[str]) -> None:
    """End with every mistake of the configuration before anything is started."""
    try:
        load(project.root, None if recipe == "default" else recipe, overrides)
        from flows.check import complete

        complete(project, recipe, overrides)
    except ConfigurationError as error:
        mistakes = str(error).splitlines()
        known = f"recipes: default, {', '.join(recipes(project.root))}"
        text = "\n".join(
            ["the configuration is wrong; nothing was started", *(f"  {line}" for line in mistakes), known]
        )
        terminal.stop(Console(stderr=True), text, terminal.WRONG)


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
