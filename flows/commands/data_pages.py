"""What `convoy data …` prints: one page each, whatever the width, colours only on a terminal."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from components import offered, texts
from components.config import Located
from components.data.card.summary import Listed, Summary
from components.data.catalogue import written
from components.data.checking.check import Checked, Looked
from components.data.checking.survey import UNPUBLISHED, Survey
from components.data.checking.surveys.protocol import most_frequent
from components.data.inspection.base.findings import KINDS, TWINS, Kind
from components.data.inspection.wording import NAMED, says
from components.data.sources.base.faults import as_yaml
from components.data.sources.places.remote import shown
from components.inputs import registry as inputs
from flows.base.screen import Screen
from flows.pages import tables

if TYPE_CHECKING:
    from components.data.validation.validate import ValidationReport
    from components.training.finding.proposal import Proposal

PAGE = 60  # lines: what a person sees without scrolling back, on a large terminal
Key = tuple[bool, Kind]  # whether it is an error, and its kind
MOST_CLASSES, MOST_GROUPS, MOST_VALUES, MOST_FINDINGS = 14, 3, 5, 6  # rows; what is left is counted
BAR, SHORT_BAR, MIN_BAR = 24, 8, 4  # cells of the longest bar, beside long names, and of one that still says something
MOST_SAID = 600  # characters of a sentence
JOIN = "-S spellings=join gives each of these names its most frequent spelling"
NUMBER, MIN_NAME = 12, 14  # cells of a column of numbers, its gap included, and those that a name keeps


def check_page(path: str, checked: Checked, width: int, *, everything: bool = False, kept: Path | None = None) -> Group:
    """What a source is, its counts, and what is wrong with it: on one page, unless `everything` is asked for."""
    counted = _counted(path, checked.looked, width, everything=everything)
    left = PAGE - _height(counted, width) - 1  # for the next command
    return Group(*counted, *_findings(checked, width, left, everything=everything, kept=kept))


def check_values(path: str, checked: Checked) -> dict[str, Any]:
    """The same for programs, with every finding."""
    looked, survey = checked.looked, checked.looked.survey
    return {
        "path": shown(path),
        "kind": looked.config.source.kind,
        "entry": looked.entry,
        "samples": survey.samples,
        "bytes": survey.inputs.size,
        "classes": survey.classes,
        "groups": survey.groups,
        **survey.inputs.counts(),
        "errors": checked.errors,
        "refusals": checked.refusals,
        "findings": checked.findings.to_pylist(),
    }


def card_values(summary: Summary) -> dict[str, Any]:
    """A card for programs; of the findings how many there are of each kind."""
    counts = summary.counts
    return {
        "name": summary.name,
        "digest": summary.dataset.digest,
        "card": summary.dataset.card.model_dump(mode="json"),
        "parts": counts.parts,
        "groups": counts.groups,
        "sizes": {size.replace("×", "x"): count for size, count in counts.inputs.sizes(summary.inspection).items()},
        "findings": Counter(summary.findings.column("kind").to_pylist()),
        "changed": summary.changed,
    }


def added_page(name: str, looked: Looked) -> Group:
    """The entry that has been written, and why it says what it says."""
    return Group(
        Text.assemble(("✓ ", "green"), ("datasets:", "bold"), " in params.yaml has a new entry"),
        Text(written(name, looked.entry, indent=2).rstrip()),
        *(Text(f"  {texts.shown(reason, MOST_SAID)}", style="dim") for reason in looked.reasons),
        *_doubts(looked),
    )


def recipe_page(name: str, proposal: Proposal) -> Group:
    """The recipe that has been written, and why it says what it says."""
    return Group(
        Text.assemble(
            ("✓ ", "green"), (f"recipes/{name}.yaml", "bold"), " is a first recipe for them, yours to change"
        ),
        *(Text(f"  {texts.shown(reason, MOST_SAID)}", style="dim") for reason in proposal.reasons),
    )


def _doubts(looked: Looked) -> list[Text]:
    """What is doubtful about the names: the first ones, and the key that settles it."""
    found = looked.doubts()
    told = [Text(f"! {texts.shown(each.says, MOST_SAID)}", style="yellow") for each in found[:MOST_FINDINGS]]
    if len(found) > MOST_FINDINGS:
        told.append(Text(f"  … {len(found) - MOST_FINDINGS:,} more", style="dim"))
    return [*told, *([Text(f"  {JOIN}", style="dim")] if any(each.kind == "spelling" for each in found) else [])]


# -- counts ----------------------------------------------------------------------------------------------------------


def _counted(path: str, looked: Looked, width: int, *, everything: bool) -> list[Any]:
    survey = looked.survey
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("kind", f"{looked.config.source.kind}: {looked.says}")
    facts.add_row("samples", f"{survey.samples:,} {survey.asked}, {_bytes(survey.inputs.size)}")
    facts.add_row("predefined splits", _published(survey))
    for what, told in survey.inputs.told().items():
        facts.add_row(what, told)
    parts: list[Any] = [Text(shown(path), style="bold", overflow="fold"), facts, Text()]
    if survey.classes:
        parts.append(bars("class", survey.classes, width, everything=everything, whole=everything))
    groups = list(survey.groups.items())
    for group, values in groups if everything else groups[:MOST_GROUPS]:
        rows = {value: {UNPUBLISHED: count} for value, count in values.items()}
        parts += [Text(), bars(group, rows, width, most=MOST_VALUES, everything=everything, whole=everything)]
    if len(groups) > MOST_GROUPS and not everything:
        parts.append(
            Text(f"… {len(groups) - MOST_GROUPS} more groups: {', '.join(name for name, _ in groups[MOST_GROUPS:])}")
        )
    return [*parts, Text()]


def bars(
    heading: str,
    rows: Mapping[str, Mapping[str, int]],
    width: int,
    *,
    most: int = MOST_CLASSES,
    everything: bool = False,
    ranked: bool = True,
    whole: bool = True,
) -> Table:
    """One row per class or value, the most frequent first (or as they come, not `ranked`); the tail is folded.

    Each has a bar, and how many there are in each split. Names take as many lines as they need; where they are not
    `whole`, one line.
    """
    there = _split_order(rows)
    splits = [name for name in there if name] if len(there) > 1 or UNPUBLISHED not in there else []
    total = {name: sum(counts.values()) for name, counts in rows.items()}
    order = sorted(rows, key=lambda name: -total[name]) if ranked else list(rows)
    shown = order if everything or len(order) <= most + 1 else order[:most]
    left = width - NUMBER * (1 + len(splits))  # for names and bars; where there is little room, names go first
    longest = max((cell_len(name) for name in (heading, *shown)), default=0)
    names = min(longest, max(left - (BAR if longest <= left - BAR - 2 else SHORT_BAR) - 2, MIN_NAME))
    cells = min(BAR, left - names - 4)
    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="fold" if whole else "ellipsis", no_wrap=not whole, width=names)
    table.add_column(no_wrap=True, overflow="crop")
    for _ in range(1 + len(splits)):
        table.add_column(justify="right", no_wrap=True)
    table.add_row(*(Text(title, style="dim") for title in (heading, "", "samples", *splits)))
    longest = max(total.values(), default=1) or 1
    for name in shown:
        bar = Text("█" * (math.ceil(cells * total[name] / longest) if cells >= MIN_BAR else 0), style="blue")
        row = [f"{rows[name].get(split, 0):,}" for split in splits]
        table.add_row(Text(name, style="" if total[name] else "red"), bar, f"{total[name]:,}", *row)
    rest = order[len(shown) :]
    if rest:
        table.add_row(Text(f"… {len(rest):,} more", style="dim"), "", Text(f"≥ {total[rest[-1]]:,}", style="dim"))
    return table


def _split_order(rows: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The splits that occur, in the order of their use."""
    there = {split for counts in rows.values() for split in counts}
    return [split for split in ("train", "validation", "test", UNPUBLISHED) if split in there]


