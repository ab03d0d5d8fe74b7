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
    field_validator,
    model_serializer,
    model_validator,
)

from components.config.gates import Gates
from components.config.pruning import PruneConfig
from components.config.section import Fraction, Section, Share, ascending, different


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

    @property
    def views(self) -> int | None:
        """In how many ways an image can be shown: windows, and their mirror images; None: without end."""
        endless = (self.rotation, self.scale, self.shear, self.brightness, self.contrast, self.colour, self.erase)
        return None if any(endless) else (2 * self.crop + 1) ** 2 * (2 if 0 < self.flip < 1 else 1)


class NetworkConfig(Section):
    """An architecture by its registered name, with the arguments of its entry point."""

    name: str  # a compact family's, or another library's: torchvision:NAME, timm:NAME
    arguments: dict[str, int | float | bool | str] = Field(default={})
    # The weights that training starts from: `imagenet`, file:PATH, model:FOLDER or run:RUN_ID; None: random ones.
    # `#sha256=…` behind a path holds it to its content.
    pretrained: Annotated[str, Field(pattern=r"^(imagenet|(file|model|run):[^#]+(#sha256=[0-9a-f]{64})?)$")] | None = (
        None
    )
    # Tensor → its shape, where it is narrower than the entry point makes it. Written by pruning, not by people.
    shapes: dict[str, tuple[PositiveInt, ...]] = Field(default={})

    @model_serializer(mode="wrap")
    def _as_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is not said: what is keyed by a whole network with random weights stays what it was."""
        written: dict[str, Any] = write(self)
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
    """The ensemble's members, and what makes them differ: seed, architecture, augmentation, what they learn from."""

    count: PositiveInt = 3  # 1: no ensemble, the one member goes on
    networks: Annotated[tuple[NetworkConfig, ...], Field(min_length=1)]  # member i takes networks[i % len]
    epochs: PositiveInt  # of a training
    augments: tuple[AugmentConfig, ...] = ()  # member i takes augments[i % len], not `augment`; (): all take that
    # Each member is trained without one of k folds of the training split, for which it then answers as a stranger: what
    # stacking is fitted on. k trainings without another fold each are one learner, and share network and augmentation.
    folds: Annotated[int, Field(ge=2, le=20)] | None = None
    # samme: one after the other, each learning most from what those before it got wrong (Zhu et al. 2009).
    boosting: Literal["none", "samme"] = "none"
    # Members that one training leaves behind, at the ends of cycles of its learning rate (Huang et al. 2017).
    snapshots: PositiveInt = 1
    average: Literal["none", "swa"] = "none"  # swa: the mean of the weights of the last quarter (Izmailov et al. 2018)

    @model_validator(mode="after")
    def _consistent(self) -> MembersConfig:
        if sum((self.folds is not None, self.boosting != "none", self.snapshots > 1)) > 1:
            raise ValueError("one of `folds`, `boosting` and `snapshots` at most")
        if self.folds is not None and self.count % self.folds:
            raise ValueError(
                f"a `count` that is `folds: {self.folds}` or a multiple of it, one training without each fold"
            )
        if self.count % self.snapshots or self.epochs % self.snapshots:
            raise ValueError(f"a `count` and `epochs` that are multiples of `snapshots: {self.snapshots}`")
        if self.snapshots > 1 and self.average != "none":
            raise ValueError("`average: none` beside `snapshots`: the rate of a cycle ends at 0, where nothing moves")
        return self


class EnsembleConfig(Section):
    """How the members are combined."""

    # soft: mean of the members' probabilities; weighted: under weights of greatest likelihood on the validation split;
    # hard: share of their votes; stacking: a linear layer on their log-probabilities; boosted: SAMME's vote; soup: one
    # network with the mean of their weights. auto: what has the least log loss on the validation split, at its best
    # temperature, or the simplest that is no worse than that by more than its standard error.
    combiner: Literal["auto", "soft", "weighted", "hard", "stacking", "boosted", "soup"] = "auto"
    # Each member is asked about an image's mirror image as well, and says the mean of both: for what is the same in a
    # mirror, and was trained with `flip`. Twice the operations.
    mirror: bool = False
    # How much of the primary metric it may lose against its best member on the validation split before the line stops.
    # Combiners are chosen by log loss, so a lucky member may be ahead by chance: by 1 pp on the digits' 270 samples.
    allowance: Share = 0.05


class HintConfig(Section):
    """The student's last feature map, projected, is to be the teacher's (Romero et al. 2015)."""

    weight: NonNegativeFloat = 1.0  # of a mean square error in units of the teacher's mean square


class AttentionTransferConfig(Section):
    """The student is to look where the teacher looks (Zagoruyko & Komodakis 2017)."""

    weight: NonNegativeFloat = 1.0  # of the squared distance of attention maps of length 1


class RelationConfig(Section):
    """Images are to lie to each other as in the teacher's embedding (Park et al. 2019)."""

    distance: NonNegativeFloat = 1.0  # weight of the distances of all pairs
    angle: NonNegativeFloat = 2.0  # weight of the angles of triples: twice the other's, as in the paper


class ContrastiveConfig(Section):
    """The two embeddings of an image are to find each other in the batch (Tian et al. 2020, without a memory bank)."""

    weight: NonNegativeFloat = 0.2
    temperature: PositiveFloat = 0.1  # the paper's 0.07–0.1


class DistillationConfig(Section):
    """What of the teacher is copied besides its outputs; each with its weight in the loss. None: it is not."""

    hint: HintConfig | None = None
    attention: AttentionTransferConfig | None = None
    relation: RelationConfig | None = None
    contrastive: ContrastiveConfig | None = None


