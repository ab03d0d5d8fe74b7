"""Where each value of a configuration comes from: the last of its layers that says it, or the code's own default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.config.plain_yaml import read_yaml
from components.config.reading import Layer, layers, load, tag
from components.secrecy import is_secret

DEFAULT = "default"  # in the code
HIDDEN = "(not shown)"  # in the place of what may be a secret


@dataclass(frozen=True)
class Value:
    """One effective value."""

    key: str  # dotted, as `-S` has it; below `datasets.` that of the data set's entry in the catalogue
    value: Any  # plain; a list that is set as a whole, and an empty mapping, are values too
    origin: str  # `params.yaml`, the recipe's file, `-S` or `default`


def effective(root: Path, recipe: str | None = None, overrides: Sequence[str] = ()) -> list[Value]:
    """The effective values of a recipe with its overrides, in the order of the code. Raises as `load` does."""
    settings = load(root, recipe, overrides)
    params = read_yaml((root / "params.yaml").read_bytes())
    name = settings.line.dataset
    entry = [Layer("params.yaml", params["datasets"][name])]
    return [
        *_values((), settings.line.model_dump(mode="json"), layers(root, params, recipe, overrides)),
        *_values(("datasets", name), settings.dataset.model_dump(mode="json"), entry),
    ]


def _values(prefix: tuple[str, ...], content: Mapping[str, Any], said: Sequence[Layer]) -> Iterator[Value]:
    for parts, value in _leaves(content):
        shown = HIDDEN if value is not None and is_secret(parts[-1]) else value
        yield Value(".".join((*prefix, *parts)), shown, _origin(parts, said))


def _leaves(value: Any, parts: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What has no keys of its own, by the keys above it; entries of a list by the names they bear, as `-S` has them."""
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _leaves(below, (*parts, key))
        return
    names = _names(value) if isinstance(value, list) else None
    if names is None:
        yield parts, value
        return
    mark = tag(value)
    for name, entry in zip(names, value, strict=True):
        rest = {key: below for key, below in entry.items() if key != mark}
        yield from _leaves(rest or entry, (*parts, name))


def _names(entries: Sequence[Any]) -> list[str] | None:
    """By which `-S` addresses entries of a list; None where it does not."""
    mark = tag(entries)
    if mark is None:
        return None
    names = [str(entry[mark]) for entry in entries]
    return names if len(set(names)) == len(names) and not any("." in name for name in names) else None


def _origin(parts: Sequence[str], said: Sequence[Layer]) -> str:
    for layer in reversed(said):
        says = _says(layer.values, parts)
        if says is not None:
            return layer.origin if says else DEFAULT
    return DEFAULT


def _says(values: Any, parts: Sequence[str]) -> bool | None:
    """Whether a layer says the value at these keys: False where it replaces what is below without it, None if neither.

    As `merge` lays one layer on another: a mapping with a `name` or a `kind`, and a list, replace what is below.
    """
    for depth, part in enumerate(parts):
        if isinstance(values, list):
            mark = tag(values)
            named = [entry for entry in values if mark is not None and str(entry[mark]) == part]
            if not named:
                return False
            values = named[0]
        elif not isinstance(values, Mapping):
            return True  # one word for what the code writes out
        elif part in values:
            values = values[part]
        else:
            return False if depth and {"name", "kind"} & values.keys() else None
    return True
