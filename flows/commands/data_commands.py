"""`convoy data …`: look at data before it is ingested, add it to the catalogue, and see what became of it.

Imports no engine until a command needs it.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from components import offered, texts
from components.config import ConfigurationError
from components.data.errors import LONGEST_NAME
from components.members import TASKS
from flows.base.project import Project, find
from flows.base.scratch import scratch, user_cache
from flows.base.screen import Screen, say_json
from flows.commands import renamed, terminal

if TYPE_CHECKING:
    from components.data.checking.check import Looked

NOTHING_DONE = "interrupted; nothing was written"
SILENT = 30.0  # seconds without a terminal after which a line says that the command lives

app = typer.Typer(help="Look at data, add it to the catalogue, and see its versions.", no_args_is_help=True)

PathArgument = Annotated[str, typer.Argument(help="A folder, a table, an archive, a URL; or a built-in source's name.")]
NameArgument = Annotated[str, typer.Argument(help="The entry of `datasets:` in params.yaml.")]
KindOption = Annotated[str | None, typer.Option(help="Kind of source; by default it is detected.")]
TaskOption = Annotated[
    str | None, typer.Option(help="classification, segmentation, …; by default what the labels fit.")
]
HeightOption = Annotated[int | None, typer.Option(help="Pixels of every image; by default the most frequent.")]
WidthOption = Annotated[int | None, typer.Option(help="Pixels of every image; by default the most frequent.")]
ChannelsOption = Annotated[int | None, typer.Option(help="1 or 3; by default 3 where there is colour.")]
ResizeOption = Annotated[
    bool | None,
    typer.Option(
        "--resize/--no-resize", help="Whether to resize and convert images that differ; by default where some do."
    ),
]
GroupOption = Annotated[
    str | None, typer.Option(help="Keep each value of this column in one split, such as `patient`.")
]
ValidationOption = Annotated[float | None, typer.Option(help="Share of the samples for the validation split.")]
TestOption = Annotated[float | None, typer.Option(help="Share for the test split, where none is predefined.")]
SettingOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-S", help="A key of `source:`, or SECTION.KEY, as KEY=VALUE. May be repeated."),
]
NameOption = Annotated[
    str | None, typer.Option(help="The data set; by default that of the run, else that of `line:` in params.yaml.")
]
RevisionArgument = Annotated[
    str, typer.Argument(help="An MLflow run's id, a git revision, a digest of DVC's, or `workspace`.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on the standard output.")]


@app.command()
def check(
    path: PathArgument,
    kind: KindOption = None,
    task: TaskOption = None,
    height: HeightOption = None,
    width: WidthOption = None,
    channels: ChannelsOption = None,
    resize: ResizeOption = None,
    group: GroupOption = None,
    validation: ValidationOption = None,
    test: TestOption = None,
    settings: SettingOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every finding instead of the first of each kind.")
    ] = False,
    pictures: Annotated[
        Path | None, typer.Option(help="Write the findings and their contact sheets to this folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check data before it is used. Nothing is written; exit code 3 where there are errors to fix."""
    from components.data.checking.check import Wanted

    wanted = Wanted(
        _name_for(path), kind, task, height, width, channels, resize, group, validation, test, tuple(settings or ())
    )
    console = Screen()
    with _looking() as root, scratch("convoy-check-") as folder:
        from components.data.checking.check import INSPECTED, command
        from components.data.checking.check import check as inspect
        from components.data.stages import outputs
        from components.files import replacing
        from flows.commands.data_pages import check_page, check_values

        if pictures is not None:
            outputs.check_kept(pictures)  # before an hour's look
        with _counting("looked at") as advanced:
            checked = inspect(path, wanted, root, folder, advanced)
        if pictures is not None:
            with replacing(pictures.absolute(), outputs.check_kept) as kept:
                shutil.copytree(folder / INSPECTED, kept, dirs_exist_ok=True)
        following = command(checked.looked, path, wanted)
        if as_json:
            _print_json({**check_values(path, checked), "next": offered.command(*following)})
        else:
            page = check_page(path, checked, console.width, everything=everything, kept=pictures)
            console.print(page, highlight=False)
            _next(console, following, "when that is fixed" if checked.errors else "next")
    raise typer.Exit(terminal.FOUND if checked.errors else 0)


