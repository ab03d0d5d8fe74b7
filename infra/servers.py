"""The pipeline's real servers on one machine, without containers: PostgreSQL, an S3 store, MLflow, Prefect and Ray.

`python infra/servers.py up`, then `eval "$(python infra/servers.py env)"`: from then on `convoy` runs on them. All
listen on the loopback alone and ask who one is; secrets are drawn on the first start (docs/operations.md).
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from filelock import FileLock, Timeout
from machine import backups, engines, processes
from machine.home import Home, ServersError, existing, opened, parse_addresses, parse_ports, renew

ROOT = Path(__file__).resolve().parents[1]

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
HomeOption = Annotated[Path, typer.Option(help="Where the servers keep everything.")]
Names = Annotated[list[str] | None, typer.Argument(help="Only these (and what they need); by default all.")]
DEFAULT = ROOT / ".convoy" / "servers"


@app.command()
def up(
    names: Names = None,
    home: HomeOption = DEFAULT,
    project: Annotated[Path | None, typer.Option(help="Whose runs the worker executes; by default this one.")] = None,
    port: Annotated[list[str] | None, typer.Option(help="NAME=NUMBER, kept from then on; again for others.")] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(help="Where Ray nodes of other machines find this one's, as 10.0.0.5: Ray then listens to all."),
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(
            help="mlflow=https://HOST, prefect=https://HOST: where a proxy shows the pages; kept, again for more."
        ),
    ] = None,
) -> None:
    """Start what does not run yet, in order, and wait until each answers."""
    with told():
        of = project or (None if (home / "settings.json").is_file() else ROOT)
        place = opened(home, of, parse_ports(port or []), ray_address, parse_addresses(address or []))
        with alone(place):
            for name in chosen(place, names):
                bring_up(place, name)
        typer.echo(f'in a shell: eval "$(python {shlex.quote(sys.argv[0])} env --home {shlex.quote(str(home))})"')


@app.command()
def down(names: Names = None, home: HomeOption = DEFAULT) -> None:
    """Stop what `up` has started, in reverse order, and nothing else."""
    with told():
        place = existing(home)
        with alone(place):
            for name in [name for name in engines.KINDS if name in known(names)][::-1]:
                stop(place, name)


@app.command()
def status(home: HomeOption = DEFAULT) -> None:
    """What runs, and whether it answers; ends with 1 where something does not."""
    with told():
        place = existing(home)
        well = True
        for name, kind in engines.KINDS.items():
            process = processes.found(place, name)
            answers = process is not None and kind.server(place).ready(process)
            well = well and answers
            said = "answers" if answers else "does not answer" if process else "does not run"
            typer.echo(f"{name:15} {said:16} {f'process {process.pid}' if process else '':15} {place.log(name)}")
        if not well:
            raise typer.Exit(1)


@app.command()
def env(home: HomeOption = DEFAULT) -> None:
    """Print the `export` lines with which a run uses these servers. They hold secrets: for `eval`, not for eyes."""
    with told():
        for name, value in engines.variables(existing(home)).items():
            typer.echo(f"export {name}={shlex.quote(value)}")
        typer.echo(f"# DVC: the remote {engines.REMOTE!r} in .dvc/config.local of the project")


@app.command()
def rotate(home: HomeOption = DEFAULT) -> None:
    """Draw every secret anew; the next `up` sets them. The servers must be down."""
    with told():
        place = existing(home)
        with alone(place):
            _all_down(place, list(engines.KINDS))
            renew(place)
        typer.echo("every secret is new from the next `up` on; shells need `env` again")


@app.command()
def backup(folder: Path, home: HomeOption = DEFAULT) -> None:
    """Copy the databases and the buckets into a new folder, with checksums. The servers may run meanwhile."""
    with told():
        place = existing(home)
        with alone(place), standing(place, ["postgres", "s3"]):
            typer.echo(backups.save(place, folder))


@app.command()
def restore(
    folder: Path,
    home: HomeOption = DEFAULT,
    replace: Annotated[bool, typer.Option("--replace", help="Delete what the home holds.")] = False,
    project: Annotated[Path | None, typer.Option(help="As with `up`.")] = None,
    port: Annotated[list[str] | None, typer.Option(help="As with `up`.")] = None,
) -> None:
    """Bring a backup into a home that is empty. All but PostgreSQL and the store must be down."""
    with told():
        backups.check(folder)
        place = opened(home, project or (None if (home / "settings.json").is_file() else ROOT), parse_ports(port or []))
        with alone(place):
            _all_down(place, [name for name in engines.KINDS if name not in ("postgres", "s3")])
            with standing(place, ["postgres", "s3"]):
                typer.echo(backups.bring_back(place, folder, replace=replace))
        typer.echo("now: up")


def bring_up(place: Home, name: str) -> None:
    kind = engines.KINDS[name]
    if processes.found(place, name) is None:
        kind.prepare(place)
    started = processes.bring_up(place, kind.server(place))
    kind.afterwards(place)
    typer.echo(f"{name} {'answers' if started else 'answered already'}")


def stop(place: Home, name: str) -> None:
    kind = engines.KINDS[name]
    if processes.take_down(place, name, kind.server(place).stop_signal):
        kind.tidy(place)
        typer.echo(f"{name} is stopped")


def known(names: list[str] | None) -> list[str]:
    """The names that were given, or all; ServersError where one is no server's."""
    wrong = [name for name in names or () if name not in engines.KINDS]
    if wrong:
        raise ServersError(f"expected names of {', '.join(engines.KINDS)}, received {', '.join(wrong)}")
    return list(names or engines.KINDS)


def chosen(place: Home, names: list[str] | None) -> list[str]:
    """What is to run, in order: what was named, and what that needs."""
    wanted = known(names)
    for name in wanted:
        wanted += [other for other in engines.KINDS[name].server(place).needs if other not in wanted]
    return [name for name in engines.KINDS if name in wanted]


@contextmanager
def standing(place: Home, names: list[str]) -> Iterator[None]:
    """Have these servers run within the block; those that did not before are stopped again."""
    before = [name for name in names if processes.found(place, name) is not None]
    try:
        for name in names:
            bring_up(place, name)
        yield
    finally:
        for name in reversed(names):
            if name not in before:
                stop(place, name)


@contextmanager
def alone(place: Home) -> Iterator[None]:
    """One command at a time on one home."""
    try:
        with FileLock(place.folder / "servers.lock", timeout=5):
            yield
    except Timeout as error:
        raise ServersError(f"another command works on {place.folder}; wait for it") from error


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong in words, with exit code 1."""
    try:
        yield
    except ServersError as error:
        typer.echo(f"✗ {error}", err=True)
        raise typer.Exit(1) from error


def _all_down(place: Home, names: list[str]) -> None:
    running = [name for name in names if processes.found(place, name) is not None]
    if running:
        raise ServersError(f"expected these servers to be down first: {', '.join(running)}")


if __name__ == "__main__":
    app()
