"""The process that fuzzes one target: `python -m tests.fuzzing.child TARGET [options of libFuzzer]`."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from pathlib import Path

import atheris

# Our own modules, and the parsers that are written in Python: of C nothing is seen.
MEASURED = [
    *("components.data.sources", "components.data.checking", "components.decoding", "components.config"),
    *("components.models.word_vectors", "components.registry.served"),
    *("zipfile", "tarfile", "gzip", "yaml", "json", "PIL", "numpy.lib.format"),
]
with atheris.instrument_imports(include=MEASURED):
    from tests.fuzzing.judging import judge
    from tests.fuzzing.targets import TARGETS

MEMORY = 1024  # MB beyond what the process has before the first input


def main() -> None:
    name, options = sys.argv[1], sys.argv[2:]
    target = TARGETS[name]
    shared = Path("/dev/shm")  # noqa: S108  (in memory: a target writes thousands of files a second)
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as place:
        folder = Path(place)
        target.ready(folder)
        for content in target.seeds():  # what they import counts for nobody
            judge(target, content, folder)

        def one(content: bytes) -> None:
            try:
                judge(target, content, folder)
            except Exception as error:
                print(f"finding: {name}: {type(error).__name__}: {str(error)[:300]!r}, {error.__cause__!r}")
                raise

        limit = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 + MEMORY
        atheris.Setup([os.environ.get("CONVOY_FUZZING") or sys.argv[0], f"-rss_limit_mb={limit}", *options], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
