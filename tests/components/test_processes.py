"""A process that was noted is known again, and no other is taken for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from components import processes


@pytest.fixture
def mine() -> dict[str, Any]:
    return processes.noted(psutil.Process())


def test_a_note_finds_its_process_and_says_when_it_began(mine: dict[str, Any]) -> None:
    assert mine["pid"] == os.getpid()
    assert mine["started"] == pytest.approx(psutil.Process().create_time(), abs=0.02)
    process = processes.found(mine)
    assert process is not None
    assert process.pid == os.getpid()
    assert processes.alive(mine)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts from the machine's start")
def test_a_clock_that_was_set_meanwhile_changes_nothing(mine: dict[str, Any]) -> None:
    assert processes.alive({**mine, "started": mine["started"] - 3600.0})
    boot, ticks = mine["boot"].split()
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    began = psutil.boot_time() + int(ticks) / os.sysconf("SC_CLK_TCK")
    assert began == pytest.approx(psutil.Process().create_time(), abs=1.0)
    # another process of this number, and one of another start of the machine
    assert not processes.alive({**mine, "boot": f"{boot} {int(ticks) + 1}"})
    assert not processes.alive({**mine, "boot": f"0{boot} {ticks}"})


def test_a_note_of_an_earlier_release_goes_by_the_clock(mine: dict[str, Any]) -> None:
    earlier = {key: mine[key] for key in ("pid", "started")}
    assert processes.alive(earlier)
    assert processes.alive({**earlier, "started": earlier["started"] + 0.5})
    assert not processes.alive({**earlier, "started": earlier["started"] - 2.0})


def test_one_that_has_ended_is_not_found_and_a_zombie_does_not_live() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    note = processes.noted(psutil.Process(child.pid))
    assert processes.alive(note)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
    assert processes.found(note) is not None
    assert not processes.alive(note)
    child.communicate()
    assert processes.found(note) is None
