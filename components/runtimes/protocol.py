"""The surface that all engines share: a file is opened with so many threads, and answers for inputs.

Engines are imported when something is opened, so that naming them costs nothing and a missing one is one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from components import offered
from components.tasks.answers import Answerer, Answers, Inputs

__all__ = ["EMBEDDING", "Answerer", "Answers", "Inputs", "Runtime", "RuntimeMissingError"]

EMBEDDING = "embedding"  # output: what the head sees, of networks that have one
SIGNATURE = "signature.json"  # beside an export: what goes in and comes out
# Of programs without a signature: all that there was before tasks named their outputs.
UNNAMED = ("probabilities", "prediction", EMBEDDING)


class RuntimeMissingError(RuntimeError):
    """An engine that is not installed was asked for; says what to install."""


def output_names(program: Path) -> tuple[str, ...]:
    """Of a file whose format numbers its outputs: as the signature beside it names them.

    Raises ValueError where that is no signature.
    """
    path = program.with_name(SIGNATURE)
    if not path.is_file():
        return UNNAMED
    try:
        return tuple(output["name"] for output in json.loads(path.read_text(encoding="utf-8"))["outputs"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a signature with the names of the outputs: {error!r}") from error


@dataclass(frozen=True)
class Runtime:
    """An engine: what it reads, what must be installed for it, and how it opens a file."""

    name: str
    package: str  # as it is imported and as it is installed
    reads: tuple[str, ...]  # endings of files; "" stands for a model's own folder
    extra: str | None  # of this project, that installs it; None: it always is
    load: Callable[[Path, int | None], Answerer]
    multiple: bool = True  # whether it answers for any number of inputs at a time

    @property
    def missing(self) -> str | None:
        """What to install, None where it is there."""
        if find_spec(self.package) is not None:
            return None
        how = offered.installing(*([self.extra] if self.extra else []))
        return f"expected {self.package}, which is not installed: `{how}`"

    @property
    def version(self) -> str:
        """The engine's own; `unknown` where its package does not say."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return "unknown"

    def open(self, path: Path, threads: int | None = None) -> Answerer:
        """Something that answers for inputs as their kind has them with the task's outputs and, where the file has it,
        `embedding`. `threads=None` takes what the engine takes by itself.

        Raises RuntimeMissingError where the engine is not installed, FileNotFoundError where there is no such file, and
        ValueError for one that it does not read.
        """
        if self.missing:
            raise RuntimeMissingError(f"runtime {self.name}: {self.missing}")
        if not path.exists():
            raise FileNotFoundError(f"{path}: expected a file for {self.name}, found none")
        if not self.takes(path):
            raise ValueError(f"{path}: expected {self.said}, which {self.name} reads")
        return self.load(path, threads)

    def takes(self, path: Path) -> bool:
        """Whether the path looks like what the engine reads."""
        if path.is_dir():
            return "" in self.reads and (path / "model.json").is_file()
        return path.suffix in self.reads and path.suffix != ""

    @property
    def said(self) -> str:
        """What it reads, in words."""
        return " or ".join(f"a file *{suffix}" if suffix else "the folder of a model" for suffix in self.reads)
