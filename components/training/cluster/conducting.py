"""An actor that does not outlive its block, and what it and its kin have reserved of the cluster is given back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from components.training.cluster.starting import died

QUIET_SECONDS = 2.0  # those that a dead actor has started take a moment to die, and may reserve CPUs until then


@contextmanager
def conducting(conductor: Any) -> Iterator[Any]:
    """Kill the actor at the end of the block: with it go the trainer, the workers and what they hold.

    Ray keeps the placement groups of killed actors for as long as the driver lives: those that this driver's job has
    gained within the block are removed. Blocks of one driver therefore do not overlap.
    """
    before = _reserved()
    waits = True
    try:
        yield conductor
        waits = False
    except Exception:
        raise
    except BaseException:
        waits = False  # an interruption: the process ends, and its job with it
        raise
    finally:
        if not died():
            with suppress(RayActorError):
                ray.kill(conductor)
            _give_back(before, QUIET_SECONDS if waits else 0.0)


def _give_back(before: set[str], seconds: float) -> None:
    """Remove what was reserved since, until nothing has been added for so long."""
    quiet = time.monotonic()
    while True:
        for identifier in _reserved() - before:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(identifier))))
            quiet = time.monotonic()
        if died() or time.monotonic() - quiet >= seconds:
            return
        time.sleep(0.1)


def _reserved() -> set[str]:
    """Identifiers, in hexadecimal, of the placement groups of this driver's job: they end with the job's own."""
    job = ray.get_runtime_context().get_job_id()
    table: dict[str, dict[str, Any]] = placement_group_table()
    return {
        identifier for identifier, group in table.items() if identifier.endswith(job) and group["state"] != "REMOVED"
    }
