"""`python -m tests.fuzzing TARGET …`: coverage-guided fuzzing (atheris) of the ways in which bytes come in.

Each target runs in a process of its own. A finding is an exception that is not ours, a fault of ours behind a sentence
of ours, more than a gigabyte, more than 20 seconds, or the end of the process; it is kept in `build/fuzzing/TARGET` and
told. The inputs that reached what others did not are kept in `corpus/TARGET.zip`, which the test suite replays.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
FINDINGS = HERE.parents[1] / "build" / "fuzzing"
LARGEST_CORPUS = 100_000  # bytes of one target's, packed


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=…", description=__doc__)
    parser.add_argument("targets", nargs="*", help="by default all, one after the other")
    parser.add_argument("--seconds", type=int, default=60, help="a target")
    asked = parser.parse_args()
    from tests.fuzzing.targets import TARGETS

    wrong = sorted(set(asked.targets) - set(TARGETS))
    if wrong:
        parser.error(f"expected targets of {', '.join(TARGETS)}, received {', '.join(wrong)}")
    found = [fuzz(name, asked.seconds) for name in asked.targets or TARGETS]
    return 1 if any(found) else 0


def fuzz(name: str, seconds: int) -> list[Path]:
    """Run one target, tell what came of it, keep its corpus; the findings."""
    findings = FINDINGS / name
    findings.mkdir(parents=True, exist_ok=True)
    before = set(findings.iterdir())
    with tempfile.TemporaryDirectory() as folder:
        corpus, least = Path(folder) / "corpus", Path(folder) / "least"
        corpus.mkdir()
        least.mkdir()
        unpack(name, corpus)
        began, output = time.monotonic(), ""
        last = began
        while (left := seconds - (time.monotonic() - began)) > 1:  # after a finding the process begins anew
            options = [f"-max_total_time={int(left)}", "-timeout=20", "-max_len=16384", "-print_final_stats=1"]
            said = child(name, [f"-artifact_prefix={findings}/", *options, str(corpus)])
            output += said
            if set(findings.iterdir()) - before and time.monotonic() - began < seconds - 1:
                last = time.monotonic()
            if re.search(r"^Done \d+ runs", said, re.MULTILINE):
                break
        child(name, ["-merge=1", "-max_len=16384", str(least), str(corpus)], itself(name, Path(folder)))
        keep(name, least)
    new = sorted(set(findings.iterdir()) - before)
    executions = sum(map(int, re.findall(r"number_of_executed_units:\s*(\d+)", output)))
    edges = max(map(int, re.findall(r"cov: (\d+)", output)), default=0)
    quiet = time.monotonic() - last
    print(f"{name}: {executions:,} executions, {edges:,} edges, {quiet:.0f} s since the last of {len(new)} findings")
    for line in dict.fromkeys(re.findall(r"^finding: .*", output, re.MULTILINE)):
        print(f"  {line}")
    for path in new:
        print(f"  {path}")
    return new


def itself(name: str, folder: Path) -> Path:
    """A program that is the child: libFuzzer calls itself where it merges."""
    path = folder / "itself"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.fuzzing.child {name} "$@"\n', encoding="utf-8")
    path.chmod(0o700)
    return path


def child(name: str, options: list[str], program: Path | None = None) -> str:
    """What a process that fuzzes says; `program` is what it may call itself by."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzzing.child", name, *options],
        cwd=HERE.parents[1],
        env={**os.environ, "CONVOY_FUZZING": str(program or "")},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if "No module named 'atheris'" in done.stderr:
        sys.exit("fuzzing needs atheris: `make fuzz` installs it")
    return done.stdout + done.stderr


def unpack(name: str, folder: Path) -> None:
    """The kept corpus and the valid examples, as files."""
    from tests.fuzzing.corpus import entries

    for number, content in enumerate(entries(name)):
        (folder / f"{number:05d}").write_bytes(content)


def keep(name: str, folder: Path) -> None:
    """The smallest of the inputs, as many as fit."""
    with zipfile.ZipFile(HERE / "corpus" / f"{name}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for path in sorted(folder.iterdir(), key=lambda each: (each.stat().st_size, each.name)):
            taken = sum(each.compress_size + 2 * len(each.filename) + 76 for each in file.infolist())
            if taken + path.stat().st_size > LARGEST_CORPUS:
                break
            file.writestr(zipfile.ZipInfo(path.name[:12]), path.read_bytes(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    sys.exit(main())
