"""Forty moments at which a line of thirty seconds is disturbed, in a real terminal: it ends well, or goes on.

Within ten seconds everything is gone or has gone on, nothing is left among temporary files, what was open is closed,
and the same command reaches the same figures. `CONVOY_MOMENTS` says how many are tried (forty are all of them).
"""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest

from flows.base.project import Project
from flows.processes import leases
from tests.flows import endings
from tests.flows.endings import SECONDS, Terminal, disturb, short_folder

# What a person, a shell or the system does to the command …
DEEDS = ["ctrl-c", "ctrl-c twice", "terminate", "hang up", "kill"]
# … and what may die of itself: Prefect's server, Ray's processes, the process that does the work, the reaper.
HELPERS = ["guard:prefect", "raylet", "gcs_server", "ray::", "flows.worker", "flows.processes.family"]
COUNT = int(os.environ.get("CONVOY_MOMENTS", "6"))
FRESH = 4  # every fourth begins with data that is still to be made


def moments(count: int) -> list[tuple[str, float, bool]]:
    """What happens, at which share of the line's time, and whether its data is still to be made; always the same."""
    chance = random.Random(0)
    kinds = [*DEEDS, *HELPERS[:1], *DEEDS, *HELPERS[1:]]
    return [(kinds[number % len(kinds)], chance.random(), number % FRESH == 0) for number in range(count)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the line was run, and nothing happened."""
    root = endings.short_project(tmp_path_factory.mktemp("undisturbed") / "project")
    with short_folder() as scratch:
        code, text = endings.again(root, scratch)
        assert code == 0, text
        assert endings.left(root, scratch, time.monotonic() + SECONDS) == []
    return root


@pytest.fixture(scope="module")
def seconds(undisturbed: Path) -> float:
    """How long the line takes where its data is there."""
    root = undisturbed.with_name("timed")
    with_data(undisturbed, root)
    with short_folder() as scratch:
        began = time.monotonic()
        assert endings.again(root, scratch)[0] == 0
        return time.monotonic() - began


def with_data(source: Path, root: Path) -> None:
    """A project whose data is made already, and nothing else."""
    endings.short_project(root)
    shutil.copytree(source / ".convoy" / "data", root / ".convoy" / "data")
    shutil.copytree(source / ".dvc", root / ".dvc", dirs_exist_ok=True)
    shutil.copy2(source / "dvc.lock", root / "dvc.lock")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("what", "share", "fresh"), moments(COUNT))
def test_a_disturbed_line_ends_well_or_goes_on(
    what: str, share: float, fresh: bool, undisturbed: Path, seconds: float, tmp_path: Path
) -> None:
    chance = random.Random(f"{what} {share}")
    root = tmp_path / "project"
    if fresh:
        endings.short_project(root)
    else:
        with_data(undisturbed, root)
    with short_folder() as scratch:
        terminal = Terminal(root, scratch)
        if what in DEEDS:
            code = _ended(terminal, what, share * seconds, chance)
        else:
            code = _helper_died(terminal, what, chance)
        assert endings.left(root, scratch, time.monotonic() + SECONDS) == []
    assert "Traceback" not in terminal.text

    if what == "kill":  # nobody could close it, and nobody takes it for running
        assert leases.living(Project(root)) == set()
    else:
        assert (endings.open_runs(root), endings.open_flows(root)) == ([], []), terminal.text
    if code != 0:
        with short_folder() as scratch:
            again, text = endings.again(root, scratch)
            assert again == 0, text
            assert endings.left(root, scratch, time.monotonic() + SECONDS) == []
        assert (endings.open_runs(root), endings.open_flows(root)) == ([], [])
    assert endings.figures(root) == endings.figures(undisturbed)


def _ended(terminal: Terminal, what: str, moment: float, chance: random.Random) -> int:
    """Disturb the command at a moment; its exit code, which it has within ten seconds."""
    limit = time.monotonic() + moment
    while time.monotonic() < limit and terminal.process.poll() is None:
        time.sleep(0.02)
    over = terminal.process.poll() is not None
    disturb(terminal, what, chance)
    code = terminal.wait(SECONDS)
    assert code is not None, f"no prompt after {SECONDS:.0f} s: {terminal.text}"
    if what == "kill" or over or code == 0:  # killed, or it had come to its end by then
        return code
    assert code == 130
    if what != "hang up":
        assert "interrupted" in terminal.text
    return code


def _helper_died(terminal: Terminal, what: str, chance: random.Random) -> int:
    """Kill one of the line's helpers some seconds after it has appeared; what the command comes to."""
    while not (found := endings.named(terminal.root, what)):
        assert terminal.process.poll() is None, terminal.text
        time.sleep(0.02)
    time.sleep(chance.uniform(0.0, 3.0))
    (endings.named(terminal.root, what) or found)[0].kill()
    code = terminal.wait(endings.LIMIT)
    assert code is not None, terminal.text
    return code