def _published(survey: Survey) -> str:
    named = {split: count for split, count in survey.splits.items() if split != UNPUBLISHED}
    if not named:
        return "no splits: they are drawn by `split:`"
    rest = survey.splits[UNPUBLISHED]
    return most_frequent(named, 3) + (f" · {rest:,} without a split" if rest else "")


# -- the catalogue and the card --------------------------------------------------------------------------------------


def catalogue_table(listed: Sequence[Listed]) -> tables.Listing:
    """A row a data set."""
    table = tables.Listing("", "name", "task", "source", "samples", "digest", "state", right=["samples"])
    for each in listed:
        samples = f"{each.samples:,}" if each.samples is not None else tables.NOTHING
        style = {"prepared": "green", "not prepared": "dim"}.get(each.state, "yellow")
        digest = (each.digest or tables.NOTHING)[:8]
        table.add_row(each.name, each.task, each.kind, samples, digest, Text(each.state, style=style))
    return table


def places(summary: Summary) -> dict[str, str]:
    """Where to look further."""
    found = {
        "Samples": summary.dataset.folder,
        "Findings, sheets and reviews": summary.inspected if summary.inspection else None,
        "Expectations": summary.validated / "docs" / "index.html" if summary.report else None,
    }
    return {what: str(path.relative_to(summary.root)) for what, path in found.items() if path is not None}


