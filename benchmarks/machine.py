"""What the figures were taken on, in one line, and tables for the terminal."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent


def describe() -> str:
    """Processor, cores, its short-number instructions, and the libraries that the figures depend on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    flags: set[str] = set()
    if cpuinfo.is_file():
        for row in cpuinfo.read_text(encoding="utf-8").splitlines():
            key, _, value = row.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() == "flags":
                flags = set(value.split())
    wanted = [flag for flag in ("avx512_bf16", "avx512_vnni", "amx_bf16") if flag in flags]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    libraries = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{model}, {cores} cores, {', '.join(wanted) or 'no bf16'}; {libraries}"


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table below the machine it was taken on."""
    table = Table(title=f"{title}\n{describe()}", title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console(width=120).print(table)
