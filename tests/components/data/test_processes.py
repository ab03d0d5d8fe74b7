"""Processes that share the work: in order, with their errors, and gone when nobody waits for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from components.data.errors import DataError
from components.data.processes import in_processes, inside

ROOT = Path(__file__).parents[3]
PROGRAM = """
import time
from components.data.processes import in_processes
if __name__ == "__main__":
    for _ in in_processes(time.sleep, [0.1, 60, 60, 60]):
        print("begun", flush=True)
"""


def _slow_at_first(number: int) -> int:
    time.sleep(0.3 if number == 0 else 0.0)
    return number * number


def _failing(number: int) -> int:
    if number == 3:
        raise DataError(f"picture {number} is bad")
    return number


def _killed(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def _is_inside(_: int) -> bool:
    return inside()


def test_results_come_in_the_order_of_the_parts() -> None:
    assert list(in_processes(_slow_at_first, range(12))) == [number * number for number in range(12)]


def test_the_work_knows_that_it_is_not_alone() -> None:
    assert list(in_processes(_is_inside, [0])) == [True]
    assert not inside()


def test_what_the_work_raises_is_raised_here() -> None:
    with pytest.raises(DataError, match="picture 3 is bad"):
        list(in_processes(_failing, range(8)))


def test_a_process_that_was_killed_is_an_error_that_says_so() -> None:
    with pytest.raises(DataError, match="killed, for want of memory most likely"):
        list(in_processes(_killed, range(8)))


def test_a_killed_program_takes_its_processes_along(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = psutil.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE)
    assert program.stdout.readline().strip() == b"begun"
    helpers = program.children(recursive=True)
    assert helpers
    program.kill()
    program.wait()
    _, alive = psutil.wait_procs(helpers, timeout=30)
    assert not alive
