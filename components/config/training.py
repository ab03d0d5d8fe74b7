"""`line.augment`, `line.training` and the networks: what a training is given, whichever step asks for it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from components.config.section import BY_CONTENT, Batch, Epochs, Failures, Few, Section, Share, ascending


class AugmentConfig(Section):
    """Random changes to a training batch. 0 switches one off. Geometry moves masks along with their images."""

    crop: Annotated[int, Field(ge=0, le=1_000)] = 0  # pixels of zero padding before a random crop to the same size
    flip: Share = 0.0  # probability of a left-right mirror
    rotation: NonNegativeFloat = 0.0  # ± degrees
    scale: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0  # ± share of the size
    shear: NonNegativeFloat = 0.0  # ± degrees
    brightness: Share = 0.0  # ± share of full scale
    contrast: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0  # ± share of the contrast
    colour: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0  # ± share of the saturation; no effect on one channel
    erase: Share = 0.0  # probability that a random rectangle is overwritten
    # Least and greatest share of the area that is erased (Zhong et al. 2017).
    erase_area: Annotated[tuple[Share, Share], AfterValidator(ascending)] = (0.02, 0.2)

    @property
    def switched_on(self) -> list[str]:
        """The keys that change something."""
        return [key for key, value in self.model_dump(exclude={"erase_area"}).items() if value]

    @property
    def views(self) -> int | None:
        """In how many ways an image can be shown: windows, and their mirror images; None: without end."""
        endless = (self.rotation, self.scale, self.shear, self.brightness, self.contrast, self.colour, self.erase)
        return None if any(endless) else (2 * self.crop + 1) ** 2 * (2 if 0 < self.flip < 1 else 1)


def _no_larger(value: float | str) -> float | str:
    """A validator: widths, depths and the like are what a network is made of."""
    if not isinstance(value, str) and abs(value) > LARGEST_ARGUMENT:
        raise ValueError(f"a number of at most {LARGEST_ARGUMENT:,}")
    return value


LARGEST_ARGUMENT = 2**16
Argument = Annotated[int | float | bool | str, AfterValidator(_no_larger)]


PRETRAINED = r"^(imagenet|(file|model|run|vectors):[^#]+(#sha256=[0-9a-f]{64})?)$"


class NetworkConfig(Section):
    """An architecture by its registered name, with the arguments of its entry point."""

    name: str  # a compact family's, or another library's: torchvision:NAME, timm:NAME
    # argument → value: a family's own (docs/reference/networks.md), or those of the library's class
    arguments: dict[str, Argument] = Field(default={})
    # The weights that training starts from: `imagenet`, file:PATH, model:FOLDER or run:RUN_ID; for texts, vectors:PATH,
    # a file of word vectors; None: random ones. `#sha256=…` behind a path holds it to its content.
    pretrained: Annotated[str, Field(pattern=PRETRAINED)] | None = None
    # Tensor → its shape, where it is narrower than the entry point makes it. Written by pruning, not by people.
    shapes: dict[str, tuple[Annotated[int, Field(ge=1, le=2**20)], ...]] = Field(default={})

    @property
    def begins_trained(self) -> bool:
        """Whether training starts from a trained network, and not from random weights or the vectors of words alone."""
        return self.pretrained is not None and not self.pretrained.startswith("vectors:")

    @model_serializer(mode="wrap")
    def _as_said(self, write: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Without what is not said: what is keyed by a whole network with random weights stays what it was."""
        written: dict[str, Any] = write(self)
        if info.context == BY_CONTENT and "#" in (self.pretrained or ""):
            written["pretrained"] = str(self.pretrained).partition("#")[2]
        unsaid: dict[str, Any] = {"pretrained": None, "shapes": {}}
        return {key: value for key, value in written.items() if key not in unsaid or value != unsaid[key]}


