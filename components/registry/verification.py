"""Whether a model's ledger is what was written.

Records are held against their chain, the chain against the places where its end is kept, and aliases against what was
decided. What is found is said and never mended: which of two stories is true only people know. A person who has seen
it says so on the record (`decisions.acknowledge`), and then it stands in the way of promotion no longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components import offered, texts
from components.artifacts import ArtifactError, Decision
from components.files import digest_values
from components.registry import chain, record
from components.registry.ledger import replay
from components.registry.listing import places, within
from components.registry.memory.tracking import Run, Tracking
from components.registry.versions import PRODUCTION, STAGING, RegistryError, aliases

LISTED = ", "  # between the keys of findings in a tag
SHOWN = 3  # findings that are told in a sentence; the rest is counted


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written."""

    about: str  # what tells it from others, and stays the same while it is there
    says: str

    @property
    def key(self) -> str:
        """By which a person acknowledges it."""
        return digest_values({"finding": self.about})[:12]


@dataclass(frozen=True)
class NotDecided:
    """An alias that is where nobody decided that it be: moved, set or removed past Convoy."""

    model: str
    alias: str
    version: int | None  # that it names; None where it is not there
    decided: int | None  # that the ledger says

    @property
    def finding(self) -> Finding:
        """The same for `verify`, which says it beside all else."""
        now, then = (f"version {each}" if each else "nothing" for each in (self.version, self.decided))
        says = f"{self.alias} is {now}, which nobody decided: by the ledger it is {then}"
        return Finding(f"alias {self.alias} {now} {then}", says)


@dataclass(frozen=True)
class Verified:
    """What came of looking at a ledger."""

    name: str
    records: int  # in the chain
    earlier: int  # from before there were chains
    findings: tuple[Finding, ...]  # that nobody has acknowledged
    acknowledged: tuple[Finding, ...]

    @property
    def whole(self) -> bool:
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        told = {
            key: [{"key": each.key, "says": each.says} for each in found]
            for key, found in (("findings", self.findings), ("acknowledged", self.acknowledged))
        }
        return {"model": self.name, "whole": self.whole, "records": self.records, "earlier": self.earlier, **told}


def verify(tracking: Tracking, name: str) -> Verified:
    """Hold a model's ledger against its chain. Reads every record; changes nothing."""
    tracking = within(tracking, name)
    there = record.every(tracking, name)
    numbered = [run for run in there if chain.number(run) is not None]
    chained = [run for run in numbered if run.status != "RUNNING"]  # others are being written, or `settle` closes them
    plain = [run for run in there if chain.number(run) is None and run.status == "FINISHED"]
    ledger, head = chain.named(tracking, name)
    seen = chain.seen(tracking, name)
    begun = min((run.started for run in chained), default=float("inf"))
    found = [
        *_beginning(tracking, chained, [run for run in plain if run.started <= begun]),
        *(_inserted(run) for run in plain if run.started > begun),
        *(finding for run in chained for finding in _record(tracking, run, ledger)),
        *_order(numbered, seen, ledger),
        *_end(numbered, seen, ledger, head),
        *_outcomes(chained, seen),
    ]
    carried = [run for run in there if run.status == "FINISHED"]
    if not any(run.status == "RUNNING" for run in there):
        found += _aliases(tracking, name, carried)
    known = _acknowledged(carried)
    once = {finding.key: finding for finding in found}
    return Verified(
        name,
        len(chained),
        len(plain),
        tuple(finding for key, finding in once.items() if key not in known),
        tuple(finding for key, finding in once.items() if key in known),
    )


def require_whole(tracking: Tracking, name: str) -> None:
    """RegistryError where something about the ledger is found that nobody has acknowledged."""
    found = verify(tracking, name).findings
    if not found:
        return
    told = "; ".join(each.says for each in found[:SHOWN])
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    look = offered.command("convoy", "ledger", name, "--verify")
    say = offered.command("convoy", "ledger", name, "--acknowledge", "--reason", "…")
    raise RegistryError(
        f"{name}: its ledger is not as it was written: {told}{more}. `{look}` shows all of it; once somebody has "
        f"looked into it, `{say}` puts that on record"
    )


