"""Average precision of a detection recipe beside torchvision's detectors, from scratch, on the same scenes and seconds.

    python -m benchmarks.detection [--recipe NAME] [-S KEY=VALUE …] [--only WAY …] [--seconds N] [--seed N]

All learn on one thread, in the recipe's precision, from the same pictures with the same augmentation, and are stopped
by processor time: the recipe's own, or `--seconds`, which is needed where the recipe is left out. Torchvision's are
SSDlite, FCOS and Faster R-CNN on MobileNetV3 (large), which enlarge pictures to `SIDE` pixels (SSDlite: 320), since
their grids are of 16 pixels and more; AdamW with one cycle of the rate. All are judged by the task's own metrics on the
test split.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_large
from torchvision.models.detection import FCOS, fasterrcnn_mobilenet_v3_large_320_fpn, ssdlite320_mobilenet_v3_large
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import _mobilenet_extractor

from benchmarks import study
from benchmarks.machine import ROOT
from components.artifacts import Dataset
from components.augment.policy import augment
from components.config import AugmentConfig, LineConfig, TrainingConfig, load
from components.data.reading.loading import load_split
from components.environment import prepare_environment
from components.models.forms import LEAST_SCORE
from components.models.parts.suppression import MOST
from components.models.preprocessing import preprocess
from components.tasks import registry as tasks
from components.tasks.answers import Answerer, Answers, Inputs
from components.tasks.asking import ask
from components.tasks.boxes import moved, truths_of
from components.tasks.network import torch_answerer
from components.training.jobs.job import Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data
from components.training.optimizing.optimization import rate
from components.training.processes.workers import autocast

OURS = "the recipe"
SIDE = 256  # pixels, of torchvision's pictures
BATCH = 16
TRAINING = TrainingConfig(batch_size=BATCH, learning_rate=1e-3)
CLIP = 10.0  # norm of a gradient, at most: Faster R-CNN's first steps from scratch diverge without
STEPS = 10_000  # in which the schedule is told: by time, not by steps
SHOWN = ("map", "map50", "map75", "recall", "recall_hidden")


def ssdlite(classes: int) -> nn.Module:
    network: nn.Module = ssdlite320_mobilenet_v3_large(
        weights=None,
        weights_backbone=None,
        num_classes=classes + 1,
        score_thresh=LEAST_SCORE,
        detections_per_img=MOST,
    )
    return network


def faster_rcnn(classes: int) -> nn.Module:
    network: nn.Module = fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=classes + 1,
        min_size=SIDE,
        max_size=SIDE,
        box_score_thresh=LEAST_SCORE,
        box_detections_per_img=MOST,
    )
    return network


def fcos(classes: int) -> nn.Module:
    backbone = _mobilenet_extractor(mobilenet_v3_large(weights=None), fpn=True, trainable_layers=6)
    anchors = AnchorGenerator(((16,), (32,), (64,)), ((1.0,),) * 3)  # FCOS's own: a place's stride
    network: nn.Module = FCOS(
        backbone,
        classes + 1,
        anchor_generator=anchors,
        min_size=SIDE,
        max_size=SIDE,
        score_thresh=LEAST_SCORE,
        detections_per_img=MOST,
    )
    return network


WAYS: dict[str, Callable[[int], nn.Module]] = {"SSDlite": ssdlite, "FCOS": fcos, "Faster R-CNN": faster_rcnn}


def main() -> None:
    prepare_environment()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="scenes-detect")
    parser.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="a key of line:")
    parser.add_argument("--only", nargs="*", default=[OURS, *WAYS], choices=[OURS, *WAYS])
    parser.add_argument("--seconds", type=float, help="of a processor, for each; by default the recipe's own")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if OURS not in options.only and options.seconds is None:
        parser.error("--seconds, where the recipe itself is left out")
    settings = load(ROOT, options.recipe, options.set).line
    dataset = study.data(options.recipe)
    torch.set_num_threads(1)

    rows, seconds = [], options.seconds
    for way in (each for each in [OURS, *WAYS] if each in options.only):
        began = time.process_time()
        if way == OURS:
            network = by_recipe(settings, dataset, options.seed)
            answerer = torch_answerer(tasks.of(dataset.card), network)
        else:
            network = by_torchvision(WAYS[way], settings, dataset, seconds, options.seed)
            answerer = functools.partial(answers, network)
        taken = time.process_time() - began
        seconds = taken if seconds is None else seconds
        rows.append({"detector": way, **judged(network, answerer, dataset), "CPU seconds": f"{taken:.0f}"})
        print(rows[-1], flush=True)
    study.report("detection", f"{options.recipe}, seed {options.seed}, test split", rows)


def by_recipe(settings: LineConfig, dataset: Dataset, seed: int) -> nn.Module:
    """The recipe's first member, trained as the pipeline does."""
    (network, *_), epochs = settings.members.networks, settings.members.epochs
    job = Job(
        name=OURS,
        task=dataset.card.task,
        network=network,
        seed=seed,
        epochs=epochs,
        training=settings.training,
        augment=settings.augment,
    )
    data = Data(dataset.card, dataset.digest, load_split(dataset, "train"), load_split(dataset, "validation"))
    with TemporaryDirectory() as folder:
        return train(job, data, Path(folder))


