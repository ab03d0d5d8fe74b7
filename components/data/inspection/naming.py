"""Names that are probably one, and cells that are probably several: by classes and groups' values, counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from components import spelling, texts
from components.data.inspection.base.findings import Finding

# What the harm is where a group's values hold splits apart.
_PARTED = ": one of them may be tested on while the other is learnt from"


def doubtful(
    classes: Mapping[str, int], groups: Mapping[str, Mapping[str, int]], split_group: str | None
) -> Iterator[Finding]:
    """Findings about class → samples, and `group_*` → value → samples; `split_group` is what splits are drawn by."""
    for column, counts in {"": classes, **groups}.items():
        if column == spelling.IMAGE:
            continue
        parted = _PARTED if column and column == split_group else ""
        for found in spelling.several(counts):
            yield Finding("spelling", found.name, column, float(found.rest), f"{found.said(column)}{parted}")
        for name, parts in spelling.lists(counts).items():
            listed = ", ".join(texts.exact(part, 60) for part in parts)
            where = f"{texts.shown(column)}: " if column else ""
            says = f"{where}{texts.exact(name, 60)} ({counts[name]:,}): reads like several, {listed}, and counts as one"
            yield Finding("several-labels", name, column, float(counts[name]), says)
