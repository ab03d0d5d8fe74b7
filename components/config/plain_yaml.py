"""YAML as people mean it: mappings, lists, texts, numbers, true, false and null, and nothing else.

The words are YAML 1.2's core schema, which DVC reads `params.yaml` by: `on`, `no`, `12:30` and `2024-05-17` are texts,
`1e-3` is a number. Anchors, tags and several documents are refused, and size and depth are bounded, since nine lines of
aliases can stand for gigabytes. What the values must be is for others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import yaml

BYTES = 2**20
NODES = 50_000  # keys and values: a catalogue of two thousand entries, and a few seconds' work
DEPTH = 40  # a configuration has five levels
_DIGITS = 100
_SHOWN = 200  # characters of a message of the library

_WORDS: dict[str, tuple[str, Sequence[str]]] = {  # tag: pattern, and the first letters by which PyYAML finds it
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN",
        "-+.0123456789",
    ),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
}


class YamlError(ValueError):
    """A text that is not YAML as it is meant here; one sentence without the place it came from."""


def read_yaml(text: str | bytes) -> Any:
    """The one document in `text`; None where there is none. Raises YamlError."""
    return _loaded(text, lambda loader: loader.get_single_data())


def compose_yaml(text: str) -> yaml.Node | None:
    """The same document as nodes, which know where in the text they stand. Raises YamlError."""
    node: yaml.Node | None = _loaded(text, lambda loader: loader.get_single_node())
    return node


def _loaded(text: str | bytes, take: Callable[[_Loader], Any]) -> Any:
    """What a loader of the text gives; raises YamlError."""
    if len(text) > BYTES:
        raise YamlError(f"expected at most {BYTES} bytes of YAML, received {len(text)}")
    try:
        return take(_Loader(text))
    except yaml.composer.ComposerError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}" if mark else ""
        raise YamlError(f"expected one document, received another{where}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise YamlError(f"{_cut(error.problem or error.context or 'no YAML')}{where}") from None
    except Exception as error:  # the one boundary of what the library, or Python, makes of it
        said = str(error).splitlines() if isinstance(error, yaml.YAMLError | ValueError) else []
        raise YamlError(_cut(said[0] if said else f"no YAML ({type(error).__name__})")) from error


def write_yaml(value: Any, *, flow: bool = False, width: int = 80) -> str:
    """Plain values as YAML that this reader, and one of YAML 1.1, reads as they are; on one line with `flow`.

    No value is written as a reference to another, and a text that looks like anything else is quoted.
    """
    written = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=flow, sort_keys=False, allow_unicode=True, width=width
    )
    return str(written).removesuffix("...\n")


def _cut(said: str) -> str:
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]} …"


class _Loader(yaml.SafeLoader):
    """PyYAML's own, with the words of YAML 1.2 and without what refers to other places."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (PyYAML's own)
    depth = nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self._refuse("an alias (*name): write the value where it is meant")
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None):
            self._refuse("an anchor (&name): write the value where it is meant")
        if getattr(event, "tag", None):
            self._refuse("a tag (!name): write the value without it")
        self.depth, self.nodes = self.depth + 1, self.nodes + 1
        if self.nodes > NODES:
            self._refuse(f"more than {NODES:,} keys and values")
        if self.depth > DEPTH:
            self._refuse(f"more than {DEPTH} levels")
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _refuse(self, what: str) -> None:
        place = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        raise yaml.MarkedYAMLError(problem=f"expected plain values, received {what}", problem_mark=place)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A key that is written twice is refused, where PyYAML takes the last one."""
        seen: set[Any] = set()
        for name, _ in node.value:
            key = self.construct_object(name, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.MarkedYAMLError(problem="expected a text as key", problem_mark=name.start_mark)
            if key in seen:
                problem = f"expected each key once, received {_cut(str(key))} again"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=name.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """PyYAML's own, which quotes the words of YAML 1.1, and those of YAML 1.2 as well."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    value = str(loader.construct_scalar(node))
    if len(value) > _DIGITS:
        problem = f"expected a number of at most {_DIGITS} digits, received {len(value)}"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    return int(value, {"0o": 8, "0x": 16}.get(value[:2], 10))


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    value = str(loader.construct_scalar(node)).lower()
    if value.endswith("inf"):
        return -math.inf if value.startswith("-") else math.inf
    return math.nan if value == ".nan" else float(value)


for _tag, (_pattern, _letters) in _WORDS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_letters))
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_letters))
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)
