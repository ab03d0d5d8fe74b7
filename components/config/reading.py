"""`params.yaml`, a recipe and `-S key=value` → one checked configuration; all mistakes are reported together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import Field, ValidationError

from components import texts
from components.config import policy
from components.config.catalogue import DatasetConfig
from components.config.line import LineConfig
from components.config.plain_yaml import YamlError, read_yaml
from components.config.policy import PolicyConfig
from components.config.renamed import Renamed, current
from components.config.section import UNSHOWN, ConfigurationError, Section
from components.secrecy import is_secret

S = TypeVar("S", bound=Section)

MOST = 20  # mistakes that are listed: a screen of them


class Recipe(Section):
    """The whole configuration of one run: the data set's catalogue entry and the pipeline."""

    dataset: DatasetConfig
    line: LineConfig
    # The `-S` that it was read with: what holds is above, so they are in no digest.
    overrides: tuple[str, ...] = Field(default=(), exclude=True)


class Params(Section):
    """`params.yaml` as a whole."""

    datasets: dict[str, DatasetConfig]
    line: LineConfig
    policy: PolicyConfig = PolicyConfig()


def load(root: Path, recipe: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read `root/params.yaml`, lay the recipe and the overrides over `line:`, and check everything.

    `recipe` names `recipes/NAME.yaml` or a file; `overrides` are `key=value` with dotted keys of `line:`.
    Raises ConfigurationError with every mistake: its key, what was expected and what was received.
    """
    params = _read(root / "params.yaml")
    first, *others = layers(root, params, recipe, overrides)
    line = first.values
    for layer in others:
        line = merge(line if isinstance(line, Mapping) else {}, layer.values)
    checked = check({**params, "line": line})
    if wrong := policy.problems(checked.policy, checked.line.gates):
        raise ConfigurationError("\n".join(wrong))
    return Recipe(dataset=checked.datasets[checked.line.dataset], line=checked.line, overrides=tuple(overrides))


class Layer(NamedTuple):
    """What one place says of `line:`."""

    origin: str  # `params.yaml`, the recipe's file, or `-S`
    values: Any  # a mapping, unless params.yaml is wrong


def layers(root: Path, params: Mapping[str, Any], recipe: str | None, overrides: Sequence[str]) -> list[Layer]:
    """What is laid over each other, the lowest first; `params` is `params.yaml`. Raises ConfigurationError.

    Each with the present names of what was renamed; old ones are warned of (`RenamedWarning`).
    """
    said = [Layer("params.yaml", params.get("line"))]
    if recipe is not None:
        path = _recipe_path(root, recipe)
        place = path.relative_to(root) if path.is_relative_to(root) else path
        said.append(Layer(place.as_posix(), _recipe_line(path)))
    said += [Layer("-S", parse_override(override)) for override in overrides]
    return [Layer(layer.origin, current(layer.values)) for layer in said]


def dataset_names(root: Path) -> list[str]:
    """The catalogue's entries in `root/params.yaml`, whatever is in them."""
    datasets = _read(root / "params.yaml").get("datasets")
    return sorted(map(str, datasets)) if isinstance(datasets, Mapping) else []


def dataset_entry(root: Path, name: str) -> DatasetConfig:
    """The catalogue entry `name` of `root/params.yaml`; the rest of the file is not looked at."""
    datasets = _read(root / "params.yaml").get("datasets")
    if not isinstance(datasets, Mapping) or name not in datasets:
        raise ConfigurationError(f"datasets.{name}: expected an entry in params.yaml, received none")
    return parse_entry(name, datasets[name])


def read_section(path: Path, kind: type[S], names: Mapping[str, Renamed] | None = None) -> S:
    """A YAML file as one section; raises ConfigurationError with all its mistakes at once, and the file's name.

    `names` are what its keys were called, which is warned of.
    """
    values = current(_read(path), names or {})
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_explain(error, values, f"{path.name}: "))) from None


def parse_entry(name: str, values: Any) -> DatasetConfig:
    """Plain values as the catalogue entry `name`; raises ConfigurationError with all mistakes at once."""
    try:
        return DatasetConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_explain(error, values, f"datasets.{name}."))) from None


