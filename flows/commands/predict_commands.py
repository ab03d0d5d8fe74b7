"""`convoy predict`: a registered version answers for files, as it does where it is served.

Imports no engine until a command needs it. Nothing is started: the package answers in this process.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components import texts
from components.config import ConfigurationError
from flows.base.screen import Screen, say_json
from flows.commands import terminal

if TYPE_CHECKING:
    from components.registry.answering import Answering, Row

NOTHING_KEPT = "interrupted; no file was written"
SILENT = 30.0  # seconds without a terminal after which a line says that the command lives
NAME = 36  # cells of a file's name in the table, at most
MOST_FAULTS = 20  # that are told where nobody sees a table
FAULT = "no answer: "


def predict(
    model: Annotated[
        str, typer.Argument(help="NAME (in production, or else staging), NAME@alias, NAME:version or NAME/version.")
    ],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="FILE|FOLDER…", help="Images, or text files with one text per line.")
    ],
    json: Annotated[bool, typer.Option("--json", help="One object per line on the standard output.")] = False,
    table: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the predictions as a table.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option("--drawn", metavar="FOLDER", help="Draw each prediction on its image, in a new folder."),
    ] = None,
) -> None:
    """Predict for files with a registered version, as it is served. Exit code 1 where a file has no prediction."""
    project = terminal.project()
    errors = Screen(stderr=True)
    with terminal.explained(errors, project.logs / terminal.ERRORS, NOTHING_KEPT):
        try:
            _check(inputs, pictures)
        except ConfigurationError as error:
            terminal.stop(errors, str(error), terminal.WRONG)
        from components.registry import answering
        from components.registry.memory import tracking

        with errors.status("loading …"), tracking.looking(project.root) as store:
            asked = answering.load(store, model)
        for note in asked.notes:
            errors.print(Text.assemble(("!", "yellow"), f" {note}"), soft_wrap=True)
        if pictures is not None and asked.takes != "binary":
            why = f"{asked.name} version {asked.version} is asked for {asked.column}: there is no picture to draw on"
            terminal.stop(errors, f"--drawn: {why}", terminal.WRONG)
        files = answering.files(inputs, [each for each in (table, pictures) if each is not None])
        count = faults = 0
        with ExitStack() as stack:
            tell: list[Callable[[Sequence[Row]], None]] = []
            if json:
                tell.append(_say_rows)
            elif table is None:
                tell.append(_Printed(Screen()))
            if table is not None:
                tell.append(stack.enter_context(_opened(table)))
            if pictures is not None:
                tell.append(_Pictures(stack.enter_context(_folder(pictures)), asked, inputs))
            for rows in _told(errors, asked.answered(files)):
                with _until_enough():
                    for each in tell:
                        each(rows)
                wrong = [row for row in rows if row.fault]
                if json or table is not None:
                    _name(errors, wrong, faults)
                count, faults = count + len(rows), faults + len(wrong)
        if not count:
            named = ", ".join(map(str, inputs))
            terminal.stop(errors, f"{named}: expected files to be asked for, found none", terminal.WRONG)
        _sum(errors, asked, count, faults, [each for each in (table, pictures) if each is not None])
        if faults:
            sys.exit(terminal.FAILED)


def _check(inputs: Sequence[Path], pictures: Path | None) -> None:
    """Before anything is loaded; ConfigurationError where an input is not there, or something would be lost."""
    missing = [str(each) for each in inputs if not each.is_file() and not each.is_dir()]
    if missing:
        raise ConfigurationError(f"{', '.join(missing)}: expected files or folders, found none")
    if pictures is not None:
        _check_free(pictures)


def _check_free(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigurationError(f"--drawn: expected a folder that is empty or not there, received {folder}")


def _told(console: Console, batches: Iterator[list[Row]]) -> Iterator[list[Row]]:
    """The batches; while one is asked a line moves on a terminal, else one is printed every half minute."""
    count, last = 0, time.monotonic()
    while True:
        with console.status(f"{count:,} answered …"):  # and none while others print: it would move what they say
            rows = next(batches, None)
        if rows is None:
            return
        count += len(rows)
        if not console.is_terminal and time.monotonic() - last > SILENT:
            last = time.monotonic()
            console.print(f"{count:,} answered …")
        yield rows


@contextmanager
def _until_enough() -> Iterator[None]:
    """Who reads the standard output may stop reading (`head`): that ends the command without a word."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still in its buffer
        raise typer.Exit(terminal.FAILED) from None


def _name(console: Console, faults: Sequence[Row], before: int) -> None:
    """Faults by their files, the first ones: all are in the output."""
    for row in faults[: max(0, MOST_FAULTS - before)]:
        console.print(Text.assemble(("!", "yellow"), f" {_where(row)}: {row.fault}"), soft_wrap=True)


