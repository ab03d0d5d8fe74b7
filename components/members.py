"""What there is one file of per name: tasks, kinds of inputs and of targets, families of networks, sources of data.

A member is found by the name of its file and imported when it is asked for, so a new one costs those nothing who do
not use it: no import, and no step that is done again (`components.provenance` counts the members that are used).
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Registry:
    """Who hands members out, and where they lie: dotted names below this package."""

    home: str  # the module that imports its members by their names
    folder: str
    mark: str  # a regular expression: how a line of a member begins, and of no other file there

    @property
    def module(self) -> str:
        return f"{PACKAGE}.{self.home}"

    def names(self) -> list[str]:
        """The members there are, in order of name; none is imported."""
        begins = re.compile(f"^{self.mark}", re.MULTILINE)
        files = ROOT.joinpath(*self.folder.split(".")).glob("*.py")
        found = (path.stem.rstrip("_") for path in files if begins.search(path.read_text(encoding="utf-8")))
        return sorted(found)

    def load(self, name: str) -> ModuleType:
        """The module of a member that there is."""
        return import_module(Member(self, name).module)


@dataclass(frozen=True)
class Member:
    """One of a registry's, by its name; `exists` says whether there is such a file."""

    registry: Registry
    name: str

    @property
    def module(self) -> str:
        """Where it lies: `fashion-mnist` in `fashion_mnist.py`, `class`, a word of Python's own, in `class_.py`."""
        file = self.name.replace("-", "_") + ("_" if keyword.iskeyword(self.name) else "")
        return f"{PACKAGE}.{self.registry.folder}.{file}"

    @property
    def exists(self) -> bool:
        return ROOT.joinpath(*self.module.split(".")[1:]).with_suffix(".py").is_file()


TASKS = Registry("tasks.registry", "tasks", "TASK = ")
READERS = Registry("registry.registration", "registry.readers", "COLUMN")
ANSWERS = Registry("registry.registration", "registry.answers", "OUTPUTS = ")
INPUTS = Registry("inputs.registry", "inputs", "INPUT = ")
EYES = Registry("data.inspection.eyes.registry", "data.inspection.eyes", "EYE = ")
SURVEYS = Registry("data.checking.survey", "data.checking.surveys", "SURVEY = ")
BASELINES = Registry("evaluate.baselines.registry", "evaluate.baselines", "BASELINES: ")
VIEWS = Registry("data.card.views.registry", "data.card.views", "VIEW = ")
TARGETS = Registry("targets.registry", "targets", "TARGET = ")
FAMILIES = Registry("models.registry", "models.families", r"@register\(")
SOURCES = Registry("data.sources.registry", "data.sources", r"def read\(source: \w+Source,")
