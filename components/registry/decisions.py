"""What was decided about a version, and the aliases that follow from it.

A decision is recorded as an MLflow run before its alias moves, and the run is finished after: an alias never moves
without a record, and a record that is FINISHED is true. A process killed in between leaves a RUNNING record, which
`settle` completes or strikes out. The records can be replayed: `in_production` says what was in production at a
moment. All of it happens under one file lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from components.artifacts import Decision, Evidence, Verdict
from components.registry import gates
from components.registry.tracking import KIND, Run, Tracking, explained
from components.registry.versions import (
    ARTIFACT,
    CANDIDATE,
    DATA,
    EVIDENCE,
    PREVIOUS,
    PRODUCTION,
    STAGING,
    RegistryError,
    aliased,
    aliases,
    locked,
    version_tags,
    versions,
)

MODEL, VERSION, ACTION, ALIAS = "convoy.model", "convoy.version", "convoy.action", "convoy.alias"  # tags of the record
FROM = "convoy.from_version"  # tag of the record: what the alias named before
SUPERSEDED = "convoy.superseded"  # tag of a version in production: what it took the place of
ROLLED_BACK = "convoy.rolled_back"  # tag of a version: when and why it was taken back
APPROVED = "convoy.approved"  # tag of a version: "true" or "false", what the gates last said

FROM_ALIAS = {STAGING: CANDIDATE, PRODUCTION: STAGING}


def decide(
    tracking: Tracking, name: str, version: int, evidence: Evidence, verdicts: Sequence[Verdict], *, by: str = "gates"
) -> Decision:
    """Approve the version and stage it where every gate passed, otherwise reject it; both are recorded.

    The same verdicts on the same evidence are recorded once. Verdicts on other evidence than the version's own, and
    evidence of another artifact, raise RegistryError.
    """
    tracking = tracking.within(name)
    with locked(tracking.root):
        settle(tracking, name)
        tags = version_tags(tracking, name, version)
        if (tags.get(ARTIFACT), tags.get(EVIDENCE)) != (evidence.model, evidence.digest):
            raise RegistryError(
                f"{name} version {version} was registered with evidence {tags.get(EVIDENCE, '(none)')[:12]} "
                f"of artifact {tags.get(ARTIFACT, '(none)')[:12]}, received {evidence.digest[:12]} "
                f"of {evidence.model[:12]}; "
                "judge the evidence the version was registered with"
            )
        passed = gates.approved(verdicts)
        decision = Decision(
            action="approve" if passed else "reject",
            name=name,
            version=version,
            alias=STAGING if passed else None,
            by=by,
            at=now(),
            reason=_gates_reason(tracking, name, version, evidence, verdicts),
            evidence=evidence.digest,
            verdicts=tuple(verdicts),
        )
        repeated = _judgement(tracking, name, version)
        if repeated is not None and _same(repeated, decision) and _in_force(tracking, repeated):
            return repeated
        _carry_out(tracking, decision)
        return decision


def promote(
    tracking: Tracking, name: str, to: str, by: str, reason: str, *, despite_rollback: bool = False
) -> Decision:
    """Move the candidate to `staging`, or what is staged to `production`; what was in production becomes `previous`.

    The version's last judgement must be an approval of the evidence it was registered with. A version that was rolled
    back needs `despite_rollback=True`. Raises RegistryError saying what is in the way.
    """
    if to not in FROM_ALIAS:
        raise RegistryError(f"promote {name}: expected one of {', '.join(FROM_ALIAS)}, received {to!r}")
    tracking = tracking.within(name)
    with locked(tracking.root):
        settle(tracking, name)
        now_named = aliases(tracking, name)
        version = now_named.get(FROM_ALIAS[to])
        if version is None:
            raise RegistryError(f"{name} has no {FROM_ALIAS[to]} version to promote; run the line first")
        if now_named.get(to) == version:
            raise RegistryError(f"{name} version {version} is in {to} already; there is nothing to promote")
        approval = _approval(tracking, name, version)
        tags = version_tags(tracking, name, version)
        if tags.get(ROLLED_BACK) and not despite_rollback:
            raise RegistryError(
                f"{name} version {version} was rolled back ({tags[ROLLED_BACK]}); promote it again only on purpose, "
                "with despite_rollback"
            )
        decision = Decision(
            action="promote",
            name=name,
            version=version,
            alias=to,
            by=by,
            at=now(),
            reason=reason,
            evidence=approval.evidence,
            verdicts=approval.verdicts,
        )
        _carry_out(tracking, decision)
        return decision


def rollback(tracking: Tracking, name: str, by: str, reason: str) -> Decision:
    """Put back what the production version took the place of; the version taken back is tagged so.

    Raises RegistryError where nothing is in production or nothing came before it.
    """
    tracking = tracking.within(name)
    with locked(tracking.root):
        settle(tracking, name)
        current = aliased(tracking, name, PRODUCTION)
        if current is None:
            raise RegistryError(f"{name} has no production version to roll back")
        target = _predecessor(tracking, name, current)
        if target is None:
            raise RegistryError(f"{name} version {current} is the first in production; there is nothing to go back to")
        evidence = version_tags(tracking, name, target).get(EVIDENCE)
        decision = Decision(
            action="roll back",
            name=name,
            version=target,
            alias=PRODUCTION,
            by=by,
            at=now(),
            reason=reason,
            evidence=evidence,
        )
        _carry_out(tracking, decision)
        return decision


def history(tracking: Tracking, name: str) -> list[Decision]:
    """Every decision about the model's versions that was carried out, oldest first."""
    tracking = tracking.within(name)
    runs = tracking.search({KIND: "decision", MODEL: name}, status="FINISHED")
    return sorted((_decision(tracking, run) for run in runs), key=lambda decision: decision.at)