class StudentConfig(Section):
    """The one network that is served: it learns from the labels and from the ensemble."""

    network: NetworkConfig
    epochs: PositiveInt
    temperature: PositiveFloat = 3.0  # softens both distributions (Hinton et al. 2015 used 1–20)
    teacher_weight: Share = 0.7  # share of the loss that the teacher's soft targets have
    # Of each image that the student is shown at most, where augmentation has no more than crop and flip: the teacher is
    # asked once for each, and not again in later epochs. None: all there are, (2·crop + 1)², twice with flip.
    views: PositiveInt | None = None
    distillation: DistillationConfig = DistillationConfig()
    # Another data set of the catalogue, whose training images the student sees as well: by the teacher's answers alone,
    # whatever labels they have. An epoch is longer by them.
    unlabelled: str | None = None
    # Networks between the teacher and the student, each learning from the one before it (Mirzadeh et al. 2020).
    assistants: tuple[NetworkConfig, ...] = ()
    # How often the student's network learns, from the second time on from its own predecessor (Furlanello et al. 2018);
    # the generation that is best on the validation split goes on.
    generations: PositiveInt = 1
    control: bool = False  # train the same student without a teacher as well, and say what the teacher was worth
    # How much of the primary metric it may lose against its teacher on the validation split before the line stops: a
    # student that loses this much was trained too short or is too small (those of the recipes lose up to 1 pp).
    allowance: Share = 0.1


class AwareConfig(Section):
    """Quantization-aware training: some more epochs for the network, in which it feels int8's rounding."""

    epochs: PositiveInt
    learning_rate: PositiveFloat  # low: the network is to be moved off a step, not to be learnt anew


class QuantizeConfig(Section):
    """What the network may be served as beside float32, and when it is."""

    # int8: static QDQ, per channel, arithmetic in integers. The others are stored so and computed in float32.
    candidates: tuple[Literal["int8", "int8-weights", "int4-weights", "float16", "bfloat16"], ...] = ("int8",)
    # Which of those within the allowance is served: the fastest, if measurably faster than float32, or the smallest.
    goal: Literal["speed", "size"] = "speed"
    calibration_samples: PositiveInt = 512  # of the training split
    # How the ranges of activations are taken. auto: in all three ways, and the one is kept whose answers are closest to
    # float32's on as many other images of the training split.
    method: Literal["auto", "minmax", "entropy", "percentile"] = "minmax"
    # Whether channels between two convolutions are first scaled to weights of one size (Nagel et al. 2019). auto: with
    # and without, and what is closest to float32's answers is kept, as with `method: auto`.
    equalization: Literal["none", "auto", "always"] = "none"
    allowance: Share = 0.01  # how much of the primary metric a candidate may cost on the validation split
    # How long is searched for the layers to keep in float32 where int8 costs more than that; 0: not at all.
    control_seconds: NonNegativeFloat = 60.0
    aware: AwareConfig | None = None  # where int8 in all layers costs more than that: `int8-aware` is a candidate too
    batch: PositiveInt = 64  # batch at which candidates are timed
    threads: PositiveInt = 1  # of the runtime while they are timed

    @field_validator("candidates")
    @classmethod
    def _once_each(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("each candidate once")
        return value

    @model_validator(mode="after")
    def _of_int8(self) -> QuantizeConfig:
        if self.aware is not None and "int8" not in self.candidates:
            raise ValueError("`aware: null` where int8 is no candidate")
        return self


class CorruptionsConfig(Section):
    """What is done to pictures to see how a model bears it; `components.evaluate.robustness` says what each is."""

    kinds: Annotated[
        tuple[Literal["gaussian_noise", "blur", "brightness", "contrast"], ...], AfterValidator(different)
    ] = ("gaussian_noise", "blur", "brightness", "contrast")
    severities: Annotated[tuple[Annotated[int, Field(ge=1, le=5)], ...], AfterValidator(different)] = (2, 4)
    samples: PositiveInt = 500  # of the split at most, the same ones for every model: every condition asks for them all


class EvaluateConfig(Section):
    """How sure the figures are, and for whom they are given."""

    bootstrap: Annotated[int, Field(ge=100)] = 1000  # resamples
    confidence: Fraction = 0.95
    slices: Annotated[int, Field(ge=2, le=10)] = (
        4  # quantile slices of brightness and contrast, where no groups are declared
    )
    corruptions: CorruptionsConfig | None = CorruptionsConfig()  # None: robustness is not measured
    seed: int = 0


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
    prune: PruneConfig | None = None  # None: the student stays as it is
    quantize: QuantizeConfig = QuantizeConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gates: Gates
    tune: TuneConfig = TuneConfig()

    @model_validator(mode="after")
    def _finite(self) -> LineConfig:
        if self.student is not None and self.student.views is not None and self.augment.views is None:
            raise ValueError("`student.views: null`, or an `augment` of crop and flip alone: others show no view twice")
        return self

    @model_validator(mode="after")
    def _labelled(self) -> LineConfig:
        if self.student is None or self.student.unlabelled is None:
            return self
        if self.training.imbalance.sampling != "natural":
            raise ValueError("`student.unlabelled: null` beside `training.imbalance.sampling`, which draws by label")
        if self.training.reading == "streamed" or self.training.strategy == "pipeline":
            raise ValueError(
                "`student.unlabelled: null`, or another `training.reading` than streamed and another "
                "`training.strategy` than pipeline: which samples of a batch have labels is known by their places"
            )
        return self
