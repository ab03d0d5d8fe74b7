"""What tests of several rooms share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

LONGEST = ("tests/flows/", "tests/components/training/")  # files run side by side: what takes long begins first


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Ray on this machine, started once; `fit` uses the one that runs."""
    from components.training import cluster

    cluster.start()
    yield
    cluster.stop()
