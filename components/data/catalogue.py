"""An entry of `datasets:` into `params.yaml`: the text is spliced in, so that no other byte of the file changes.

A YAML library that writes the file anew would keep its comments, and still move spaces, quotes and line ends about.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from components.config import (
    ConfigurationError,
    DatasetConfig,
    YamlError,
    compose_yaml,
    parse_entry,
    read_yaml,
    write_yaml,
)
from components.data.errors import DataError, check_name
from components.files import writing

_STEP = 2  # spaces a level, where the file has no entry to take it from


def check_free(root: Path, name: str, *, replace: bool = False) -> None:
    """Raise ConfigurationError where `add` would for the name, so that nothing is read in vain."""
    check_name(name)
    with_entry(_text(root / "params.yaml"), name, {}, replace=replace)


def add(root: Path, name: str, entry: Mapping[str, Any], *, replace: bool = False) -> DatasetConfig:
    """Write `datasets.NAME` into `root/params.yaml`, in one move; whoever else is adding waits.

    `entry` is what the file is to say: plain values. Raises ConfigurationError with all that is wrong with it, for a
    name that is taken (unless `replace`), and for a file that is not written as a catalogue; then nothing is written.
    """
    check_name(name)
    config = parse_entry(name, entry)
    path = (root / "params.yaml").resolve()  # a link stays one: what it points to is replaced
    lock = root / ".convoy" / "locks" / "params.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        before = _text(path)
        after = with_entry(before, name, entry, replace=replace)
        _only_that_changed(before, after, name, entry, path)
        with writing(path) as temporary:
            temporary.write_bytes(after.encode("utf-8"))
            shutil.copymode(path, temporary)
    return config


def with_entry(text: str, name: str, entry: Mapping[str, Any], *, replace: bool = False) -> str:
    """The text of a `params.yaml` with the entry in it: in the place of the one it replaces, or behind the last one."""
    top = _composed(text)
    datasets = _value(top, "datasets")
    newline = "\r\n" if "\r\n" in text else "\n"
    if datasets is None:
        head = text if not text or text.endswith("\n") else text + newline
        return head + f"datasets:{newline}" + written(name, entry, _STEP, newline)
    key, mapping = datasets
    if not isinstance(mapping, yaml.MappingNode) or not mapping.value:
        if isinstance(mapping, yaml.MappingNode) or mapping.tag == "tag:yaml.org,2002:null":
            return _into_empty(text, key, mapping, written(name, entry, key.start_mark.column + _STEP, newline))
        raise ConfigurationError("datasets: expected a mapping in params.yaml, received something else")
    found = _value(mapping, name)
    if found is not None and not replace:
        raise ConfigurationError(
            f"datasets.{name}: expected a name that is free, received one that params.yaml has already; "
            "choose another, or say --force"
        )
    if mapping.flow_style:
        raise ConfigurationError(
            "datasets: expected one line per entry in params.yaml, received one pair of braces around all of them; "
            "write them one below the other"
        )
    block = written(name, entry, mapping.value[0][0].start_mark.column, newline)
    if found is not None:
        start = _line_start(text, found[0].start_mark.index)
        return text[:start] + block + text[_line_end(text, _end(found[1])) :]
    at = _line_end(text, _end(mapping))
    before = text[:at] if text[:at].endswith("\n") else text[:at] + newline
    return before + block + text[at:]


def written(name: str, entry: Mapping[str, Any], indent: int = 0, newline: str = "\n") -> str:
    """An entry as the file has them: one line per key, sections in braces."""
    lines = [f"{' ' * indent}{_flow(name)}:"]
    lines += [f"{' ' * (indent + _STEP)}{_flow(key)}: {_flow(value)}" for key, value in entry.items()]
    return "".join(line + newline for line in lines)


def _flow(value: Any) -> str:
    """A value on one line, as YAML."""
    return write_yaml(value, flow=True, width=10**9).removesuffix("\n").removesuffix("\n...")


def _into_empty(text: str, key: yaml.Node, value: yaml.Node, block: str) -> str:
    """`datasets:` with nothing, `null` or `{}` behind it."""
    start = key.end_mark.index
    colon = text.index(":", start) + 1
    end = max(value.end_mark.index, colon) if value.start_mark.index >= colon else colon
    line_end = _line_end(text, end)
    rest = text[end:line_end].strip()
    newline = "\r\n" if block.endswith("\r\n") else "\n"
    return text[:colon] + (f"  {rest}" if rest else "") + newline + block + text[line_end:]


def _end(node: yaml.Node) -> int:
    """Where a node's own text ends: a block's end as YAML sees it is where the next thing begins."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return max(_end(part) for part in (last if isinstance(last, tuple) else (last,)))
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return int(node.end_mark.index) - 1  # its last line end is its own
    return int(node.end_mark.index)


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    """Behind the line end that follows: a comment behind a value belongs to it."""
    at = text.find("\n", index)
    return len(text) if at < 0 else at + 1


def _value(mapping: yaml.Node, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((key, value) for key, value in mapping.value if key.value == name), None)


def _composed(text: str) -> yaml.MappingNode:
    try:
        node = compose_yaml(text)
    except YamlError as error:
        raise ConfigurationError(f"params.yaml: not readable as YAML: {error}") from None
    if not isinstance(node, yaml.MappingNode) or (node.flow_style and node.value):
        raise ConfigurationError("params.yaml: expected a mapping with one line per key, received something else")
    return node


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: expected a file in UTF-8: {error}") from None


def _only_that_changed(before: str, after: str, name: str, entry: Mapping[str, Any], path: Path) -> None:
    """Read what is about to be written, and compare: a file that is written in an unforeseen way is left alone."""
    try:
        old, new = read_yaml(before), _loaded(after)
    except YamlError as error:
        raise ConfigurationError(f"{path}: not readable as YAML: {error}") from None
    expected = {**old, "datasets": {**(old.get("datasets") or {}), name: dict(entry)}}
    if new != read_yaml(write_yaml(expected)):
        text = written(name, entry, _STEP, "\n")
        raise DataError(f"{path}: expected a catalogue that an entry can be added to; add it by hand:\n{text}")


def _loaded(text: str) -> Any:
    try:
        return read_yaml(text)
    except YamlError:
        return None
