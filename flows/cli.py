"""The `convoy` command. Imports no engine until a command needs it, so `--help` is instant."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from components.config import ConfigurationError, load, recipes
from flows import progress
from flows.project import MLFLOW_PORT, PREFECT_PORT, Project, enter, find

if TYPE_CHECKING:
    from components.artifacts import Decision
    from components.registry.tracking import Tracking
    from flows.line import Outcome

ERRORS = "errors.log"  # the stories of commands that have no log of their own
LITTLE_ROOM = 50 * 2**20  # bytes: a line writes about that much besides its data
WRONG, REJECTED, FAILED, INTERRUPTED = 2, 3, 1, 130  # exit codes

app = typer.Typer(
    name="convoy",
    help="A production line for convolutional networks: labelled data in, a promoted, compressed, audited network out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

RecipeOption = Annotated[str, typer.Option("--recipe", "-r", help="`default` (params.yaml) or a file of recipes/.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", "-S", help="Override one key of `line:`, as key=value.")]
ByOption = Annotated[str | None, typer.Option(help="Who decides; by default the user of this machine.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is recorded.")]


@app.command()
def run(recipe: RecipeOption = "default", overrides: SetOption = None) -> None:
    """Take a recipe's data set to a promoted network. Finished steps of earlier runs are not done again."""
    began = time.monotonic()
    project = _project()
    _checked(project, recipe, overrides or [])
    log = project.logs / f"line-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    with progress.quiet(log) as console, _explained(console, log):
        console.print(f"[bold]convoy[/] {recipe} [dim]· log {_short(log)}[/]", highlight=False)
        outcome = _run_line(project, console, recipe, overrides or [])
        from flows.summary import table, where_to_look

        console.print(table(outcome))
        console.print(where_to_look(outcome, time.monotonic() - began), highlight=False)
        if outcome.decision.action == "reject":
            raise typer.Exit(REJECTED)


@app.command()
def ui(
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's pages.")] = MLFLOW_PORT,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's pages.")] = PREFECT_PORT,
) -> None:
    """Start the MLflow and Prefect pages on loopback, until interrupted."""
    project = _project()
    from flows import pages

    with _explained(Console(stderr=True), project.logs / ERRORS):
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
    project = _project()
    _checked(project, recipe, overrides or [])
    from flows import pages

    explained = _explained(Console(stderr=True), project.logs / ERRORS)
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
    project = _project()
    with _explained(Console(stderr=True), project.logs / ERRORS):
        from components.registry import tracking

        yield tracking.connect(project.root)


def _tell(decision: Decision) -> None:
    typer.echo(f"{decision.name}: version {decision.version} is {decision.alias} now ({decision.reason})")


def _project() -> Project:
    try:
        project = find()
        enter(project)
    except ConfigurationError as error:
        _stop(Console(stderr=True), str(error), WRONG)
    return project


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
        _stop(Console(stderr=True), text, WRONG)


@contextmanager
def _explained(console: Console, log: Path) -> Iterator[None]:
    """An error in the engines' or the components' words, and where the rest is; never a page of stack."""
    try:
        yield
    except KeyboardInterrupt:
        _stop(console, "interrupted; the same command goes on from the last finished step", INTERRUPTED)
    except (typer.Exit, SystemExit):
        raise
    except BaseException as error:
        with suppress(OSError), log.open("a", encoding="utf-8") as story:  # on a full disk what follows says it all
            traceback.print_exc(file=story)
        text = f"{error or type(error).__name__}\n  the whole story: {_short(log)}"
        _stop(console, text + _full_disk(log), FAILED)


def _full_disk(log: Path) -> str:
    """A word on the disk where it is full: databases and servers say so in words that nobody understands."""
    free = shutil.disk_usage(log.parent).free
    if free > LITTLE_ROOM:
        return ""
    return f"\n  the disk is full: {free // 2**20} MB are free below {log.parent}; make room and start again"


def _stop(console: Console, text: str, code: int) -> NoReturn:
    console.print("[bold red]✗[/]", end=" ")
    console.print(text, highlight=False, markup=False)
    sys.exit(code)


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def _short(path: Path) -> str:
    """Relative to the current folder where it lies in it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    main()
