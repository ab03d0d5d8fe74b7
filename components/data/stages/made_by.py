"""The code that decides what a stage of data writes, module by module: what DVC compares in place of files.

Compared by meaning, so that a comment makes nothing again; and of what there is a file of per kind (sources, inputs,
targets) only those count that the data set uses, so that a new one costs the others nothing. A change in what only
judges or draws does not ingest or prepare again: each stage names the rooms that count. What another package adds
counts, with all that it imports of that package, where a file in its place here would.
"""

from __future__ import annotations

from components.config import DatasetConfig
from components.members import EYES, INPUTS, PACKAGE, SOURCES, TARGETS, TASKS, Member
from components.provenance import code_parts

# How inputs are asked, and what reads them; not how they are made harder, which asks networks and no data.
_INPUTS = ("components.decoding", "components.inputs", "components.tokenizing")
_BESIDE = ("components.inputs.corruptions",)
_FILES = ("components.decoding", "components.inputs.png", "components.spelling")
# Stage → the module that does it, and the rooms and modules that count of all that it reaches.
_STAGES = {
    "ingest": (
        "components.data.preparing.ingest",
        ("components.data.preparing.ingest", "components.data.preparing.shards", "components.data.sources", *_FILES),
    ),
    "inspect": (
        "components.data.inspection.inspect",
        (
            *("components.data.families", "components.data.inspection", "components.targets", "components.texts"),
            *("components.inputs.vocabulary", "components.tokenizing"),
            *_FILES,
        ),
    ),
    "prepare": (
        "components.data.preparing.prepare",
        (
            *("components.data.preparing.drawing", "components.data.families"),
            *(
                "components.data.preparing.prepare",
                "components.data.preparing.shards",
                "components.data.preparing.splits",
            ),
            *("components.targets", *_INPUTS),
        ),
    ),
    "validate": (
        "components.data.validation.validate",
        (
            *("components.data.families", "components.data.validation", "components.spelling", "components.targets"),
            *_INPUTS,
        ),
    ),
}
STAGES = tuple(_STAGES)


def code(stage: str, config: DatasetConfig) -> dict[str, str]:
    """Module → SHA-256 of what it means."""
    module, rooms = _STAGES[stage]
    given = {Member(registry, config.input_kind) for registry in (INPUTS, EYES)}
    used = {Member(SOURCES, config.source.kind), *given, *_targets(config.task)}
    parts = code_parts([module], used)
    counted = {name for name in parts if any(_within(name, room) for room in rooms) and name not in _BESIDE}
    for member in used:
        lies = f"{PACKAGE}.{member.registry.folder}"
        if member.module in parts and member.extension is not None and any(_within(lies, room) for room in rooms):
            counted |= {name for name in code_parts([member.module]) if not _within(name, PACKAGE)}
    return {name: parts[name] for name in sorted(counted)}


def _targets(task: str) -> set[Member]:
    """The kinds of targets that a task's file names; none where there is no such task, which others refuse."""
    named = Member(TASKS, task)
    reached = code_parts([named.module]) if named.exists else {}
    return {each for each in (Member(TARGETS, name) for name in TARGETS.names()) if each.module in reached}


def _within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")