def check(values: Mapping[str, Any]) -> Params:
    """Parse a whole `params.yaml`; raises ConfigurationError with all its mistakes at once."""
    unknown = _unknown_dataset(values)
    try:
        params = Params.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError("\n".join([*_explain(error, values), *unknown])) from None
    if unknown or (unknown := _not_unlabelled(params)):
        raise ConfigurationError("\n".join(unknown))
    return params


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`: mappings are merged key by key, everything else is replaced.

    A mapping that names its `name` or `kind` is a choice and replaces the one below as a whole: the arguments of
    another choice are not its own. A mapping on a list addresses entries by the name they bear, as in
    `gates: {floor: {limit: 0.9}}`: a name that is not there is added, and null takes an entry out. Raises
    ConfigurationError where several entries bear the name.
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and not {"name", "kind"} & value.keys():
            if isinstance(below, Mapping):
                merged[key] = merge(below, value)
                continue
            if isinstance(below, list) and (mark := tag(below)) is not None:
                merged[key] = _merge_entries(key, below, value, mark)
                continue
        merged[key] = value
    return merged


def tag(entries: Sequence[Any]) -> str | None:
    """The key by which the entries of a list bear names; None where they bear none."""
    for key in ("gate", "name", "kind"):
        if entries and all(isinstance(entry, Mapping) and key in entry for entry in entries):
            return key
    return None


def _merge_entries(where: str, entries: Sequence[Any], over: Mapping[str, Any], tag: str) -> list[Any]:
    merged = list(entries)
    for name, value in over.items():
        places = [place for place, entry in enumerate(merged) if entry[tag] == name]
        if len(places) > 1:
            raise ConfigurationError(
                f"{where}.{name}: expected one entry of that name, received {len(places)}; give the whole list"
            )
        below = merged[places[0]] if places else {tag: name}
        entry = merge(below, value) if isinstance(value, Mapping) else value
        start = places[0] if places else len(merged)
        merged[start : start + 1] = [] if value is None else [entry]
    return merged


def parse_override(text: str) -> dict[str, Any]:
    """`training.batch_size=64` → `{"training": {"batch_size": 64}}`; the value is read as YAML."""
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.removeprefix("line.").split(".")]
    if not equals or not all(parts):
        raise ConfigurationError(
            f"-S {texts.shown(text)}: expected key=value with a key of `line:`, for example training.batch_size=64"
        )
    try:
        nested = read_yaml(value)
    except YamlError as error:
        raise ConfigurationError(f"-S {texts.shown(text)}: the value is not YAML: {error}") from None
    for part in reversed(parts):
        nested = {part: nested}
    return dict(nested)


def recipes(root: Path) -> list[str]:
    """Names of the recipes in `root/recipes`."""
    return sorted(path.stem for path in (root / "recipes").glob("*.yaml"))


def _recipe_path(root: Path, recipe: str) -> Path:
    known = f"recipe: expected one of {', '.join(recipes(root))} or a file"
    if texts.visible(recipe) != recipe:  # it is a name in MLflow and on pages, too
        raise ConfigurationError(f"{known} whose name can be seen, received {texts.exact(recipe)}; rename it")
    for path in (root / "recipes" / f"{recipe}.yaml", Path(recipe)):
        with suppress(OSError):  # longer than any file's name
            if path.is_file():
                return path
    raise ConfigurationError(f"{known}, received {texts.exact(recipe)}")


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
        content = read_yaml(path.read_bytes())
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: expected a file, received nothing") from None
    except YamlError as error:
        raise ConfigurationError(f"{path}: not readable as YAML: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: expected a file that can be read: {error.strerror}") from None
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
    """One line per key: where a value may be of several types, pydantic reports one mistake once for each of them."""
    mistakes: dict[tuple[str, str], list[str]] = {}
    for item in error.errors(include_url=False):
        if item["type"] == "too_short" and item["ctx"]["actual_length"] < len(item["input"]):
            continue  # a wrong item, which has a line of its own, was not counted
        key, expected, received = _mistake(item, values)
        mistakes.setdefault((f"{prefix}{key}", received), []).append(expected)
    told = [
        f"{texts.shown(key)}: expected {' or '.join(dict.fromkeys(expected))}, received {received}"
        for (key, received), expected in mistakes.items()
    ]
    return told if len(told) <= MOST else [*told[:MOST], f"and {len(told) - MOST} more"]


def _mistake(item: Any, values: Any) -> tuple[str, str, str]:
    """Key, what was expected and what was received, of one of pydantic's errors."""
    key, context = _key(item["loc"], values), item.get("ctx", {})
    received = texts.shown(repr(item["input"]))
    if item["type"] == UNSHOWN or is_secret(key.rpartition(".")[2]):
        received = "something that is not shown here, since it may be a secret"
    match item["type"]:
        case "extra_forbidden":
            return key, "no such key", received
        case "missing":
            return key, "a value", "nothing"
        case "union_tag_not_found":
            return f"{key}.{context['discriminator'].strip(chr(39))}", "a value", "nothing"
        case "union_tag_invalid":
            tag = f"{key}.{context['discriminator'].strip(chr(39))}"
            return tag, f"one of {context['expected_tags']}", texts.exact(str(context["tag"]))
        case "model_type" | "dict_type":
            return key, "a mapping", received
    said = re.sub(r"^\w+ should be |^Value error, ", "", item["msg"])
    return key, re.sub(r"^\w+ should ", "to ", said), received


def _key(location: tuple[int | str, ...], values: Any) -> str:
    """The dotted key as the file has it: without the names of a union's members, which pydantic puts between."""
    parts = []
    tagged: Any = None  # the section whose member's name has been left out
    for number, part in enumerate(location):
        if isinstance(values, Mapping) and values is not tagged and part == values.get("kind") and part in values:
            tagged = values  # the member is called as one of its own keys, which comes behind it
            continue
        if part in (values if isinstance(values, Mapping) else range(len(values) if isinstance(values, list) else 0)):
            values = values[part]
        elif isinstance(part, str) and (not isinstance(values, Mapping) or number < len(location) - 1):
            continue
        parts.append(str(part))
    return ".".join(parts)


def _not_unlabelled(params: Params) -> list[str]:
    """A student whose further images are not in the catalogue, or are no further ones, or are of another size."""
    own, student = params.line.dataset, params.line.student
    if student is None or student.unlabelled is None:
        return []
    key, name = "line.student.unlabelled", student.unlabelled
    others = sorted(set(params.datasets) - {own})
    if name not in others:
        return [f"{key}: expected one of {', '.join(others)}, since {own} is learnt from anyway, received {name!r}"]
    mine, its = (params.datasets[each].declared for each in (own, name))
    if mine.own_numbers:
        return [f"{key}: expected none, since the numbers of {own}'s {mine.many} are its own, received {name}"]
    if (mine.many, mine.size) == (its.many, its.size):
        return []
    its_own = "" if mine.many == its.many else f"{its.many} "
    return [f"{key}: expected {mine.many} of {mine.size}, as in {own}, received {name}, {its_own}of {its.size}"]