class ImbalanceConfig(Section):
    """What training does about classes of very different sizes. `benchmarks/imbalance.md` says which helps when."""

    # Which samples an epoch sees. over: each class as often as the largest; under: as often as the smallest, other
    # ones each epoch. smote: all as they are, and after the last epoch the trained network's head is fitted again on
    # embeddings that SMOTE has levelled (Chawla et al. 2002).
    sampling: Literal["natural", "over", "under", "smote"] = "natural"
    # weighted: cross-entropy by inverse class frequency; focal: Lin et al. 2017; balanced-softmax: Ren et al. 2020.
    loss: Literal["natural", "weighted", "focal", "balanced-softmax"] = "natural"
    focal_gamma: NonNegativeFloat = 2.0  # how little counts what is sure; the default is the paper's own choice
    # Share of the epochs after which sampling and loss are balanced; before it both are natural (deferred
    # re-weighting, Cao et al. 2019). 0: from the first epoch on. The last epoch is always balanced.
    deferred: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    @model_validator(mode="after")
    def _once(self) -> ImbalanceConfig:
        levelled = self.sampling in ("over", "under")
        if levelled and self.loss in ("weighted", "balanced-softmax"):
            raise ValueError(
                f"either `sampling: {self.sampling}` or `loss: {self.loss}`: both correct for the classes' sizes, and "
                f"twice is too much"
            )
        if self.deferred and not levelled and self.loss == "natural":
            raise ValueError("`deferred: 0` where neither sampling (over, under) nor loss is balanced")
        return self


class TransferConfig(Section):
    """How much of a pretrained network is trained, and how fast. `benchmarks/transfer.md` says what that is worth."""

    freeze: Literal["none", "features"] = "none"  # features: all but the head keep their weights and statistics
    # Epochs until a frozen network's next block, from the last to the first, is trained too (Howard & Ruder 2018);
    # 0.5: two blocks an epoch. 0: what is frozen stays so.
    unfreeze: NonNegativeFloat = 0.0
    # Each block's learning rate, in that of the block behind it: early layers see what all images share.
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    head_rate: PositiveFloat = 1.0  # the head's learning rate, in `learning_rate`s: it starts at random

    @model_validator(mode="after")
    def _frozen_first(self) -> TransferConfig:
        if self.unfreeze and self.freeze == "none":
            raise ValueError("`unfreeze: 0` where nothing is frozen, or `freeze: features`")
        return self


NATURAL = "natural"
CHANNELS_LAST: Literal["channels_last"] = "channels_last"
MemoryFormat = Literal["channels_last", "contiguous"]


