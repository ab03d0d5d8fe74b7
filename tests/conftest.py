"""What tests of several rooms share."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import remembered, slices

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

# Two processes that compute with two threads each on two cores wait for each other at every barrier: the suite takes
# much longer. PyTorch reads this when it is imported, here and in what the tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The engines leave millions of objects that stay: to look through them again and again is a tenth of the suite's time.
gc.set_threshold(50_000, 20, 100)

# As where the environment is activated: commands that messages offer say so where it is not.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


# A shell has what it starts in the background ignore these, `nohup` the second, and so would everything that the tests
# start, and send them to.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


def pytest_configure(config: pytest.Config) -> None:
    """Whatever the tests and what they start put into the temporary folder goes with the process.

    At a short name, which leaves room for Ray's sockets. The tests' own folders stay where pytest has them.
    """
    if hasattr(config, "workerinput"):  # one of several processes, which has the folder from the first
        return
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix="t-")
    Path(folder).chmod(0o711)  # tests become another user, who has to get through
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    process = os.getpid()

    def clean() -> None:
        if os.getpid() == process:  # and none that was forked from it
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(clean)  # the first, so after whatever engines remove at the end


# Files whose tests stand on one finished run, Ray or Prefect's server: one process has them all and starts each once.
TOGETHER = (
    "tests/flows/test_changes.py",
    "tests/flows/test_deployments.py",
    "tests/flows/test_idle.py",
    "tests/flows/test_line.py",
    "tests/flows/test_outcomes.py",
    "tests/flows/test_plan.py",
    "tests/flows/test_promotion.py",
    "tests/flows/test_tune.py",
)


def unit(nodeid: str) -> str:
    """What a process has as a whole: a file, or all of those that belong together."""
    file = nodeid.split("::", 1)[0]
    return TOGETHER[0] if file in TOGETHER else file


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take longest come first where two processes share the tests, so that both end at about one time."""
    unknown = {item.nodeid.split("::")[0] for item in items if item.get_closest_marker("slow")}
    if unknown := unknown - set(slices.slow_files()):
        raise pytest.UsageError(f"tests/slices.py finds slow tests by `mark.slow`, which {min(unknown)} does not say")
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    seconds: dict[str, float] = {}
    for file, measured in slices.recorded()["quick"].items():
        seconds[unit(file)] = seconds.get(unit(file), 0.0) + measured
    items.sort(key=lambda item: -seconds.get(unit(item.nodeid), 0.0))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """With `--dist loadfile`, units in the order they are collected in; xdist itself begins with the most tests."""
    from xdist.scheduler import LoadFileScheduling

    class Units(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return Units(config, log)


@pytest.fixture(scope="module", autouse=True)
def _nothing_left() -> Iterator[None]:
    """Whatever order the files come in, each finds the project as it is."""
    yield
    assert remembered.left() == []


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