def in_production(tracking: Tracking, name: str, at: str) -> int | None:
    """The version that was in production at a moment (ISO 8601), by the record; None before the first."""
    moment = _moment(at)
    version = None
    for decision in history(tracking, name):
        if decision.alias == PRODUCTION and _moment(decision.at) <= moment:
            version = decision.version
    return version


def settle(tracking: Tracking, name: str) -> list[str]:
    """Close the records that a killed process left RUNNING: true where their alias has moved, struck out where not."""
    tracking = tracking.within(name)
    settled = []
    with locked(tracking.root):
        # Oldest first: a later record may build on what an earlier one moved.
        for run in reversed(tracking.search({KIND: "decision", MODEL: name}, status="RUNNING")):
            alias = run.tags.get(ALIAS, "")
            moved = bool(alias) and str(aliased(tracking, name, alias)) == run.tags.get(VERSION)
            if moved and run.tags.get(FROM) != run.tags.get(VERSION):
                _follow(tracking, _decision(tracking, run), _number(run.tags.get(FROM)))
                tracking.finish(run.id, "FINISHED")
            else:
                tracking.finish(run.id, "KILLED")
            settled.append(run.id)
    return settled


def now() -> str:
    """This moment, ISO 8601 in UTC, to the microsecond: records are ordered by it."""
    return datetime.now(UTC).isoformat()


# -- carrying out ---------------------------------------------------------------------------------------------------


def _carry_out(tracking: Tracking, decision: Decision) -> None:
    """Record, move the alias, note what follows from the move, finish the record."""
    before = aliased(tracking, decision.name, decision.alias) if decision.alias else None
    run_id = _record(tracking, decision, before)
    try:
        if decision.alias:
            _move(tracking, decision.name, decision.alias, decision.version)
        _follow(tracking, decision, before)
    except BaseException:
        # The record stays RUNNING where the alias may have moved; `settle` looks which it is.
        if decision.alias is None:
            tracking.finish(run_id, "FAILED")
        raise
    tracking.finish(run_id, "FINISHED")


def _record(tracking: Tracking, decision: Decision, before: int | None) -> str:
    tags = {
        KIND: "decision",
        MODEL: decision.name,
        VERSION: str(decision.version),
        ACTION: decision.action,
        ALIAS: decision.alias or "",
        FROM: "" if before is None else str(before),
        "convoy.by": decision.by,
        "mlflow.note.content": f"**{decision.action}** version {decision.version}, by {decision.by}: {decision.reason}",
    }
    run_id = tracking.start_run(f"{decision.action} {decision.name} v{decision.version}", tags=tags)
    try:
        with TemporaryDirectory() as temporary:
            decision.save(Path(temporary))
            tracking.log_artifact(run_id, Path(temporary) / "decision.json")
    except BaseException:
        tracking.finish(run_id, "FAILED")
        raise
    return run_id


