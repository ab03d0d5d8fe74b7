"""What a study may change: keys of `line:`, each with a range or choices, checked before anything starts.

A trial trains one member network, so the keys are those that decide how it is made and trained. Left to others: who
chooses the values (`tuning_conductor`) and what becomes of them (`tuning`). Imports no engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from components.config import ConfigurationError, LineConfig, YamlError, read_yaml

Value = int | float | str | bool | None

# What decides a member's training. Of `training`, where and how fast it is done changes nothing of that.
TRIED = ("training.", "augment.", "members.networks.0.", "members.epochs")
NO_MATTER = (
    "training.workers",
    "training.strategy",
    "training.replicas",
    "training.compress_gradients",
    "training.cpus_per_worker",
    "training.use_gpu",
    "training.reading",
    "training.max_failures",
)


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both are."""

    low: int | float
    high: int | float
    log: bool = False

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}{':log' if self.log else ''}"

    def __contains__(self, value: object) -> bool:
        kind = int if isinstance(self.low, int) else (int, float)
        return isinstance(value, kind) and not isinstance(value, bool) and self.low <= value <= self.high

    @property
    def samples(self) -> tuple[Value, ...]:
        """Values by which the range is checked."""
        return (self.low, self.high)

    def of(self, samples: Sequence[Any]) -> Range:
        """The same range with its samples as they are read."""
        return replace(self, low=samples[0], high=samples[1])


@dataclass(frozen=True)
class Choices:
    """One of some values, in no order."""

    values: tuple[Value, ...]

    def __str__(self) -> str:
        return ",".join("null" if value is None else str(value) for value in self.values)

    def __contains__(self, value: object) -> bool:
        return any(type(value) is type(each) and value == each for each in self.values)

    @property
    def samples(self) -> tuple[Value, ...]:
        return self.values

    def of(self, samples: Sequence[Any]) -> Choices:
        return Choices(tuple(samples))


Domain = Range | Choices
Space = Mapping[str, Domain]  # by dotted key of `line:`


def parse_search(text: str) -> dict[str, str]:
    """`training.learning_rate=1e-4..1e-1:log` → key and domain, as `tune.search` has them."""
    key, equals, domain = text.partition("=")
    key = key.strip().removeprefix("line.")
    if not equals or not key or not domain.strip():
        raise ConfigurationError(
            f"--search {text}: expected key=low..high, key=low..high:log or key=a,b,c with a key of `line:`"
        )
    return {key: domain.strip()}


def space_of(line: LineConfig, problems: Callable[[LineConfig], list[str]] = lambda line: []) -> Space:
    """The domains of `line.tune.search`; raises ConfigurationError with every mistake.

    Each end of a range and each choice is laid into the pipeline by itself and must be allowed there. `problems` says
    what is wrong with a line beyond its types: what the registries know.
    """
    wrong: list[str] = []
    space: dict[str, Domain] = {}
    if not line.tune.search:
        wrong.append(
            "tune.search: expected a key to search, received none; name one with "
            "--search training.learning_rate=1e-4..1e-1:log"
        )
    for key, text in line.tune.search.items():
        try:
            domain = parse_domain(key, text)
            _allowed(key)
        except ConfigurationError as error:
            wrong += str(error).splitlines()
            continue
        known, mistakes = [], []
        for value in domain.samples:
            try:
                known.append(_as_read(line, key, value, problems))
            except ConfigurationError as error:
                mistakes += [f"tune.search.{key}: {mistake}" for mistake in str(error).splitlines()]
        wrong += dict.fromkeys(mistakes)
        if not mistakes:
            space[key] = domain.of(known)
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return space


def parse_domain(key: str, written: str | list[Any]) -> Domain:
    """A range `low..high`, `low..high:log`, or choices: a list, or text with commas."""
    where = f"tune.search.{key}"
    if isinstance(written, str) and ".." in written:
        return _range(where, written)
    values = _values(where, written) if isinstance(written, str) else written
    for value in values:
        if not isinstance(value, Value):
            raise ConfigurationError(f"{where}: expected numbers, words, true, false or null, received {value!r}")
    if len(values) < 2 or len({(type(value), value) for value in values}) < len(values):
        raise ConfigurationError(
            f"{where}: expected low..high, low..high:log or two different choices a,b at least, received {written!r}; "
            f"one value is set with -S"
        )
    return Choices(tuple(values))


