"""What passes through a network on its way to the outputs: the last feature map, and what the head sees.

Taken by hooks, so that one forward pass gives all of it, also within DDP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.models.ensemble import Ensemble


@dataclass(frozen=True)
class Seen:
    """Of N inputs, float32."""

    features: Tensor  # (N, D, h, w); of a U-Net the deepest
    embedding: Tensor  # (N, E)


class Watch:
    """The hooks on one network with the surface of `registry.Network`, and what they have seen last."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._features: Tensor | None = None
        self._embedding: Tensor | None = None
        self._handles = [cast(nn.Module, network.head).register_forward_pre_hook(self._before_head)]
        self._wrapped: list[tuple[nn.Module, str]] = []
        features = network.features
        if isinstance(features, nn.Module):
            self._handles.append(features.register_forward_hook(self._after_features))
        elif hasattr(network, "body") and hasattr(network.body, "forward_features"):  # timm's do not ask themselves
            as_map: Callable[[Tensor], Tensor] = cast(Any, network).as_map
            self._wrap(cast(nn.Module, network.body), "forward_features", as_map)
        else:
            self._wrap(network, "features", lambda found: found[0] if isinstance(found, tuple) else found)

    def take(self) -> Seen:
        """What the last forward pass showed; it is shown once, so that nothing is kept longer than it is needed."""
        if self._features is None or self._embedding is None:
            raise RuntimeError(f"{type(self._network).__name__}: expected a forward pass to have been watched")
        seen = Seen(self._features.float(), _pooled(self._embedding.float()))
        self._features = self._embedding = None
        return seen

    def end(self) -> None:
        """Leave the network as it was."""
        for handle in self._handles:
            handle.remove()
        for module, name in self._wrapped:
            delattr(module, name)
        self._handles, self._wrapped = [], []

    def _wrap(self, module: nn.Module, name: str, as_map: Callable[[Any], Tensor]) -> None:
        method = getattr(module, name)

        def watched(*given: Any) -> Any:
            found = method(*given)
            self._features = as_map(found)
            return found

        setattr(module, name, watched)
        self._wrapped.append((module, name))

    def _before_head(self, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        self._embedding = given[0]

    def _after_features(self, module: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> None:
        self._features = found


class WatchOfAll:
    """An ensemble's members, watched as one.

    Embeddings stand side by side, each of length 1, so that no member drowns the others; of the feature maps, which
    have no common axes, it is that of the member with the greatest weight (the first where none is greatest).
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self.watches = [Watch(network) for network in ensemble.networks]
        weights = getattr(ensemble.fusion, "weights", None)
        self.best = 0 if weights is None else int(torch.argmax(weights))

    def take(self) -> Seen:
        """See `Watch`."""
        seen = [watch.take() for watch in self.watches]
        return Seen(seen[self.best].features, torch.cat([F.normalize(each.embedding, dim=1) for each in seen], dim=1))


def _pooled(embedding: Tensor) -> Tensor:
    """A dense task's head sees a map: its mean over space."""
    return embedding.mean(dim=(2, 3)) if embedding.ndim == 4 else embedding
