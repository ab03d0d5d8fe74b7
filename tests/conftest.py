"""What tests of several rooms share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Ray on this machine, started once; `fit` uses the one that runs."""
    from components.training import cluster

    cluster.start()
    yield
    cluster.stop()