def with_values(line: LineConfig, values: Mapping[str, Value]) -> LineConfig:
    """`line:` with these keys set; raises ConfigurationError where a key does not exist or a value is not allowed."""
    content = line.model_dump(mode="json")
    for key, value in values.items():
        _set(content, key, value)
    try:
        return LineConfig.model_validate(content)
    except ValidationError as error:
        said = [
            f"{'.'.join(map(str, item['loc'])) or 'line'}: {item['msg'].removeprefix('Value error, expected ')}, "
            f"received {item['input']!r}"
            for item in error.errors(include_url=False)
        ]
        raise ConfigurationError("\n".join(said)) from None


def value_at(line: LineConfig, key: str) -> Any:
    """What the pipeline has under a dotted key; raises ConfigurationError where there is no such key."""
    content: Any = line.model_dump(mode="json")
    for part in key.split("."):
        content = _inside(content, part, key)
    return content


def _range(where: str, text: str) -> Range:
    ends, _, scale = text.partition(":")
    low, high = (_number(end) for end in ends.split("..", 1))
    if low is None or high is None or scale not in ("", "log"):
        raise ConfigurationError(f"{where}: expected low..high or low..high:log with two numbers, received {text!r}")
    if isinstance(low, float) or isinstance(high, float):
        low, high = float(low), float(high)
    if low >= high or not math.isfinite(high - low):
        raise ConfigurationError(f"{where}: expected the lesser of two limits first, received {text!r}")
    if scale and low <= 0:
        raise ConfigurationError(f"{where}: expected limits above 0 on a logarithmic scale, received {text!r}")
    return Range(low, high, scale == "log")


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text.strip())
        except ValueError:
            continue
    return None


def _values(where: str, text: str) -> list[Any]:
    try:
        return [read_yaml(part) for part in text.split(",")]
    except YamlError:
        raise ConfigurationError(f"{where}: expected choices a,b,c, received {text!r}") from None


def _allowed(key: str) -> None:
    where = f"tune.search.{key}"
    if key in NO_MATTER:
        raise ConfigurationError(
            f"{where}: expected a key that changes what a trial measures, received {key}: it decides where and how "
            f"fast a network is trained, not how well; set it with -S"
        )
    if not key.startswith(TRIED):
        raise ConfigurationError(
            f"{where}: expected a key below training, augment or members.networks.0, or members.epochs, received "
            f"{key}: a trial trains one member network and looks at the validation split, which no other key changes"
        )


def _as_read(line: LineConfig, key: str, value: Value, problems: Callable[[LineConfig], list[str]]) -> Value:
    """The value as the pipeline has it: 8 where a real number is meant is 8.0. Raises ConfigurationError."""
    tried = with_values(line, {key: value})
    if wrong := problems(tried):
        raise ConfigurationError("\n".join(wrong))
    kept: Value = value_at(tried, key)
    numbers = type(kept) in (int, float) and type(value) in (int, float)
    if kept != value or (type(kept) is not type(value) and not numbers):
        raise ConfigurationError(f"expected a value as `line:` has it, received {value!r}, which is read as {kept!r}")
    if type(value) is float and type(kept) is int:
        raise ConfigurationError(f"expected a whole number, received {value!r}")
    return kept


def _set(content: Any, key: str, value: Value) -> None:
    *parts, last = key.split(".")
    for part in parts:
        content = _inside(content, part, key)
    if isinstance(content, list):
        _inside(content, last, key)
        content[int(last)] = deepcopy(value)
    elif isinstance(content, dict):
        content[last] = deepcopy(value)  # a new one, too: a network's arguments need not all be written
    else:
        raise ConfigurationError(f"{key}: expected a key of `line:`, received one below a value")


def _inside(content: Any, part: str, key: str) -> Any:
    if isinstance(content, dict) and part in content:
        return content[part]
    if isinstance(content, list) and part.isdigit() and int(part) < len(content):
        return content[int(part)]
    known = (
        ", ".join(map(str, content)) if isinstance(content, dict) else "a number" if isinstance(content, list) else ""
    )
    raise ConfigurationError(f"{key}: expected one of {known or 'nothing below it'}, received {part!r}")
