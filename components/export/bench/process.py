"""The process that `fresh` starts: an engine opens a file and answers. Imports nothing that the engine does not need.

python -m components.export.bench.process RUNTIME PATH THREADS HEIGHT WIDTH CHANNELS BATCH
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from components.runtimes import registry


def main(runtime: str, path: str, threads: str, *sizes: str) -> None:
    """Answer for one image, then for a batch, and print what that took as a line of JSON."""
    height, width, channels, batch = (int(size) for size in sizes)
    images = np.random.default_rng(0).integers(0, 256, (batch, height, width, channels), dtype=np.uint8)
    began = time.time()
    answer = registry.get(runtime).open(Path(path), int(threads))
    loaded = time.time()
    answer(images[:1])
    answered = time.time()
    answer(images)
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
