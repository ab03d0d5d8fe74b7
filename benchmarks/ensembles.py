"""What makes an ensemble, and how its members are put together: one member against four, over several seeds.

    python -m benchmarks.ensembles [--only WAY ...] [--images N] [--epochs N] [--seeds N] [-S KEY=VALUE ...]

The recipe's data and settings, a small network, `--epochs` a training (snapshots: one training of four times as many).
Every way of having members is put together by every combiner that can, each fitted and chosen on the validation split
and judged once on the test split. Figures: `benchmarks/ensembles.md`.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from benchmarks import study
from components.artifacts import Dataset, Model
from components.compress.ensembling.answers import ask, together
from components.compress.ensembling.asking import asked_of
from components.compress.ensembling.combine import combine
from components.compress.ensembling.combiners import COMBINERS, SOUP
from components.compress.ensembling.report import read_report
from components.compress.ensembling.soup import shares_origin
from components.config import EnsembleConfig, LineConfig, MembersConfig, load
from components.data.reading.loading import load_split
from components.environment import prepare_environment
from components.export.errors import CompressionError
from components.tasks import registry as tasks
from components.tasks.network import torch_answerer
from components.training.jobs.members import member_jobs

MEMBERS = 4
RESIDUAL: dict[str, Any] = {"name": "residual", "arguments": {"width": 16, "stride": 2}}

# How the members come to differ.
WAYS: dict[str, dict[str, Any]] = {
    "seeds": {},
    "architectures": {"networks": [RESIDUAL, {"name": "mobilenet"}]},
    "augmentation": {"augments": [{"crop": 1, "flip": 0.5}, {"crop": 2, "flip": 0.5, "erase": 0.5}]},
    "folds": {"folds": MEMBERS},
    "boosting": {"boosting": "samme"},
    "snapshots": {"snapshots": MEMBERS},
    "averaged weights": {"average": "swa"},
}


def main() -> None:
    prepare_environment()
    options = study.options(__doc__, WAYS, epochs=3)
    line, dataset = load(study.ROOT, options.recipe, options.set).line, study.data(options.recipe, options.images)
    rows = []
    for way in options.only:
        found = [measured(way, seed, options.epochs, line, dataset) for seed in range(options.seeds)]
        row: dict[str, object] = {"members differ by": way}
        for what in ("member", *COMBINERS["probabilities"], SOUP, "chosen"):
            values = [figures[what] for figures in found if what in figures]
            row[what] = study.spread(values) if len(values) == len(found) else "–"
        rows.append({**row, "disagreement": study.spread([figures["disagreement"] for figures in found])})
        study.report("ensembles", f"{MEMBERS} members; test accuracy, %", rows)  # so far


def measured(way: str, seed: int, epochs: int, line: LineConfig, dataset: Dataset) -> Mapping[str, float]:
    """Test accuracy of the mean member and of every combiner that can be; how often two members disagree."""
    name = f"{way.replace(' ', '-')}-{seed}"
    # One training leaves all snapshots: it takes as long as the others do together.
    length = MEMBERS * epochs if way == "snapshots" else epochs
    base = {"count": MEMBERS, "networks": [RESIDUAL], "epochs": length}
    members = MembersConfig.model_validate({**base, **WAYS[way]})
    jobs = member_jobs(members, dataset.card.task, line.training, line.augment, seed=1_000 * seed)
    models = study.trained(f"ensembles/{name}", jobs, dataset)
    task, test = tasks.of(dataset.card), load_split(dataset, "test")
    asked = asked_of(models, task, dataset)
    said = [ask(task, torch_answerer(task, network), test, dataset.card) for network in asked.networks]
    outputs = together(said, test.targets).outputs
    found = {"member": statistics.mean(each.measure(task)[task.spec.primary_metric] for each in said)}
    for combiner in COMBINERS["probabilities"].values():
        with suppress(CompressionError):
            fusion = combiner.fit(asked.answers, asked.given)
            found[combiner.name] = float((fusion(outputs).argmax(dim=1).numpy() == test.targets).mean())
    if shares_origin(models):
        found[SOUP] = study.on_test(_combined(models, dataset, SOUP, name), dataset)
    chosen = read_report(_combined(models, dataset, "auto", name))
    print(f"{name}: auto takes {chosen.combiner}, {chosen.reason}", flush=True)
    return {**found, "chosen": found[chosen.combiner], "disagreement": chosen.mean_disagreement}


def _combined(models: list[Model], dataset: Dataset, combiner: str, name: str) -> Model:
    folder = study.FOLDER / "ensembles" / name / "combined" / combiner
    shutil.rmtree(folder, ignore_errors=True)
    return combine(models, dataset, EnsembleConfig.model_validate({"combiner": combiner}), folder)


if __name__ == "__main__":
    main()
