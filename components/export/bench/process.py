"""The process that `fresh` starts: an engine opens a file and answers. Imports nothing that the engine does not need.

python -m components.export.bench.process RUNTIME PATH THREADS TYPE BATCH SIZE…
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from components.runtimes import registry


def main(runtime: str, path: str, threads: str, kind: str, batch: str, *size: str) -> None:
    """Answer for one input, then for a batch, and print what that took as a line of JSON."""
    below = 256 if kind == "uint8" else 2  # as `Shape.noise` has it
    shape = (int(batch), *map(int, size))
    inputs = np.random.default_rng(0).integers(0, below, shape, dtype=np.dtype(kind))
    began = time.time()
    answer = registry.get(runtime).open(Path(path), int(threads))
    loaded = time.time()
    answer(inputs[:1])
    answered = time.time()
    answer(inputs)
    told = {
        "load_seconds": loaded - began,
        "answer_seconds": answered - loaded,
        "answered": answered,
        "peak_bytes": peak(),
    }
    sys.stdout.write(f"\n{json.dumps(told)}\n")


def peak() -> int:
    """Bytes that this program held at most: what `getrusage` says may be of the process that started it."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(*sys.argv[1:])
