"""Where the `convoy` command begins: a Ctrl-C ends it in a word, also while what it needs is still imported."""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130  # exit code, as `terminal.INTERRUPTED`: nothing is imported for it


def main() -> None:
    """Run the command, interruptible from its first moment."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup`
            signal.signal(number, _interrupted)
    from flows import cli

    cli.main()


def _interrupted(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
