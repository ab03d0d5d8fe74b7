from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from components import machine


def told(instructions: str, architecture: str = "x86_64", cores: str = "4") -> dict[str, str]:
    return {"architecture": architecture, "instructions": instructions, "cores": cores}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (told("avx avx2 avx512f avx512bw avx512_vnni amx_tile amx_int8"), "x86_64 with AMX, 4 cores"),
        (told("avx avx2 avx512f avx512bw avx512_vnni", cores="1"), "x86_64 with AVX-512 and VNNI, 1 core"),
        (told("avx avx2 fma avx_vnni"), "x86_64 with AVX2 and VNNI, 4 cores"),
        (told("avx avx2 avx512f avx512bw"), "x86_64 with AVX-512 without VNNI, 4 cores"),
        (told("avx avx2 fma"), "x86_64 with AVX2 without VNNI, 4 cores"),
        (told("asimd asimddp", "aarch64"), "aarch64 with NEON and dot products, 4 cores"),
        (told("asimd", "aarch64"), "aarch64 with NEON without dot products, 4 cores"),
        (told("", "arm64"), "arm64 with instructions not known, 4 cores"),
    ],
)
def test_a_processor_is_told_by_the_best_it_has_for_int8(found: dict[str, str], said: str) -> None:
    assert machine.said(found) == said
    assert machine.said(found).startswith(machine.arithmetic(found))


def test_what_is_told_is_what_the_kernel_lists(tmp_path: Path) -> None:
    listed = tmp_path / "cpuinfo"
    listed.write_text("processor\t: 0\nflags\t\t: fpu sse2 avx avx2 avx_vnni\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert machine.kind(listed)["instructions"] == "avx avx2 avx_vnni"
    assert machine.kind(tmp_path / "none")["instructions"] == ""


def test_the_file_goes_along_with_every_version_so_it_imports_nothing_that_python_has_not() -> None:
    tree = ast.parse(Path(machine.__file__).read_text(encoding="utf-8"))
    modules = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in modules} <= set(sys.stdlib_module_names)
