"""`line.prune`: what is taken out of the trained network, in how many rounds, and what that may cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from components.config.section import Epochs, Few, Fraction, Many, Section, Share


class Rounds(Section):
    """Taking out in rounds, and training on after each."""

    # Each round leaves the same share of what the one before it has left (Han et al. 2015).
    rounds: Few = 1
    epochs: Epochs  # of training after each round
    # None: the training's own rate and schedule once more, which does as well as or better than a low rate that is
    # tuned for it (learning-rate rewinding, Renda et al. 2020). A number: that rate, falling as a cosine.
    learning_rate: PositiveFloat | None = None
    # How much of the primary metric it may lose against the unpruned network on the validation split before the run
    # stops. Half of what a student may lose against its teacher: pruning changes less.
    allowance: Share = 0.05


class StructuredConfig(Rounds):
    """Whole channels with all that depends on them (Torch-Pruning, Fang et al. 2023): a smaller network."""

    kind: Literal["structured"]
    # Of what a share is to be left. macs: multiply-accumulates of convolutions and matrix products, of which FLOPs are
    # about twice as many; latency: of one image in the float32 graph, on one thread of ONNX Runtime on this machine.
    target: Literal["parameters", "macs", "latency"] = "macs"
    keep: Fraction = 0.5  # share of `target` that is to be left
    # Which channels go first. magnitude: of the least weights (Li et al. 2017), with all that depends on them; taylor:
    # whose weights times gradients, on `samples` of the training split, are least (Molchanov et al. 2019); random: the
    # control that the others have to beat.
    importance: Literal["magnitude", "taylor", "random"] = "magnitude"
    samples: Many = 512  # of the training split, for `importance: taylor`
    # global: all layers' channels compete; layer: every layer gives the same share.
    ranking: Literal["global", "layer"] = "global"
    # Channels of a layer. 8 or 16 fill vectors, without which half of a network is no faster than the whole
    # (`benchmarks/pruning.md`). auto: 16 where the narrowest layer has two of them, else 8, else 1; and less where
    # what is to be left cannot be reached in such steps.
    multiple_of: Literal["auto"] | Few = "auto"


class UnstructuredConfig(Rounds):
    """Single weights, the smallest of all layers, become zeros (Han et al. 2015). Gains no speed here."""

    kind: Literal["unstructured"]
    keep: Fraction = 0.5  # share of the weights of convolutions and matrix products that stay


class TwoOfFourConfig(Rounds):
    """Of four weights beside each other over the input channels two become zeros: the pattern that some GPUs compute.

    (Mishra et al. 2021.) Buys no speed here.
    """

    kind: Literal["2:4"]
    rounds: Literal[1] = 1


PruneConfig = Annotated[StructuredConfig | UnstructuredConfig | TwoOfFourConfig, Field(discriminator="kind")]
