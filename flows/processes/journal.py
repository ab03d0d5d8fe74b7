"""What a command has to tell, as a file of lines: written while it works, shown now or later, here or elsewhere.

The process that works writes records into a pipe; the supervisor keeps them in a file beside the log and shows them.
`convoy logs` shows the same file again, so what is seen does not depend on who was watching.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.text import Text

from components.secrecy import scrub
from flows.processes.progress import Reporter

Record = Mapping[str, Any]
SUFFIX = ".jsonl"  # beside a command's log
SERVER = "server"  # a record that asks for Prefect's temporary server: for the supervisor alone, and not kept
SECONDS = 0.3  # between two records of how far something is: no load, and soon enough for people


class Writer:
    """A `Reporter` that writes records to a file descriptor.

    Where nobody reads any more nothing is written, and nobody is disturbed.
    """

    def __init__(self, descriptor: int) -> None:
        self._pipe = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115 — a descriptor that was handed over
        self._lock = threading.Lock()
        self._last = 0.0

    def record(self, kind: str, **values: Any) -> None:
        """One record, in one write."""
        text = scrub(json.dumps({"at": round(time.time(), 3), "kind": kind, **values}, ensure_ascii=False))
        with self._lock, suppress(OSError, ValueError):
            self._pipe.write(text.encode("utf-8", errors="replace") + b"\n")

    def started(self, step: str) -> None:
        self.record("started", step=step)

    def finished(self, step: str, summary: str, *, cached: bool) -> None:
        self.record("finished", step=step, summary=summary, cached=cached)

    def failed(self, step: str, reason: str) -> None:
        self.record("failed", step=step, reason=reason)

    def advanced(self, what: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if now - self._last >= SECONDS or done >= total:
            self._last = now
            self.record("advanced", what=what, done=done, total=total, note=note)

    def stream(self, *, error: bool = False) -> io.TextIOBase:
        """A stream for a console: what is printed to it is shown, on the standard error where it is one."""
        return _Stream(self, {"error": True} if error else {})


class _Stream(io.TextIOBase):
    def __init__(self, writer: Writer, about: Mapping[str, Any]) -> None:
        self._writer, self._about = writer, about

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._writer.record("said", text=text, **self._about)
        return len(text)


def ended(code: int) -> Record:
    """The last record: what the command came to."""
    return {"at": round(time.time(), 3), "kind": "ended", "code": code}


def show(record: Record, reporter: Reporter, console: Console, errors: Console | None = None) -> None:
    """Show one record, on `errors` where it is for the standard error; one of an unknown kind is passed over."""
    kind = record.get("kind")
    if kind == "started":
        reporter.started(str(record["step"]))
    elif kind == "finished":
        reporter.finished(str(record["step"]), str(record["summary"]), cached=bool(record["cached"]))
    elif kind == "failed":
        reporter.failed(str(record["step"]), str(record["reason"]))
    elif kind == "advanced":
        reporter.advanced(str(record["what"]), int(record["done"]), int(record["total"]), str(record["note"]))
    elif kind == "said":
        screen = errors if errors is not None and record.get("error") else console
        screen.print(Text.from_ansi(str(record["text"]).removesuffix("\n")), soft_wrap=True, highlight=False)


def parsed(line: bytes) -> Record | None:
    """A line as a record; None for what is none (a line that was cut short by a full disk)."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return cast(Record, record) if isinstance(record, dict) else None


def read(path: Path) -> Iterator[Record]:
    """The records of a file, oldest first."""
    with path.open("rb") as lines:
        for line in lines:
            if (record := parsed(line)) is not None:
                yield record
