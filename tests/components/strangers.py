"""`python -m tests.components.strangers FILE …`: decode each as training and serving do, and say a line of JSON for it.

Each line has the file's name before anything is done with it, so that a process that ends says over which.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from components import decoding


def main(files: list[str]) -> None:
    form = decoding.Form(32, 32, 3, resize=True)
    for name in files:
        say(begun=name)
        before, began = fresh_peak(), time.monotonic()
        try:
            content = Path(name).read_bytes()
            decoding.header(content)
            decoding.read(content, form)
            refused = None
        except decoding.UndecodableError as error:
            refused = str(error)
        say(done=name, refused=refused, megabytes=(peak() - before) / 1024, seconds=time.monotonic() - began)


def say(**values: object) -> None:
    print(json.dumps(values), flush=True)


def fresh_peak() -> int:
    """Kilobytes in memory, from which the greatest is counted anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak()


def peak() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(sys.argv[1:])
