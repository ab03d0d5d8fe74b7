"""The slow tests in slices, of which each run of CI takes one; three runs in a row take all.

    python -m tests.slices [NUMBER]                        the files of a slice, by default of that whose turn it is
    python -m tests.slices record quick|slow REPORT …      put on record what `pytest --junitxml=REPORT` has measured

Files are dealt out by the seconds that are on record in tests/durations.json; `make test` begins with those that take
longest by the same record.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
RECORD = "tests/durations.json"
SLICES = 3
Seconds = dict[str, float]  # of files, by their path below the project


def recorded(root: Path = ROOT) -> dict[str, Seconds]:
    """What is on record of the tests that are `quick` and of those that are `slow`."""
    content: dict[str, Seconds] = json.loads((root / RECORD).read_text(encoding="utf-8"))
    return content


def slow_files(root: Path = ROOT) -> list[str]:
    """The files that mark tests as slow."""
    files = sorted((root / "tests").rglob("test_*.py"))
    return [str(path.relative_to(root)) for path in files if "mark.slow" in path.read_text(encoding="utf-8")]


def dealt(files: Iterable[str], seconds: Mapping[str, float], slices: int = SLICES) -> list[list[str]]:
    """Every file in one slice: the longest first, each into the slice that is shortest so far.

    A file that is not on record counts as the mean of those that are.
    """
    given = sorted(files)
    mean = fmean([seconds[file] for file in given if file in seconds] or [1.0])
    hands: list[list[str]] = [[] for _ in range(slices)]
    sums = [0.0] * slices
    for file in sorted(given, key=lambda file: -seconds.get(file, mean)):
        shortest = sums.index(min(sums))
        hands[shortest].append(file)
        sums[shortest] += seconds.get(file, mean)
    return hands


def turn(root: Path = ROOT) -> int:
    """The slice whose turn it is: by the number of commits, and the first where the history is not there or cut."""
    if _git(root, "rev-parse", "--is-shallow-repository") != "false":
        return 0
    count = _git(root, "rev-list", "--count", "HEAD")
    return int(count) % SLICES if count else 0


def _git(root: Path, *arguments: str) -> str:
    """What git answers; nothing where it refuses or is not installed."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def measured(reports: Iterable[Path], root: Path = ROOT) -> Seconds:
    """Seconds by file, as JUnit reports of pytest have them by test."""
    found: Seconds = defaultdict(float)
    for report in reports:
        for case in ElementTree.parse(report).getroot().iter("testcase"):  # noqa: S314 — pytest has written it
            file = f"{str(case.get('classname')).replace('.', '/')}.py"
            if (root / file).is_file():
                found[file] += float(case.get("time", 0))
    return found


def record(kind: str, reports: list[Path], root: Path = ROOT) -> None:
    """Take the reports' files into the record; those that are not there any more leave it."""
    content = recorded(root)
    merged = content[kind] | {file: round(seconds) for file, seconds in measured(reports, root).items()}
    content[kind] = {file: merged[file] for file in sorted(merged) if merged[file] and (root / file).is_file()}
    (root / RECORD).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def told(number: int) -> None:
    """The files of a slice, for a shell."""
    sys.stdout.write(" ".join(dealt(slow_files(), recorded()["slow"])[number]) + "\n")


def main(arguments: list[str]) -> int:
    """The files of a slice, or new entries of the record; 2 where the arguments are neither."""
    match arguments:
        case ["record", ("quick" | "slow") as kind, report, *more]:
            record(kind, [Path(report), *map(Path, more)])
        case [] | [""]:
            told(turn())
        case [number] if number.isdecimal() and int(number) < SLICES:
            told(int(number))
        case _:
            said = " ".join(arguments)
            sys.stderr.write(f"expected a slice below {SLICES}, or `record quick|slow REPORT …`, received {said!r}\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
