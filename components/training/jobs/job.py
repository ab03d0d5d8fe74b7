"""What training is asked for and what it says while it works: plain values that travel between processes.

Left to others: arithmetic (`loop`), processes (`cluster`). Imports neither torch nor Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from components.artifacts import Ancestor, Dataset, Model
from components.config import BY_CONTENT, AugmentConfig, DistillationConfig, NetworkConfig, TrainingConfig
from components.files import digest_values

PRETRAINED = "pretrained:"  # how a note begins that says what training starts from


class TrainingError(RuntimeError):
    """Training cannot go on, and trying again would not help; says why and what to do."""


@dataclass(frozen=True)
class Job:
    """One network to be trained. `seed` decides its initial weights and all randomness of its training."""

    name: str
    task: str
    network: NetworkConfig
    seed: int
    epochs: int
    training: TrainingConfig
    augment: AugmentConfig
    teacher: Path | None = None  # folder of the Model to copy; None: labels alone
    temperature: float = 3.0
    teacher_weight: float = 0.7
    rounded: bool = False  # quantization-aware: int8's rounding is felt while training
    distillation: DistillationConfig = field(default_factory=DistillationConfig)  # copied besides the teacher's outputs
    views: int | None = None  # of each image that are shown at most, where the teacher's outputs are cached; None: all
    unlabelled: Dataset | None = None  # its training images are learnt from too, by the teacher's outputs alone
    fold: tuple[int, int] | None = None  # (i, k): fold i of k of the training split is not shown
    boosts: tuple[Job, ...] | None = None  # trained before, and their mistakes count for more; None: all samples alike
    snapshots: tuple[str, ...] = ()  # names of the models left at the ends of equal cycles; (): one, at the end
    average: bool = False  # of the last weights (`averaging`)
    keep_zeros: bool = False  # weights that are zero where training starts stay so (`sparsity`)

    @property
    def parents(self) -> tuple[Ancestor, ...]:
        """The teacher, where there is one."""
        return () if self.teacher is None else (Ancestor(role="teacher", digest=Model.load(self.teacher).digest),)

    def _distillation(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature,
            "weight": self.teacher_weight,
            "views": self.views,
            **self.distillation.model_dump(mode="json", context=BY_CONTENT),
        }

    def fingerprint(self, data: str) -> str:
        """SHA-256 of all that decides the trained weights: the job, the teacher's and the data's digests.

        `max_failures` is left out: surviving more crashes changes nothing.
        """
        return digest_values(
            {
                "name": self.name,
                "task": self.task,
                "network": self.network.model_dump(mode="json", context=BY_CONTENT),
                "seed": self.seed,
                "epochs": self.epochs,
                "training": self.training.model_dump(mode="json", exclude={"max_failures"}),
                "augment": self.augment.model_dump(mode="json"),
                "teacher": [parent.digest for parent in self.parents],
                "distillation": self._distillation() if self.teacher else None,
                "member": [self.fold, self.snapshots, self.average],
                "boosts": None if self.boosts is None else [job.fingerprint(data) for job in self.boosts],
                "data": data,
                **({"unlabelled": self.unlabelled.digest} if self.unlabelled else {}),
                **({"rounded": True} if self.rounded else {}),
                **({"keep_zeros": True} if self.keep_zeros else {}),
            }
        )


@dataclass(frozen=True)
class Event:
    """Something that happened in training.

    "epoch": an epoch is finished and stored; `metrics` are its figures (`train_loss`, `validation_…`,
    `learning_rate`), `seconds` its training time. "progress": at most two a second, within an epoch. "note":
    `message` is worth keeping with the training. "warning": `message` says what went wrong and what was done about it.
    """

    job: str
    kind: Literal["epoch", "progress", "note", "warning"]
    epoch: int = 0  # counted from 1
    epochs: int = 0
    step: int = 0  # steps done within the epoch
    steps: int = 0  # steps of an epoch
    metrics: Mapping[str, float] = field(default_factory=dict)
    images_per_second: float = 0.0  # of training, over all workers
    seconds: float = 0.0
    waiting: float = 0.0  # seconds of them in which the first worker waited for its next batch
    evenness: Mapping[str, float] = field(default_factory=dict)  # how evenly the workers shared the epoch's work
    message: str = ""
    resumed: bool = False  # the epoch was done before this call, and is told again

    @classmethod
    def from_record(cls, job: str, epochs: int, record: Mapping[str, Any], *, resumed: bool) -> Event:
        """The "epoch" event of one entry of a checkpoint's history."""
        return cls(
            job,
            "epoch",
            epoch=int(record["epoch"]),
            epochs=epochs,
            step=int(record["steps"]),
            steps=int(record["steps"]),
            metrics=dict(record["metrics"]),
            images_per_second=float(record["images_per_second"]),
            seconds=float(record["seconds"]),
            waiting=float(record.get("waiting", 0.0)),
            evenness=dict(record.get("evenness", {})),
            resumed=resumed,
        )


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener for those who do not care."""
