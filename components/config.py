"""`params.yaml`, a recipe and `-S key=value` → one frozen, typed configuration.

Every key is checked before anything starts, unknown keys are refused, and all mistakes are reported
together. What a key does is said beside its field; what a step does with it lives in that step's room.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class ConfigurationError(ValueError):
    """Everything that is wrong with the configuration, one line a key."""


class Section(BaseModel):
    """A frozen part of the configuration that refuses keys it does not know."""

    # NaN is neither above nor below a limit: a gate with one would never close.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def digest(self) -> str:
        """SHA-256 of the section's canonical JSON: equal sections have equal digests."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def _ascending(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("the lesser of two limits first")
    return limits


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("names that differ from each other")
    return names


# -- the catalogue of data sets -------------------------------------------------------------------------------------


class FashionMnistSource(Section):
    """Fashion-MNIST's four idx files, from the first place that has them."""

    kind: Literal["fashion-mnist"]
    mirror: str | None = None  # a directory or an address that holds the four .gz files; asked before the public one


class DigitsSource(Section):
    """scikit-learn's 1,797 hand-written digits of 8×8: inside the package, no download."""

    kind: Literal["digits"]


class DigitScenesSource(Section):
    """Scenes composed of scikit-learn's digits over noise, several to a scene, with exact masks."""

    kind: Literal["digit-scenes"]
    scenes: PositiveInt = 600
    size: Annotated[int, Field(ge=16, le=512)] = 32  # side of the square scene, pixels
    digits: Annotated[tuple[PositiveInt, PositiveInt], AfterValidator(_ascending)] = (2, 4)  # fewest, most a scene
    noise: Share = 0.15  # standard deviation of the background noise, as a share of full scale
    seed: int = 0


class FolderSource(Section):
    """One's own images: `PATH/CLASS/*.png`, or `PATH/{train,validation,test}/CLASS/*.png`."""

    kind: Literal["folder"]
    path: str


Source = Annotated[FashionMnistSource | DigitsSource | DigitScenesSource | FolderSource, Field(discriminator="kind")]


class ImageDeclaration(Section):
    """What every image of the set must be; what differs is resized or refused, as `resize` says."""

    height: PositiveInt
    width: PositiveInt
    channels: Literal[1, 3]
    resize: bool = False  # True: images of another size are resized in `prepare`; False: they fail validation


class SplitDeclaration(Section):
    """Shares of the samples that the source has not split itself; a published test split stays the test split."""

    validation: Fraction = 0.1
    test: Fraction = 0.2  # used only where the source publishes no test split
    seed: int = 0


class DatasetConfig(Section):
    """One entry of the catalogue: one instance of each DVC stage."""

    task: str
    source: Source
    image: ImageDeclaration
    split: SplitDeclaration = SplitDeclaration()
    classes: Annotated[tuple[str, ...], AfterValidator(_different)] | None = None  # None: the names the source gives


# -- the line -------------------------------------------------------------------------------------------------------


class DriftConfig(Section):
    """How the data is compared with what the production model was trained on (Evidently)."""

    sample: PositiveInt = 2000  # rows of each side; Evidently's tests need no more and cost grows with it
    share: Share = 0.5  # share of drifted columns above which the data set counts as drifted (Evidently's default)


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
    erase_area: Annotated[tuple[Share, Share], AfterValidator(_ascending)] = (0.02, 0.2)


class NetworkConfig(Section):
    """An architecture by its registered name, with the arguments of its entry point."""

    name: str
    arguments: dict[str, int | float | bool | str] = {}


class TrainingConfig(Section):
    """How every network on the line is trained: members and student alike."""

    batch_size: PositiveInt = 128  # over all workers together
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 0.01
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2  # share of the steps in which the rate rises
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    gradient_clip: PositiveFloat | None = None  # largest allowed norm
    ema: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None  # decay of the averaged weights; None: none are kept
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bf16 autocast where the hardware has it
    workers: PositiveInt = 1
    cpus_per_worker: PositiveInt | None = None  # None: the CPUs there are, divided by the workers
    use_gpu: Literal["auto", "never"] = "auto"
    max_failures: int = Field(default=2, ge=0)  # worker crashes after which training goes on from its checkpoint


class MembersConfig(Section):
    """The ensemble's members: same data, different seeds, architectures in turn."""

    count: Annotated[int, Field(ge=3)] = 3
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
    student: StudentConfig
    quantize: QuantizeConfig = QuantizeConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gates: GatesConfig


class Recipe(Section):
    """The whole configuration of one run: the data set's catalogue entry and the line."""

    dataset: DatasetConfig
    line: LineConfig


class Params(Section):
    """`params.yaml` as a whole."""

    datasets: dict[str, DatasetConfig]
    line: LineConfig


# -- reading --------------------------------------------------------------------------------------------------------


