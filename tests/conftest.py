"""What tests of several rooms share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Two processes that compute with two threads each on two cores wait for each other at every barrier: the suite takes
# much longer. PyTorch reads this when it is imported, here and in what the tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# As where the environment is activated: commands that messages offer say so where it is not.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


# A shell has what it starts in the background ignore these, `nohup` the second, and so would everything that the tests
# start, and send them to.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Ray on this machine, started once; `fit` uses the one that runs."""
    from components.training.cluster import starting as cluster_ray

    cluster_ray.start()
    yield
    cluster_ray.stop()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes two seconds to create its tables: once is enough."""
    from components.registry.memory.store import local_uri
    from components.registry.memory.tracking import connect

    root = tmp_path_factory.mktemp("database")
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect(root)
    return Path(local_uri(root).removeprefix("sqlite:///"))
