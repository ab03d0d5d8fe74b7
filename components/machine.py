"""Which kind of processor this is, as far as what is measured on it depends on it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

# Instructions by which arithmetic is faster, or comes out otherwise: without VNNI, integer sums of int8 saturate.
INSTRUCTIONS = (
    *("avx", "avx2", "f16c", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("avx_vnni", "avx_vnni_int8", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
BEST = (
    ("amx_int8", "AMX"),
    ("avx512_vnni", "AVX-512 and VNNI"),
    ("avx_vnni", "AVX2 and VNNI"),
    ("avx512bw", "AVX-512 without VNNI"),
    ("avx2", "AVX2 without VNNI"),
    ("i8mm", "NEON and int8 matrices"),
    ("asimddp", "NEON and dot products"),
    ("asimd", "NEON without dot products"),
    ("avx", "AVX without VNNI"),
)  # for int8, the best first
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


def arithmetic(found: Mapping[str, str]) -> str:
    """Architecture and the best that such a machine has for int8, in words: where they differ, so does what is timed.

    `found` is what `kind` gives, here or elsewhere.
    """
    names = found["instructions"].split()
    best = next(
        (said for name, said in BEST if name in names), "neither AVX nor NEON" if names else "instructions not known"
    )
    return f"{found['architecture']} with {best}"


def said(found: Mapping[str, str]) -> str:
    """The same with its cores."""
    cores = found["cores"]
    return f"{arithmetic(found)}, {cores} core{'' if cores == '1' else 's'}"


def without_cores(said: str) -> str:
    """What `arithmetic` gives, of what `said` gave: times of two machines that are alike in it can be compared."""
    return said.rpartition(", ")[0]


def _flags(cpuinfo: Path) -> frozenset[str]:
    """What the processor can do, as Linux has it; nothing elsewhere."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    said = (line.partition(":") for line in lines)
    return frozenset(next((words.split() for name, _, words in said if name.strip() in ("flags", "Features")), ()))
