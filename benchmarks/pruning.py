"""What is left of a network that is pruned, beside one that was born as small.

    python -m benchmarks.pruning [--only WAY ...] [--images N] [--epochs N] [--seeds N] [-S KEY=VALUE ...]

A residual network is trained for `--epochs`, cut in one round and trained for half as many again. Beside it the very
network that the cut leaves (its widths, random weights) is trained from scratch for as long as both together. Accuracy
is that on the test split by the last weights, mean and deviation over the seeds; differences are paired by seed. How
fast is measured as ratios alone, of both float32 graphs in alternating rounds. Figures: `benchmarks/pruning.md`.
"""

from __future__ import annotations

import shutil
import statistics
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from benchmarks import study
from components.artifacts import Dataset, Model
from components.compress.pruning.finetuning import fine_tuning
from components.compress.pruning.prune import prune
from components.compress.pruning.report import Round
from components.config import LineConfig, NetworkConfig, PruneConfig, load
from components.environment import prepare_environment
from components.export.errors import CompressionError
from components.training.jobs.job import Job

NETWORK = NetworkConfig(name="residual", arguments={"width": 32, "stride": 2})
WAYS: dict[str, dict[str, Any]] = {
    **{
        f"structured, {keep}, multiples of {multiple}": {
            "kind": "structured",
            "target": "parameters",
            "keep": keep,
            "multiple_of": multiple,
        }
        for keep in (0.5, 0.25)
        for multiple in (1, 8, 16)
    },
    "structured, 0.25, multiples of 16, at random": {
        "kind": "structured",
        "target": "parameters",
        "keep": 0.25,
        "multiple_of": 16,
        "importance": "random",
    },
    "unstructured, 0.5": {"kind": "unstructured", "keep": 0.5},
    "unstructured, 0.25": {"kind": "unstructured", "keep": 0.25},
    "2:4": {"kind": "2:4"},
}


@dataclass(frozen=True)
class Found:
    """Of one way and one seed; accuracies are shares of the test images."""

    unpruned: float
    pruned: float
    scratch: float | None  # None where the network is as large as it was
    before: Round
    after: Round


def main() -> None:
    prepare_environment()
    options = study.options(__doc__, WAYS, epochs=8)
    line, dataset = load(study.ROOT, options.recipe, options.set).line, study.data(options.recipe, options.images)
    jobs = [
        Job(f"unpruned-{seed}", dataset.card.task, NETWORK, seed, options.epochs, line.training, line.augment)
        for seed in range(options.seeds)
    ]
    models = study.trained("pruning", jobs, dataset)
    accuracies = [study.on_test(model, dataset) for model in models]
    rows = []
    for way in options.only:
        try:
            found = [
                measured(way, job, model, accuracy, line, dataset)
                for job, model, accuracy in zip(jobs, models, accuracies, strict=True)
            ]
        except CompressionError as error:
            print(f"{way}: {error}")
            continue
        rows.append(_row(way, found))
        study.report("pruning", f"Unpruned: {study.spread(accuracies)} %", rows)  # so far


def measured(way: str, job: Job, model: Model, accuracy: float, line: LineConfig, dataset: Dataset) -> Found:
    """Cut the model, train it on, and train what it became from scratch."""
    name = f"{way.replace(', ', '-').replace(' ', '-').replace(':', '-')}-{job.seed}"
    further = max(1, job.epochs // 2)
    config: Any = TypeAdapter(PruneConfig).validate_python({**WAYS[way], "epochs": further})

    def fine_tune(start: Model) -> Model:
        return study.trained(f"pruning/{name}", [fine_tuning(job, start, config)], dataset)[0]

    folder = study.FOLDER / "pruning" / "made" / name
    shutil.rmtree(folder, ignore_errors=True)
    pruned = prune(model, dataset, config, folder / "pruned", work=folder / "cuts", fine_tune=fine_tune)
    scratch = None
    if config.kind == "structured":
        narrow = pruned.model.card.network.model_copy(update={"pretrained": None})
        born = replace(job, name=f"{name}-scratch", network=narrow, epochs=job.epochs + further)
        scratch = study.on_test(study.trained("pruning", [born], dataset)[0], dataset)
    before, after = pruned.report.before, pruned.report.after
    return Found(accuracy, study.on_test(pruned.model, dataset), scratch, before, after)


def _row(way: str, found: list[Found]) -> dict[str, object]:
    pruned, unpruned = [each.pruned for each in found], [each.unpruned for each in found]
    scratch = [each.scratch for each in found if each.scratch is not None]
    left = statistics.mean(each.after.nonzero / each.before.nonzero for each in found)
    return {
        "way": way,
        "accuracy, %": study.spread(pruned),
        "over unpruned, pp": study.gain(pruned, unpruned),
        "from scratch, %": study.spread(scratch) if scratch else "–",
        "over from scratch, pp": study.gain(pruned, scratch) if scratch else "–",
        "weights left, %": f"{100 * left:.0f}",
        "operations left, %": f"{100 * statistics.mean(each.after.macs / each.before.macs for each in found):.0f}",
        "speed, 1 image": f"{statistics.median(each.after.speedup for each in found):.2f}×",
        "speed, 64 images": f"{statistics.median(each.after.batch_speedup for each in found):.2f}×",
    }


if __name__ == "__main__":
    main()