class TrainingConfig(Section):
    """How every network of the pipeline is trained: members and student alike."""

    batch_size: Batch = 128  # over all workers together
    # muon: orthogonal steps for convolutions, Adam's for all else (Jordan et al. 2024); sgd: with Nesterov momentum
    optimizer: Literal["adamw", "sgd", "muon"] = "adamw"
    learning_rate: PositiveFloat = 2e-3  # the highest of the schedule
    weight_decay: NonNegativeFloat = 0.01  # decoupled (Loshchilov & Hutter 2019); biases and normalisation have none
    # how the rate goes after the warm-up: down to nothing, or not at all
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    # How the rate follows the batch from the one it was chosen for. linear: Goyal et al. 2017, for SGD; square-root:
    # Krizhevsky 2014, Hoffer et al. 2017, and for Adam's family Malladi et al. 2022.
    rate_scaling: Literal["none", "linear", "square-root"] = "none"
    reference_batch: Batch | None = None  # the batch, over all workers, that `learning_rate` was chosen for
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2  # share of the steps in which the rate rises
    # What is minimised, where the task has a choice (`convoy tasks` names it); natural: the task's own.
    loss: str = Field(default=NATURAL, exclude_if=NATURAL.__eq__)
    # share of a label's probability that is spread over all classes
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    gradient_clip: PositiveFloat | None = None  # largest allowed norm
    ema: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None  # decay of the averaged weights; None: none are kept
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bf16 autocast where the hardware has it
    # How pictures lie in memory while a network is trained. channels_last is fastest for most, by far not for all:
    # `convoy find format` measures both, in both precisions.
    memory_format: MemoryFormat = Field(default=CHANNELS_LAST, exclude_if=CHANNELS_LAST.__eq__)
    # One process each. [least, most]: as many of them as there is room for, again after every crash; with other numbers
    # of workers the last bits of the weights differ.
    workers: Few | Annotated[tuple[Few, Few], AfterValidator(ascending)] = 1
    # What a worker holds. data: the whole network (DDP); sharded: a share of every tensor (FSDP2); pipeline: some of
    # the layers, through which micro-batches flow (GPipe).
    strategy: Literal["data", "sharded", "pipeline"] = "data"
    replicas: Few = 1  # of the shards or of the pipeline: more than one are hybrids with data parallelism
    accumulate: Few = 1  # micro-batches that a worker cuts its part of a step into
    compress_gradients: bool = False  # between workers gradients travel as bfloat16 (strategy data)
    cpus_per_worker: Few | None = None  # None: the CPUs there are, divided by the workers
    use_gpu: Literal["auto", "never"] = "auto"  # auto: one a worker, where PyTorch finds enough of them
    # Where an epoch's images come from: memory maps of the decoded split, or a stream through Ray Data for data that is
    # larger than memory. auto: the stream where the decoded split would take more than half of the memory there is.
    reading: Literal["auto", "mapped", "streamed"] = "auto"
    imbalance: ImbalanceConfig = ImbalanceConfig()
    transfer: TransferConfig = TransferConfig()
    max_failures: Failures = 2  # worker crashes after which training goes on from its checkpoint
    # How often, after a loss that is not a number, training restores the checkpoint of its last epoch and goes on with
    # half the rate; 0: such a loss ends the training.
    checkpoint_restores: Failures = 0
    # Epochs in a row without a better primary metric on the validation split after which training ends, with the
    # weights of its best epoch; None: never.
    patience: Epochs | None = None

    @property
    def least_workers(self) -> int:
        return self.workers if isinstance(self.workers, int) else self.workers[0]

    @property
    def most_workers(self) -> int:
        return self.workers if isinstance(self.workers, int) else self.workers[1]

    @property
    def elastic(self) -> bool:
        """Whether other numbers of workers than one's own will do."""
        return self.least_workers != self.most_workers

    @model_validator(mode="after")
    def _laid_out(self) -> TrainingConfig:
        if self.strategy == "data":
            if self.replicas != 1:
                raise ValueError("`replicas: 1` for `strategy: data`, in which every worker is a replica already")
            return self
        if self.elastic:
            raise ValueError(f"one number of `workers` for `strategy: {self.strategy}`; only `data` is elastic")
        if self.most_workers % self.replicas or self.most_workers == self.replicas:
            raise ValueError(
                f"`workers` that are {self.replicas} times two or more, for `replicas: {self.replicas}` of `strategy: "
                f"{self.strategy}`"
            )
        if self.transfer.freeze != "none" and (self.strategy == "pipeline" or self.transfer.unfreeze):
            raise ValueError(
                f"`freeze: none` for `strategy: {self.strategy}`: a stage without gradients has none to pass on, and "
                f"what is sharded cannot be thawed"
            )
        if self.strategy == "sharded" and self.optimizer == "muon":
            raise ValueError("another `optimizer` than muon for `strategy: sharded`: it needs whole matrices")
        if self.compress_gradients:
            raise ValueError(f"`compress_gradients: false` for `strategy: {self.strategy}`")
        if self.imbalance.sampling == "smote":
            raise ValueError(
                f"a `sampling` other than smote for `strategy: {self.strategy}`: no worker can embed alone"
            )
        return self

    @model_validator(mode="after")
    def _scaled_from(self) -> TrainingConfig:
        if self.patience is not None and self.imbalance.sampling == "smote":
            raise ValueError("`patience` or `sampling: smote`: its head is fitted in the last epoch")
        if self.rate_scaling != "none" and self.reference_batch is None:
            raise ValueError(
                f"`reference_batch`, the batch that learning_rate was chosen for, where `rate_scaling: "
                f"{self.rate_scaling}`"
            )
        return self
