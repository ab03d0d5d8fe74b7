"""The house as its imports draw it: no folder imports another that imports it again, whatever lies between."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]


def folder(module: str) -> str:
    """The package that a module lies in; a package is its own."""
    inside = ROOT.joinpath(*module.split("."))
    return module if inside.is_dir() else module.rpartition(".")[0]


def test_no_folder_imports_another_in_a_circle() -> None:
    graph = grimp.build_graph("components", "flows", exclude_type_checking_imports=True, cache_dir=None)
    imports: dict[str, set[str]] = {}
    for module in graph.modules:
        above = imports.setdefault(folder(module), set())
        above |= {folder(each) for each in graph.find_modules_directly_imported_by(module)} - {folder(module)}
    order = list(TopologicalSorter(imports).static_order())  # raises CycleError, which names the folders
    assert len(order) > 40
