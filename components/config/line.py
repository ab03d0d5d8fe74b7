"""`line:` of `params.yaml`: which data set, and what each step does with it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from components.config.section import Fraction, Section, Share, ascending


class DriftConfig(Section):
    """How the data is compared with what the production model was trained on (Evidently)."""

    sample: PositiveInt = 2000  # rows of each side: with more, ever smaller changes count (`benchmarks/drift.md`)
    # Of comparisons of unchanged data, the share that may report drift at most. A line a night on new data each time
    # then cries wolf three or four times a year.
    false_alarms: Fraction = 0.01


class AugmentConfig(Section):
    """Random changes to a training batch. 0 switches one off. Geometry moves masks along with their images."""

    crop: int = Field(default=0, ge=0)  # pixels of zero padding before a random crop to the same size
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


class NetworkConfig(Section):
    """An architecture by its registered name, with the arguments of its entry point."""

    name: str  # a compact family's, or another library's: torchvision:NAME, timm:NAME
    arguments: dict[str, int | float | bool | str] = Field(default={})
    # The weights that training starts from: `imagenet`, file:PATH, model:FOLDER or run:RUN_ID; None: random ones.
    # `#sha256=…` behind a path holds it to its content.
    pretrained: Annotated[str, Field(pattern=r"^(imagenet|(file|model|run):[^#]+(#sha256=[0-9a-f]{64})?)$")] | None = (
        None
    )

    @model_serializer(mode="wrap")
    def _as_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `pretrained: null`: what is keyed by a network with random weights stays what it was."""
        written: dict[str, Any] = write(self)
        return {key: value for key, value in written.items() if key != "pretrained" or value is not None}


class ImbalanceConfig(Section):
    """What training does about classes of very different sizes. `benchmarks/imbalance.md` says which helps when."""

    # Which samples an epoch sees. over: each class as often as the largest; under: as often as the smallest, other
    # ones each epoch. smote: all as they are, and after the last epoch the trained network's head is fitted again on
    # embeddings that SMOTE has levelled (Chawla et al. 2002).
    sampling: Literal["natural", "over", "under", "smote"] = "natural"
    # weighted: cross-entropy by inverse class frequency; focal: Lin et al. 2017; balanced-softmax: Ren et al. 2020.
    loss: Literal["natural", "weighted", "focal", "balanced-softmax"] = "natural"
    focal_gamma: NonNegativeFloat = 2.0  # the paper's own choice
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


class TrainingConfig(Section):
    """How every network on the line is trained: members and student alike."""

    batch_size: PositiveInt = 128  # over all workers together
    optimizer: Literal["adamw", "sgd", "muon"] = "adamw"
    learning_rate: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 0.01
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    # How the rate follows the batch from the one it was chosen for. linear: Goyal et al. 2017, for SGD; square-root:
    # Krizhevsky 2014, Hoffer et al. 2017, and for Adam's family Malladi et al. 2022.
    rate_scaling: Literal["none", "linear", "square-root"] = "none"
    reference_batch: PositiveInt | None = None  # the batch, over all workers, that `learning_rate` was chosen for
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2  # share of the steps in which the rate rises
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    gradient_clip: PositiveFloat | None = None  # largest allowed norm
    ema: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None  # decay of the averaged weights; None: none are kept
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bf16 autocast where the hardware has it
    # One process each. [least, most]: as many of them as there is room for, again after every crash; with other numbers
    # of workers the last bits of the weights differ.
    workers: PositiveInt | Annotated[tuple[PositiveInt, PositiveInt], AfterValidator(ascending)] = 1
    # What a worker holds. data: the whole network (DDP); sharded: a share of every tensor (FSDP2); pipeline: some of
    # the layers, through which micro-batches flow (GPipe).
    strategy: Literal["data", "sharded", "pipeline"] = "data"
    replicas: PositiveInt = 1  # of the shards or of the pipeline: more than one are hybrids with data parallelism
    accumulate: PositiveInt = 1  # micro-batches that a worker cuts its part of a step into
    compress_gradients: bool = False  # between workers gradients travel as bfloat16 (strategy data)
    cpus_per_worker: PositiveInt | None = None  # None: the CPUs there are, divided by the workers
    use_gpu: Literal["auto", "never"] = "auto"
    # Where an epoch's images come from: memory maps of the decoded split, or a stream through Ray Data for data that is
    # larger than memory. auto: the stream where the decoded split would take more than half of the memory there is.
    reading: Literal["auto", "mapped", "streamed"] = "auto"
    imbalance: ImbalanceConfig = ImbalanceConfig()
    transfer: TransferConfig = TransferConfig()
    max_failures: int = Field(default=2, ge=0)  # worker crashes after which training goes on from its checkpoint
    # How often a loss that is no number sends training back to the last stored epoch, with half the rate from there on;
    # 0: it ends the training.
    rollbacks: int = Field(default=0, ge=0)
    # Epochs in a row without a better primary metric on the validation split after which training ends, with the
    # weights of its best epoch; None: never.
    patience: PositiveInt | None = None

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


