"""The machine: interpreter, processors, memory, open files and the user, with the limits of a container.

A container's limits are those of its control groups (cgroups, v1 or v2); `free` and `nproc` show the host's.
"""

from __future__ import annotations

import os
import pwd
import resource
import sys
from collections.abc import Iterator
from math import floor
from pathlib import Path

import psutil

from components.config import Recipe
from flows.preflight.finding import Finding, size

PYTHON = (3, 11)  # as in pyproject.toml
# Measured on `convoy run --recipe digits`: 2.7 GB at most, all processes together (PSS). Below the second
# the kernel ends one of them.
COMFORTABLE_MEMORY, LEAST_MEMORY = 3 * 2**30, 2**30
LEAST_FILES = 128  # with so many a run was seen to work
UNLIMITED = 2**60  # cgroup v1 has no word for it, but a number as large as the address space


def python() -> Finding:
    """The interpreter's version."""
    found = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro} in {sys.prefix}"
    if sys.version_info[:2] == PYTHON:
        return Finding("ok", "Python", found)
    wanted = ".".join(map(str, PYTHON))
    return Finding("error", "Python", f"{found}, expected {wanted}", f"`make setup PYTHON=python{wanted}`")


def memory(group: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> Finding:
    """Memory that is available to this process: the machine's, or what the control group leaves of its limit."""
    available, whose = psutil.virtual_memory().available, "of this machine"
    for folder in _groups(group, mount, "memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        if limit is None or limit >= UNLIMITED:
            continue
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
        # Pages of files that nobody has touched for a while are given up before anybody is refused.
        left = limit - max(0, used - _statistic(folder / "memory.stat", "inactive_file"))
        if left < available:
            available, whose = max(0, left), f"of the {size(limit)} that this container may use"
    found = f"{size(available)} available, {whose}"
    way = "end what else uses memory, or give the container more; smaller batches (training.batch_size) need less"
    if available < LEAST_MEMORY:
        return Finding("error", "memory", f"{found}; a small run needs {size(COMFORTABLE_MEMORY)}", way)
    if available < COMFORTABLE_MEMORY:
        return Finding("warning", "memory", f"{found}; a small run needs {size(COMFORTABLE_MEMORY)}", way)
    return Finding("ok", "memory", found)


def processors(
    recipe: Recipe | None = None, group: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")
) -> Finding:
    """CPUs that this process may use, and whether the recipe's workers find room on them where Ray runs here."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = min((quota for folder in _groups(group, mount, "cpu") if (quota := _quota(folder))), default=float(count))
    found = f"{count} CPUs" + (f", of which the container may use {share:g}" if share < count else "")
    if recipe is None or os.environ.get("RAY_ADDRESS"):
        return Finding("ok", "CPUs", found)
    training = recipe.line.training
    needed = training.least_workers * (training.cpus_per_worker or 1)
    if needed <= max(1, floor(min(count, share))):
        return Finding("ok", "CPUs", found)
    return Finding(
        "error",
        "CPUs",
        f"{found}; {training.least_workers} workers need {needed}",
        "lower training.workers or training.cpus_per_worker, or set RAY_ADDRESS to a larger cluster",
    )


def open_files() -> Finding:
    """How many files a process may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= LEAST_FILES:
        return Finding("ok", "open files", "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,} a process")
    most = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    found = f"{soft:,} a process, expected {LEAST_FILES} at least"
    return Finding("warning", "open files", found, f"`ulimit -n {most}`")


def user() -> Finding:
    """Who runs this, and where the home is: a container may know neither. A note, since nothing here needs them."""
    try:
        said = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        said = f"uid {os.getuid()}, which has no entry in /etc/passwd"
    home = Path.home() if "HOME" in os.environ else None
    if home is None or not home.is_dir() or not os.access(home, os.W_OK):
        said += f"; the home {home or '(none)'} cannot be written"
    return Finding("ok", "user", said)


def _groups(group: Path, mount: Path, controller: str) -> Iterator[Path]:
    """The control groups that this process is in, from its own up to the root: each may have a limit."""
    try:
        lines = group.read_text(encoding="utf-8").splitlines()
    except OSError:
        return  # not Linux, or no cgroups
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = mount / controller if controllers else mount
        place = root / path.lstrip("/")
        # In a container the path may be the host's, and not be there: then the mount itself is the container's group.
        yield from [place, *place.parents][: len(Path(path).parts)] if place.is_dir() else [root]


def _quota(folder: Path) -> float | None:
    """CPUs that a control group may use at a time; None for no limit."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        first, second = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        return first / second if first and second and first > 0 else None
    return None if quota == "max" else int(quota) / int(period)


def _number(file: Path) -> int | None:
    """The number in a file; None where there is none, or it says `max`."""
    try:
        return int(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _statistic(file: Path, name: str) -> int:
    try:
        pairs = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
        return next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == name), 0)
    except (OSError, ValueError):
        return 0
