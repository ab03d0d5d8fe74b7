"""What is installed, held against requirements.lock and against what a recipe asks for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from components import offered, provenance
from components.config import ConfigurationError, Located, Recipe
from components.provenance import installed, pins
from components.release import cloned
from flows.base.project import check_extensions
from flows.preflight.finding import Finding

NAMED = 4  # libraries that differ and are named; how many more there are is told
# Without one of these no run starts.
NEEDED = {"prefect", "mlflow", "dvc", "torch", "ray", "great-expectations", "evidently", "onnxruntime", "pydantic"}
# Protocol of a source's address → extra, and the package that must be there.
PROTOCOLS = {
    "s3": ("s3", "s3fs"), "s3a": ("s3", "s3fs"), "ssh": ("ssh", "sshfs"), "sftp": ("ssh", "sshfs"),
    "hf": ("huggingface", "huggingface_hub"),
}  # fmt: skip


def versions(root: Path) -> Finding:
    """What is installed against what was tested together. By content: comments and order of the lock do not count."""
    lock = provenance.lock(root)
    named = lock.name if lock.parent == root else str(lock)
    try:
        pinned = pins(lock.read_text(encoding="utf-8"))
    except OSError as error:
        way = "`git checkout requirements.lock`"
        return Finding("error", "libraries", f"{lock}: expected the locked libraries: {error.strerror}", way)
    there = installed()
    missing = sorted(name for name in pinned if name not in there)
    others = sorted(name for name, pin in pinned.items() if name in there and not _same(pin, there[name]))
    way = f"{'`make setup`, or ' if cloned() else ''}`{offered.command('python', '-m', 'pip', 'install', '-r', named)}`"
    if missing and NEEDED & set(missing):
        return Finding("error", "libraries", f"not installed: {_named(missing)}", way)
    if missing or others:
        said = [f"not installed: {_named(missing)}"] if missing else []
        told = [f"{name} {there[name]} instead of {pinned[name]}" for name in others]
        return Finding("warning", "libraries", "; ".join([*said, *([_named(told)] if told else [])]), way)
    return Finding("ok", "libraries", f"all {len(pinned)} as in {named}")


def extras(recipe: Recipe) -> Finding:
    """Whether what only this recipe needs is installed."""
    missing = [
        f"{key}: {package} is not installed"
        for key, (_, package) in wanted(recipe).items()
        if find_spec(package) is None
    ]
    if not missing:
        return Finding("ok", "extras", "everything that the recipe asks for is installed")
    names = sorted({extra for extra, package in wanted(recipe).values() if find_spec(package) is None})
    return Finding("error", "extras", "; ".join(missing), f"`{offered.installing(*names)}`")


def added() -> Finding:
    """What other installed packages add to the tasks, networks, sources, … of this one."""
    try:
        found = check_extensions()
    except ConfigurationError as error:
        return Finding("error", "extensions", str(error), "`python -m pip uninstall` that package, or correct it")
    said = ", ".join(f"{each.group}.{each.name} of {each.package}" for each in found)
    return Finding("ok", "extensions", said or "none is installed")


def wanted(recipe: Recipe) -> Mapping[str, tuple[str, str]]:
    """Key of the configuration → the extra of this package that it needs, and the package by which that is known."""
    found: dict[str, tuple[str, str]] = {}
    prune = recipe.line.prune
    if prune is not None and prune.kind == "structured":
        found["line.prune.kind"] = ("pruning", "torch_pruning")
    source = recipe.dataset.source
    key = f"datasets.{recipe.line.dataset}.source"
    if source.kind == "huggingface" and not _is_parquet(Path(source.path)):
        found[f"{key}.kind"] = ("huggingface", "datasets")
    if isinstance(source, Located):
        protocol = source.path.partition("://")[0].partition("::")[0]
        if "://" in source.path and protocol in PROTOCOLS:
            found[f"{key}.path"] = PROTOCOLS[protocol]
    return found


def _is_parquet(path: Path) -> bool:
    """Whether Hugging Face's data is Parquet, which needs no library of theirs, as far as can be seen from here."""
    if path.is_dir():
        return not any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))
    return path.suffix == ".parquet"


def _same(pinned: str, installed: str) -> bool:
    """`2.14.0+cpu` is what a lock that says 2.14.0 means, built for another processor."""
    return pinned == installed or ("+" not in pinned and pinned == installed.partition("+")[0])


def _named(entries: list[str]) -> str:
    more = f" and {len(entries) - NAMED} more" if len(entries) > NAMED else ""
    return ", ".join(entries[:NAMED]) + more