def _beginning(tracking: Tracking, chained: Sequence[Run], plain: Sequence[Run]) -> list[Finding]:
    first = next((run for run in chained if chain.number(run) == 1), None)
    if first is None or first.tags.get(chain.BEFORE) == chain.beginning(record.earlier(tracking, plain)):
        return []
    about = "those" if plain else "none of those"
    says = f"of the decisions from before the chain there are {len(plain)}, {about} not as they were when it began"
    return [Finding(f"beginning {first.tags.get(chain.BEFORE)} {[run.id for run in plain]}", says)]


def _inserted(run: Run) -> Finding:
    says = f"{_said(run)} has no number, and others were made before it that have: it was put in past Convoy"
    return Finding(f"inserted {run.id}", says)


def _record(tracking: Tracking, run: Run, ledger: str | None) -> list[Finding]:
    """What is wrong with one record by itself."""
    number, entry = chain.number(run), run.tags.get(chain.ENTRY)
    if not entry:  # its writer was killed before anything followed from it
        return (
            [] if run.status in {"KILLED", "FAILED"} else [Finding(f"no entry {run.id}", f"{_said(run)} has no entry")]
        )
    content = record.content_of(tracking, run)
    if content is None:
        return [Finding(f"no file {run.id}", f"the file of {_said(run)} is gone")]
    covered, before = record.covers(run.tags), run.tags.get(chain.BEFORE, "")
    made = chain.entry(ledger or "", run.id, number or 0, before, content, covered)
    if made != entry:
        says = f"{_said(run)} is not as it was written, or was written for another ledger"
        return [Finding(f"entry {run.id} {entry} {made}", says)]
    try:
        decision = record.read(tracking, run)
    except (ArtifactError, RegistryError):
        return [Finding(f"unreadable {run.id}", f"the file of {_said(run)} says nothing that can be read")]
    told = _told(decision)
    apart = [tag for tag, value in told.items() if run.tags.get(tag, "") != value]
    if not apart:
        return []
    says = f"the tags of {_said(run)} say something else than its file: {', '.join(apart)}"
    return [Finding(f"tags {run.id} {[run.tags.get(tag) for tag in apart]}", says)]


def _told(decision: Decision) -> dict[str, str]:
    """What the tags of a decision's record are to say."""
    return {
        record.MODEL: decision.name,
        record.VERSION: str(decision.version),
        record.ACTION: decision.action,
        record.ALIAS: decision.alias or "",
        record.BY: texts.storable(decision.by),
        record.AT: decision.at,
    }


def _order(numbered: Sequence[Run], seen: Sequence[chain.Seen], ledger: str | None) -> list[Finding]:
    """Numbers that are missing or there twice, and records that do not stand on the one before them."""
    found = []
    by_number: dict[int, list[Run]] = {}
    for run in numbered:
        by_number.setdefault(chain.number(run) or 0, []).append(run)
    mine = {each.number: each for each in seen if each.ledger == ledger}
    for number, runs in sorted(by_number.items()):
        if len(runs) > 1:
            ids = ", ".join(sorted(run.id[:8] for run in runs))
            found.append(Finding(f"twice {number} {ids}", f"decision {number} is there {len(runs)} times (runs {ids})"))
        before = {run.tags.get(chain.ENTRY) for run in by_number.get(number - 1, [])}
        for run in runs if number > 1 and before else ():
            if run.tags.get(chain.BEFORE) not in before:
                says = f"{_said(run)} does not stand on decision {number - 1} as that is now"
                found.append(Finding(f"link {run.id} {sorted(map(str, before))}", says))
        for run in runs:
            known = mine.get(number)
            if known is not None and known.entry != run.tags.get(chain.ENTRY):
                says = f"{_said(run)} is another than this project has written under that number"
                found.append(Finding(f"another {number} {run.id}", says))
    last = max(by_number, default=0)
    return found + [_missing(number, mine) for number in range(1, last) if number not in by_number]


