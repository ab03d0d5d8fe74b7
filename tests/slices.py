"""The slow tests in slices, of which a run takes one; as many runs in a row as there are slices take all.

    python -m tests.slices [NUMBER]                        the files of a slice, by default of that whose turn it is
    python -m tests.slices record quick|slow REPORT …      put on record what `pytest --junitxml=REPORT` has measured

Files are dealt out by the seconds that are on record in tests/durations.json, into as few slices as keep each below
twenty minutes; `make test` begins with the files that take longest by the same record.
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
MINUTES = 20  # that a slice may take
Seconds = dict[str, float]  # of files, by their path below the project


def recorded(root: Path = ROOT) -> dict[str, Seconds]:
    """What is on record of the tests that are `quick` and of those that are `slow`."""
    content: dict[str, Seconds] = json.loads((root / RECORD).read_text(encoding="utf-8"))
    return content


def slow_files(root: Path = ROOT) -> list[str]:
    """The files that mark tests as slow."""
    files = sorted((root / "tests").rglob("test_*.py"))
    return [str(path.relative_to(root)) for path in files if "mark.slow" in path.read_text(encoding="utf-8")]


def slices(root: Path = ROOT) -> list[list[str]]:
    """The files with slow tests, in as few slices as keep to the time; one that is longer by itself has its own."""
    files, seconds = slow_files(root), recorded(root)["slow"]
    for number in range(1, len(files) + 1):
        hands = dealt(files, seconds, number)
        if max(map(sum, ([counted(file, files, seconds) for file in hand] for hand in hands))) <= 60 * MINUTES:
            return hands
    return [[file] for file in files]


def dealt(files: Iterable[str], seconds: Mapping[str, float], number: int) -> list[list[str]]:
    """Every file in one slice: the longest first, each into the slice that is shortest so far."""
    given = sorted(files)
    cost = {file: counted(file, given, seconds) for file in given}
    hands: list[list[str]] = [[] for _ in range(number)]
    sums = [0.0] * number
    for file in sorted(given, key=lambda file: -cost[file]):
        shortest = sums.index(min(sums))
        hands[shortest].append(file)
        sums[shortest] += cost[file]
    return hands


def counted(file: str, files: Iterable[str], seconds: Mapping[str, float]) -> float:
    """Seconds of a file; one that is not on record counts as the mean of those that are."""
    return seconds[file] if file in seconds else fmean([seconds[each] for each in files if each in seconds] or [1.0])


def turn(number: int, root: Path = ROOT) -> int:
    """Which of so many slices has its turn: by the number of commits, so that as many runs in a row take all of them.

    Where the history is cut off, by the commit's own name; the first where there is none.
    """
    if _git(root, "rev-parse", "--is-shallow-repository") == "true":
        return int(_git(root, "rev-parse", "HEAD")[:12], 16) % number
    count = _git(root, "rev-list", "--count", "HEAD")
    return int(count) % number if count else 0


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


def main(arguments: list[str]) -> int:
    """The files of a slice, for a shell, or new entries of the record; 2 where the arguments are neither."""
    hands = slices()
    match arguments:
        case ["record", ("quick" | "slow") as kind, report, *more]:
            record(kind, [Path(report), *map(Path, more)])
        case []:
            sys.stdout.write(" ".join(hands[turn(len(hands))]) + "\n")
        case [number] if number.isdecimal() and int(number) < len(hands):
            sys.stdout.write(" ".join(hands[int(number)]) + "\n")
        case _:
            said = f"expected a slice below {len(hands)}, or `record quick|slow REPORT …`"
            sys.stderr.write(f"{said}, received {' '.join(arguments)!r}\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
