"""Old names of options are understood for one more version, with a word on the new ones."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from flows.cli import app
from flows.commands import renamed

EVERY = {
    "find batch-size": renamed.BATCH_SIZE,
    "find learning-rate": renamed.LEARNING_RATE,
    "tune": renamed.TUNE,
    "data add": renamed.ADD,
    "data restore": renamed.RESTORE,
    "backfill": renamed.BACKFILL,
}


@pytest.mark.parametrize("name", EVERY)
def test_a_new_name_is_an_option_and_an_old_one_is_none(name: str) -> None:
    command = get_command(app)
    for word in name.split():
        command = command.commands[word]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(EVERY[name].values()) <= known
    assert not set(EVERY[name]) & known


@pytest.mark.parametrize(
    ("words", "received", "told"),
    [
        (["--max-size", "3"], 3, ""),
        (["--most", "3"], 3, "! --most is called --max-size now; the old name goes with the next version"),
        (["--most=3"], 3, "! --most is called --max-size now; the old name goes with the next version"),
        (["--", "--most"], 1, ""),
    ],
)
def test_an_old_name_is_understood_and_warned_of(words: list[str], received: int, told: str) -> None:
    one = typer.Typer()
    names: Mapping[str, str] = {"--most": "--max-size"}

    @one.command(cls=renamed.renaming(names))
    def sized(name: str = typer.Argument("x"), max_size: int = 1) -> None:
        print(name, max_size)

    done = CliRunner().invoke(one, words)
    assert done.exit_code == 0, done.output
    assert done.stdout.split()[1] == str(received) and done.stderr.strip() == told


def test_help_has_every_command_in_a_group() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).stdout
    panels = re.findall(r"^╭─ (\w+) ─", said, re.MULTILINE)
    assert sorted(panels) == ["Data", "Models", "Operate", "Options", "Run"]
    assert all(len(line) <= 80 for line in said.splitlines())
