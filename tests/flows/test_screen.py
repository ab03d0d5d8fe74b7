"""What a terminal shows has no secret in it, however narrow the terminal is."""

from __future__ import annotations

import io

import pytest
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from flows.base.screen import Screen

PASSWORD = "correct-horse-battery-staple"  # noqa: S105
SAID = f"no answer at http://ada:{PASSWORD}@host.example/api, said {PASSWORD}"


def table(cell: RenderableType) -> Table:
    made = Table("what")
    made.add_column("why", overflow="fold")
    made.add_row("store", cell)
    return made


@pytest.mark.parametrize("width", [12, 20, 80])
@pytest.mark.parametrize(
    "page",
    [
        SAID,
        Text(SAID, style="red"),
        table(SAID),
        table(Text(SAID)),
        Panel(SAID),
        Group("before", Text(SAID), table(SAID)),
    ],
    ids=["words", "text", "table", "table of texts", "panel", "group"],
)
def test_a_secret_is_left_out_before_lines_are_broken(
    page: RenderableType, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_PASSWORD", PASSWORD)
    stream = io.StringIO()
    Screen(file=stream, width=width).print(page)
    letters = "".join(letter for letter in stream.getvalue() if letter.isalnum())
    for part in ("correct", "horse", "battery", "staple", "ada"):
        assert part not in letters, stream.getvalue()
    assert "hostexample" in letters
