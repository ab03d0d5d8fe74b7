"""Completion in a real bash: what a person gets after Tab."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import ROOT

COMPLETE = """
eval "$(_CONVOY_COMPLETE=source_bash convoy)"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_convoy_completion convoy
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["sta"], {"status"}),
        (["run", "--recipe", "fashion-mnist-"], {"fashion-mnist-best", "fashion-mnist-fast"}),
        (["run", "--recipe", "def"], {"default"}),
        (["promote", "digits", "--to", ""], {"staging", "production"}),
        (["compare", "--js"], {"--json"}),
    ],
)
def test_the_shell_completes_commands_options_and_what_they_want(typed: list[str], offered: set[str]) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "CONVOY_ROOT": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", "convoy", *typed],
        env=environment, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert offered <= set(done.stdout.split()), done.stderr
    assert len(done.stdout.split()) <= len(offered) + 1