class MembersConfig(Section):
    """The ensemble's members: same data, different seeds, architectures in turn."""

    count: PositiveInt = 3  # 1: no ensemble, the one member goes on
    networks: Annotated[tuple[NetworkConfig, ...], Field(min_length=1)]  # member i takes networks[i % len]
    epochs: PositiveInt


class EnsembleConfig(Section):
    """How the members are combined."""

    combiner: Literal["probability"] = "probability"  # weighted mean of the members' probabilities
    weights: Literal["fitted", "equal"] = "fitted"  # fitted: greatest likelihood on the validation split


class StudentConfig(Section):
    """The one network that is served: it learns from the labels and from the ensemble."""

    network: NetworkConfig
    epochs: PositiveInt
    temperature: PositiveFloat = 3.0  # softens both distributions (Hinton et al. 2015 used 1–20)
    teacher_weight: Share = 0.7  # share of the loss that the teacher's soft targets have


class QuantizeConfig(Section):
    """Static int8 (QDQ, per channel), and when it is served rather than the float network."""

    calibration_samples: PositiveInt = 512
    method: Literal["minmax", "entropy", "percentile"] = "minmax"
    allowance: Share = 0.01  # how much of the primary metric int8 may cost on the validation split
    batch: PositiveInt = 64  # batch at which the two are timed: what is faster there, within the allowance, is served
    threads: PositiveInt = 1  # of the runtime while it is timed


class EvaluateConfig(Section):
    """How sure the figures are, and for whom they are given."""

    bootstrap: Annotated[int, Field(ge=100)] = 1000  # resamples
    confidence: Fraction = 0.95
    slices: Annotated[int, Field(ge=2, le=10)] = (
        4  # quantile slices of brightness and contrast, where no groups are declared
    )
    seed: int = 0


class GatesConfig(Section):
    """Limits a version must keep to reach staging. Every gate runs; a figure that is missing is a rejection."""

    floor: float  # the primary metric's interval must lie above this on the test split
    worst_group: Share = 0.5  # the primary metric of the worst group or slice must reach this
    production_margin: NonNegativeFloat = 0.0  # how much worse than production the paired interval may allow
    int8_drop: Share = 0.01  # most that the served artifact may lose against its float parent, on the test split
    latency_ms: PositiveFloat  # median for one sample, one thread
    parity: PositiveFloat = 1e-3  # largest difference of a probability between PyTorch and float ONNX


class TuneConfig(Section):
    """`convoy tune`: which keys of `line:` are searched, where, and for how long. The line itself does not read it."""

    # Dotted key of `line:` → "low..high", "low..high:log" (both ends included; of whole numbers, where both ends are
    # written as such), or a list of choices.
    search: dict[str, str | list[Any]] = Field(default={})
    trials: PositiveInt = 20
    seconds: PositiveFloat | None = None  # after which no trial goes on; None: as long as it takes
    concurrent: PositiveInt = 1  # trials side by side; with more than one, what is suggested depends on their timing
    seed: int = 0  # of the suggestions; the networks' is `line.seed`
    # ASHA (Li et al. 2020): at `grace` epochs, and at each multiple of that by `reduction`, a trial goes on that is
    # among the best 1/`reduction` of those that came so far. 3, as in HyperBand's example (Li et al. 2018).
    grace: PositiveInt = 1
    reduction: Annotated[int, Field(ge=2)] = 3


class LineConfig(Section):
    """What the line does with one data set: a recipe."""

    dataset: str
    model: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")  # name in the registry, and of the experiment
    seed: int = 0
    drift: DriftConfig = DriftConfig()
    augment: AugmentConfig = AugmentConfig()
    training: TrainingConfig = TrainingConfig()
    members: MembersConfig
    ensemble: EnsembleConfig = EnsembleConfig()
    student: StudentConfig | None  # None: what the members make goes on itself
    quantize: QuantizeConfig = QuantizeConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gates: GatesConfig
    tune: TuneConfig = TuneConfig()
