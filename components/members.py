"""What there is one file of per name: tasks, kinds of inputs and of targets, families of networks, sources of data.

A member is found by the name of its file and imported when it is asked for, so a new one costs those nothing who do
not use it: no import, and no step that is done again (`components.provenance` counts the members that are used).
Some registries are open: other installed packages add to them by entry points (`components.extensions`), and what they
add is a member like any other.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from components import extensions
from components.extensions import Extension

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Registry:
    """Who hands members out, and where they lie: dotted names below this package."""

    home: str  # the module that imports its members by their names
    folder: str
    mark: str  # a regular expression: how a line of a member begins, and of no other file there
    group: str | None = None  # of the entry points by which other packages add members; None: only files here count
    taken: tuple[str, ...] = ()  # names of what is here and has no file of its own

    @property
    def module(self) -> str:
        return f"{PACKAGE}.{self.home}"

    def names(self) -> list[str]:
        """The members there are, in order of name; none is imported. Raises ExtensionError as `added` does."""
        files = ROOT.joinpath(*self.folder.split(".")).glob("*.py")
        return sorted([*(path.stem.rstrip("_") for path in files if self.marks(path)), *added(self)])

    def load(self, name: str) -> ModuleType:
        """The module of a member that there is. Raises ExtensionError for one of another package that fails."""
        member = Member(self, name)
        extension = member.extension
        if extension is None:
            return import_module(member.module)
        try:
            return import_module(extension.module)
        except Exception as error:
            what = f"{extension.module}: {type(error).__name__}: {error}"
            raise extension.wrong("a module that can be imported", what) from error

    def marks(self, file: Path) -> bool:
        """Whether what lies there is a member, by how one of its lines begins."""
        return re.search(f"^{self.mark}", file.read_text(encoding="utf-8"), re.MULTILINE) is not None


@dataclass(frozen=True)
class Member:
    """One of a registry's, by its name; `exists` says whether there is one."""

    registry: Registry
    name: str

    @property
    def module(self) -> str:
        """Where it lies: `fashion-mnist` in `fashion_mnist.py`, `class`, a word of Python's own, in `class_.py`.

        One that another package adds lies where its entry point says.
        """
        extension = self.extension
        return f"{PACKAGE}.{self.registry.folder}.{self._stem}" if extension is None else extension.module

    @property
    def exists(self) -> bool:
        return self._file.is_file() or self.extension is not None

    @property
    def extension(self) -> Extension | None:
        """What another package adds under this name; None of a file here, and where there is none."""
        return None if self._file.is_file() else added(self.registry).get(self._stem)

    @property
    def _stem(self) -> str:
        return self.name.replace("-", "_") + ("_" if keyword.iskeyword(self.name) else "")

    @property
    def _file(self) -> Path:
        return ROOT.joinpath(*self.registry.folder.split("."), f"{self._stem}.py")


@cache
def added(registry: Registry) -> Mapping[str, Extension]:
    """What other packages add to a registry, by name as a file here would have it.

    Raises ExtensionError for a name that a file here has, for a module that is no such member, and as `extensions.of`.
    """
    if registry.group is None:
        return {}
    found = extensions.of(registry.group)
    for name, extension in found.items():
        if name in registry.taken or Member(registry, name)._file.is_file():
            raise extension.wrong("a name that is free", f"one of Convoy's own, {extension.name}")
        if not registry.marks(extension.file):
            expected = f"a module of which a line begins as {registry.mark!r} does"
            raise extension.wrong(expected, f"{extension.file}, which has none")
    return found


TASKS = Registry("tasks.registry", "tasks", "TASK = ", "convoy.tasks")
READERS = Registry("registry.registration", "registry.readers", "COLUMN")
ANSWERS = Registry("registry.registration", "registry.answers", "OUTPUTS = ", "convoy.answers")
INPUTS = Registry("inputs.registry", "inputs", "INPUT = ")
EYES = Registry("data.inspection.eyes.registry", "data.inspection.eyes", "EYE = ")
SURVEYS = Registry("data.checking.survey", "data.checking.surveys", "SURVEY = ")
BASELINES = Registry("evaluate.baselines.registry", "evaluate.baselines", "BASELINES: ")
VIEWS = Registry("data.card.views.registry", "data.card.views", "VIEW = ")
TARGETS = Registry("targets.registry", "targets", "TARGET = ", "convoy.targets")
FAMILIES = Registry("models.registry", "models.families", r"@register\(", "convoy.families")
SOURCES = Registry("data.sources.registry", "data.sources", r"def read\(source: \w+Source,", "convoy.sources")
GATES = Registry(
    *("registry.gates.judging", "registry.gates", r"def judge\(case: Case, gate: \w+Gate\)", "convoy.gates"),
    taken=(
        *("approvals", "baseline", "calibration", "ceiling", "drift", "floor", "freshness", "int8_drop", "latency"),
        *("parity", "production", "robustness", "size", "worst_group"),
    ),
)
OPEN = (TASKS, TARGETS, ANSWERS, FAMILIES, SOURCES, GATES)  # those that other packages may add to
