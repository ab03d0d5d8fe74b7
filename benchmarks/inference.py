"""Inputs a second of the int8 artifact: against PyTorch eager, and against OpenVINO + NNCF; one at a time and 64.

    python -m benchmarks.inference [--recipe NAME] [--threads N]

The student's network, exported and quantized as the pipeline does, its runtime chosen likewise. Its
weights are untrained: the time does not depend on them. All take turns in rounds; ratios are medians over the rounds.
NNCF is measured where it is installed (`pip install nncf`): its own int8 network of the same float graph, calibrated on
the same images, compiled by OpenVINO with its defaults for latency and for batches of exactly this size.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import logging
import tempfile
from pathlib import Path

import torch

from benchmarks.machine import ROOT, show
from components import config
from components.artifacts import Dataset, Model, ModelCard, write_model
from components.compress.quantize import quantize
from components.data import versions
from components.data.reading.loading import load_split
from components.environment import prepare_environment
from components.inputs.registry import noise
from components.models.network import save_weights, untrained
from components.runtimes import registry
from components.runtimes.execution import Answerer, Inputs, compare_calls, open_model

ROUNDS = 31
ARTIFACT = "the int8 artifact"
EAGER, NNCF = "PyTorch eager float32", "OpenVINO + NNCF int8"


def main() -> None:
    prepare_environment()
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--recipe", default=None, help="a recipe; by default params.yaml as it stands")
    arguments.add_argument("--threads", type=int, default=1)
    options = arguments.parse_args()
    line = config.load(ROOT, options.recipe).line
    dataset = versions.reproduce(ROOT, line.dataset, log=ROOT / ".convoy" / "logs" / "benchmark.log")
    torch.manual_seed(0)
    card = ModelCard(
        name="student",
        task=dataset.card.task,
        network=line.student.network if line.student else line.members.networks[0],
        classes=dataset.card.classes,
        input=dataset.card.input,
        data=dataset.digest,
    )
    # The loss of an untrained network says nothing: int8 is measured whatever it is.
    settings = line.quantize.model_copy(update={"control_seconds": 0.0, "aware": None, "candidates": ("int8",)})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        student = write_model(folder / "student", card, lambda place: save_weights(untrained(card), place))
        made = quantize(student, dataset, settings, folder / "quantized")
        chosen = Model(made.int8.folder, made.runtime.told(made.int8.card))
        nncf = _nncf(made.float32, dataset, settings.calibration_samples, folder / "nncf.xml")
        rows = []
        for batch in (1, 64):
            engines: dict[str, Answerer] = {
                EAGER: registry.get("pytorch").open(student.folder, options.threads),
                "ONNX Runtime float32": registry.get("onnxruntime").open(made.float32.onnx, options.threads),
                "ONNX Runtime int8": registry.get("onnxruntime").open(made.int8.onnx, options.threads),
                ARTIFACT: open_model(chosen, options.threads),
            }
            if registry.get("openvino").missing is None:
                engines["OpenVINO int8, the same file"] = registry.get("openvino").open(made.int8.onnx, options.threads)
            if nncf is not None:
                engines[NNCF] = _compiled(nncf, batch, options.threads)
            images = noise(card.input, batch)
            calls = {name: functools.partial(answer, images) for name, answer in engines.items()}
            timings = compare_calls(calls, batch, options.threads, rounds=ROUNDS)
            for name in calls:
                rate = timings.figures(name).images_per_second
                rows.append((name, batch, f"{rate:,.0f}", f"{timings.speedup(ARTIFACT, over=name):.2f}"))
    show(
        f"inference, {options.threads} thread(s): {card.network.name} {card.network.arguments}; {made.runtime.reason}",
        ("what", "at a time", "images/s (median)", "artifact ÷ this"),
        rows,
    )


def _nncf(float32: Model, dataset: Dataset, samples: int, target: Path) -> Path | None:
    """NNCF's int8 network of the float graph in OpenVINO's format; None where it is not installed."""
    if importlib.util.find_spec("nncf") is None:
        return None
    import nncf
    import openvino

    logging.getLogger("nncf").setLevel(logging.ERROR)
    images = load_split(dataset, "train", limit=samples).inputs
    shown = nncf.Dataset([image[None] for image in images], lambda image: {"image": image})
    quantized = nncf.quantize(openvino.Core().read_model(float32.onnx), shown, subset_size=samples)
    openvino.save_model(quantized, target, compress_to_fp16=False)
    return target


def _compiled(path: Path, batch: int, threads: int) -> Answerer:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape({"image": [batch, *list(model.input("image").partial_shape)[1:]]})
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def answer(images: Inputs) -> dict[str, object]:
        return {output.get_any_name(): value for output, value in request.infer({"image": images}).items()}

    return answer


if __name__ == "__main__":
    main()
