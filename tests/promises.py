"""What docs/operations.md and the pages of docs/data/ promise, as a table: each promise beside what its tests came to.

`python -m tests.promises` runs all of them, the slow ones too (an hour, and alone on the machine); words in its
arguments choose promises by name. Exit code 1 where one is not kept.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
PROMISES = {  # what is promised: the tests that hold it against the real thing
    "Ctrl-C, signals and deaths end well": ["tests/flows/test_endings.py", "tests/flows/test_supervision.py"],
    "a kill loses nothing": ["tests/flows/test_survival.py"],
    "Prefect's server is kept alive": ["tests/flows/test_prefect_server.py"],
    "Ray is started again": ["tests/components/training/test_cluster.py"],
    "loopback knows no proxy": ["tests/components/test_environment.py"],
    "a dead run is shown as dead": ["tests/flows/test_leases.py", "tests/flows/test_overview.py"],
    "a project is a folder": ["tests/flows/test_moving.py", "tests/components/registry/test_place.py"],
    "the environment moves with it": ["tests/infra/test_portable.py"],
    "notes count where they were written": ["tests/flows/test_notes.py"],
    "doctor says what is missing": ["tests/flows/test_doctor.py", "tests/flows/test_doctor_stores.py"],
    "clean takes what nothing stands on": ["tests/flows/test_cleaning.py", "tests/flows/test_clean_store.py"],
    "one broken thing is one broken row": ["tests/components/registry/test_broken.py"],
    "ways out work when pasted": ["tests/components/registry/test_ways_out.py", "tests/components/test_offered.py"],
    "damage is named and made again": ["tests/components/registry/test_manifest.py", "tests/flows/test_damage.py"],
    "own files are read with doubt": ["tests/components/test_own_files.py", "tests/flows/test_spoilt.py"],
    "what will run is told before": ["tests/flows/test_plan.py", "tests/flows/test_changes.py"],
    "neighbours are shut out": [
        *("tests/flows/test_guard.py", "tests/flows/test_neighbours.py", "tests/flows/test_intruders.py"),
    ],
    "secrets are written nowhere": ["tests/components/test_secrecy.py"],
    "downloads are bounded": ["tests/components/data/sources/test_bounds.py"],
    "originals stay as they are": ["tests/flows/test_originals.py", "tests/components/data/test_outputs.py"],
    "what was made before is moved": ["tests/components/data/test_moving.py"],
    "pictures are read or refused": ["tests/components/test_decoding.py", "tests/components/data/test_pictures.py"],
    "what is trained is what is deployed": ["tests/components/registry/test_served_grid.py"],
    "masks and boxes fit": [
        f"tests/components/data/sources/test_{name}.py" for name in ("masks", "frames", "boxes", "outlines")
    ],
    "one name is one class and person": [
        *("tests/components/test_spelling.py", "tests/components/data/sources/test_joining.py"),
        *("tests/components/data/inspection/test_naming.py", "tests/components/registry/test_people.py"),
    ],
    "text from outside harms nowhere": ["tests/components/test_texts.py", "tests/flows/test_hostile.py"],
    "twins stay together": [
        *("tests/components/data/test_together.py", "tests/components/data/test_families.py"),
        "tests/components/data/test_twins_down_the_line.py",
    ],
    "whatever a file holds is read or refused": [
        *("tests/components/data/sources/test_boundary.py", "tests/fuzzing/test_replay.py"),
        *("tests/components/test_strangers.py", "tests/components/test_bounds_of_configuration.py"),
    ],
    "the check says what the pipeline says": ["tests/components/data/checking/test_verdict.py"],
    "layouts are read or told apart": [
        *("tests/components/data/checking/test_layouts.py", "tests/components/data/checking/test_detect.py"),
        *("tests/components/data/sources/test_leaving.py", "tests/components/data/sources/test_documented.py"),
    ],
    "commands that read make nothing": ["tests/flows/test_reading_makes_nothing.py"],
    "int8 is judged at its worst": [
        *("tests/components/compress/test_worst.py", "tests/components/test_machine.py"),
        "tests/components/compress/quantization/test_saturating.py",
    ],
    "bits stay as they were": ["tests/components/test_golden.py"],
}


def main(wanted: list[str]) -> int:
    """Run the promises that are asked for, all where none is, and show the table; the exit code."""
    chosen = {name: files for name, files in PROMISES.items() if not wanted or any(word in name for word in wanted)}
    table = Table("promise", "", "tests", "skipped", "minutes", "what is wrong", box=box.SIMPLE_HEAD)
    broken = 0
    for name, files in chosen.items():
        began = time.monotonic()
        ran, skipped, wrong = outcome(files)
        kept = ran > 0 and not wrong
        broken += not kept
        said = "[green]right[/]" if kept else "[red]wrong[/]"
        minutes = f"{(time.monotonic() - began) / 60:.1f}"
        table.add_row(name, said, str(ran), str(skipped), minutes, "\n".join(wrong))
        Console(stderr=True).print(f"{name}: {said} ({minutes} min)")
    Console().print(table)
    return 1 if broken else 0


def outcome(files: list[str]) -> tuple[int, int, list[str]]:
    """How many tests of the files ran, how many were skipped, and the names of those that failed."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "slow or not slow", f"--junitxml={report}", *files]
        printed = Path(folder) / "printed.txt"
        with printed.open("wb") as file:
            subprocess.run(command, cwd=ROOT, check=False, stdout=file, stderr=subprocess.STDOUT)
        if not report.exists():
            return 0, 0, ["pytest did not come to an end"]
        cases = ElementTree.parse(report).getroot().iter("testcase")  # noqa: S314 — pytest has just written it
        skipped, wrong, ran = 0, [], 0
        for case in cases:
            kinds = {child.tag for child in case}
            skipped += "skipped" in kinds
            ran += "skipped" not in kinds
            if kinds & {"failure", "error"}:
                wrong.append(str(case.get("name")))
        if wrong:
            print(printed.read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
        return ran, skipped, wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