def _end(
    numbered: Sequence[Run], seen: Sequence[chain.Seen], ledger: str | None, head: chain.Head | None
) -> list[Finding]:
    """Decisions at the end of the chain that are remembered elsewhere and are not there."""
    last = max((chain.number(run) or 0 for run in numbered), default=0)
    done = max((chain.number(run) or 0 for run in numbered if run.status != "RUNNING"), default=0)
    told = head.number if head else 0
    mine = {each.number: each for each in seen if each.ledger == ledger}
    most = max(mine, default=0)
    found = [_missing(number, mine) for number in range(last + 1, told + 1)]
    if most > max(last, told):
        says = (
            f"the store ends with decision {max(last, told)}, and this project has written {most}: it was put "
            "back to an earlier state (a back-up), or is a copy that others go on with"
        )
        found.append(Finding(f"earlier state {max(last, told)} {most}", says))
    if (head.number if head else 0) < done:
        ends = f"decision {head.number}" if head else "nothing"
        says = f"the model's tag {chain.HEAD} names {ends} as the last, where decision {done} is"
        found.append(Finding(f"head {head} {done}", says))
    at_head = [run.tags.get(chain.ENTRY) for run in numbered if head and chain.number(run) == head.number]
    if head and at_head and head.entry not in at_head:
        found.append(
            Finding(f"head {head}", f"decision {head.number} is another than the model's tag {chain.HEAD} names")
        )
    others = {each.ledger for each in seen} - {ledger}
    if others:
        says = "this project has written to another ledger of this model: it was begun anew, or is another store's"
        found.append(Finding(f"ledgers {sorted(others)} {ledger}", says))
    return found


def _outcomes(chained: Sequence[Run], seen: Sequence[chain.Seen]) -> list[Finding]:
    """Records that were carried out and are struck out now, or the other way round."""
    closed = {each.run: each.outcome for each in seen if each.outcome is not None}
    return [
        Finding(f"outcome {run.id} {run.status}", f"{_said(run)} was {closed[run.id]}, and is marked {run.status} now")
        for run in chained
        if run.id in closed and closed[run.id] != run.status
    ]


def not_decided(
    models: Mapping[str, Mapping[str, int]], decided: Mapping[str, Sequence[Run]]
) -> dict[str, list[NotDecided]]:
    """Model → its aliases that are where nobody decided that they be, and that nobody has acknowledged.

    Of `models` by their aliases and `decided`, the records by model (`record.everywhere`), as their tags say them: no
    file is read, however many there are. Models whose aliases are as decided are left out.
    """
    found: dict[str, list[NotDecided]] = {}
    for name, named in models.items():
        records = sorted(decided.get(name, []), key=lambda run: chain.order(run, record.AT))
        if any(run.status == "RUNNING" for run in records):
            continue  # an alias is about to move
        carried = [run for run in records if run.status == "FINISHED"]
        known = _acknowledged(carried)
        told = [said for run in carried if (said := record.by_tags(run)) is not None]
        moved = [each for each in _moved(name, named, told) if each.finding.key not in known]
        found |= {name: moved} if moved else {}
    return found


def not_decided_of(tracking: Tracking, name: str) -> list[NotDecided]:
    """The same for one model; none for a model that there were no runs of here."""
    place = next((each for each in places(tracking) if each.experiment == name), None)
    if place is None:
        return []
    return not_decided({name: aliases(tracking, name)}, {name: record.every(place, name)}).get(name, [])


def _acknowledged(carried: Sequence[Run]) -> set[str]:
    """The keys of what people have said that they have seen."""
    return {key for run in carried for key in run.tags.get(record.ACKNOWLEDGED, "").split(LISTED)}


def _aliases(tracking: Tracking, name: str, carried: Sequence[Run]) -> list[Finding]:
    """Aliases that are where nobody has decided that they be."""
    told = [decision for run in carried if (decision := record.told(tracking, run)[0]) is not None]
    return [each.finding for each in _moved(name, aliases(tracking, name), told)]


def _moved(name: str, named: Mapping[str, int], told: Sequence[Decision]) -> list[NotDecided]:
    held = replay(told)
    found = []
    for alias in (STAGING, PRODUCTION):
        decided = held[alias].version if alias in held else None
        if named.get(alias) != decided:
            found.append(NotDecided(name, alias, named.get(alias), decided))
    return found


def _missing(number: int, mine: Mapping[int, chain.Seen]) -> Finding:
    """A number without a record, and what this project knows of it."""
    known = f" ({mine[number].says})" if number in mine else ""
    says = f"decision {number}{known} is gone: its run was deleted, or the store is incomplete"
    return Finding(f"missing {number}", says)


def _said(run: Run) -> str:
    tags: Mapping[str, str] = run.tags
    action, version = tags.get(record.ACTION, "?"), tags.get(record.VERSION, "?")
    by, at = tags.get(record.BY, "?"), tags.get(record.AT, "?")[:16].replace("T", " ")
    number = chain.number(run)
    first = f"decision {number}" if number else "a decision"
    return f"{first} ({action} version {version} by {by}, {at}; run {run.id[:8]})"