@app.command(cls=renamed.renaming(renamed.ADD))
def add(
    name: NameArgument,
    path: PathArgument,
    kind: KindOption = None,
    task: TaskOption = None,
    height: HeightOption = None,
    width: WidthOption = None,
    channels: ChannelsOption = None,
    resize: ResizeOption = None,
    group: GroupOption = None,
    validation: ValidationOption = None,
    test: TestOption = None,
    settings: SettingOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the entry of that name.")] = False,
) -> None:
    """Add an entry to params.yaml, with the size and the colours that the images have; the rest of it stays."""
    from components.data.checking.check import Wanted

    wanted = Wanted(name, kind, task, height, width, channels, resize, group, validation, test, tuple(settings or ()))
    console = Screen()
    with _in_project() as project:
        from components.data import catalogue
        from components.data.checking.check import look
        from components.data.stages import outputs
        from flows.commands.data_pages import added_page

        catalogue.check_free(project.root, name, replace=force)  # before an hour's reading
        outputs.check_outputs(project.root, name)
        with _counting("read") as advanced:
            looked = look(path, wanted, project.root, advanced)
        _known_task(looked.config.task, name)
        catalogue.add(project.root, name, looked.entry, replace=force)
        console.print(added_page(name, looked), highlight=False)
        _next(console, ["convoy", "run", *_recipe(console, project, looked)])
        _next(console, ["dvc", "repro", f"validate@{name}"], "the data alone")


