"""`line.ensemble`, `line.student` and `line.quantize`: what is made of the members."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, field_validator, model_validator

from components.config.section import Batch, Epochs, Few, Many, Section, Share
from components.config.training import NetworkConfig


class EnsembleConfig(Section):
    """How the members are combined."""

    # soft: mean of the members' probabilities; weighted: under weights of greatest likelihood on the validation split;
    # hard: share of their votes; stacking: a linear layer on their log-probabilities; boosted: SAMME's vote; soup: one
    # network with the mean of their weights. auto: what has the least log loss on the validation split, at its best
    # temperature, or the simplest that is no worse than that by more than its standard error. Of numbers, likewise by
    # squared error: soft, weighted and stacking are of the numbers themselves, and there are no votes. Of boxes:
    # soft and weighted are of boxes and scores place by place; nms: all boxes, each said once; wbf: weighted box
    # fusion, which cannot be exported and needs a student, so that auto never takes it.
    combiner: Literal["auto", "soft", "weighted", "hard", "stacking", "boosted", "soup", "nms", "wbf"] = "auto"
    # Test-time augmentation. hflip: each member is asked about an image's mirror image as well, and says the mean of
    # both: for what is the same in a mirror, and was trained with `flip`. Twice the operations.
    tta: Literal["none", "hflip"] = "none"
    # How much of the primary metric it may lose against its best member on the validation split before the run stops.
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

    weight: NonNegativeFloat = 0.2  # of the contrastive loss
    temperature: PositiveFloat = 0.1  # the paper's 0.07–0.1


class DistillationConfig(Section):
    """What of the teacher is copied besides its outputs; each with its weight in the loss. None: it is not."""

    hint: HintConfig | None = None
    attention: AttentionTransferConfig | None = None
    relation: RelationConfig | None = None
    contrastive: ContrastiveConfig | None = None


class StudentConfig(Section):
    """The one network that is deployed: it learns from the labels and from the ensemble."""

    network: NetworkConfig
    epochs: Epochs  # of a training
    temperature: PositiveFloat = 3.0  # softens both distributions (Hinton et al. 2015 used 1–20)
    teacher_weight: Share = 0.7  # share of the loss that the teacher's soft targets have
    # Of each image that the student is shown at most, where augmentation has no more than crop and flip: the teacher is
    # asked once for each, and not again in later epochs. None: all there are, (2·crop + 1)², twice with flip.
    views: Many | None = None
    distillation: DistillationConfig = DistillationConfig()
    # Another data set of the catalogue, whose training images the student sees as well: by the teacher's outputs alone,
    # whatever labels they have. An epoch is longer by them.
    unlabelled: str | None = None
    # Networks between the teacher and the student, each learning from the one before it (Mirzadeh et al. 2020).
    assistants: tuple[NetworkConfig, ...] = ()
    # How often the student's network learns, from the second time on from its own predecessor (Furlanello et al. 2018);
    # the generation that is best on the validation split goes on.
    generations: Few = 1
    control: bool = False  # train the same student without a teacher as well, and say what the teacher was worth
    # How much of the primary metric it may lose against its teacher on the validation split before the run stops: a
    # student that loses this much was trained too short or is too small (those of the recipes lose up to 1 pp).
    allowance: Share = 0.1


class AwareConfig(Section):
    """Quantization-aware training: some more epochs for the network, in which it feels int8's rounding."""

    epochs: Epochs  # of training with rounding, after all others
    learning_rate: PositiveFloat  # low: the network is to be moved off a step, not to be learnt anew


class QuantizeConfig(Section):
    """The precisions in which the network may be deployed beside float32, and which one is."""

    # int8: static QDQ, per channel, arithmetic in integers. The others are stored so and computed in float32.
    candidates: tuple[Literal["int8", "int8-weights", "int4-weights", "float16", "bfloat16"], ...] = ("int8",)
    # Which of those within the allowance is deployed: the fastest, if measurably faster than float32, or the smallest.
    goal: Literal["speed", "size"] = "speed"
    calibration_samples: Many = 512  # of the training split
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
    batch: Batch = 64  # batch at which candidates are timed
    threads: Few = 1  # of the runtime while they are timed

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
