"""`convoy schedule`, `backfill` and `notifications`: what runs without anybody starting it, and who hears of it.

Imports no engine until a command needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from components import offered
from flows.base.project import PREFECT_PORT, Project
from flows.base.screen import Screen, say
from flows.commands import completion, renamed, terminal

if TYPE_CHECKING:
    from flows.backfill import Dated
    from flows.schedules.declared import Deployments

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
NIGHTLY = "0 3 * * *"
PortOption = Annotated[int, typer.Option(help="Port of the Prefect server to start where PREFECT_API_URL names none.")]


def schedule(
    cron: Annotated[
        str | None, typer.Option(help="Cron expression for one recipe: minute hour day month weekday.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of `--cron`.")] = "UTC",
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            "-r",
            help="Schedule only this recipe, nightly or by `--cron`.",
            autocompletion=completion.recipes,
        ),
    ] = None,
    overrides: SetOption = None,
    register: Annotated[
        bool,
        typer.Option(
            "--register", help="Register the deployments with a Prefect server, whose workers run them, and exit."
        ),
    ] = False,
    prefect_port: PortOption = PREFECT_PORT,
) -> None:
    """Run what infra/deployments.yaml schedules, on time and from this machine, until interrupted.

    With `--cron` or `--recipe`, one recipe instead; with `--register`, workers of a Prefect server run it.
    """
    project = terminal.project()
    alone = cron is not None or recipe is not None or overrides is not None
    if register and alone:
        said = "--register: expected infra/deployments.yaml alone, received --cron, --recipe or --set as well"
        terminal.stop(Screen(stderr=True), said, terminal.WRONG)
    if register:
        _register(project, prefect_port)
        return
    from flows.pages import pages
    from flows.processes import family, leases
    from flows.schedules import declared, deployments

    with terminal.wrong_is_told(project):
        if not alone:
            values = declared.read(project.root)
        else:
            values = declared.single(recipe or "default", overrides or [], cron or NIGHTLY, timezone)
        flows = deployments.checked(project.root, values)
    explained = terminal.explained(Screen(stderr=True), project.logs / terminal.ERRORS, "ended")
    with explained, family.sheltering(), pages.lasting_prefect_server(project, prefect_port) as address:
        from flows.schedules import declared, schedules

        for sentence in leases.settle(project):
            say(sentence)
        for name, entry in values.deployments.items():
            say(f"{flows[name].name}/{name} runs at {deployments.said(entry)}")
        say(f"their web UI is {address}/deployments{pages.login(project)}. Ctrl-C ends it.")
        schedules.serve(values.deployments, flows)


def deploy(prefect_port: PortOption = PREFECT_PORT) -> None:
    """`convoy schedule --register`, by the name it had."""
    renamed.told("deploy", "schedule --register")
    _register(terminal.project(), prefect_port)


def _register(project: Project, prefect_port: int) -> None:
    from flows.pages import pages
    from flows.schedules import declared, deployments

    with terminal.wrong_is_told(project):
        deployments.checked(project.root, declared.read(project.root))
    explained = terminal.explained(Screen(stderr=True), project.logs / terminal.ERRORS, "ended")
    with explained, pages.lasting_prefect_server(project, prefect_port) as address:
        for sentence in deployments.deploy(project.root):
            say(sentence)
        worker = pages.let_into_prefect(project) + offered.command("prefect", "worker", "start", "--pool", "NAME")
        say(f"registered with {address}; `{worker}` runs what is in a pool")


def backfill(
    since: Annotated[str, typer.Option("--since", help="First day, such as 2026-01-31.")],
    until: Annotated[str, typer.Option("--until", help="Last day, included.")],
    timezone: Annotated[str, typer.Option(help="Time zone of the days.")] = "UTC",
    recipe: RecipeOption = "default",
    overrides: SetOption = None,
) -> None:
    """Run the pipeline for past days, each on the data as it was at that day's end. Moves no alias."""
    project = terminal.project()
    days = {"since": since, "until": until, "timezone": timezone}
    terminal.supervised(project, "backfill", recipe, {**days, "recipe": recipe, "overrides": overrides or []})


def notifications(
    test: Annotated[bool, typer.Option("--test", help="Send a test notification by every configured channel.")] = False,
) -> None:
    """Show which notifications are sent by which channel; addresses are not shown."""
    project = terminal.project()
    from flows.schedules import declared

    with terminal.wrong_is_told(project):
        values = declared.read(project.root)
    Screen().print(_channels(values))
    if test and not _tested(project):
        raise typer.Exit(terminal.FAILED)


def notices(
    test: Annotated[bool, typer.Option("--test", help="Send a test notification by every configured channel.")] = False,
) -> None:
    """`convoy notifications`, by the name it had."""
    renamed.told("notices", "notifications")
    notifications(test)


COMMANDS: tuple[Callable[..., None], ...] = (schedule, notifications)  # `backfill` has names to be renamed
RENAMED: dict[str, Callable[..., None]] = {"deploy": deploy, "notices": notices}  # commands by the names they had


def _tested(project: Project) -> bool:
    from flows.schedules import notifications as sending

    said = sending.test(project)
    for name, outcome in said.items():
        say(f"{name}: {outcome}")
    if not said:
        say("no channel's address is set: nothing was sent")
    return bool(said) and set(said.values()) == {"sent"}


def _channels(values: Deployments) -> Table:
    table = Table("channel", "address is in", "is set", "tells of")
    for channel in values.notifications:
        there = "yes" if os.environ.get(channel.address) else "no"
        table.add_row(channel.kind, channel.address, there, ", ".join(channel.of))
    return table


def days_table(days: list[Dated]) -> Table:
    """A row a day: its data, and what the run came to."""
    table = Table("day", "data", "version", "outcome")
    for day in days:
        table.add_row(day.day, day.data[:12], "–" if day.version is None else str(day.version), day.outcome)
    return table
