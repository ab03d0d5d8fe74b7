"""What is decided about a version, and the aliases that follow from it.

A decision is recorded as an MLflow run before its alias moves, and the run is finished after: an alias never moves
without a record, and a record that is FINISHED is true. A process killed in between leaves a RUNNING record, which
`settle` completes or strikes out. All of it happens under one file lock, so of two who decide at once the second finds
what the first has decided. `ledger` replays the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from components import offered, texts
from components.artifacts import Decision, Verdict
from components.artifacts.decision import GATES
from components.config import Gate
from components.registry import chain, gates, obstacles, record, verification
from components.registry.gates.data import FRESHNESS
from components.registry.ledger import predecessor
from components.registry.listing import within
from components.registry.memory.store import explained
from components.registry.memory.tracking import Tracking
from components.registry.versions import (
    EVIDENCE,
    PREVIOUS,
    PRODUCTION,
    STAGING,
    RegistryError,
    UnreadableError,
    aliased,
    aliases,
    locked,
    problem,
    version_tags,
    versions,
)

SUPERSEDED = "convoy.superseded"  # tag of a version in production: what it took the place of
ROLLED_BACK = "convoy.rolled_back"  # tag of a version: when and why it was taken back
OVERRIDES = "convoy.overrides"  # tag of a version, from its run: the `-S` that it was made with
GATES_SAID = "convoy.gates"  # tag of a version: "passed" or "failed", what the gates last said


def decide(
    tracking: Tracking, name: str, version: int, case: gates.Case, limits: Sequence[Gate], *, stage: bool = True
) -> Decision:
    """Let the gates judge: the version is staged where every one passes; a failure is recorded as well.

    With `stage` false a pass is recorded and no alias moves. Evaluations are counted here, where nobody else can judge
    meanwhile. The same verdicts on the same evidence are recorded once. RegistryError where the evidence is not the one
    the version was registered with, and where something else has come into production since the case was made.
    """
    tracking = within(tracking, name)
    with locked(tracking.root):
        settle(tracking, name)
        evidence = obstacles.own_evidence(tracking, name, version, case)
        rival = aliased(tracking, name, PRODUCTION)
        if case.production != (rival if rival != version else None):
            raise RegistryError(
                f"{name} version {version} was compared with {obstacles.named(case.production)} in production, where "
                f"{obstacles.named(rival)} is now; run the pipeline again, which compares them"
            )
        evaluations = record.test_evaluations(tracking, name, case.test, evidence.model)
        challenges = record.challenges(tracking, name, case.production, evidence.model)
        verdicts = gates.judge(replace(case, evaluations=evaluations, challenges=challenges), limits)
        passed = gates.passed(verdicts)
        overridden = _overridden(tracking, name, version)
        decision = Decision(
            action="pass" if passed else "fail",
            name=name,
            version=version,
            alias=STAGING if passed and stage else None,
            by=GATES,
            at=record.now(),
            reason=f"{_what_failed(verdicts)} (evaluation {evaluations} on this test split{overridden})",
            evidence=evidence.digest,
            verdicts=verdicts,
            production=case.production,
            test_evaluations=evaluations,
        )
        repeated = _known(tracking, name, version)
        if repeated is not None and _same(repeated, decision) and _in_force(tracking, repeated):
            return repeated
        counted = {
            record.TEST: case.test,
            record.ARTIFACT: evidence.model,
            record.EVALUATION: str(evaluations),
            record.AGAINST: "" if case.production is None else str(case.production),
            record.CHALLENGE: str(challenges),
        }
        carry_out(tracking, decision, {tag: value for tag, value in counted.items() if value})
        return decision


def promote(
    tracking: Tracking,
    name: str,
    to: str,
    by: str,
    reason: str,
    *,
    version: int | None = None,
    despite_rollback: bool = False,
) -> Decision:
    """Move the candidate to `staging`, or what is staged to `production`; what was in production becomes `previous`.

    The gates' last word must be a pass on the evidence the version was registered with; for production in
    comparison with what is there now, with people's approvals where a gate asks for them, and nobody's rejection.
    `version` is the one that is meant, where another may have taken its place. One that was rolled back needs
    `despite_rollback=True`. Raises RegistryError saying what is in the way.
    """
    if to not in obstacles.FROM_ALIAS:
        raise RegistryError(f"promote {name}: expected one of {', '.join(obstacles.FROM_ALIAS)}, received {to!r}")
    tracking = within(tracking, name)
    with locked(tracking.root):
        settle(tracking, name)
        found = obstacles.to_promote(tracking, name, to, version)
        judgement = obstacles.passed(tracking, name, found)
        verification.require_whole(tracking, name)
        obstacles.require_whole(tracking, name, found)
        tags = version_tags(tracking, name, found)
        if tags.get(ROLLED_BACK) and not despite_rollback:
            raise RegistryError(
                f"{name} version {found} was rolled back ({tags[ROLLED_BACK]}); promote it again only on purpose, "
                "with --despite-rollback"
            )
        verdicts = obstacles.for_production(tracking, judgement) if to == PRODUCTION else judgement.verdicts
        decision = Decision(
            action="promote",
            name=name,
            version=found,
            alias=to,
            by=record.person(by),
            at=record.now(),
            reason=record.worded(reason),
            evidence=judgement.evidence,
            verdicts=verdicts,
            production=judgement.production,
            test_evaluations=judgement.test_evaluations,
        )
        carry_out(tracking, decision)
        return decision


def rollback(tracking: Tracking, name: str, by: str, reason: str) -> Decision:
    """Put back what the production version took the place of; the version taken back is tagged so.

    Raises RegistryError where nothing is in production, or nothing came before it that can be read.
    """
    tracking = within(tracking, name)
    with locked(tracking.root):
        settle(tracking, name)
        current = aliased(tracking, name, PRODUCTION)
        if current is None:
            raise RegistryError(f"{name} has no production version to roll back")
        target = _predecessor(tracking, name, current)
        if target is None:
            raise RegistryError(
                f"{name} version {current} is the first in production; there is nothing to go back to. "
                f"{_retiring(name)} takes it out of production"
            )
        if wrong := problem(tracking, name, target):
            raise RegistryError(
                f"{name}: expected a version {target} to go back to, and it cannot be read: {wrong}. "
                f"{_retiring(name)} takes version {current} out of production"
            )
        decision = Decision(
            action="roll back",
            name=name,
            version=target,
            alias=PRODUCTION,
            by=record.person(by),
            at=record.now(),
            reason=record.worded(reason),
            evidence=version_tags(tracking, name, target).get(EVIDENCE),
        )
        carry_out(tracking, decision)
        return decision


def retire(tracking: Tracking, name: str, by: str, reason: str) -> Decision:
    """Take the version in production out of it, with nothing in its place; it and what people said of it count as
    taken back. The way out where it cannot be read and nothing came before it.

    Raises RegistryError where nothing is in production.
    """
    tracking = within(tracking, name)
    with locked(tracking.root):
        settle(tracking, name)
        current = aliased(tracking, name, PRODUCTION)
        if current is None:
            raise RegistryError(f"{name} has no production version to retire")
        decision = Decision(
            action="retire",
            name=name,
            version=current,
            alias=PRODUCTION,
            by=record.person(by),
            at=record.now(),
            reason=record.worded(reason),
            evidence=_tags_of(tracking, name, current).get(EVIDENCE),
        )
        carry_out(tracking, decision)
        return decision


def acknowledge(tracking: Tracking, name: str, by: str, reason: str) -> Decision:
    """Put on record that a person has seen all that `verification` finds now; RegistryError where it finds nothing."""
    tracking = within(tracking, name)
    with locked(tracking.root):
        settle(tracking, name)
        found = verification.verify(tracking, name).findings
        if not found:
            raise RegistryError(f"{name}: its ledger is whole; there is nothing to acknowledge")
        named = aliases(tracking, name)
        decision = Decision(
            action="acknowledge",
            name=name,
            version=named.get(PRODUCTION) or named.get(STAGING) or max(versions(tracking, name), default=0),
            alias=None,
            by=record.person(by),
            at=record.now(),
            reason=record.worded(reason),
            evidence=None,
        )
        seen = verification.LISTED.join(finding.key for finding in found)
        carry_out(tracking, decision, {record.ACKNOWLEDGED: seen})
        return decision


def way_out(tracking: Tracking, name: str) -> str:
    """What can be done about a production version that cannot be read: the command, for people."""
    current = aliased(tracking, name, PRODUCTION)
    target = None if current is None else _predecessor(tracking, name, current)
    if target is None or problem(tracking, name, target):
        return f"{_retiring(name)} takes it out of production, and the next run compares with nothing"
    back = offered.command("convoy", "rollback", name, "--reason", "…")
    return f"`{back}` puts version {target} back, and the next run compares with that"


def settle(tracking: Tracking, name: str) -> list[str]:
    """Close the records that a killed process left RUNNING: true where their alias has moved, struck out where not."""
    tracking = within(tracking, name)
    settled = []
    with locked(tracking.root):
        # Oldest first: a later record may build on what an earlier one moved.
        for run in record.runs(tracking, name, "RUNNING"):
            alias = run.tags.get(record.ALIAS, "")
            now = aliased(tracking, name, alias) if alias else None
            if run.tags.get(record.ACTION) == "retire":
                moved = now is None
            else:
                moved = now is not None and str(now) == run.tags.get(record.VERSION) != run.tags.get(record.FROM)
            decision, _ = record.told(tracking, run)
            done = moved and decision is not None and record.complete(run)
            if decision is not None and done:
                _follow(tracking, decision, _number(run.tags.get(record.FROM)))
            if record.complete(run):
                record.keep(tracking, name, run)
            tracking.finish(run.id, "FINISHED" if done else "KILLED")
            chain.closed(tracking, name, run.id, "FINISHED" if done else "KILLED")
            settled.append(run.id)
    return settled


def carry_out(tracking: Tracking, decision: Decision, tags: Mapping[str, str] | None = None) -> None:
    """Record, move the alias, note what follows from the move, finish the record. The caller holds the lock."""
    before = aliased(tracking, decision.name, decision.alias) if decision.alias else None
    run_id = record.write(tracking, decision, before, dict(tags or {}))
    try:
        if decision.action == "retire":
            _remove(tracking, decision.name, PRODUCTION)
        elif decision.alias:
            _move(tracking, decision.name, decision.alias, decision.version)
        _follow(tracking, decision, before)
    except BaseException:
        # The record stays RUNNING where the alias may have moved; `settle` looks which it is.
        if decision.alias is None:
            tracking.finish(run_id, "FAILED")
            chain.closed(tracking, decision.name, run_id, "FAILED")
        raise
    tracking.finish(run_id, "FINISHED")
    chain.closed(tracking, decision.name, run_id, "FINISHED")


def _follow(tracking: Tracking, decision: Decision, before: int | None) -> None:
    """What a decision changes besides its alias. Doing it twice is the same as doing it once."""
    name, version = decision.name, decision.version
    if decision.by == GATES:
        _tag(tracking, name, version, {GATES_SAID: "passed" if decision.action == "pass" else "failed"})
    if decision.alias != PRODUCTION:
        return
    if decision.action == "retire":
        if version in versions(tracking, name):
            _tag(tracking, name, version, {ROLLED_BACK: f"{decision.at}: {decision.reason}"})
        _remove(tracking, name, PREVIOUS)  # there is no going back from nothing
        return
    if decision.action == "promote":
        _tag(tracking, name, version, {SUPERSEDED: "" if before is None else str(before), ROLLED_BACK: ""})
    elif before is not None and before in versions(tracking, name):
        _tag(tracking, name, before, {ROLLED_BACK: f"{decision.at}: {decision.reason}"})
    earlier = _predecessor(tracking, name, version)
    if earlier is not None:
        _move(tracking, name, PREVIOUS, earlier)
    else:
        _remove(tracking, name, PREVIOUS)


def _predecessor(tracking: Tracking, name: str, version: int) -> int | None:
    """What the version took the place of, passing over versions that were rolled back or deleted."""
    known = versions(tracking, name)
    if version not in known:  # it was deleted, and what it said with it
        return aliased(tracking, name, PREVIOUS)
    superseded = {number: _number(tags.get(SUPERSEDED)) for number, tags in known.items()}
    gone = {number for number, tags in known.items() if tags.get(ROLLED_BACK)}
    gone |= {number for number in superseded.values() if number is not None} - known.keys()
    return predecessor(version, superseded, gone)


def _move(tracking: Tracking, name: str, alias: str, version: int) -> None:
    with explained(tracking.uri, f"moving {alias} of {name} to version {version}"):
        tracking.client.set_registered_model_alias(name, alias, str(version))


def _remove(tracking: Tracking, name: str, alias: str) -> None:
    if aliased(tracking, name, alias) is not None:
        with explained(tracking.uri, f"removing the alias {alias} of {name}"):
            tracking.client.delete_registered_model_alias(name, alias)


def _tag(tracking: Tracking, name: str, version: int, tags: Mapping[str, str]) -> None:
    with explained(tracking.uri, f"tagging {name} version {version}"):
        for key, value in tags.items():
            tracking.client.set_model_version_tag(name, str(version), key, value)


def _known(tracking: Tracking, name: str, version: int) -> Decision | None:
    """The judgement on record; None too where it cannot be read, since another is about to be written."""
    try:
        return record.judgement(tracking, name, version)
    except UnreadableError:
        return None


def _tags_of(tracking: Tracking, name: str, version: int) -> dict[str, str]:
    """A version's tags, none where it was deleted and only its alias is left."""
    return versions(tracking, name).get(version, {})


