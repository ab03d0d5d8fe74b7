"""Images a second of the served artifact: PyTorch eager, ONNX Runtime in fp32, and int8; one at a time and 64.

    python -m benchmarks.inference [--recipe NAME] [--threads N]

The first member's network, exported and quantized by the line's own rooms. Its weights are untrained: the time does
not depend on them. The three take turns in rounds; the ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.machine import ROOT, show
from components import config
from components.artifacts import ModelCard, write_model
from components.compress.quantize import quantize
from components.compress.runtime import noise, open_session
from components.data import versions
from components.environment import prepare_environment
from components.models.network import load_network, save_weights, untrained

ROUNDS, SECONDS = 15, 0.2  # a round times each for that long


def main() -> None:
    prepare_environment()
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--recipe", default=None, help="a recipe; by default params.yaml as it stands")
    arguments.add_argument("--threads", type=int, default=1)
    options = arguments.parse_args()
    settings = config.load(ROOT, options.recipe)
    dataset = versions.reproduce(ROOT, settings.line.dataset, log=ROOT / ".convoy" / "logs" / "benchmark.log")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    card = ModelCard(
        name="student",
        task=dataset.card.task,
        network=settings.line.members.networks[0],
        classes=dataset.card.classes,
        input=dataset.card.input,
        data=dataset.digest,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        student = write_model(folder / "student", card, lambda place: save_weights(untrained(card), place))
        quantized = quantize(student, dataset, settings.line.quantize, folder / "quantized")
        network = load_network(student)
        float32, int8 = (open_session(model, options.threads) for model in (quantized.float32, quantized.int8))
        rows = []
        for batch in (1, 64):
            images = noise(card.input, batch)
            pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0

            def eager(pixels: torch.Tensor = pixels) -> None:
                with torch.inference_mode():
                    torch.softmax(network(pixels), dim=1)

            rates = alternating(
                {
                    "PyTorch eager fp32": eager,
                    "ONNX Runtime fp32": lambda images=images: float32.run(None, {"image": images}),
                    "ONNX Runtime int8": lambda images=images: int8.run(None, {"image": images}),
                }
            )
            ours = rates["ONNX Runtime int8"]
            for name, values in rates.items():
                ratios = [mine / theirs for mine, theirs in zip(ours, values, strict=True)]
                rows.append(
                    (name, batch, f"{statistics.median(values) * batch:,.0f}", f"{statistics.median(ratios):.2f}")
                )
    show(
        f"inference, {options.threads} thread(s): {card.network.name} {card.network.arguments}",
        ("runtime", "at a time", "images/s (median)", "int8 ÷ this"),
        rows,
    )


def alternating(calls: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Calls a second of each, a value a round."""
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        for name, call in calls.items():
            count, began = 0, time.perf_counter()
            while time.perf_counter() - began < SECONDS:
                call()
                count += 1
            if number:  # the first round warms up
                rates[name].append(count / (time.perf_counter() - began))
    return rates


if __name__ == "__main__":
    main()
