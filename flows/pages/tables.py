"""How `convoy status`, `runs`, `compare` and others set lists, sentences, figures and values in the terminal.

Nothing is cut at any width. A list is a table where its rows fit; where they do not, its widest columns stand below
each row, a line each with its heading. Sentences are broken between words, and commands in them not at all: they are
copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.text import Text

from components import texts
from components.secrecy import scrub

UNKNOWN = "a processor that nobody noted"
NOTHING = "–"
GAP = 2  # cells between two columns, and before what stands below a row
LEAST = 12  # cells that what stands below a row is given beside its heading, or else a line of its own
KNOWN_BY = 16  # characters of a digest, by which it is known as well

_DIGEST = re.compile(r"[0-9a-f]{32,}")
_COPIED = re.compile(r"[/`\s]")  # in a word that is an address, a path or a command
_ATOM = re.compile(r"(?:`[^`]*`|\S)+")  # a word, or a command in backticks with its blanks


class Listing:
    """Rows under headings, as many columns side by side as there is room for; the first one always stands in front.

    `right` are headings of columns of numbers.
    """

    def __init__(self, title: str, *headings: str, right: Sequence[str] = ()) -> None:
        self._title = title
        self._headings = [_plain(heading) for heading in headings]
        self._right = {place for place, heading in enumerate(headings) if heading in right}
        self._rows: list[list[Text]] = []

    def add_row(self, *cells: str | Text | None) -> None:
        """One cell for each heading; None and an empty one are told by a dash."""
        self._rows.append([_plain(cell) for cell in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width = options.max_width
        if self._title:
            yield from _wrapped(console, Text(self._title, style="italic"), width)
            yield Text()
        beside, below = self._placed(width)
        rooms = {place: min(room, width) for place, room in self._rooms().items()}
        if len(beside) > 1 or not below:
            head = [Text(self._headings[place].plain, style="bold") for place in beside]
            yield from self._line(console, beside, head, rooms)
            total = sum(rooms[place] for place in beside) + GAP * (len(beside) - 1)
            yield Text("─" * total, style="dim")
        for row in self._rows:
            yield from self._line(console, beside, [row[place] for place in beside], rooms)
            yield from self._below(console, below, row, width)
        yield Text()

    def _placed(self, width: int) -> tuple[list[int], list[int]]:
        """The columns that stand beside each other, and those that stand below: the widest go first."""
        rooms, below = self._rooms(), list[int]()
        beside = list(rooms)
        while len(beside) > 1 and sum(rooms[place] for place in beside) + GAP * (len(beside) - 1) > width:
            widest = max(beside[1:], key=lambda place: rooms[place])
            beside.remove(widest)
            below.append(widest)
        return beside, sorted(below)

    def _rooms(self) -> dict[int, int]:
        """Column → cells that its widest entry takes."""
        columns = zip(*([self._headings, *self._rows]), strict=True)
        return {place: max(_cells(cell) for cell in column) for place, column in enumerate(columns)}

    def _line(
        self, console: Console, beside: Sequence[int], cells: Sequence[Text], rooms: dict[int, int]
    ) -> Iterator[Text]:
        """One row of cells, of as many lines as the highest of them has."""
        folded = [_wrapped(console, cell, rooms[place]) for place, cell in zip(beside, cells, strict=True)]
        for number in range(max(map(len, folded))):
            line = Text(no_wrap=True)
            for place, lines in zip(beside, folded, strict=True):
                cell = lines[number] if number < len(lines) else Text()
                left = " " * (rooms[place] - _cells(cell))
                line.append_text(Text(left) + cell if place in self._right else cell + Text(left))
                line.append(" " * GAP)
            line.rstrip()
            yield line

    def _below(self, console: Console, below: Sequence[int], row: Sequence[Text], width: int) -> Iterator[Text]:
        longest = max((_cells(self._headings[place]) for place in below), default=0)
        for place in below:
            if row[place].plain == NOTHING:
                continue
            heading = self._headings[place].plain
            name = Text(heading + " " * (longest - cell_len(heading)), style="dim") if longest else Text()
            indent = 2 * GAP + longest if longest else GAP
            if width - indent < LEAST:  # next to no room: the value has lines of its own
                yield Text(" " * GAP) + name
                name, indent = Text(), 2 * GAP
            for number, line in enumerate(_wrapped(console, row[place], max(width - indent, 1))):
                label = Text(" " * GAP) + name if number == 0 and name else Text()
                said = label + Text(" " * (indent - _cells(label))) + line
                said.no_wrap = True
                yield said


class Words:
    """A sentence, broken between words; a command within backticks, or behind it, is one word.

    Commands, addresses and paths are never broken: they are copied.
    """

    def __init__(self, text: str, style: str = "", *, command: str = "") -> None:
        self._atoms = [_ATOM.findall(line) for line in _plain(text).plain.split("\n")]
        self._atoms[-1] += [_plain(command).plain] if command else []
        self._style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        for atoms in self._atoms:
            line = ""
            for part in (part for atom in atoms for part in _parts(console, atom, options.max_width - GAP)):
                if line.strip() and cell_len(line) + 1 + cell_len(part) > options.max_width:
                    yield self._text(line)
                    line = " "  # what goes on is indented
                line = f"{line} {part}" if line else part
            yield self._text(line)

    def _text(self, line: str) -> Text:
        return Text(line, style=self._style, no_wrap=True, overflow="ignore")


def _parts(console: Console, atom: str, width: int) -> list[str]:
    """A word in pieces where it is wider than the terminal, and nothing that is copied."""
    if _COPIED.search(atom) or cell_len(atom) <= width:
        return [atom]
    return [line.plain for line in _wrapped(console, Text(atom), width)]


def figure(values: tuple[float, float | None, float | None]) -> str:
    """A value with its interval, where it has one."""
    value, low, high = values
    interval = f" [{number(low)}, {number(high)}]" if low is not None and high is not None else ""
    return f"{number(value)}{interval}"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4f}"


def short(value: str | None) -> str:
    """The value, of a digest its beginning; a dash where there is none."""
    if value is None:
        return NOTHING
    return value[:KNOWN_BY] if _DIGEST.fullmatch(value) else value


def _plain(cell: str | Text | None) -> Text:
    """What a cell holds, without secrets, and with escapes for what is not seen: before it is measured and broken."""
    told = cell if isinstance(cell, Text) else Text(cell or NOTHING if cell != "" else "")
    said = texts.storable(scrub(told.plain)).expandtabs(4)
    return told if said == told.plain else Text(said, style=told.style)


def _cells(text: Text) -> int:
    return max((cell_len(line) for line in text.plain.split("\n")), default=0)


def _wrapped(console: Console, text: Text, width: int) -> list[Text]:
    """The lines of a text, broken between words, a word that is too long where it must be."""
    lines = list(text.wrap(console, max(width, 1), overflow="fold"))
    for line in lines:
        line.rstrip()
    return lines or [Text()]
