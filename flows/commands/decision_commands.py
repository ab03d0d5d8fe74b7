"""`convoy promote`, `approve`, `reject`, `rollback`, `retire` and `ledger`: what is decided about versions, and was.

The flows of `flows.promotion` do the same from Prefect's page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components import offered, texts
from components.environment import who
from flows.base.project import find
from flows.base.screen import Screen, say, say_json
from flows.commands import completion, terminal

if TYPE_CHECKING:
    from components.artifacts import Decision
    from components.registry.memory.tracking import Tracking

NameArgument = Annotated[str, typer.Argument(help="The registered model.")]
ByOption = Annotated[str | None, typer.Option(help="Who decides; by default the user of this machine.")]
ReasonOption = Annotated[str, typer.Option(help="Reason, which is recorded.")]
WhyOption = Annotated[str, typer.Option("--reason", help="Reason, which is recorded.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on the standard output.")]
VersionOption = Annotated[int | None, typer.Option(help="The version you mean; refused where another one is staged.")]


def promote(
    name: NameArgument,
    to: Annotated[str, typer.Option(help="`staging` or `production`.", autocompletion=completion.aliases)],
    by: ByOption = None,
    reason: ReasonOption = "promoted by hand",
    version: VersionOption = None,
    despite_rollback: Annotated[
        bool, typer.Option("--despite-rollback", help="Allow a version that was rolled back before.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Promote a version: the candidate to staging, or the staged one to production."""
    with _deciding() as store:
        from components.registry import decisions

        done = decisions.promote(
            store, name, to, _who(by), reason, version=version, despite_rollback=despite_rollback
        )  # fmt: skip
        _tell(done, json=json)


def approve(
    name: NameArgument,
    reason: WhyOption,
    by: ByOption = None,
    version: VersionOption = None,
    json: JsonOption = False,
) -> None:
    """Approve the staged version for production."""
    with _deciding() as store:
        from components.registry import approvals

        said = approvals.approve(store, name, _who(by), reason, version=version)
        waiting = approvals.waiting(store, name)
        if json:
            say_json({**said.model_dump(mode="json"), "waiting": None if waiting is None else asdict(waiting)})
            return
        say(f"{name}: version {said.version} is approved by {said.by} ({texts.shown(said.reason)})")
        if waiting is None:
            words = ("convoy", "promote", name, "--to", "production", "--version", str(said.version))
            say(f"next: {offered.command(*words)}")
        elif waiting.rejected_by:
            say(f"rejected by {', '.join(waiting.rejected_by)}: it does not go into production")
        else:
            say(f"{waiting.missing} more must approve: {len(waiting.approved_by)} of {waiting.required} so far")


def reject(
    name: NameArgument,
    reason: WhyOption,
    by: ByOption = None,
    version: VersionOption = None,
    json: JsonOption = False,
) -> None:
    """Reject the staged version, which keeps it out of production."""
    with _deciding() as store:
        from components.registry import approvals

        said = approvals.reject(store, name, _who(by), reason, version=version)
        words = f"{name}: version {said.version} is rejected by {said.by} ({texts.shown(said.reason)})"
        _tell(said, words, json=json)


def rollback(
    name: NameArgument, by: ByOption = None, reason: ReasonOption = "rolled back by hand", json: JsonOption = False
) -> None:
    """Roll production back to the version before the present one."""
    with _deciding() as store:
        from components.registry import decisions
        from flows.schedules import notifications

        done = decisions.rollback(store, name, _who(by), reason)
        _tell(done, json=json)
        notifications.of_decision(find(), done)


def retire(name: NameArgument, reason: WhyOption, by: ByOption = None, json: JsonOption = False) -> None:
    """Take a version out of production with nothing in its place, where it is lost or must not be used any more."""
    with _deciding() as store:
        from components.registry import decisions
        from flows.schedules import notifications

        done = decisions.retire(store, name, _who(by), reason)
        words = (
            f"{name}: version {done.version} is in production no longer, and nothing is ({texts.shown(done.reason)})"
        )
        _tell(done, words, json=json)
        notifications.of_decision(find(), done)


def ledger(
    name: NameArgument,
    at: Annotated[str | None, typer.Option(help="A date or a moment, ISO 8601 (UTC); by default now.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only whether it is as it was written; ends with 3 where it is not.")
    ] = False,
    acknowledge: Annotated[
        bool, typer.Option("--acknowledge", help="Record that you have seen what `--verify` finds, with a reason.")
    ] = False,
    by: ByOption = None,
    reason: Annotated[str, typer.Option(help="With --acknowledge: what happened; it is recorded.")] = "",
    json: JsonOption = False,
) -> None:
    """Show who decided what about a model's versions and why, and which version had which alias, now or on a day."""
    with _deciding() as store:
        from components.registry import decisions, verification
        from components.registry import ledger as replayed
        from flows.commands.summary import ledger_tables, verified_lines
        from flows.pages.status import show

        if acknowledge:
            said = decisions.acknowledge(store, name, _who(by), reason)
            _tell(said, f"{name}: seen by {said.by} ({texts.shown(said.reason)}); promotion is open again", json=json)
            return
        found = verification.verify(store, name)
        if verify:
            if json:
                say_json(found.to_json())
            else:
                show(Screen(), verified_lines(found))
            if not found.whole:
                raise typer.Exit(terminal.FOUND)
            return
        told = replayed.ledger(store, name, at)
        if json:
            say_json({**told.to_json(), "verified": found.to_json()})
        else:
            show(Screen(), ledger_tables(told, found))


COMMANDS: tuple[Callable[..., Any], ...] = (promote, approve, reject, rollback, retire, ledger)


@contextmanager
def _deciding() -> Iterator[Tracking]:
    project = terminal.project()
    with terminal.explained(Screen(stderr=True), project.logs / terminal.ERRORS):
        from components.registry.memory import tracking

        with tracking.looking(project.root) as store:  # without a database there is nothing to decide about
            yield store


def _who(by: str | None) -> str:
    return who() if by is None else by


def _tell(decision: Decision, words: str | None = None, *, json: bool) -> None:
    if json:
        say_json(decision.model_dump(mode="json"))
        return
    moved = f"{decision.name}: version {decision.version} is {decision.alias} now ({texts.shown(decision.reason)})"
    say(words or moved)