def _recipe(console: Console, project: Project, looked: Looked) -> list[str]:
    """Write a first recipe for the data, and say why it is as it is; how `convoy run` is then told of it."""
    from components.config import load
    from components.training.finding.proposal import propose
    from flows.commands.data_pages import recipe_page
    from flows.commands.task_commands import DEFAULT, recipe_for

    name, place = looked.name, project.root / "recipes" / f"{looked.name}.yaml"
    counts = {each: sum(splits.values()) for each, splits in looked.survey.classes.items()}
    gates = [each.gate for each in load(project.root, None, []).line.gates]
    proposal = propose(name, looked.config, looked.survey.samples, counts, gates)
    if proposal is None or name == DEFAULT:
        return [*recipe_for(project, looked.config.task), "-S", f"dataset={name}", "-S", f"model={name}"]
    try:
        proposal.save(place)
    except FileExistsError:
        console.print(f"! recipes/{name}.yaml is there already, and stays as it is", style="yellow", highlight=False)
        return ["-r", name, "-S", f"dataset={name}", "-S", f"model={name}"]
    console.print(recipe_page(name, proposal), highlight=False)
    return ["-r", name]


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the catalogue: every data set and its state."""
    with _in_project() as project:
        from components.data.card.summary import catalogue
        from flows.commands.data_pages import catalogue_table

        listed = catalogue(project.root)
        if as_json:
            _print_json([asdict(each) for each in listed])
        else:
            Screen().print(catalogue_table(listed))


@app.command()
def show(name: NameArgument, as_json: JsonOption = False) -> None:
    """Show the card of a prepared data set, and write it as a page with pictures."""
    with _in_project() as project:
        console = Screen()
        with Screen(stderr=True).status("counting …"):
            from components.data.card.page import write_card
            from components.data.card.summary import summarise
            from flows.commands.data_pages import card_page, card_values, places

            summary = summarise(project.root, name)
            page = write_card(summary, places(summary))
        if as_json:
            _print_json({**card_values(summary), "page": str(page)})
            return
        console.print(card_page(summary, console.width), highlight=False)
        _say(console, "the page with pictures", terminal.short(page))


@app.command()
def diff(
    before: RevisionArgument = "HEAD",
    after: RevisionArgument = "workspace",
    name: NameOption = None,
    ids: Annotated[int, typer.Option(help="Number of samples to list.", min=0)] = 10,
    as_json: JsonOption = False,
) -> None:
    """Compare two versions of a data set: samples added, removed and changed, by class, split and group."""
    with _in_project() as project:
        with Screen(stderr=True).status("comparing …"):
            from components.data import versions
            from flows.commands.data_difference import difference_json, difference_page
            from flows.run.data_revisions import named

            name, (old, new) = named(project.root, name, (before, after))
            difference = versions.diff(project.root, name, old, new)
        if as_json:
            _print_json(difference_json(difference))
        else:
            Screen().print(difference_page(difference, (before, after), ids), highlight=False)


@app.command(cls=renamed.renaming(renamed.RESTORE))
def restore(
    revision: RevisionArgument,
    name: NameOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to restore to, instead of .convoy/data/prepared/NAME.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Restore even where this destroys data that is stored nowhere else.")
    ] = False,
) -> None:
    """Restore the data that a run worked on, byte for byte."""
    with _in_project() as project:
        with Screen(stderr=True).status("restoring …"):
            from components.data import versions
            from flows.run.data_revisions import named

            name, (wanted,) = named(project.root, name, (revision,))
            folder = versions.restore(project.root, name, wanted, output, force=force)
        console = Screen()
        console.print(Text.assemble(("✓ ", "green"), f"{name} of {revision} is in {terminal.short(folder)}"))
        if output is None:
            back = offered.command("dvc", "repro", f"validate@{name}")
            _say(console, "back to what params.yaml says", back)


def _known_task(task: str, name: str) -> None:
    if task not in (known := TASKS.names()):  # which imports none of them, and so no PyTorch
        raise ConfigurationError(f"datasets.{name}.task: expected one of {', '.join(known)}, received {task!r}")


@contextmanager
def _told(log: Path) -> Iterator[None]:
    """What is wrong with the configuration or the data, in its own words; anything else as everywhere."""
    from components.artifacts import ArtifactError
    from components.data.errors import DataError

    console = Screen(stderr=True)
    with terminal.explained(console, log, NOTHING_DONE):
        try:
            yield
        except ConfigurationError as error:
            terminal.stop(console, str(error), terminal.WRONG)
        except (DataError, ArtifactError) as error:
            if error.__cause__ is not None:  # whoever mends a fault of ours needs the rest
                terminal.keep_story(error, log)
            terminal.stop(console, str(error), terminal.FAILED)


@contextmanager
def _looking() -> Iterator[Path]:
    """The root that paths are relative to, in or outside of a project, into which nothing is written."""
    from components.environment import prepare_environment

    prepare_environment()
    try:
        root = find().root
    except ConfigurationError:
        root = Path.cwd()
    with _told(user_cache() / terminal.ERRORS):
        yield root


@contextmanager
def _in_project() -> Iterator[Project]:
    project = terminal.project()
    with _told(project.logs / terminal.ERRORS):
        from components.data.stages import moving

        if (told := moving.settle_alone(project.root)) is not None:
            Console(stderr=True).print(Text(told), style="dim", soft_wrap=True)
        yield project


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int, str], None]]:
    """What is told how many inputs have been read: a line that moves on a terminal, else one every half minute."""
    console = Screen(stderr=True)  # what is asked for goes to standard output, and may be piped
    last = time.monotonic()
    with console.status(f"{what} …") as status:

        def advanced(samples: int, many: str) -> None:
            nonlocal last
            status.update(f"{samples:,} {many} {what}")
            if not console.is_terminal and time.monotonic() - last > SILENT:
                last = time.monotonic()
                console.print(f"{samples:,} {many} {what}", highlight=False)

        yield advanced


def _next(console: Console, words: Sequence[str], note: str = "next") -> None:
    _say(console, note, offered.command(*words))


def _say(console: Console, note: str, text: str) -> None:
    """A line that is not broken: it is copied."""
    console.print(Text.assemble((f"{note}: ", "dim"), (text, "bold")), soft_wrap=True)


def _print_json(value: Any) -> None:
    say_json(value)


def _name_for(path: str) -> str:
    """A name that an entry can have, by the path's own."""
    stem = path.rstrip("/").rpartition("/")[2].partition(".")[0]
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem)[:LONGEST_NAME].strip("-_") or "NAME"
    return name if texts.is_word(name) else f"set-{name}"
