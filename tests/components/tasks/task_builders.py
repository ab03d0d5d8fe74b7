"""What the contract test is given of each kind of target: a file in `given/`, called as the kind's own file, whose
`given` makes it. Tasks of one kind share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from components.artifacts import InputSpec
from components.config import NetworkConfig
from components.members import TARGETS, Member

CLASSES = ("first", "second", "third")


@dataclass(frozen=True)
class Given:
    """A few pictures, or texts, with targets of one kind, a small network for them, and who knows them."""

    inputs: np.ndarray  # uint8 (N, H, W); of texts as their kind has them
    targets: np.ndarray
    config: NetworkConfig
    classes: tuple[str, ...]
    perfect: Callable[[np.ndarray], dict[str, np.ndarray]]  # targets → the answer of somebody who knows
    wrong: Callable[[np.ndarray], np.ndarray]  # targets → others that are as wrong as can be, every one of them
    target: dict[str, Any]  # what the card keeps of them
    plain: Callable[[np.ndarray], np.ndarray] = np.zeros_like  # targets → others that show the first class alone
    sizes: Mapping[str, int] = field(default_factory=dict)  # of an answer's own dimensions
    spec: InputSpec | None = None  # None: grey pictures
    units: int = 0  # that combining scores in a sample; 0: as many as its target has numbers


def given_of(target: str) -> Given:
    """What tasks with targets of that kind are asked about."""
    file = Member(TARGETS, target).module.rpartition(".")[2]
    found: Given = import_module(f"tests.components.tasks.given.{file}").given()
    return found


def digits() -> tuple[np.ndarray, np.ndarray]:
    """16 digits, 0, 1 and 2, at 8×8."""
    source = load_digits(n_class=3)
    return np.round(source.images[:16] * 255 / 16).astype(np.uint8), source.target[:16].astype(np.int64)


def one_hot(targets: np.ndarray) -> dict[str, np.ndarray]:
    """All probability on the truth."""
    truth = np.eye(len(CLASSES), dtype=np.float32)[targets]
    return {"probabilities": np.moveaxis(truth, -1, 1), "prediction": targets}


def next_class(targets: np.ndarray) -> np.ndarray:
    return (targets + 1) % len(CLASSES)