def by_torchvision(
    made: Callable[[int], nn.Module], settings: LineConfig, dataset: Dataset, seconds: float, seed: int
) -> nn.Module:
    """One of torchvision's, trained for so many seconds of a processor; in evaluation mode."""
    began = time.process_time()
    torch.manual_seed(seed)
    random, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    network = made(len(dataset.card.classes)).train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=TRAINING.weight_decay)
    split = load_split(dataset, "train")
    inputs, targets = split.inputs[:], split.targets
    order = np.array([], dtype=np.int64)
    steps, share = 0, 0.0
    _shortened(network, settings.training)
    while share < 1.0:
        if len(order) < BATCH:
            order = random.permutation(len(inputs))
        chosen, order = order[:BATCH], order[BATCH:]
        pictures, given = batch(inputs[chosen], targets[chosen], settings.augment, generator, dataset)
        loss = torch.stack(list(network(pictures, given).values())).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        for group in optimizer.param_groups:
            group["lr"] = rate(min(int(share * STEPS), STEPS - 1), STEPS, TRAINING)
        optimizer.step()
        steps, share = steps + 1, (time.process_time() - began) / seconds
    print(f"{steps} steps, {steps * BATCH / len(inputs):.1f} epochs, the last loss {loss.item():.3f}", flush=True)
    return network.eval()


def batch(
    inputs: Inputs, targets: np.ndarray[Any, Any], config: AugmentConfig, generator: torch.Generator, dataset: Dataset
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Pictures and truths as torchvision's networks take them, augmented; class 0 is theirs for the background."""
    shown, told = augment(preprocess(torch.from_numpy(inputs)), torch.from_numpy(targets), config, generator, moved)
    truths = truths_of(told, len(dataset.card.classes))
    return list(shown), [
        {"boxes": boxes[learnt], "labels": labels[learnt] + 1}
        for boxes, labels, learnt in zip(truths.boxes, truths.labels, truths.learnt, strict=True)
    ]


def _shortened(network: nn.Module, training: TrainingConfig) -> None:
    """Have what most of the time goes into computed in the recipe's precision: the trunk with its pyramid, and heads.

    What comes of it is float32 again: anchors and boxes would be too coarse otherwise.
    """
    for name in ("backbone", "head.classification_head", "head.regression_head", "rpn.head", "roi_heads.box_head"):
        try:
            part = network.get_submodule(name)
        except AttributeError:
            continue
        part.forward = functools.partial(_short, part.forward, training)


def _short(forward: Callable[..., Any], training: TrainingConfig, *given: Any) -> Any:
    with autocast(training, torch.device("cpu")):
        return _long(forward(*given))


def _long(found: Any) -> Any:
    if isinstance(found, dict):
        return type(found)((name, _long(value)) for name, value in found.items())
    if isinstance(found, (list, tuple)):
        return type(found)(_long(value) for value in found)
    return found.float()


def answers(network: nn.Module, inputs: Inputs) -> Answers:
    """What one of torchvision's networks answers, in the task's form."""
    with torch.inference_mode():
        told = network(list(preprocess(torch.from_numpy(np.ascontiguousarray(inputs)))))
    found: Answers = {
        "boxes": np.zeros((len(told), MOST, 4), np.float32),
        "scores": np.zeros((len(told), MOST), np.float32),
        "labels": np.full((len(told), MOST), -1, np.int64),
        "valid": np.zeros((len(told), MOST), bool),
    }
    for place, one in enumerate(told):
        best = one["scores"].argsort(descending=True, stable=True)[:MOST]
        for name in ("boxes", "scores"):
            found[name][place, : len(best)] = one[name][best].numpy()
        found["labels"][place, : len(best)] = one["labels"][best].numpy() - 1
        found["valid"][place, : len(best)] = True
    return found


def judged(network: nn.Module, answerer: Answerer, dataset: Dataset) -> dict[str, str]:
    """Parameters, and the task's metrics on the test split."""
    task, samples = tasks.of(dataset.card), load_split(dataset, "test")
    predictions = ask(task, answerer, samples, dataset.card, batch=50)
    figures = task.measure(predictions, np.ones((1, len(samples))))
    parameters = sum(each.numel() for each in network.parameters())
    return {"parameters": f"{parameters:,}", **{name: f"{figures[name][0]:.3f}" for name in SHOWN}}


if __name__ == "__main__":
    main()