def _retiring(name: str) -> str:
    return f"`{offered.command('convoy', 'retire', name, '--reason', '…')}`"


def _what_failed(verdicts: Sequence[Verdict]) -> str:
    failed = [f"{verdict.gate} ({verdict.reason})" for verdict in verdicts if not verdict.passed]
    return f"failed: {'; '.join(failed)}" if failed else "every gate passed" if verdicts else "no gate ran"


def _overridden(tracking: Tracking, name: str, version: int) -> str:
    """What the run that made the version was told on its command line, for the record."""
    said = version_tags(tracking, name, version).get(OVERRIDES)
    return f"; with -S {texts.shown(said)}" if said else ""


def _same(one: Decision, other: Decision) -> bool:
    """Compared as text: a verdict on a NaN must equal itself. Of the data's age only whether it passes counts."""
    seen = [
        [verdict.to_json() if verdict.gate != FRESHNESS else verdict.passed for verdict in decision.verdicts]
        for decision in (one, other)
    ]
    about = [(each.action, each.alias, each.evidence, each.production) for each in (one, other)]
    return about[0] == about[1] and seen[0] == seen[1]


def _in_force(tracking: Tracking, decision: Decision) -> bool:
    """Whether the alias is where the decision put it, or further."""
    named = aliases(tracking, decision.name)
    return decision.alias is None or decision.version in {named.get(STAGING), named.get(PRODUCTION)}


def _number(text: str | None) -> int | None:
    return int(text) if text else None
