"""How `convoy status`, `runs` and `compare` set tables, figures and values in the terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table

WORST = 40  # characters of a value; digests are as well known by fewer
UNKNOWN = "a processor that nobody noted"


def table(title: str, *headings: str, no_wrap: bool = False) -> Table:
    """An empty table whose long cells are folded."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in headings:
        made.add_column(heading, overflow="fold", no_wrap=no_wrap)
    return made


def figure(values: tuple[float, float | None, float | None]) -> str:
    """A value with its interval, where it has one."""
    value, low, high = values
    interval = f" [{number(low)}, {number(high)}]" if low is not None and high is not None else ""
    return f"{number(value)}{interval}"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4f}"


def short(value: str | None, room: int = WORST) -> str:
    """The value, cut to the room that there is; a dash where there is none."""
    if value is None:
        return "–"
    return value if len(value) <= room else f"{value[: room - 1]}…"
