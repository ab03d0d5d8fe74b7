"""Trained weights → a network that may have other classes, channels or parts. What fits is taken, and all is told.

Weights are matched by name and shape. The first convolution is adapted to the image's channels, a head for other
classes starts afresh, and normalisation keeps the statistics of the data that is now learnt from. Where nearly nothing
fits, that is an error: a wrong file must not train from scratch without a word. Of word vectors those of the training
split's vocabulary are taken, and all else stays as it is initialised.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from components.artifacts import InputSpec, TextSpec
from components.config import ConfigurationError, NetworkConfig
from components.models import word_vectors
from components.models.parts.layers import Normalize
from components.models.parts.tables import tables
from components.models.parts.units import Units
from components.models.weights import digest, locate, of_words, sha256
from components.tokenizing import FIRST

# Attention that is added to a trained network is a fifth of it at most; another width or family fits nowhere.
LEAST_SHARE = 0.5
NAMED = 3  # examples in an error

# torchvision's DenseNets are published with names that its own code has since changed.
OLD_DENSENET = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$"
)


@dataclass(frozen=True)
class Loaded:
    """What became of each tensor, by the network's names, but `left` by the file's."""

    source: str
    sha256: str
    share: float  # of the parameters before the head, how much was taken
    taken: tuple[str, ...]
    adapted: tuple[str, ...]  # to other channels
    fresh: tuple[str, ...]  # as they were initialised
    left: tuple[str, ...]  # in the file, and not used

    def __str__(self) -> str:
        head = "taken" if any(name.startswith("head.") for name in self.taken) else "fresh"
        return (
            f"{self.share:.0%} of the features from {self.source} ({self.sha256[:12]}), head {head}"
            + (f", {', '.join(self.adapted)} adapted to the channels" if self.adapted else "")
            + f"; {len(self.taken)} tensors taken, {len(self.fresh)} fresh, {len(self.left)} left over"
        )


@dataclass(frozen=True)
class Words:
    """What became of a file of word vectors."""

    source: str
    sha256: str
    found: int  # units of the vocabulary that the file has
    units: int  # of the vocabulary

    def __str__(self) -> str:
        share = self.found / self.units
        return (
            f"vectors of {self.found:,} of {self.units:,} units ({share:.0%}) from {self.source} ({self.sha256[:12]})"
        )


def load(network: nn.Module, config: NetworkConfig, inputs: InputSpec) -> Loaded | Words | None:
    """Put the weights that `config.pretrained` names into the network, in place; None where it names none.

    Raises ConfigurationError where there is no such file, it holds no weights, or less than half of the features' fit;
    of word vectors, where they have another length or are of none of the units.
    """
    path = locate(config)
    if path is None:
        return None
    if of_words(config):
        return look_up(network, inputs, path, str(digest(config)))
    return fill(network, read(path), f"{config.name}, {config.pretrained}", sha256(path))


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a PyTorch checkpoint, whose pickle may hold nothing but tensors."""
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise ConfigurationError(f"pretrained: expected weights in {path}: {error}") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise ConfigurationError(f"pretrained: expected tensors by their names in {path}, found none")
    # DistributedDataParallel puts `module.` before every name.
    return {str(n).removeprefix("module."): value for n, value in content.items() if isinstance(value, Tensor)}


def look_up(network: nn.Module, inputs: InputSpec, path: Path, digest: str) -> Words:
    """Put vectors from a file into every table of the network's units; see `load`."""
    if not isinstance(inputs, TextSpec) or not inputs.vocabulary:
        raise ConfigurationError(f"pretrained: expected texts of words or characters for the vectors in {path}")
    found, targets = word_vectors.read(path, inputs.vocabulary), tables(network, inputs.numbers)
    if not targets:
        raise ConfigurationError(f"pretrained: expected a network with a table of the units, for the vectors in {path}")
    if not len(found.places):
        raise ConfigurationError(
            f"pretrained: expected vectors of words in {path}, found none of the {len(inputs.vocabulary):,} in the "
            f"vocabulary ({_some([repr(unit) for unit in inputs.vocabulary])})"
        )
    places = torch.from_numpy(found.places) + FIRST
    vectors = torch.from_numpy(found.vectors)
    for weight in targets:
        if weight.shape[1] != vectors.shape[1]:
            raise ConfigurationError(
                f"pretrained: expected vectors of {weight.shape[1]} numbers, as the network has them, received such of "
                f"{vectors.shape[1]} in {path}; set the argument dimension"
            )
        with torch.no_grad():
            weight[places.to(weight.device)] = vectors.to(weight)
    return Words(path.name, digest, len(found.places), len(inputs.vocabulary))


