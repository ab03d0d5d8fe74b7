"""What a recogniser says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from components.artifacts import Split
from components.data.checking.layouts.listing import Folder
from components.data.sources.folder import SUFFIXES

_SPLITS: tuple[tuple[Split, re.Pattern[str]], ...] = (
    ("train", re.compile(r"(?<![a-z])train(ing)?(?![a-z])", re.IGNORECASE)),
    ("validation", re.compile(r"(?<![a-z])(val|valid|validation|dev)(?![a-z])", re.IGNORECASE)),
    ("test", re.compile(r"(?<![a-z])(test|testing|t10k)(?![a-z])", re.IGNORECASE)),
)


@dataclass(frozen=True)
class Found:
    """A kind that was recognised; `at` is where below the folder, `keys` what its section needs besides the path."""

    kind: str
    says: str
    at: str = ""
    keys: Mapping[str, Any] = field(default_factory=dict)


def is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def images_in(folder: Folder) -> int:
    """Images that lie in the folder itself."""
    return sum(count for suffix, count in folder.suffixes.items() if suffix in SUFFIXES)


def split_in(name: str) -> tuple[Split | None, str]:
    """The split that a name speaks of (`instances_val2017` of validation), and the name without that word."""
    for split, pattern in _SPLITS:
        if pattern.search(name):
            return split, pattern.sub("", name)
    return None, name
