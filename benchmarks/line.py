"""The pipeline's wall time: where it goes, what orchestration costs, and how long a run takes that finds nothing to do.

    python -m benchmarks.line [--recipe NAME]

Runs `convoy run` twice in a temporary copy of the project (downloads are taken along, nothing else), each in a process
of its own. Overhead is all that is not ingesting, training or evaluating; goal: at most 25 % of the first run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import ROOT, show
from components import config
from components.data import places
from components.environment import prepare_environment
from components.registry.memory import tracking

COPIED = ("components", "flows", "recipes", "params.yaml", "dvc.yaml", "requirements.lock")
WORK = ("data", "train", "distil", "evaluate")  # what the pipeline exists for; the rest is overhead


def main() -> None:
    prepare_environment()
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--recipe", default="default")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = copy_project(Path(temporary) / "project")
        first, second = run(root, options.recipe), run(root, options.recipe)
        name = config.load(root, None if options.recipe == "default" else options.recipe).line.model
        steps = seconds_a_step(tracking.connect(root, name), options.recipe)
    rows = [(step, f"{seconds:.1f}", f"{seconds / first:.0%}") for step, seconds in steps.items()]
    accounted = sum(steps.values())
    rows.append(("start, end and between", f"{first - accounted:.1f}", f"{(first - accounted) / first:.0%}"))
    overhead = first - sum(seconds for step, seconds in steps.items() if step in WORK)
    rows.append(("whole run", f"{first:.1f}", "100%"))
    rows.append(("of it overhead (goal ≤ 25 %)", f"{overhead:.1f}", f"{overhead / first:.0%}"))
    rows.append(("a run that finds nothing to do (goal ≤ 5 s)", f"{second:.1f}", ""))
    show(f"the line, recipe {options.recipe}", ("", "seconds", "share"), rows)


def copy_project(root: Path) -> Path:
    """What a fresh clone holds, and the downloads."""
    root.mkdir()
    for name in COPIED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, root / name)
    (root / ".dvc").mkdir()
    text = (ROOT / ".dvc" / "config").read_text(encoding="utf-8")
    (root / ".dvc" / "config").write_text(text.replace("[core]", "[core]\n    no_scm = true"), encoding="utf-8")
    downloads = ROOT / places.DOWNLOADS
    if downloads.is_dir():
        shutil.copytree(downloads, root / places.DOWNLOADS)
    return root


def run(root: Path, recipe: str) -> float:
    """Wall seconds of one `convoy run`; ends the benchmark where it fails."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "flows.cli", "run", "--recipe", recipe]
    subprocess.run(command, env={**os.environ, "CONVOY_ROOT": str(root)}, cwd=ROOT, check=True)
    return time.perf_counter() - began


def seconds_a_step(store: tracking.Tracking, recipe: str) -> dict[str, float]:
    """Step → wall seconds of the first line in the store, from its own record."""
    first = store.search({"convoy.recipe": recipe})[-1]
    return {key.removeprefix("seconds."): value for key, value in first.metrics.items() if key.startswith("seconds.")}


if __name__ == "__main__":
    main()
