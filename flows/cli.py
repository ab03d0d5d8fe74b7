"""The `convoy` command. Imports no engine until a command needs it, so `--help` is instant."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Annotated, Any

import typer

from components.release import VERSION
from components.secrecy import watch_streams
from flows import plan_pages
from flows.base.project import EVIDENTLY_PORT, INDEX_PORT, MLFLOW_PORT, PREFECT_PORT
from flows.base.screen import Screen, say
from flows.commands import (
    artifact_commands,
    clean_commands,
    completion,
    config_commands,
    data_commands,
    decision_commands,
    doctor_commands,
    find_commands,
    init_commands,
    log_commands,
    predict_commands,
    renamed,
    schedule_commands,
    status_commands,
    task_commands,
    terminal,
)

app = typer.Typer(
    name="convoy",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 all well; 1 a failure; 2 wrong usage or configuration; 3 findings (a rejected version, "
    "faults in the data, something that `doctor` wants put right); 130 interrupted or terminated.",
    context_settings={"help_option_names": ["-h", "--help"]},  # of every command below it
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"convoy {VERSION}")
        raise typer.Exit


@app.callback()
def begin(
    asked: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A production line for convolutional networks: labelled data in, a promoted, compressed, audited network out."""


RUN, DATA, MODELS, OPERATE = "Run", "Data", "Models", "Operate"  # the groups of `--help`

app.add_typer(data_commands.app, name="data", rich_help_panel=DATA)
app.add_typer(find_commands.app, name="find", rich_help_panel=RUN)
app.add_typer(config_commands.app, name="config", rich_help_panel=RUN)

RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe", "-r", help="`default` (params.yaml) or a file of recipes/.", autocompletion=completion.recipes
    ),
]
SetOption = Annotated[list[str] | None, typer.Option("--set", "-S", help="Override one key of `line:`, as key=value.")]


@app.command(rich_help_panel=RUN)
def run(
    recipe: RecipeOption = "default",
    overrides: SetOption = None,
    detach: Annotated[
        bool,
        typer.Option("--detach", "-d", help="Without this terminal: `convoy logs -f` shows it, `convoy stop` ends it."),
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Start nothing: say which steps are done, which will run, and why.")
    ] = False,
    fresh: Annotated[
        list[str] | None,
        typer.Option("--fresh", metavar="STEP", help="Do this step anew, whether or not it is done."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="What it came to as JSON on the standard output, all else on the other.")
    ] = False,
) -> None:
    """Take a recipe's data set to a promoted network. Finished steps of earlier runs are not done again."""
    project = terminal.project()
    again = fresh or []
    if plan:
        plan_pages.show(project, recipe, overrides or [], again, json=json)
        return
    if again:
        plan_pages.checked(project, again)
    if detach and json:
        terminal.stop(Screen(stderr=True), "--json: not with --detach, which waits for no end", terminal.WRONG)
    if detach:
        terminal.ready(project, recipe, overrides or [])
        words = [*(f"-S{each}" for each in overrides or []), *(f"--fresh={each}" for each in again)]
        log_commands.detached(project, ["run", "--recipe", recipe, *words])
        return
    arguments = {"recipe": recipe, "overrides": overrides or [], "fresh": again}
    terminal.supervised(project, "line", recipe, arguments, json=json)


@app.command(cls=renamed.renaming(renamed.TUNE), rich_help_panel=RUN)
def tune(
    recipe: RecipeOption = "default",
    search: Annotated[
        list[str] | None, typer.Option(help="KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C; a key of `line:`.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="How many are tried at most; by default 20.")] = None,
    seconds: Annotated[float | None, typer.Option(help="After which no trial goes on.")] = None,
    max_concurrent: Annotated[int | None, typer.Option(help="Trials side by side; by default 1.")] = None,
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
    asked = {"trials": trials, "seconds": seconds, "concurrent": max_concurrent, "seed": seed}
    terminal.supervised(
        project,
        "tune",
        recipe,
        {
            "recipe": recipe,
            "overrides": overrides or [],
            "search": search or [],
            "asked": asked,
            "output": output,
            "force": force,
        },
        "interrupted; the same command goes on from the last finished epoch",
    )


@app.command(rich_help_panel=OPERATE)
def ui(
    port: Annotated[int, typer.Option(help="Port of the page that links to all.")] = INDEX_PORT,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's pages.")] = MLFLOW_PORT,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's pages.")] = PREFECT_PORT,
    evidently_port: Annotated[int, typer.Option(help="Port of Evidently's pages.")] = EVIDENTLY_PORT,
) -> None:
    """Start the pages of MLflow, Prefect and Evidently on loopback, and one that links to all, until interrupted."""
    project = terminal.project()
    from flows.pages import pages

    with terminal.explained(Screen(stderr=True), project.logs / terminal.ERRORS, "ended"):
        pages.serve(project, pages.Ports(port, mlflow_port, prefect_port, evidently_port), say=say)


PANELS: dict[str, tuple[Callable[..., Any], ...]] = {
    RUN: (
        init_commands.init,
        *(status_commands.status, status_commands.runs, status_commands.show, status_commands.compare),
        *(log_commands.logs, log_commands.stop, task_commands.tasks, doctor_commands.doctor),
    ),
    MODELS: (
        *(predict_commands.predict, artifact_commands.export, artifact_commands.bench),
        *decision_commands.COMMANDS,
    ),
    OPERATE: (*schedule_commands.COMMANDS, clean_commands.clean),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command("open", rich_help_panel=RUN)(status_commands.open_page)
app.command(cls=renamed.renaming(renamed.BACKFILL), rich_help_panel=OPERATE)(schedule_commands.backfill)


def main() -> None:
    """The `convoy` command, once it is imported."""
    watch_streams()  # whatever is printed, and be it the story of an error that nobody has foreseen
    # SIGTERM, and a terminal that closes, end a command as Ctrl-C does: what it has open is closed.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup`
            signal.signal(number, terminal.interrupt)
    try:
        app()
    except KeyboardInterrupt:
        terminal.stop(Screen(stderr=True), "interrupted", terminal.INTERRUPTED)


if __name__ == "__main__":
    main()
