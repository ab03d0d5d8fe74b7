"""The inputs of a target: those that fuzzing has found, and the valid ones that it begins with."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.fuzzing.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


def entries(name: str) -> Iterator[bytes]:
    """Contents, in order of name."""
    yield from TARGETS[name].seeds()
    path = CORPUS / f"{name}.zip"
    if path.is_file():
        with zipfile.ZipFile(path) as file:
            yield from (file.read(each) for each in sorted(file.namelist()))
