"""What a step's result depends on, part by part and by name: the key that it is known by, and why it is another.

Inputs, settings, code, the libraries that run and, for what is measured, the kind of machine. Each is kept beside the
result, so that a later run can say which key, module or version has changed rather than that something has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from components.artifacts import DatasetCard, ModelCard
from components.config import BY_CONTENT, NetworkConfig, Section
from components.files import digest_values
from components.members import ANSWERS, BASELINES, FAMILIES, GATES, INPUTS, READERS, TASKS, Member
from components.tasks import registry as tasks

KINDS = ("inputs", "settings", "code", "libraries", "machine")
FILE = "known-by.json"
NAMED = 3  # changes of one kind that are named; how many more there are is told
SHOWN = 40  # characters of a value
ABSENT = "–"


@dataclass(frozen=True)
class KnownBy:
    """Kind → name → value, all of them texts."""

    parts: Mapping[str, Mapping[str, str]]

    def digests(self) -> dict[str, str]:
        """A digest for each kind."""
        return {kind: digest_values(dict(values)) for kind, values in self.parts.items()}

    def key(self, step: str) -> str:
        """What the step's result is known by."""
        return digest_values({"step": step, **self.digests()})

    def to_json(self) -> str:
        return json.dumps(self.parts, ensure_ascii=False, sort_keys=True)

    @classmethod
    def read(cls, text: str) -> KnownBy:
        """ValueError for what `to_json` has not written."""
        values = json.loads(text)
        if not isinstance(values, dict) or not all(isinstance(part, dict) for part in values.values()):
            raise ValueError("expected parts of a key")
        return cls(
            {str(kind): {str(name): str(value) for name, value in part.items()} for kind, part in values.items()}
        )

    def changed(self, before: KnownBy) -> list[str]:
        """What differs from an earlier one: a sentence for each kind, the changes of each by name."""
        told = []
        for kind in KINDS:
            then, now = before.parts.get(kind, {}), self.parts.get(kind, {})
            names = [name for name in dict.fromkeys([*now, *then]) if then.get(name) != now.get(name)]
            if names:
                said = [_said(kind, name, then.get(name, ABSENT), now.get(name, ABSENT)) for name in names[:NAMED]]
                more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
                told.append(f"{kind}: {', '.join(said)}{more}")
        return told


def _said(kind: str, name: str, then: str, now: str) -> str:
    if kind in ("inputs", "code"):  # of which there are only digests
        return name if ABSENT not in (then, now) else f"{name} ({'new' if then == ABSENT else 'gone'})"
    return f"{name} {_cut(then)} → {_cut(now)}"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


# -- of values -------------------------------------------------------------------------------------------------------


def identity(value: Any) -> Any:
    """What a step's input contributes to its key: the digest of a noun, the value of a plain one."""
    if isinstance(value, Section):
        return value.digest()
    digest = getattr(value, "digest", None)
    if isinstance(digest, str):
        return digest
    if isinstance(value, tuple | list):
        return [identity(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a step's input must be a noun, a section or a plain value, received {type(value).__name__}")


def used(value: Any) -> set[Member]:
    """The members that a step's input speaks of: tasks, with what writes their answers, kinds of inputs, families, ….

    Names that are none of ours (an ensemble's, another library's) have no file: that is not asked here.
    """
    if isinstance(value, NetworkConfig):
        return {family} if (family := Member(FAMILIES, value.name)).exists else set()
    if isinstance(value, Section):
        gate = Member(GATES, str(getattr(value, "gate", "")))
        return used([getattr(value, name) for name in type(value).model_fields]) | ({gate} if gate.extension else set())
    if isinstance(value, tuple | list):
        return set().union(*(used(item) for item in value))
    if isinstance(value, ModelCard | DatasetCard):
        networks = [value.network, *value.members] if isinstance(value, ModelCard) else []
        given = {Member(registry, value.input.kind) for registry in (INPUTS, READERS, BASELINES)}
        asked = {Member(TASKS, value.task), Member(ANSWERS, tasks.get(value.task).spec.written)}
        return asked | given | used(networks)
    if is_dataclass(value) and not isinstance(value, type):
        return used([getattr(value, each.name) for each in fields(value)])
    return set()


def is_setting(value: Any) -> bool:
    """Whether a step's input comes from the configuration rather than from another step."""
    if isinstance(value, tuple | list):
        return all(is_setting(item) for item in value)
    return isinstance(value, Section | str | int | float | bool | None)


def dotted(name: str, value: Any) -> dict[str, str]:
    """A setting as dotted keys below its own name; entries of a list by the name that they bear, or their place."""
    if isinstance(value, Section):
        value = value.model_dump(mode="json", context=BY_CONTENT)
    if isinstance(value, Mapping) and value:
        return {key: text for below, each in value.items() for key, text in dotted(f"{name}.{below}", each).items()}
    if isinstance(value, tuple | list) and any(isinstance(each, Section | Mapping) for each in value):
        found: dict[str, str] = {}
        known: set[str] = set()
        for place, each in enumerate(value):
            entry = each.model_dump(mode="json", context=BY_CONTENT) if isinstance(each, Section) else each
            tags = [entry.get(tag) for tag in ("gate", "metric")] if isinstance(entry, Mapping) else []
            named = " ".join(filter(None, tags)) or str(place)
            named = str(place) if named in known else named
            known.add(named)
            found |= dotted(f"{name}.{named}", entry)
        return found
    return {name: json.dumps(value, ensure_ascii=False)}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted keys: what MLflow compares runs by. Gates go by their names, as with `-S`."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        name, below = f"{prefix}{key}", _by_gate(value)
        result |= flat(below, f"{name}.") if isinstance(below, dict) and below else {name: value}
    return result


def _by_gate(value: Any) -> Any:
    """A list of gates as a mapping; anything else as it is."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) and "gate" in entry for entry in value):
        return value
    named = {" ".join(filter(None, (entry["gate"], entry.get("metric")))): entry for entry in value}
    return {
        name: {key: said for key, said in entry.items() if key not in ("gate", "metric")}
        for name, entry in named.items()
    }
