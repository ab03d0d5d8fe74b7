"""A training's state on disk: tensors as safetensors, the rest as JSON, never a pickle.

One folder an epoch, written under a temporary name and renamed. The JSON holds the tensors' SHA-256, so a file that
was cut short or damaged is refused and the one before it is used. What the state means is `loop`'s business.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from components.files import replacing

KEPT = 2  # the newest, and one to go back to


class CheckpointError(ValueError):
    """A checkpoint is not what it says it is; names the file, what was expected and what was found."""


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to go on as if nothing had happened."""

    tensors: Mapping[str, Tensor]  # network, moving average, optimizer, every worker's random state
    facts: Mapping[str, Any]  # job, epoch, step, optimizer's settings, history of metrics


def save(folder: Path, epoch: int, checkpoint: Checkpoint) -> Path:
    """Write `folder/epoch-NNNNN` in one move, then remove all but the newest two."""
    target = folder / f"epoch-{epoch:05d}"
    with replacing(target) as temporary:
        weights = temporary / "state.safetensors"
        save_file({name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()}, weights)
        facts = {**checkpoint.facts, "sha256": _sha256(weights)}
        (temporary / "state.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    for old in stored(folder)[:-KEPT]:
        shutil.rmtree(old)
    return target


def stored(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    return sorted(path for path in folder.glob("epoch-*") if path.is_dir())


def load(path: Path) -> Checkpoint:
    """Read one checkpoint; raises CheckpointError where any of it is missing or damaged."""
    facts, weights = read_facts(path), path / "state.safetensors"
    try:
        found = _sha256(weights)
        if found != facts["sha256"]:
            raise CheckpointError(f"{weights}: expected SHA-256 {facts['sha256']}, found {found}: the file is damaged")
        return Checkpoint(load_file(weights), facts)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{weights}: expected the state's tensors: {error}") from error


def read_facts(path: Path) -> dict[str, Any]:
    """The JSON part alone; raises CheckpointError where it is missing or malformed."""
    file = path / "state.json"
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: expected a checkpoint's facts: {error}") from error
    if not isinstance(facts, dict) or not {"sha256", "epoch", "history"} <= set(facts):
        raise CheckpointError(f"{file}: expected the keys sha256, epoch and history, found {str(facts)[:80]}")
    return facts


def latest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and what is wrong with any newer ones, which are removed.

    None where there is none: the training then starts at its beginning, which costs time and changes nothing else.
    """
    complaints: list[str] = []
    for unfinished in folder.glob(".epoch-*"):  # what a killed process was writing
        shutil.rmtree(unfinished)
    for path in reversed(stored(folder)):
        try:
            return load(path), complaints
        except CheckpointError as error:
            complaints.append(str(error))
            shutil.rmtree(path)
    return None, complaints


def history(folder: Path) -> list[dict[str, Any]]:
    """The epochs' records in the newest checkpoint whose JSON can be read; tensors are not looked at."""
    for path in reversed(stored(folder)):
        try:
            records: list[dict[str, Any]] = read_facts(path)["history"]
        except CheckpointError:
            continue  # `latest` says so when training goes on from here
        return records
    return []


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
