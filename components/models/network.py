"""A `Model` folder ↔ the network it describes. Weights are safetensors, never a pickle."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from components.artifacts import ArtifactError, Model, ModelCard
from components.files import writing
from components.models.ensemble import FUSIONS, Ensemble, Mirrored
from components.models.registry import build


def untrained(card: ModelCard) -> nn.Module:
    """The architecture that the card describes, with fresh weights."""
    if card.members:
        if card.fusion is None:
            raise ArtifactError(f"model.json of {card.name}: expected `fusion` beside `members`, found none")
        outputs = card.head.outputs if card.head else len(card.classes)
        learners = card.network.arguments.get("learners")
        built = [build(member, card.input, card.head or outputs) for member in card.members]
        # `mirror`: as cards of earlier releases have it.
        if card.network.arguments.get("tta") == "hflip" or card.network.arguments.get("mirror"):
            built = [Mirrored(member, FUSIONS[card.fusion].fuses) for member in built]
        return Ensemble(built, card.fusion, outputs, None if learners is None else int(learners))
    return build(card.network, card.input, card.head or len(card.classes))


def load_network(model: Model) -> nn.Module:
    """The trained network, in evaluation mode; raises ArtifactError where weights and architecture do not fit."""
    network = untrained(model.card)
    try:
        network.load_state_dict(load_file(model.weights))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(f"{model.weights}: expected the weights of {model.card.network.name}: {error}") from error
    return network.eval()


def save_weights(network: nn.Module, folder: Path) -> None:
    """Write `folder/model.safetensors` in one move."""
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with writing(folder / "model.safetensors") as temporary:
        save_file(state, temporary)
