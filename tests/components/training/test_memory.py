"""The memory that a process can have, by the files that the kernel shows of control groups."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from components.training.memory import memory

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


def test_a_system_without_control_groups_has_the_machines_memory(tmp_path: Path) -> None:
    assert memory(tmp_path, tmp_path / "missing") == TOTAL