def card_page(summary: Summary, width: int) -> Group:
    """What is on the page, without its pictures."""
    card, counts = summary.dataset.card, summary.counts
    about = Table.grid(padding=(0, 2))
    about.add_column(style="dim", no_wrap=True)
    about.add_column(overflow="fold")
    rows = {
        "task": f"{card.task}, {card.input.said}",
        "source": f"{summary.config.source.kind} {getattr(summary.config.source, 'path', '')}".strip(),
        "fingerprint": card.fingerprint,
        "digest": summary.dataset.digest,
        "splits": most_frequent(card.splits, 3),
        "folds": str(card.folds) if card.folds else "",
        counts.inputs.sized: most_frequent(counts.inputs.sizes(summary.inspection), 4),
        "found": most_frequent(summary.inspection.found, 9) if summary.inspection else "not inspected",
        "left out": _left_out(card.dropped) if card.dropped else "",
        "moved": f"{_number(len(card.moved), 'sample')} beside twins in a later split" if card.moved else "",
        "twins": f"{_number(len(card.twins), 'judged sample')} with one in an earlier split" if card.twins else "",
        "validation": _verdict(summary.report),
    }
    for what, said in rows.items():
        if said:
            about.add_row(what, Text(said))
    parts: list[Any] = [Text(card.name, style="bold"), about]
    if summary.inspection:
        parts += [Text(f"  {note}", style="dim", overflow="fold") for note in summary.inspection.notes]
    if summary.changed:
        again = offered.command("dvc", "repro", f"validate@{card.name}")
        parts.append(Text(f"! params.yaml has changed since: {again}", style="yellow"))
    parts += [Text(), bars("class" if card.classes else "range", counts.parts, width, ranked=bool(card.classes))]
    for group, values in list(counts.groups.items())[:MOST_GROUPS]:
        parts += [Text(), bars(group, values, width, most=MOST_VALUES)]
    if summary.report is not None:
        told = [Text(f"! {line}", style="yellow", overflow="fold") for line in summary.report.warnings]
        if not summary.report.passed:
            told.append(Text(summary.report.explanation, style="red", overflow="fold"))
        parts += [Text(), *told] if told else []
    parts.append(Text())
    parts += [Text.assemble((f"{what}: ", "dim"), path) for what, path in places(summary).items()]
    return Group(*parts)


def _left_out(dropped: Mapping[str, str]) -> str:
    reasons = Counter(why.partition(":")[0] for why in dropped.values())
    return f"{len(dropped):,} of training: {most_frequent(reasons, 4)}"


def _verdict(report: ValidationReport | None) -> str:
    if report is None:
        return "not validated"
    failed = sum(not result.success and result.severity == "error" for result in report.results)
    said = f"{len(report.results)} expectations, {_number(len(report.warnings), 'warning')}"
    return f"passed, {said}" if report.passed else f"failed: {failed} of {said}"


# -- findings --------------------------------------------------------------------------------------------------------


def _findings(checked: Checked, width: int, lines: int, *, everything: bool, kept: Path | None) -> list[Any]:
    found: dict[Key, list[dict[str, Any]]] = {}
    for row in checked.findings.to_pylist():
        found.setdefault((row["error"], row["kind"]), []).append(row)
    given = checked.looked.config.input_kind
    heads = {key: _heading(key, len(rows), given) for key, rows in found.items()}
    shown = {key: [_finding(row) for row in rows] for key, rows in found.items()}
    notes = [Text(f"  {note}", style="dim", overflow="fold") for note in checked.inspection.notes]
    refusals = [Text.assemble(("✗ ", "bold red"), each, overflow="fold") for each in checked.refusals]
    twins = any(error and kind in TWINS for error, kind in found)
    spellings = any(kind == "spelling" for _, kind in found)
    tail = [Text(), _conclusion(checked, twins=twins, spellings=spellings), *_ways(checked, found)]
    if not everything:
        around = [*refusals, *heads.values(), *notes, _more(len(checked.findings), kept), *tail]
        shown = _fitting(shown, width, lines - _height(around, width))
    parts: list[Any] = [*refusals]
    for key in sorted(found, key=lambda key: (not key[0], KINDS.index(key[1]))):
        parts += [heads[key], *shown[key]]
    hidden = len(checked.findings) - sum(map(len, shown.values()))
    if hidden:
        parts.append(_more(hidden, kept))
    elif kept:
        parts.append(Text(f"  kept in {kept}", style="dim"))
    return [*parts, *notes, *(tail if parts or notes else tail[1:])]


