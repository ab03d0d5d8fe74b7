"""Ray is started beside signals that are ours."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

INTERRUPTED = """
    import os, signal, sys, threading, time

    from components.training.cluster import starting

    def ours(number, frame):
        raise KeyboardInterrupt

    def interrupt():
        while signal.getsignal(signal.SIGTERM) is ours:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, ours)
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        starting.start()
    except KeyboardInterrupt:
        print("interrupted", signal.getsignal(signal.SIGTERM) is ours, flush=True)
    starting.stop()
"""


@pytest.mark.slow
def test_a_signal_that_comes_while_ray_starts_is_heard_by_whoever_handles_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("interrupted True\n", 0), done.stderr
