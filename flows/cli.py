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
    epilog="Exit codes: 0 all well; 1 a failure; 2 wrong usage or configuration; 3 findings (a version that "
    "failed a gate, errors in the data, something to fix that `doctor` found); 130 interrupted or terminated.",
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
    """An MLOps pipeline for convolutional networks: labelled data in, a promoted, compressed, audited network out."""


RUN, DATA, MODELS, OPERATE = "Run", "Data", "Models", "Operate"  # the groups of `--help`

app.add_typer(data_commands.app, name="data", rich_help_panel=DATA)
app.add_typer(find_commands.app, name="find", rich_help_panel=RUN)
app.add_typer(config_commands.app, name="config", rich_help_panel=RUN)

RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        "-r",
        help="`default` (params.yaml) or the name of a file in recipes/.",
        autocompletion=completion.recipes,
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", "-S", help="Override one key of `line:`, as KEY=VALUE. May be repeated.")
]


@app.command(rich_help_panel=RUN)
def run(
    recipe: RecipeOption = "default",
    overrides: SetOption = None,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach", "-d", help="Run in the background: `convoy logs -f` follows it, `convoy stop` ends it."
        ),
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Start nothing; show which steps are cached, which will run, and why.")
    ] = False,
    fresh: Annotated[
        list[str] | None,
        typer.Option("--fresh", metavar="STEP", help="Run this step again even where it is cached."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the outcome as JSON on stdout, everything else on stderr.")
    ] = False,
) -> None:
    """Run a recipe's pipeline, from its data set to a promoted network. Finished steps of earlier runs are cached."""
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
    terminal.supervised(project, "run", recipe, arguments, json=json)


@app.command(cls=renamed.renaming(renamed.TUNE), rich_help_panel=RUN)
def tune(
    recipe: RecipeOption = "default",
    search: Annotated[
        list[str] | None,
        typer.Option(help="A key of `line:` to search: KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C."),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Number of trials at most; by default 20.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Time budget in seconds, after which all trials end.")] = None,
    max_concurrent: Annotated[int | None, typer.Option(help="Trials that run at the same time; by default 1.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the search; by default 0.")] = None,
    output: Annotated[
        str | None, typer.Option(help="Recipe file to write; by default recipes/RECIPE-tuned.yaml.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing recipe.")] = False,
    overrides: SetOption = None,
) -> None:
    """Search hyperparameters of a member network on the validation split, and write the best ones as a recipe.

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
    port: Annotated[int, typer.Option(help="Port of the overview, which links to all of them.")] = INDEX_PORT,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's web UI.")] = MLFLOW_PORT,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's web UI.")] = PREFECT_PORT,
    evidently_port: Annotated[int, typer.Option(help="Port of Evidently's web UI.")] = EVIDENTLY_PORT,
) -> None:
    """Start the web UIs of MLflow, Prefect and Evidently on loopback, and an overview of all, until interrupted."""
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
for old, command in schedule_commands.RENAMED.items():
    app.command(old, hidden=True)(command)
app.command("open", rich_help_panel=RUN)(status_commands.open_page)
app.command(cls=renamed.renaming(renamed.BACKFILL), rich_help_panel=OPERATE)(schedule_commands.backfill)


def main() -> None:
    """The `convoy` command, once it is imported."""
    renamed.watch_configuration()
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
