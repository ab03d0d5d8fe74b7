"""`line:` of `params.yaml`: which data set, and what each step does with it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveFloat, model_validator

from components.config.compression import EnsembleConfig, QuantizeConfig, StudentConfig
from components.config.gates import Gates
from components.config.pruning import PruneConfig
from components.config.section import Epochs, Few, Fraction, Many, Section, Seed, different
from components.config.training import AugmentConfig, NetworkConfig, TrainingConfig


def _not_mlflows(model: str) -> str:
    """A validator: not the experiment that MLflow makes by itself, which no page of ours shows."""
    if model == "Default":
        raise ValueError("another name than Default, which MLflow's own experiment has")
    return model


class DriftConfig(Section):
    """How the data is compared with what the production model was trained on (Evidently)."""

    sample: Many = 2000  # rows of each side: with more, ever smaller changes count (`benchmarks/drift.md`)
    # Of comparisons of unchanged data, the share that may report drift at most. One run per night on new data each time
    # then cries wolf three or four times a year.
    false_alarms: Fraction = 0.01


class MembersConfig(Section):
    """The ensemble's members, and what makes them differ: seed, architecture, augmentation, what they learn from."""

    count: Few = 3  # 1: no ensemble, the one member goes on
    networks: Annotated[tuple[NetworkConfig, ...], Field(min_length=1)]  # member i takes networks[i % len]
    epochs: Epochs  # of each member's training
    augments: tuple[AugmentConfig, ...] = ()  # member i takes augments[i % len], not `augment`; none: all take that
    # Each member is trained without one of k folds of the training split, for which it then answers as a stranger: what
    # stacking is fitted on. k trainings without another fold each are one learner, and share network and augmentation.
    folds: Annotated[int, Field(ge=2, le=20)] | None = None
    # samme: one after the other, each learning most from what those before it got wrong (Zhu et al. 2009).
    boosting: Literal["none", "samme"] = "none"
    # Members that one training leaves behind, at the ends of cycles of its learning rate (Huang et al. 2017).
    snapshots: Few = 1
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


class CorruptionsConfig(Section):
    """What is done to inputs to see how a model bears it."""

    # As the kind of input calls them: those of pictures are in `components/inputs/corruptions.py`, those of texts in
    # `text_corruptions.py` beside it.
    kinds: Annotated[tuple[str, ...], AfterValidator(different)] = ("gaussian_noise", "blur", "brightness", "contrast")
    # how strong, from 1 to 5; each kind in each of them
    severities: Annotated[tuple[Annotated[int, Field(ge=1, le=5)], ...], AfterValidator(different)] = (2, 4)
    samples: Many = 500  # of the split at most, the same ones for every model: every condition asks for them all


class EvaluateConfig(Section):
    """How sure the metrics are, and for which groups they are given."""

    bootstrap: Annotated[int, Field(ge=100, le=1_000_000)] = 1000  # resamples that the intervals are of
    confidence: Fraction = 0.95  # of the intervals
    slices: Annotated[int, Field(ge=2, le=10)] = (
        4  # quantile slices of brightness and contrast, where no groups are declared
    )
    # Samples of a class that a group needs for the class to be measured, and judged by the gate `worst_group`, there
    # alone; groups with fewer are taken together. Of 30 that are all right the interval of 95 % reaches down to 0.88.
    min_samples: Many = 30
    corruptions: CorruptionsConfig | None = CorruptionsConfig()  # None: robustness is not measured
    # Simple models that learn from the same samples and are measured beside the deployable artifact: `prior` has no
    # input at all, `linear` is a linear model of thumbnails or of n-grams (`components/evaluate/baselines/`).
    baselines: Annotated[tuple[str, ...], AfterValidator(different)] = ()
    seed: Seed = 0  # of the resamples and of the corruptions


class TuneConfig(Section):
    """`convoy tune`: which keys of `line:` are searched, where, and for how long. A run does not read it."""

    # Dotted key of `line:` → "low..high", "low..high:log" (both ends included; of whole numbers, where both ends are
    # written as such), or a list of choices.
    search: dict[str, str | list[Any]] = Field(default={})
    trials: Epochs = 20  # how many settings are tried at most
    seconds: PositiveFloat | None = None  # after which no trial goes on; None: as long as it takes
    concurrent: Few = 1  # trials side by side; with more than one, what is suggested depends on their timing
    seed: Seed = 0  # of the suggestions; the networks' is `line.seed`
    # ASHA (Li et al. 2020): at `grace` epochs, and at each multiple of that by `reduction`, a trial goes on that is
    # among the best 1/`reduction` of those that came so far. 3, as in HyperBand's example (Li et al. 2018).
    grace: Epochs = 1
    # of the trials at each of ASHA's stations, one in so many goes on
    reduction: Annotated[int, Field(ge=2, le=1_000)] = 3


class LineConfig(Section):
    """What the pipeline does with one data set: a recipe."""

    dataset: str  # a name of `datasets:`
    # Name in the registry, of the experiment, and of the deployable artifact.
    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100), AfterValidator(_not_mlflows)]
    seed: Seed = 0  # of everything that is drawn by chance; members and student have seeds of their own after it
    drift: DriftConfig = DriftConfig()
    augment: AugmentConfig = AugmentConfig()
    training: TrainingConfig = TrainingConfig()
    members: MembersConfig
    ensemble: EnsembleConfig = EnsembleConfig()
    student: StudentConfig | None  # None: what the members make goes on itself
    prune: PruneConfig | None = None  # None: the student stays as it is
    quantize: QuantizeConfig = QuantizeConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gates: Gates  # what a version must hold to before it may be staged or go into production
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
