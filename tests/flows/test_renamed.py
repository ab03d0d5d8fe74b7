"""Old names of options are understood for one more version, with a word on the new ones."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from components.config.renamed import warned
from flows.cli import app
from flows.commands import renamed, schedule_commands

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


def test_an_old_command_is_the_new_one_with_a_warning_and_not_in_the_help() -> None:
    done = CliRunner().invoke(app, ["notices"], env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    assert "notices is called notifications now" in done.stderr
    assert done.stdout == CliRunner().invoke(app, ["notifications"], env={"COLUMNS": "100"}).stdout
    said = CliRunner().invoke(app, ["--help"]).stdout
    for old in schedule_commands.RENAMED:
        assert old in get_command(app).commands  # type: ignore[attr-defined]
        assert f"│ {old} " not in said


def test_what_registers_takes_the_file_alone() -> None:
    done = CliRunner().invoke(app, ["schedule", "--register", "--recipe", "digits"])
    assert done.exit_code == 2 and "--register: expected infra/deployments.yaml alone" in done.stderr


def test_a_renamed_key_of_the_configuration_is_told_as_an_option_is(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        renamed.watch_configuration()
        for _ in range(2):  # the configuration is read more than once
            warned("notices", "notifications")
    assert capsys.readouterr().err == "! notices is called notifications now; the old name goes with the next version\n"


def test_help_has_every_command_in_a_group() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).stdout
    panels = re.findall(r"^╭─ (\w+) ─", said, re.MULTILINE)
    assert sorted(panels) == ["Data", "Models", "Operate", "Options", "Run"]
    assert all(len(line) <= 80 for line in said.splitlines())
