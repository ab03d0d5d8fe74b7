"""Families of twins: samples that inputs being (all but) the same joins, directly or through others.

Says which samples of a family are in different splits, and what could be done about them; who is a twin of whom is
found by the inspection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from components.artifacts import SPLITS

Families = Sequence[Sequence[str]]


def joined(groups: Iterable[Sequence[str]]) -> list[list[str]]:
    """What groups of names (pairs, say) join, directly or through others: each family sorted, in order of its first."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for names in groups:
        for other in names[1:]:
            first, second = sorted((root(names[0]), root(other)))
            parent[second] = first
    gathered: dict[str, list[str]] = {}
    for name in sorted(parent):
        gathered.setdefault(root(name), []).append(name)
    return [gathered[name] for name in sorted(gathered)]


def leaks(families: Families, splits: Mapping[str, str]) -> dict[str, str]:
    """Samples that have a twin in a later split (train, validation, test), and one such twin.

    Samples that `splits` does not name (what was dropped) count for nothing.
    """
    return _apart(families, splits, max)


def learnt(families: Families, splits: Mapping[str, str]) -> dict[str, str]:
    """The reverse: samples that have a twin in an earlier split, which a network may have learnt by heart, and one."""
    return _apart(families, splits, min)


def moves(families: Families, splits: Mapping[str, str], groups: Mapping[str, str] | None = None) -> dict[str, str]:
    """Samples that must join another one in a later split so that no family is in two splits, and that other one.

    With `groups` (of every sample) a group stays in one piece: it goes along, with the families of its samples.
    """
    found = leaks(families, splits)
    if not found or groups is None:
        return found
    of_group: dict[str, list[str]] = {}
    for name, group in groups.items():
        of_group.setdefault(group, []).append(name)
    wholes = joined([*families, *of_group.values()])
    return leaks([whole for whole in wholes if not found.keys().isdisjoint(whole)], splits)


def _apart(families: Families, splits: Mapping[str, str], end: Callable[[Iterable[int]], int]) -> dict[str, str]:
    """Of each family in several splits: those that are not in the last (or first) of them, and one that is."""
    found: dict[str, str] = {}
    for family in families:
        members = [name for name in family if name in splits]
        if len({splits[name] for name in members}) < 2:
            continue
        split = SPLITS[end(SPLITS.index(splits[name]) for name in members)]
        other = next(name for name in members if splits[name] == split)
        found |= {name: other for name in members if splits[name] != split}
    return found
