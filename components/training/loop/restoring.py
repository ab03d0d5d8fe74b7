"""Restoring the checkpoint of the last epoch after a loss that is not a number, with a lower rate from there on.

Each time is written down before training goes on, so that a training which is killed afterwards goes on alike.
"""

from __future__ import annotations

import json
from pathlib import Path

from components import offered
from components.files import writing
from components.training.jobs.job import TrainingError
from components.training.processes.workers import Workers

LOWER = 0.5  # of the rate, each time


class CheckpointRestores:
    """Those of one training, kept in `folder/checkpoint_restores.json`; at most `most` of them."""

    def __init__(self, folder: Path, most: int) -> None:
        self.file, self.most = folder / "checkpoint_restores.json", most
        self.taken = len(self._written())

    @property
    def factor(self) -> float:
        """What the learning rate is multiplied by."""
        return LOWER**self.taken

    def take(self, error: TrainingError, workers: Workers) -> None:
        """One more, or, where all are used up, the error itself. All workers call this; the first one writes."""
        if self.taken >= self.most:
            raise error
        self.taken += 1
        if workers.first:
            written = self._written()
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with writing(self.file) as temporary:
                temporary.write_text(json.dumps([*written, str(error)], indent=1) + "\n", encoding="utf-8")
        workers.from_first(None)

    def _written(self) -> list[str]:
        """Those on file. TrainingError where it cannot be read: with another rate it would be another training."""
        if not self.file.exists():
            return []
        try:
            written = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self._damaged(error) from error
        if not isinstance(written, list):
            raise self._damaged(f"found {type(written).__name__}")
        return [str(each) for each in written]

    def _damaged(self, wrong: object) -> TrainingError:
        again = offered.command("rm", "-r", str(self.file.parent))
        return TrainingError(
            f"{self.file}: expected a list of the checkpoint restores so far: {wrong}. How far the rate was lowered "
            f"is not known: `{again}`, and start again, which begins this training anew"
        )

    def says(self, error: TrainingError) -> str:
        """What is told of the last one."""
        return (
            f"{error}. Restored the checkpoint of the last stored epoch, with {self.factor:g} times the learning rate "
            f"(checkpoint restore {self.taken} of {self.most})"
        )