def _sum(console: Console, asked: Answering, count: int, faults: int, written: Sequence[Path]) -> None:
    mark = ("✗", "bold red") if faults else ("✓", "green")
    of = f" of {count:,}" if faults else ""
    said = f" {asked.name} version {asked.version} answered for {count - faults:,}{of}"
    console.print(
        Text.assemble(mark, said, *(f"; {terminal.short(each.absolute())}" for each in written)), soft_wrap=True
    )


def _where(row: Row) -> str:
    return str(row.file) if row.line is None else f"{row.file}:{row.line}"


def _value(row: Row) -> dict[str, Any]:
    """The row as an object: `file`, `line` where there are several, and the answer's columns, or `error`."""
    told: dict[str, Any] = {"file": str(row.file), **({} if row.line is None else {"line": row.line})}
    return {**told, "error": row.fault} if row.fault else {**told, **(row.answer or {})}


def _say_rows(rows: Sequence[Row]) -> None:
    for row in rows:
        say_json(_value(row), indent=None)


class _Printed:
    """Rows as they come, in columns that the first ones set."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = 0

    def __call__(self, rows: Sequence[Row]) -> None:
        from components.registry import telling

        room = min(NAME, self._console.width // 2)
        self._width = self._width or min(room, max(len(_where(row)) for row in rows))
        table = Table.grid(padding=(0, 2))
        table.add_column(width=self._width, no_wrap=True, style="dim")
        table.add_column(overflow="fold")
        for row in rows:
            told = Text(f"{FAULT}{row.fault}", "yellow") if row.answer is None else Text(telling.said(row.answer))
            table.add_row(Text(texts.shown(_where(row), self._width)), told)
        self._console.print(table)


class _Table:
    """A CSV: maps become a column for each of their names, lists JSON; what has no answer has its `error`."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._writer: csv.DictWriter[str] | None = None
        self._waiting: list[dict[str, str]] = []  # until an answer says which columns there are

    def __call__(self, rows: Sequence[Row]) -> None:
        cells = [_cells(_value(row)) for row in rows]
        answered = next((each for each in cells if "error" not in each), None)
        if self._writer is None and answered is not None:
            self._begin([*answered, "error"])
        if self._writer is None:
            self._waiting += cells
        else:
            self._writer.writerows(cells)

    def close(self) -> None:
        """Write what waits, where no row was answered."""
        if self._writer is None and self._waiting:
            self._begin(list(dict.fromkeys(column for each in self._waiting for column in each)))

    def _begin(self, columns: list[str]) -> None:
        self._writer = csv.DictWriter(self._file, columns, restval="", lineterminator="\n")
        self._writer.writeheader()
        self._writer.writerows(self._waiting)
        self._waiting = []


def _cells(value: Mapping[str, Any]) -> dict[str, str]:
    cells: dict[str, str] = {}
    for column, each in value.items():
        parts = (
            {f"{column}.{name}": part for name, part in each.items()} if isinstance(each, Mapping) else {column: each}
        )
        for name, part in parts.items():
            text = part if isinstance(part, str) else "" if part is None else json.dumps(part, ensure_ascii=False)
            cells[texts.cell(name)] = texts.cell(text) if isinstance(part, str) else text
    return cells


@contextmanager
def _opened(path: Path) -> Iterator[_Table]:
    """A table in a file that is there when all is answered; nothing of it where that was interrupted."""
    from components.files import writing

    with writing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = _Table(file)
        yield table
        table.close()


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """The same for a folder."""
    from components.files import replacing

    with replacing(path.absolute(), _check_free) as temporary:
        yield temporary


class _Pictures:
    """Each answer drawn on its picture, below the folder as the file lies below the input."""

    def __init__(self, folder: Path, asked: Answering, inputs: Sequence[Path]) -> None:
        self._folder, self._card = folder, asked.model.card
        self._roots = [each for each in inputs if each.is_dir()]

    def __call__(self, rows: Sequence[Row]) -> None:
        from components.registry import telling

        for row in rows:
            if row.answer is None:
                continue
            place = self._place(row.file)
            place.parent.mkdir(parents=True, exist_ok=True)
            telling.drawn(row.value, row.answer, self._card).save(place)

    def _place(self, file: Path) -> Path:
        """`cat/1.jpg` → `cat/1.jpg.png`; where two inputs have one name, the second is numbered."""
        root = next((each for each in self._roots if file.is_relative_to(each)), file.parent)
        below = self._folder / file.relative_to(root)
        name = below.name if below.suffix.lower() == ".png" else f"{below.name}.png"
        place, number = below.with_name(name), 2
        while place.exists():
            place = below.with_name(f"{Path(name).stem}-{number}.png")
            number += 1
        return place
