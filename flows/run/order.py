"""The steps of the pipeline by name, in their order. Imports no engine."""

from __future__ import annotations

from collections.abc import Sequence

from components import offered
from components.config import ConfigurationError
from components.config.renamed import warned

DATA = "data"  # DVC remembers it, and has a command of its own for making it anew
NAMES = (
    *(DATA, "data-validation", "drift", "augmentation", "train", "ensemble", "distil", "prune", "quantize"),
    *("evaluate", "register", "promote"),
)
RENAMED = {"validation": "data-validation"}  # names that steps had


def named(names: Sequence[str]) -> frozenset[str]:
    """The steps that are to be done anew; raises ConfigurationError for a name that is none of them."""
    for old in set(names) & RENAMED.keys():
        warned(f"--fresh {old}", f"--fresh {RENAMED[old]}")
    names = [RENAMED.get(name, name) for name in names]
    for name in names:
        if name == DATA:
            again = offered.command("dvc", "repro", "--force", "validate@NAME")
            raise ConfigurationError(f"--fresh {name}: DVC makes the data; `{again}` makes it anew")
        if name not in NAMES:
            raise ConfigurationError(f"--fresh {name}: expected a step of {', '.join(NAMES[1:])}")
    return frozenset(names)