def load(root: Path, recipe: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read `root/params.yaml`, lay the recipe and the overrides over `line:`, and check everything.

    `recipe` names `recipes/NAME.yaml` or a file; `overrides` are `key=value` with dotted keys of `line:`.
    Raises ConfigurationError with every mistake: its key, what was expected and what was received.
    """
    params = _read(root / "params.yaml")
    line = params.get("line")
    if recipe is not None:
        path = _recipe_path(root, recipe)
        line = merge(line if isinstance(line, Mapping) else {}, _recipe_line(path))
    for override in overrides:
        line = merge(line if isinstance(line, Mapping) else {}, parse_override(override))
    checked = check({**params, "line": line})
    return Recipe(dataset=checked.datasets[checked.line.dataset], line=checked.line)


def dataset_entry(root: Path, name: str) -> DatasetConfig:
    """The catalogue entry `name` of `root/params.yaml`; the rest of the file is not looked at."""
    datasets = _read(root / "params.yaml").get("datasets")
    if not isinstance(datasets, Mapping) or name not in datasets:
        raise ConfigurationError(f"datasets.{name}: expected an entry in params.yaml, received none")
    try:
        return DatasetConfig.model_validate(datasets[name])
    except ValidationError as error:
        raise ConfigurationError("\n".join(_explain(error, datasets[name], f"datasets.{name}."))) from None


def check(values: Mapping[str, Any]) -> Params:
    """Parse a whole `params.yaml`; raises ConfigurationError with all its mistakes at once."""
    unknown = _unknown_dataset(values)
    try:
        params = Params.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError("\n".join([*_explain(error, values), *unknown])) from None
    if unknown:
        raise ConfigurationError("\n".join(unknown))
    return params


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`: mappings are merged key by key, everything else is replaced.

    A mapping that names its `name` or `kind` is a choice and replaces the one below as a whole: the arguments of
    another choice are not its own.
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping) and not {"name", "kind"} & value.keys()
        merged[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def parse_override(text: str) -> dict[str, Any]:
    """`training.batch_size=64` → `{"training": {"batch_size": 64}}`; the value is read as YAML."""
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.removeprefix("line.").split(".")]
    if not equals or not all(parts):
        raise ConfigurationError(
            f"-S {text}: expected key=value with a key of `line:`, for example training.batch_size=64"
        )
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"-S {text}: the value is not YAML: {error}") from None
    for part in reversed(parts):
        nested = {part: nested}
    return dict(nested)


def recipes(root: Path) -> list[str]:
    """Names of the recipes in `root/recipes`."""
    return sorted(path.stem for path in (root / "recipes").glob("*.yaml"))


def _recipe_path(root: Path, recipe: str) -> Path:
    named = root / "recipes" / f"{recipe}.yaml"
    if named.is_file():
        return named
    if Path(recipe).is_file():
        return Path(recipe)
    raise ConfigurationError(f"recipe: expected one of {', '.join(recipes(root))} or a file, received {recipe!r}")


def _recipe_line(path: Path) -> Mapping[str, Any]:
    content = _read(path)
    line = content.get("line")
    if set(content) != {"line"} or not isinstance(line, Mapping):
        raise ConfigurationError(
            f"{path}: expected one key, `line:`, with the keys it overrides, received {sorted(map(str, content))}"
        )
    return line


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: expected a file, received nothing") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: expected a mapping, received {type(content).__name__}")
    return content


def _unknown_dataset(values: Mapping[str, Any]) -> list[str]:
    """A line where `line.dataset` names no entry of the catalogue."""
    line, datasets = values.get("line"), values.get("datasets")
    if not isinstance(line, Mapping) or not isinstance(datasets, Mapping):
        return []  # which is a mistake of its own
    name = line.get("dataset")
    if not isinstance(name, str) or name in datasets:
        return []
    return [f"line.dataset: expected one of {', '.join(sorted(map(str, datasets)))}, received {name!r}"]


def _explain(error: ValidationError, values: Any, prefix: str = "") -> list[str]:
    """A line a key: where a value may be of several types, pydantic reports one mistake once for each of them."""
    mistakes: dict[tuple[str, str], list[str]] = {}
    for item in error.errors(include_url=False):
        if item["type"] == "too_short" and item["ctx"]["actual_length"] < len(item["input"]):
            continue  # a wrong item, which has a line of its own, was not counted
        key, expected, received = _mistake(item, values)
        mistakes.setdefault((f"{prefix}{key}", received), []).append(expected)
    return [
        f"{key}: expected {' or '.join(dict.fromkeys(expected))}, received {received}"
        for (key, received), expected in mistakes.items()
    ]


def _mistake(item: Any, values: Any) -> tuple[str, str, str]:
    """Key, what was expected and what was received, of one of pydantic's errors."""
    key, context = _key(item["loc"], values), item.get("ctx", {})
    match item["type"]:
        case "extra_forbidden":
            return key, "no such key", repr(item["input"])
        case "missing":
            return key, "a value", "nothing"
        case "union_tag_not_found":
            return f"{key}.{context['discriminator'].strip(chr(39))}", "a value", "nothing"
        case "union_tag_invalid":
            tag = f"{key}.{context['discriminator'].strip(chr(39))}"
            return tag, f"one of {context['expected_tags']}", repr(context["tag"])
        case "model_type" | "dict_type":
            return key, "a mapping", repr(item["input"])
    said = re.sub(r"^\w+ should be |^Value error, ", "", item["msg"])
    return key, re.sub(r"^\w+ should ", "to ", said), repr(item["input"])


def _key(location: tuple[int | str, ...], values: Any) -> str:
    """The dotted key as the file has it: without the names of a union's members, which pydantic puts between."""
    parts = []
    for number, part in enumerate(location):
        if part in (values if isinstance(values, Mapping) else range(len(values) if isinstance(values, list) else 0)):
            values = values[part]
        elif isinstance(part, str) and (not isinstance(values, Mapping) or number < len(location) - 1):
            continue
        parts.append(str(part))
    return ".".join(parts)
