"""What the contract test is given of each kind of target: a file in `given/`, called as the kind's own file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import pyarrow as pa

from components.members import TARGETS, Member

NAMES = ("nothing", "cat", "dog")  # the classes that there are


@dataclass(frozen=True)
class Given:
    """A column, and what is in it."""

    column: pa.Array
    shown: list[set[int]]  # classes of each row
    sound: list[int]  # rows that become arrays; the first two differ
    about: Mapping[str, Any] = field(default_factory=dict)  # what a source says of such targets besides classes


def given_of(name: str) -> Given:
    """What the kind of that name is asked about."""
    file = Member(TARGETS, name).module.rpartition(".")[2]
    found: Given = import_module(f"tests.components.targets.given.{file}").GIVEN
    return found
