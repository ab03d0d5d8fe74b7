"""The student with less in it: cut, trained on, and cut again, until what was asked for is left.

Each round leaves the same share of what the one before it has left. A cut is a `Model` like any other: the shapes of
what was narrowed are in its card, zeros are in its weights, and no later step has to know that it was pruned. Training
is done by whoever is given as `fine_tune`; what all that was worth is `measuring`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from components.artifacts import Ancestor, Dataset, InputSpec, Model, ModelCard, write_model
from components.compress.pruning import masks, structured
from components.compress.pruning.measuring import report_on, timed
from components.compress.pruning.report import PruningReport
from components.config import LineConfig, PruneConfig, StructuredConfig, TwoOfFourConfig, UnstructuredConfig
from components.data.reading.loading import load_split
from components.export.errors import CompressionError, require_trained_on
from components.inputs.registry import noise
from components.models.narrowing import shapes_of
from components.models.network import load_network, save_weights, untrained
from components.models.preprocessing import preprocess
from components.models.size import size
from components.tasks import registry as tasks

NAME = "pruned"
HALVINGS = 5  # of the share of MACs in which a latency is looked for: to 3 % of what there is

FineTune = Callable[[Model], Model]  # a cut → the same network, trained on; the name stays


@dataclass(frozen=True)
class Pruned:
    """What came of it."""

    model: Model
    report: PruningReport


def problems(line: LineConfig, key: str = "line.prune") -> list[str]:
    """What is wrong with pruning on this line, a line each."""
    if line.prune is None:
        return []
    found = []
    if line.prune.kind == "structured" and (reason := structured.missing()) is not None:
        found.append(f"{key}.kind: expected unstructured or 2:4, received 'structured': {reason}")
    if line.student is None and line.members.count > 1 and line.ensemble.combiner != "soup":
        found.append(
            f"{key}: expected null where an ensemble of {line.members.count} goes on itself; have a student, one "
            f"member, or ensemble.combiner: soup"
        )
    return found


def prune(
    student: Model, dataset: Dataset, config: PruneConfig, folder: Path, *, work: Path, fine_tune: FineTune
) -> Pruned:
    """Write the pruned student into `folder`; `work` keeps the cuts, so that a second try goes on from the same ones.

    Raises CompressionError for an ensemble, for a network that cannot be pruned, and for data of another kind.
    """
    require_trained_on(student, dataset)
    if student.card.members:
        raise CompressionError(
            f"{student.folder}: expected one network to prune, received an ensemble of {len(student.card.members)}; "
            "have a student, or set prune to null"
        )
    cuts: list[Model] = []
    trained: list[Model] = []
    for number in range(1, config.rounds + 1):
        place = work / f"{NAME}-{number}"
        if not (place / "model.json").is_file():
            _cut(trained[-1] if trained else student, student, dataset, config, number / config.rounds, place)
        cuts.append(Model.load(place))
        trained.append(fine_tune(cuts[-1]))
    last = trained[-1]
    parents = (Ancestor(role="unpruned", digest=student.digest), *student.card.parents)
    start = student.card.network.pretrained
    network = last.card.network.model_copy(update={"pretrained": start})
    card = student.card.model_copy(update={"name": NAME, "network": network, "parents": parents})
    model = write_model(folder, card, lambda target: save_weights(load_network(last), target))
    return Pruned(model, report_on(config.kind, student, cuts, trained, dataset))


def _cut(current: Model, unpruned: Model, dataset: Dataset, config: PruneConfig, part: float, place: Path) -> Model:
    """The network of a round before it is trained; `part` of the way is behind when it is done."""
    network = load_network(current)
    match config:
        case StructuredConfig():
            if config.importance == "taylor":
                samples = load_split(dataset, "train", limit=config.samples)
                network = structured.feel(network, tasks.of(dataset.card), samples)
            share = config.keep**part
            if config.target == "latency":
                network = _as_fast(network, unpruned, config, share)
            else:
                network = _as_small(network, unpruned, config, share)
        case UnstructuredConfig():
            network = masks.unstructured(network, config.keep**part)
        case TwoOfFourConfig():
            network = masks.two_of_four(network)
    return store(network, unpruned.card, place)


def store(network: nn.Module, whole: ModelCard, place: Path) -> Model:
    """Write a network that was cut out of the one that `whole` describes, and look whether it comes back.

    Raises CompressionError where the network that is built by its shapes does not answer bitwise alike.
    """
    plain = whole.model_copy(update={"network": whole.network.model_copy(update={"shapes": {}})})
    shapes = shapes_of(network, untrained(plain))
    card = whole.model_copy(update={"name": place.name, "network": whole.network.model_copy(update={"shapes": shapes})})
    inputs = preprocess(torch.from_numpy(noise(whole.input, 2)))
    with TemporaryDirectory() as folder:
        again = load_network(write_model(Path(folder) / "m", card, lambda target: save_weights(network, target)))
    with torch.no_grad():
        if not torch.equal(network.eval()(inputs), again(inputs)):
            raise CompressionError(
                f"{whole.network.name}: expected a pruned network that can be built by its shapes, and it answers "
                f"otherwise: one of its layers keeps a width that is none of its tensors'"
            )
    return write_model(place, card, lambda target: save_weights(network, target))


def _as_small(network: nn.Module, unpruned: Model, config: StructuredConfig, share: float) -> nn.Module:
    inputs = unpruned.card.input
    most = share * _counted(load_network(unpruned), inputs, config.target)
    return structured.cut(network, inputs, config, lambda current: _counted(current, inputs, config.target) <= most)


def _counted(network: nn.Module, inputs: InputSpec, target: str) -> int:
    found = size(network, inputs)
    return found.parameters if target == "parameters" else found.macs


def _as_fast(network: nn.Module, unpruned: Model, config: StructuredConfig, share: float) -> nn.Module:
    """As much of the network as answers for one image within `share` of the unpruned one's time, by halving."""
    inputs = unpruned.card.input
    whole = size(load_network(unpruned), inputs).macs
    low, high = 0.0, float(size(network, inputs).macs)
    best: nn.Module | None = None
    for _ in range(HALVINGS):
        most = (low + high) / 2
        tried = structured.cut(structured.copied(network), inputs, config, partial(_within, inputs, most))
        if _time(tried, unpruned) <= share:
            best, low = tried, most
        else:
            high = most
    if best is None:
        raise CompressionError(
            f"{unpruned.card.network.name}: expected {share:.2f} of the latency to be reachable, and {high / whole:.2f}"
            f" of the MACs still take longer on this machine; set prune.target to macs, or keep more"
        )
    return best


def _within(inputs: InputSpec, most: float, network: nn.Module) -> bool:
    return size(network, inputs).macs <= most


def _time(network: nn.Module, unpruned: Model) -> float:
    """For one image, in the unpruned network's time."""
    with TemporaryDirectory() as folder:
        (timings,) = timed([unpruned, store(network, unpruned.card, Path(folder) / NAME)], (1,))
    return 1.0 / timings.speedup("1", over="0")
