"""Cold start and peak memory, each seen in a process of its own: import of the engine, loading, the first answer.
What that process does is in `process`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from components.artifacts import Card
from components.runtimes.execution import Shape

SECONDS = 300.0  # after which a process that has not answered is given up


class Start(Card):
    """How an engine came up: seconds, and bytes that the process held at most."""

    seconds: float  # from the start of the process to its first answer, as its user waits for it
    load_seconds: float  # of them: opening the file, the engine's import included
    answer_seconds: float  # of them: the first answer
    peak_bytes: int  # resident, after answering a batch


class FreshError(RuntimeError):
    """The process did not answer; says what it said."""


def start(runtime: str, path: Path, threads: int, shape: Shape, batch: int) -> Start:
    """Let `runtime` answer for one input of `shape`, and then for `batch`, in a new process.

    Raises FreshError where it does not.
    """
    words = [runtime, str(path), str(threads), shape.type, str(batch), *map(str, shape.size)]
    # The import path of this process, so that the same code is found from any working directory.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    began = time.time()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "components.export.bench.process", *words],
            capture_output=True, text=True, timeout=SECONDS, check=False, env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise FreshError(f"{runtime}: expected an answer of {path} within {SECONDS:.0f} s, received none") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise FreshError(f"{runtime}: expected an answer of {path}, and the process ended with: {last}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    answered = told.pop("answered")
    return Start(seconds=answered - began, **told)
