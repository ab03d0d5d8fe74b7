"""Which kind of processor this is, as far as what is measured on it depends on it."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

# Instructions by which arithmetic is faster, or comes out otherwise: without VNNI, integer sums of int8 saturate.
INSTRUCTIONS = (
    *("avx", "avx2", "f16c", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("avx_vnni", "avx_vnni_int8", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
CPUINFO = Path("/proc/cpuinfo")


@cache
def kind(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """Architecture, the instructions that matter, and how many cores this process may use.

    Not the model's name: the machines of a cloud differ in it from day to day and do the same arithmetic.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "architecture": platform.machine(),
        "instructions": " ".join(name for name in INSTRUCTIONS if name in _flags(cpuinfo)),
        "cores": str(cores),
    }


def _flags(cpuinfo: Path) -> frozenset[str]:
    """What the processor can do, as Linux has it; nothing elsewhere."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    said = (line.partition(":") for line in lines)
    return frozenset(next((words.split() for name, _, words in said if name.strip() in ("flags", "Features")), ()))