def _more(hidden: int, kept: Path | None) -> Text:
    where = f"{kept}/findings.parquet" if kept else "--all, or --pictures FOLDER with a sheet of each kind"
    return Text(f"  … {hidden:,} more: {where}", style="dim")


def _conclusion(checked: Checked, *, twins: bool, spellings: bool) -> Text:
    warnings = len(checked.findings) - checked.errors
    if checked.errors:
        said = Text.assemble(("✗ ", "bold red"), f"{_number(checked.errors, 'error')} to fix")
    else:
        said = Text.assemble(("✓ ", "bold green"), "no errors" if warnings else "nothing is wrong")
    said.append(f", {_number(warnings, 'warning')}" if warnings else "")
    if spellings:
        said.append(f"\n  {JOIN}", style="dim")
    if twins:
        said.append(
            "\n  what has a twin in a later split: -S checks.leakage=drop leaves it out, move puts it beside its twin, "
            "keep learns from it",
            style="dim",
        )
    return said


def _ways(checked: Checked, found: Mapping[Key, list[dict[str, Any]]]) -> list[Text]:
    """The keys that leave out what cannot be fixed."""
    source, classes = checked.looked.config.source, checked.looked.survey.classes
    said = []
    if (True, "corrupt") in found and getattr(source, "faulty", None) == "refuse":
        shown = inputs.get(checked.looked.config.input_kind).shown
        said.append(f"-S faulty=skip leaves out {shown}s that cannot be read, and counts them")
    small = list(dict.fromkeys(row["id"] for row in found.get((True, "small-class"), [])))
    if 0 < len(small) < len(classes) and isinstance(source, Located):
        if len(small) <= MOST_FINDINGS:
            said.append(f"-S 'without={as_yaml(small)}' leaves {'the class' if len(small) == 1 else 'the classes'} out")
        else:
            said.append("-S 'without=[NAME, …]' leaves classes out")
        said.append("-S checks.small_classes=keep takes splits without a class as they are, where all are learnt")
    return [Text(f"  {each}", style="dim", overflow="fold") for each in said]


def _heading(key: Key, count: int, given: str) -> Text:
    error, kind = key
    mark = ("✗ ", "bold red") if error else ("! ", "yellow")
    said = f" · {says(given)[kind]}{', and in two splits' if error and kind in TWINS else ''}"
    return Text.assemble(mark, (f"{count:,} {kind}", "bold"), (said, "dim"))


def _fitting(found: Mapping[Key, list[Text]], width: int, lines: int) -> dict[Key, list[Text]]:
    """The first findings of each kind, one of each in turn as long as there are lines; one of each there always is."""
    shown: dict[Key, list[Text]] = {key: told[:1] for key, told in found.items()}
    left = lines - sum(_height(told, width) for told in shown.values())
    for number in range(1, MOST_FINDINGS):
        for key, told in found.items():
            needed = _height(told[number : number + 1], width)
            if needed and needed <= left:
                shown[key].append(told[number])
                left -= needed
    return shown


def _finding(row: Mapping[str, Any]) -> Text:
    says = texts.shown(str(row["says"]), MOST_SAID)
    return Text(
        f"    {says}" if row["kind"] in NAMED else f"    {texts.shown(str(row['id']))}: {says}", overflow="fold"
    )


# -- words -----------------------------------------------------------------------------------------------------------


def _number(count: int, noun: str, plural: str = "s") -> str:
    return f"{count:,} {noun}{'' if count == 1 else plural}"


def _bytes(size: int) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size = size / 1000  # type: ignore[assignment]
    return f"{size:,.1f} TB"


def _height(parts: Iterable[Any], width: int) -> int:
    """Lines that the parts take."""
    return len(Screen(width=width, file=io.StringIO()).render_lines(Group(*parts), pad=False))
