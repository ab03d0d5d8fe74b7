"""What a person sees while the pipeline runs: the step, the epoch, images a second, the time that remains.

The engines' chatter goes to a log file. On a terminal the display is live; elsewhere it is a line a step.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text


class Reporter(Protocol):
    """Told by the steps what happens."""

    def started(self, step: str) -> None: ...

    def finished(self, step: str, summary: str, *, cached: bool) -> None: ...

    def failed(self, step: str, reason: str) -> None: ...

    def advanced(self, what: str, done: int, total: int, note: str = "") -> None: ...


class Silent:
    """Says nothing: for tests and for flows that a scheduler started."""

    def started(self, step: str) -> None: ...

    def finished(self, step: str, summary: str, *, cached: bool) -> None: ...

    def failed(self, step: str, reason: str) -> None: ...

    def advanced(self, what: str, done: int, total: int, note: str = "") -> None: ...


class Display:
    """A line for each finished step, and below it, on a terminal, a bar for the one that runs."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: TaskID | None = None
        self._since = time.monotonic()
        self._last_note = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, step: str) -> None:
        self._clear()
        self._since = self._last_note = time.monotonic()
        self._task = self._progress.add_task(step, total=None, note="")

    def finished(self, step: str, summary: str, *, cached: bool) -> None:
        self._clear()
        mark, style = ("=", "cyan") if cached else ("✓", "green")
        seconds = "cached" if cached else f"{time.monotonic() - self._since:.1f} s"
        said = Text.assemble((mark, style), " ", (f"{step:<15}", "bold"), f" {summary} ", (f"({seconds})", "dim"))
        self.console.print(said)

    def failed(self, step: str, reason: str) -> None:
        self._clear()
        why = reason.split("\n", maxsplit=1)[0]
        self.console.print(Text.assemble(("✗", "red"), " ", (f"{step:<15}", "bold"), f" {why}"))

    def advanced(self, what: str, done: int, total: int, note: str = "") -> None:
        if self._task is not None:
            self._progress.update(self._task, description=what, completed=done, total=total, note=note)
        # Without a terminal there is no bar: a line every half minute shows that it lives.
        if not self.console.is_terminal and time.monotonic() - self._last_note > 30:
            self._last_note = time.monotonic()
            self.console.print(f"  {what}: {done}/{total} {note}", highlight=False)

    def _clear(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
