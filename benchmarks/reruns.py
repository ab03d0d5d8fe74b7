"""How often a step would have been done again because of its code, over the last commits of this repository.

    python -m benchmarks.reruns [--commits N] [--uses NAME …]

Counted are the commits after which a step's own code has another digest, by three rules: by the bytes of the files
that it reaches; by what they mean (syntax trees without comments and docstrings); and by what those mean that the
recipe uses, of tasks, families and sources. What a step is given may come out otherwise besides; that is not counted.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.machine import ROOT
from components import provenance

USED = ("classification", "residual", "digits")  # what the recipe `digits` names
MEMBERS = ("components.tasks", "components.models", "components.models.families", "components.data.sources")
SUPPORT = {"registry", "protocol", "softmax"}  # beside the tasks, and none
RULES = ("files", "meaning", "meaning of what is used")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=100)
    parser.add_argument("--uses", nargs="*", default=USED, help="names of the task, families and source of a recipe")
    arguments = parser.parse_args()
    commits = _git("rev-list", "--first-parent", "--reverse", f"-{arguments.commits + 1}", "HEAD").split()
    counts: dict[str, Counter[str]] = {rule: Counter() for rule in RULES}
    before: dict[str, dict[str, str]] = {}
    for commit in commits:
        now = digests(commit, frozenset(arguments.uses))
        for rule in RULES:
            for step, digest in now[rule].items():
                counts[rule][step] += before.get(rule, {}).get(step, digest) != digest
        before = now
    print(f"{len(commits) - 1} commits up to {commits[-1][:12]}\n")
    print(f"| step | {' | '.join(RULES)} |\n|---|{'---|' * len(RULES)}")
    for step in before["files"]:
        print(f"| {step} | {' | '.join(str(counts[rule][step]) for rule in RULES)} |")


def digests(commit: str, used: frozenset[str]) -> dict[str, dict[str, str]]:
    """Rule → step → digest of its code, as the commit has it."""
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(
            ["git", "archive", commit, "components", "flows"], cwd=ROOT, check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=packed, check=True)
        root = Path(folder)
        provenance.CODE = root
        for known in (provenance._path, provenance._source, provenance._digest, provenance._imports):
            known.cache_clear()
        found: dict[str, dict[str, str]] = {rule: {} for rule in RULES}
        for step, modules in steps(root).items():
            whole = reached(modules, set())
            mine = reached(modules, {each for each in members(root) if each.rpartition(".")[2] not in used})
            found["files"][step] = total(
                whole, lambda module: hashlib.sha256(provenance._source(module).encode()).hexdigest()
            )
            found["meaning"][step] = total(whole, provenance._digest)
            found["meaning of what is used"][step] = total(mine, provenance._digest)
        return found


def steps(root: Path) -> dict[str, list[str]]:
    """Title → modules that a step says its work is done with, in the order of their files."""
    found = {}
    for path in sorted(root.glob("flows/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "step" and node.args:
                code = next((each.value for each in node.keywords if each.arg == "code"), None)
                if code is not None:
                    found[str(ast.literal_eval(node.args[0]))] = list(ast.literal_eval(code))
    return found


def members(root: Path) -> set[str]:
    """Tasks, families and sources, wherever the commit has them."""
    found = set()
    for package in MEMBERS:
        for path in root.joinpath(*package.split(".")).glob("*.py"):
            text = path.read_text(encoding="utf-8")
            marked = any(mark in text for mark in ("@register(", "spec = TaskSpec(", "Source, project: Path)"))
            if marked and path.stem not in SUPPORT:
                found.add(f"{package}.{path.stem}")
    return found


def reached(modules: Iterable[str], left_out: set[str]) -> set[str]:
    """What the modules import, directly or not, members of registries among them, but not through what is left out."""
    found: set[str] = set()
    waiting = [*modules]
    while waiting:
        module = waiting.pop()
        if module in found or module in left_out:
            continue
        found.add(module)
        waiting += provenance._imports(module)
        if module.endswith(".registry"):
            waiting += members(provenance.CODE)
    return found


def total(modules: Iterable[str], digest: Callable[[str], str]) -> str:
    """One digest of all."""
    return hashlib.sha256("\n".join(f"{module} {digest(module)}" for module in sorted(modules)).encode()).hexdigest()


def _of_file(module: str) -> str:
    return hashlib.sha256(provenance._source(module).encode()).hexdigest()


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
