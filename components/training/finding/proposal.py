"""A first recipe for a data set: what its size and its kind alone say, before anything has been learnt or measured.

One network, no teacher, a few minutes, and limits that a first network passes where it has learnt anything: all of them
are the user's to set. What suits the data better, `convoy find` measures and `convoy tune` searches.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import texts
from components.artifacts import ImageSpec, InputSpec, TextSpec
from components.config import AugmentConfig, DatasetConfig, ImageDeclaration, NetworkConfig, TextDeclaration
from components.data import catalogue
from components.inputs import registry as inputs
from components.models import registry as models
from components.models.forms import BOXES, MAP, SEQUENCE, VECTOR
from components.models.size import size
from components.tasks import registry as tasks
from components.tasks.protocol import Task

MINUTES = 5.0  # of training: a first result while one waits
PACE = 2e10  # MACs a second and core, forward and backward; small networks on AVX-512 come to 1.7e10 to 6e10
PASSES = 3  # a step's MACs in those of an answer
EPOCHS = (4, 60)  # fewest: below it nothing has settled; most: small data is learnt by heart by then
STEPS = 40  # least of an epoch, by which a batch is chosen
BATCHES = (256, 128, 64, 32, 16)
LARGE = 64  # pixels a side from which on the stem halves a picture
CROPPED = 16  # a window is moved by this part of a side
ROOMY = {"latency": 100.0, "size": 50.0}  # ms and MB
LEAST = 0.05  # of a share that says nothing by itself

# What is learnt in a few minutes: form of the outputs and kind of input → a family of networks, and its arguments.
FIRST: Mapping[tuple[str, str], tuple[str, Mapping[str, int]]] = {
    (VECTOR, "image"): ("residual", {"width": 32}),
    (MAP, "image"): ("unet", {"width": 16}),
    (BOXES, "image"): ("detector", {"width": 16}),
    (VECTOR, "text"): ("textcnn", {}),
    (SEQUENCE, "text"): ("idcnn", {}),
}


@dataclass(frozen=True)
class Proposal:
    """The keys of `line:`, and why they say what they say."""

    line: dict[str, Any]
    reasons: tuple[str, ...]

    def save(self, path: Path) -> None:
        """A recipe, with the reasons above it; a file that is there stays, and raises FileExistsError."""
        told = [
            f"A first recipe for {self.line['dataset']}, proposed by its size and kind: yours to change.",
            *self.reasons,
        ]
        text = "".join(f"# {texts.printable(each)}\n" for each in told) + catalogue.written("line", self.line)
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)


def propose(
    name: str,
    config: DatasetConfig,
    samples: int,
    classes: Mapping[str, int],
    gates: Collection[str],
    minutes: float = MINUTES,
) -> Proposal | None:
    """For a data set of so many samples, in all and of each class; `gates` are those of `params.yaml`.

    None where no network is known that could begin, or inputs are too small for it.
    """
    task = tasks.get(config.task)
    form, given = task.gives, config.input_kind
    if (form, given) not in FIRST:
        return None
    network = _network(form, given, config)
    learnt_from = max(1, round(samples * (1.0 - config.split.validation - config.split.test)))
    batch = next((each for each in BATCHES if learnt_from >= STEPS * each), BATCHES[-1])
    try:
        macs = size(models.build(NetworkConfig(**network), _spec(config), max(1, len(classes))), _spec(config)).macs
    except ValueError:  # of inputs that are smaller than what the network sees at once
        return None
    cores = os.cpu_count() or 1
    seconds = learnt_from * PASSES * max(1, macs) / (PACE * cores)
    epochs = min(EPOCHS[1], max(EPOCHS[0], round(60.0 * minutes / max(seconds, 1e-3))))
    judged, why = _gates(task, classes, gates)
    changes, moved = _augment(config)
    labelled = bool(classes) and form == VECTOR
    line: dict[str, Any] = {
        "dataset": name,
        "model": name,
        "augment": changes,
        "training": {
            "batch_size": batch,
            "learning_rate": 0.01 if batch <= 64 else 0.004,
            "label_smoothing": 0.05 if labelled else 0.0,
        },
        "members": {"count": 1, "networks": [network], "epochs": epochs},
        "student": None,
        "quantize": {"calibration_samples": min(256, learnt_from), "batch": 16 if form != VECTOR else 64},
        **({} if given == "image" else {"evaluate": {"corruptions": None}}),
        "gates": judged,
    }
    took = epochs * seconds
    reasons = (
        f"network {network['name']}: {macs / 1e6:,.1f} million MACs per {inputs.get(given).one}",
        f"epochs {epochs}: about {max(1, round(took / 60))} min of training on {cores} cores, by the MACs",
        f"batch_size {batch}: at least {STEPS} steps an epoch of about {learnt_from:,} samples"
        if batch > BATCHES[-1]
        else f"batch_size {batch}: there are about {learnt_from:,} samples to learn from",
        moved,
        why,
        "one network without a teacher: `members.count: 3` and a `student:` buy accuracy with time",
    )
    return Proposal(line, reasons)


def _network(form: str, given: str, config: DatasetConfig) -> dict[str, Any]:
    name, arguments = FIRST[form, given]
    chosen: dict[str, Any] = dict(arguments)
    if name == "residual" and isinstance(config.declared, ImageDeclaration):
        side = min(config.declared.height, config.declared.width)
        chosen["stride"] = 2 if side >= LARGE // 2 else 1
        chosen["width"] = 16 if side < LARGE // 2 else chosen["width"]
    return {"name": name, **({"arguments": chosen} if chosen else {})}


def _spec(config: DatasetConfig) -> InputSpec:
    """As the card is going to have it, but for what only the data know."""
    declared = config.declared
    if isinstance(declared, TextDeclaration):
        return TextSpec(
            kind="text", unit=declared.unit, length=declared.length, lower=declared.lower, vocabulary=("…",)
        )
    channels = declared.channels
    return ImageSpec(
        height=declared.height, width=declared.width, channels=channels, mean=(0.5,) * channels, std=(0.5,) * channels
    )


def _augment(config: DatasetConfig) -> tuple[dict[str, Any], str]:
    """Nothing that could change what an input is: only a person knows whether a mirror image is of the same class."""
    off = {"crop": 0, "flip": 0.0, "erase": 0.0}
    declared = config.declared
    if not isinstance(declared, ImageDeclaration):
        return off, f"augment: nothing; {inputs.get(config.input_kind).many} are learnt from as they are"
    crop = AugmentConfig(crop=max(1, min(declared.height, declared.width) // CROPPED)).crop
    return {**off, "crop": crop}, f"augment: moved by up to {crop} pixels; `flip: 0.5` where a mirror image is the same"


def _gates(task: Task, classes: Mapping[str, int], known: Collection[str]) -> tuple[dict[str, Any], str]:
    """Limits that only a network that has learnt nothing fails, of the gates that there are."""
    spec = task.spec
    floor: dict[str, Any] | None = None
    if spec.primary.better == "more":
        total = sum(classes.values())
        chance = max(classes.values()) / total if total and task.gives == VECTOR else LEAST
        floor, why = {"limit": round(min(0.99, chance), 2)}, f"{spec.primary.name} of at least {chance:.2f}"
        if chance != LEAST:
            why += ", which always naming the largest class has"
    else:
        share = next((each for each in spec.metrics if each.better == "more"), None)
        floor = None if share is None else {"limit": 0.0, "metric": share.name}
        why = "no floor" if share is None else f"{share.name} of at least 0"
    gates: dict[str, Any] = {"floor": floor, **{name: {"limit": limit} for name, limit in ROOMY.items()}}
    gates |= dict.fromkeys(("worst_group", "calibration", "robustness", "ceiling"))
    gates |= {"int8_drop": {"limit": 0.05}, "production": {"margin": 0.02}}
    return (
        {name: limit for name, limit in gates.items() if name in known},
        f"gates: {why}, and roomy ones of size and latency: set them to what you need",
    )