def _follow(tracking: Tracking, decision: Decision, before: int | None) -> None:
    """What a decision changes besides its alias. Doing it twice is the same as doing it once."""
    name, version = decision.name, decision.version
    if decision.action in {"approve", "reject"}:
        _tag(tracking, name, version, {APPROVED: "true" if decision.action == "approve" else "false"})
    if decision.alias != PRODUCTION:
        return
    if decision.action == "promote":
        _tag(tracking, name, version, {SUPERSEDED: "" if before is None else str(before), ROLLED_BACK: ""})
    elif before is not None:
        _tag(tracking, name, before, {ROLLED_BACK: f"{decision.at}: {decision.reason}"})
    earlier = _predecessor(tracking, name, version)
    if earlier is not None:
        _move(tracking, name, PREVIOUS, earlier)
    elif aliased(tracking, name, PREVIOUS) is not None:
        with explained(tracking.uri, f"removing the alias {PREVIOUS} of {name}"):
            tracking.client.delete_registered_model_alias(name, PREVIOUS)


def _predecessor(tracking: Tracking, name: str, version: int) -> int | None:
    """What the version took the place of, passing over versions that were rolled back or deleted."""
    known = versions(tracking, name)
    seen = {version}
    earlier = _number(known.get(version, {}).get(SUPERSEDED))
    while earlier is not None and earlier not in seen:
        seen.add(earlier)
        if earlier in known and not known[earlier].get(ROLLED_BACK):
            return earlier
        earlier = _number(known.get(earlier, {}).get(SUPERSEDED))
    return None


def _move(tracking: Tracking, name: str, alias: str, version: int) -> None:
    with explained(tracking.uri, f"moving {alias} of {name} to version {version}"):
        tracking.client.set_registered_model_alias(name, alias, str(version))


def _tag(tracking: Tracking, name: str, version: int, tags: Mapping[str, str]) -> None:
    with explained(tracking.uri, f"tagging {name} version {version}"):
        for key, value in tags.items():
            tracking.client.set_model_version_tag(name, str(version), key, value)


# -- the record -----------------------------------------------------------------------------------------------------


def _decision(tracking: Tracking, run: Run) -> Decision:
    return Decision.read(tracking.artifact_folder(run.id, "decision.json"))


def _judgement(tracking: Tracking, name: str, version: int) -> Decision | None:
    """The last approval or rejection of a version."""
    runs = tracking.search({KIND: "decision", MODEL: name, VERSION: str(version)}, status="FINISHED")
    judged = [run for run in runs if run.tags.get(ACTION) in {"approve", "reject"}]
    return max((_decision(tracking, run) for run in judged), key=lambda decision: decision.at, default=None)


def _approval(tracking: Tracking, name: str, version: int) -> Decision:
    """The approving judgement that lets a version be promoted; RegistryError where the last one is not one."""
    judgement = _judgement(tracking, name, version)
    if judgement is None:
        raise RegistryError(f"{name} version {version} was never judged by the gates; run the line, which judges it")
    if judgement.action != "approve" or not gates.approved(judgement.verdicts):
        failed = ", ".join(verdict.gate for verdict in judgement.verdicts if not verdict.passed) or "no gate ran"
        raise RegistryError(f"{name} version {version} was rejected on {judgement.at} ({failed}): it is not promoted")
    if judgement.evidence != version_tags(tracking, name, version).get(EVIDENCE):
        raise RegistryError(f"{name} version {version}: its approval was given on other evidence than its own")
    return judgement


def _same(one: Decision, other: Decision) -> bool:
    """Compared as text: a verdict on a NaN must equal itself."""
    verdicts = [[verdict.to_json() for verdict in decision.verdicts] for decision in (one, other)]
    return (one.action, one.evidence) == (other.action, other.evidence) and verdicts[0] == verdicts[1]


def _in_force(tracking: Tracking, decision: Decision) -> bool:
    """Whether the alias is where the decision put it, or further."""
    named = aliases(tracking, decision.name)
    return decision.alias is None or decision.version in {named.get(STAGING), named.get(PRODUCTION)}


def _gates_reason(tracking: Tracking, name: str, version: int, evidence: Evidence, verdicts: Sequence[Verdict]) -> str:
    """What failed, and the how-manieth version this is that was judged on that test split: every try may be luck."""
    failed = [f"{verdict.gate} ({verdict.reason})" for verdict in verdicts if not verdict.passed]
    said = f"failed: {'; '.join(failed)}" if failed else "every gate passed" if verdicts else "no gate ran"
    others = [tags for number, tags in versions(tracking, name).items() if number != version]
    judged = sum(tags.get(DATA) == evidence.data and APPROVED in tags for tags in others)
    return f"{said} (other versions judged on this test split: {judged})"


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RegistryError(f"expected a moment like 2026-01-31T12:00:00+00:00, received {text!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