def fill(network: nn.Module, tensors: Mapping[str, Tensor], source: str, digest: str) -> Loaded:
    """See `load`; `source` is what an error calls it."""
    own = network.state_dict()
    given = _renamed(network, own, tensors)
    statistics = {
        f"{name}.{buffer}".lstrip(".")
        for name, module in network.named_modules()
        if isinstance(module, Normalize | Units)
        for buffer in ("mean", "std")
    }
    first = next((f"{name}.weight" for name, m in network.named_modules() if isinstance(m, nn.Conv2d)), None)
    taken, adapted, fresh, values = [], [], [], {}
    for name, value in own.items():
        found = given[name][1] if name in given and name not in statistics else None
        if found is not None and found.shape == value.shape:
            taken.append(name)
        elif found is not None and name == first and _other_channels(found, value):
            found = _adapt(found, value.shape[1])
            adapted.append(name)
        else:
            fresh.append(name)
            continue
        values[name] = found.to(value.dtype)
    used = {given[name][0] for name in values}
    body = {name: p.numel() for name, p in network.named_parameters() if not name.startswith("head.")}
    share = sum(size for name, size in body.items() if name in values) / max(1, sum(body.values()))
    if share < LEAST_SHARE:
        raise ConfigurationError(_mismatch(source, share, own, given, tensors))
    network.load_state_dict(values, strict=False)
    return Loaded(
        source=source,
        sha256=digest,
        share=share,
        taken=tuple(taken),
        adapted=tuple(adapted),
        fresh=tuple(fresh),
        left=tuple(sorted(set(tensors) - used)),
    )


def _renamed(
    network: nn.Module, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> dict[str, tuple[str, Tensor]]:
    """The network's names → the file's name and tensor: as they are, or as the network's library writes them."""
    plain = {name: (name, value) for name, value in tensors.items()}
    head = getattr(network, "head_name", None)
    if head is None:
        return plain
    library = {}
    for name, value in tensors.items():
        current = OLD_DENSENET.sub(r"\1\2", name)
        ours = f"head.{current[len(head) + 1 :]}" if current.startswith(f"{head}.") else f"body.{current}"
        library[ours] = (name, value)
    return max(plain, library, key=lambda names: len(own.keys() & names.keys()))


def _other_channels(found: Tensor, wanted: Tensor) -> bool:
    return found.ndim == 4 and found.shape[0] == wanted.shape[0] and found.shape[2:] == wanted.shape[2:]


def _adapt(kernel: Tensor, channels: int) -> Tensor:
    """timm's way: summed for one channel, else repeated and scaled so that a grey image gives the same response."""
    from timm.models import adapt_input_conv

    adapted: Tensor = adapt_input_conv(channels, kernel, base_chans=kernel.shape[1])
    return adapted


def _mismatch(
    source: str,
    share: float,
    own: Mapping[str, Tensor],
    given: Mapping[str, tuple[str, Tensor]],
    tensors: Mapping[str, Tensor],
) -> str:
    shapes = [
        f"{name} {tuple(given[name][1].shape)} instead of {tuple(value.shape)}"
        for name, value in own.items()
        if name in given and given[name][1].shape != value.shape
    ]
    used = {given[name][0] for name in own if name in given}
    said = {
        "in the file alone": [name for name in tensors if name not in used],
        "in the network alone": [name for name in own if name not in given],
        "of another shape": shapes,
    }
    parts = [f"{what}: {_some(names)}" for what, names in said.items() if names]
    return (
        f"pretrained: expected at least {LEAST_SHARE:.0%} of the features' weights to fit from {source}, and "
        f"{share:.0%} do; {'; '.join(parts)}"
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
