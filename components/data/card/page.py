"""One self-contained page about a data set: what is in it, what it looks like, what was found in it and left out.

Only presents what others have measured and decided (`summary`, `pictures`, the inspection, validation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from components import texts
from components.artifacts import SPLITS
from components.data.card import samples
from components.data.card.samples import Sample
from components.data.card.summary import Summary
from components.data.card.views.protocol import BINS
from components.data.catalogue import written
from components.data.inspection.findings import KINDS
from components.data.inspection.findings import Kind as Finding
from components.data.inspection.wording import says
from components.files import writing
from components.inputs import registry as inputs
from components.targets import registry as targets

MOST_CLASSES = 24  # rows of the contact sheet: as many as fit a page that is still looked at
MOST_BARS = 40  # of a histogram; the tail is folded into one line
EACH = 10  # pictures a class: a row of the page
MOST_FINDINGS = 8  # shown of a kind, the worst first
MOST_DROPPED = 60  # named on the page, and as many that were moved
# Findings whose `id` is a key, a class, a group's value or a column, not a sample.
ABOUT_WHOLES = ("narrow-range", "small-class", "confounded-group", "spelling", "several-labels")


@dataclass(frozen=True)
class Bar:
    """One row of a histogram: a share of the longest bar a split, in per cent."""

    name: str
    samples: int
    parts: tuple[tuple[str, int, float], ...] = ()  # split, samples, per cent
    folded: bool = False  # it stands for a tail


@dataclass(frozen=True)
class Kind:
    """What was found of one kind."""

    name: str
    says: str
    count: int
    rows: list[dict[str, Any]]  # `id`, `other`, `says`, `score`, `picture`, `other_picture`
    pictured: bool  # its ids are samples'


def card_file(root: Path, name: str) -> Path:
    return root / ".convoy" / "cards" / f"{name}.html"


def write_card(summary: Summary, about: Mapping[str, str] | None = None) -> Path:
    """Write `.convoy/cards/NAME.html`; returns it. `about` are further lines of where it comes from."""
    path = card_file(summary.root, summary.name)
    card = summary.dataset.card
    kind, view = targets.of(summary.dataset), summary.counts.inputs
    colours = kind.colours(card.classes, card.target)
    parts = summary.counts.parts
    ranged = not card.classes  # the parts are ranges, which have an order of their own
    order = list(parts) if ranged else sorted(parts, key=lambda name: -sum(parts[name].values()))
    order = [name for name in order if name in colours] if colours else order  # a background is in every picture
    dropped = list(card.dropped.items())[:MOST_DROPPED]
    shown = _shown_findings(summary)
    named = {row[key] for rows in shown.values() for row in rows for key in ("id", "other")} | {
        id_ for id_, _ in dropped
    }
    small = samples.of_ids(summary.dataset, named)
    page = (
        _environment()
        .get_template("card.html.j2")
        .render(
            summary=summary,
            card=card,
            splits=SPLITS,
            total=sum(card.splits.values()),
            sheet=samples.of_parts(summary.dataset, order[:MOST_CLASSES], EACH),
            folded=len(order) > MOST_CLASSES,
            colours={name: colours[name] for name in order} if colours else {},
            beside={name: colour for name, colour in colours.items() if name not in parts},
            parts=_bars(parts, ranged=ranged),
            asked=kind.described(card.classes, card.target),
            ranged=ranged,
            groups={group: _bars(values) for group, values in summary.counts.groups.items()},
            view=view,
            given=inputs.of(card),
            sizes=_bars({size: {"": count} for size, count in view.sizes(summary.inspection).items()}),
            outlines=_outlines(summary),
            kinds=[_kind(kind, summary, rows, small) for kind, rows in shown.items()],
            dropped=[(name, why, small.get(name)) for name, why in dropped],
            moved=list(card.moved.items())[:MOST_DROPPED],
            entry=written(summary.name, summary.entry),
            about=about or {},
        )
    )
    with writing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _bars(rows: Mapping[str, Mapping[str, int]], *, ranged: bool = False) -> list[Bar]:
    """The longest first, or as they are `ranged`.

    A tail beyond `MOST_BARS` is one row without a bar, which says how many it folds.
    """
    totals = {name: sum(counts.values()) for name, counts in rows.items()}
    longest = max(totals.values(), default=1) or 1
    order = list(rows) if ranged else sorted(rows, key=lambda name: -totals[name])
    shown = order if len(order) <= MOST_BARS + 1 else order[:MOST_BARS]
    bars = [
        Bar(
            name,
            totals[name],
            tuple((split, count, 100 * count / longest) for split, count in _in_order(rows[name])),
        )
        for name in shown
    ]
    rest = order[len(shown) :]
    if rest:
        name = f"… {len(rest):,} more, down to {rest[-1]} with {totals[rest[-1]]:,}"
        bars.append(Bar(name, sum(totals[name] for name in rest), folded=True))
    return bars


def _in_order(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    known = [(split, counts[split]) for split in SPLITS if counts.get(split)]
    return known + [(name, count) for name, count in counts.items() if name not in SPLITS and count]


def _outlines(summary: Summary) -> dict[str, str]:
    """Each split's distribution as points of a polyline in a box of 240×80, its own peak at the top."""
    result = {}
    for split, counts in summary.counts.inputs.distribution().items():
        if counts.sum():
            heights = counts / counts.max()
            points = [f"{240 * (bin + 0.5) / BINS:.1f},{80 - 76 * height:.1f}" for bin, height in enumerate(heights)]
            result[split] = " ".join(points)
    return result


def _shown_findings(summary: Summary) -> dict[Finding, list[dict[str, Any]]]:
    """Kind → the worst of it."""
    result: dict[Finding, list[dict[str, Any]]] = {}
    for kind in KINDS:
        rows = [row for row in summary.findings.to_pylist() if row["kind"] == kind]
        if rows:
            result[kind] = rows[:MOST_FINDINGS]
    return result


def _kind(name: Finding, summary: Summary, rows: Sequence[dict[str, Any]], small: Mapping[str, Sample]) -> Kind:
    count = sum(each == name for each in summary.findings.column("kind").to_pylist())
    told = [row | {"picture": small.get(row["id"]), "other_picture": small.get(row["other"])} for row in rows]
    return Kind(name, says(summary.config.input_kind)[name], count, told, name not in ABOUT_WHOLES)


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # class and group names, ids and messages come from the data
        finalize=texts.on_page,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
