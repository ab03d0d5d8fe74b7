"""The memory that a process can have, by the files that the kernel shows of control groups."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from components.training.processes.memory import free_memory, memory

TOTAL = psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("membership", "limits", "expected"),
    [
        ("", {}, TOTAL),
        ("0::/\n", {"memory.max": "max"}, TOTAL),
        ("0::/\n", {"memory.max": "5000000"}, 5_000_000),  # a container's own root
        ("0::/a/b\n", {"memory.max": "max", "a/memory.max": "3000000", "a/b/memory.max": "max"}, 3_000_000),
        ("0::/seen/from/outside\n", {"memory.max": "7000000"}, 7_000_000),
        ("5:cpu:/x\n4:memory,other:/job\n", {"memory/job/memory.limit_in_bytes": "4000000"}, 4_000_000),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, TOTAL),  # version 1's "none"
    ],
)
def test_the_tightest_limit_counts(tmp_path: Path, membership: str, limits: dict[str, str], expected: int) -> None:
    (tmp_path / "membership").write_text(membership)
    for name, text in limits.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    assert memory(tmp_path / "groups", tmp_path / "membership") == expected


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/job\n", {"job/memory.max": "5000000", "job/memory.current": "2000000"}, 3_000_000),
        # Page cache that nobody has used lately is given up when it is asked for.
        (
            "0::/job\n",
            {
                "job/memory.max": "5000000",
                "job/memory.current": "2000000",
                "job/memory.stat": "anon 900000\nfile 1100000\ninactive_file 600000",
            },
            3_600_000,
        ),
        (
            "4:memory:/job\n",
            {
                "memory/job/memory.limit_in_bytes": "4000000",
                "memory/job/memory.usage_in_bytes": "1000000",
                "memory/job/memory.stat": "inactive_file 1\ntotal_inactive_file 500000",
            },
            3_500_000,
        ),
        (
            "0::/a/b\n",
            {
                "a/memory.max": "3000000",
                "a/memory.current": "2900000",
                "a/b/memory.max": "2000000",
                "a/b/memory.current": "100000",
            },
            100_000,  # the outer group has no more
        ),
        ("0::/job\n", {"job/memory.max": "1000", "job/memory.current": "5000"}, 0),
    ],
)
def test_what_is_free_is_what_the_tightest_group_has_left(
    tmp_path: Path, membership: str, files: dict[str, str], expected: int
) -> None:
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    assert free_memory(tmp_path / "groups", tmp_path / "membership") == expected


def test_without_control_groups_the_machines_free_memory_counts(tmp_path: Path) -> None:
    free = free_memory(tmp_path, tmp_path / "missing")
    assert free == pytest.approx(psutil.virtual_memory().available, rel=0.2)  # others come and go meanwhile
    assert free <= TOTAL


def test_a_system_without_control_groups_has_the_machines_memory(tmp_path: Path) -> None:
    assert memory(tmp_path, tmp_path / "missing") == TOTAL
