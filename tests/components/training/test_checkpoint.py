"""A damaged checkpoint must be refused, never half used; and nothing of it may be a pickle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from components.training.loop import checkpoint
from components.training.loop.checkpoint import Checkpoint, CheckpointError


def some(epoch: int) -> Checkpoint:
    tensors = {"network/w": torch.arange(12.0).reshape(3, 4).T + epoch, "random/0/cpu": torch.get_rng_state()}
    return Checkpoint(
        tensors, {"job": "network", "epoch": epoch, "history": [{"epoch": n} for n in range(1, epoch + 1)]}
    )


def written(folder: Path, epochs: int) -> list[Path]:
    return [checkpoint.save(folder, epoch, some(epoch)) for epoch in range(1, epochs + 1)]


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    written(tmp_path, 1)
    found, complaints = checkpoint.latest(tmp_path)
    assert found is not None
    assert complaints == []
    assert found.facts["epoch"] == 1
    for name, value in some(1).tensors.items():
        assert torch.equal(found.tensors[name], value)


def test_only_the_newest_two_are_kept(tmp_path: Path) -> None:
    written(tmp_path, 4)
    assert [path.name for path in checkpoint.stored(tmp_path)] == ["epoch-00003", "epoch-00004"]
    assert [record["epoch"] for record in checkpoint.history(tmp_path)] == [1, 2, 3, 4]


@pytest.mark.parametrize("file", ["state.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "removed", "flipped"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_is_used(tmp_path: Path, file: str, damage: str) -> None:
    broken = written(tmp_path, 2)[-1] / file
    content = broken.read_bytes()
    if damage == "cut":
        broken.write_bytes(content[: len(content) // 2])
    elif damage == "emptied":
        broken.write_bytes(b"")
    elif damage == "removed":
        broken.unlink()
    else:  # the last byte of the tensors; of the JSON, its opening
        place = -1 if file == "state.safetensors" else 0
        broken.write_bytes(bytes(byte ^ (255 if n == place % len(content) else 0) for n, byte in enumerate(content)))
    with pytest.raises(CheckpointError, match=file):
        checkpoint.load(broken.parent)
    found, complaints = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.facts["epoch"] == 1
    assert len(complaints) == 1
    assert file in complaints[0]
    assert [path.name for path in checkpoint.stored(tmp_path)] == ["epoch-00001"]


def test_nothing_stored_is_no_error(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "new") == (None, [])
    assert checkpoint.history(tmp_path / "new") == []


def test_a_checkpoint_that_was_not_finished_is_not_found_and_goes(tmp_path: Path) -> None:
    (tmp_path / ".epoch-00001.abc").mkdir(parents=True)  # what a killed process leaves
    assert checkpoint.latest(tmp_path) == (None, [])
    assert list(tmp_path.iterdir()) == []
