"""What is in the way of a decision: looked up under the lock that whoever decides holds, and said with a way out.

Nothing moves here. What follows where nothing is in the way is `decisions`' business.
"""

from __future__ import annotations

from components import offered
from components.artifacts import Decision, Evidence, Verdict
from components.registry import gates, record
from components.registry.gates.data import DAY
from components.registry.memory.tracking import Tracking
from components.registry.versions import (
    ARTIFACT,
    CANDIDATE,
    EVIDENCE,
    PRODUCTION,
    STAGING,
    RegistryError,
    UnreadableError,
    aliased,
    aliases,
    problem,
    version_tags,
)

FROM_ALIAS = {STAGING: CANDIDATE, PRODUCTION: STAGING}


def require_whole(tracking: Tracking, name: str, version: int) -> None:
    """RegistryError where a file of the version is gone or not as it was registered: such a version goes nowhere."""
    if wrong := problem(tracking, name, version):
        raise RegistryError(f"{wrong}. Run the pipeline of {name} again, which registers a new version")


def own_evidence(tracking: Tracking, name: str, version: int, case: gates.Case) -> Evidence:
    """The case's evidence, where it is the one the version was registered with."""
    tags, evidence = version_tags(tracking, name, version), case.evidence
    expected = (tags.get(ARTIFACT), tags.get(EVIDENCE))
    if evidence is None or expected != (evidence.model, evidence.digest):
        received = f"{evidence.digest[:12]} of {evidence.model[:12]}" if evidence else "none"
        raise RegistryError(
            f"{name} version {version} was registered with evidence {tags.get(EVIDENCE, '(none)')[:12]} "
            f"of artifact {tags.get(ARTIFACT, '(none)')[:12]}, received {received}; "
            "judge the evidence the version was registered with"
        )
    return evidence


def to_promote(tracking: Tracking, name: str, to: str, meant: int | None) -> int:
    """The version that is to move; RegistryError where there is none, another one, or it is there already."""
    named = aliases(tracking, name)
    found = named.get(FROM_ALIAS[to])
    if found is None:
        raise RegistryError(f"{name} has no {FROM_ALIAS[to]} version to promote; run the pipeline first")
    if meant is not None and meant not in (found, named.get(to)):
        raise RegistryError(
            f"{name} version {meant} is not what would be promoted: {FROM_ALIAS[to]} is version {found}"
            f"{_by_whom(tracking, name, FROM_ALIAS[to])}; look at that one"
        )
    there = meant if meant is not None and meant == named.get(to) else found
    if named.get(to) == there:
        raise RegistryError(
            f"{name} version {there} is in {to} already{_by_whom(tracking, name, to)}; there is nothing to promote"
        )
    return found


def _by_whom(tracking: Tracking, name: str, alias: str) -> str:
    """How an alias came to be where it is, for those who come second."""
    runs = record.runs(tracking, name, "FINISHED", alias=alias)
    if not runs:
        return ""
    last, _ = record.told(tracking, runs[-1])
    if last is None:
        return ""
    return f" ({last.action} by {last.by} at {last.at[:19]}: {last.reason})"


def passed(tracking: Tracking, name: str, version: int) -> Decision:
    """The judgement that lets a version be promoted; RegistryError where the gates' last one is not a pass."""
    try:
        judgement = record.judgement(tracking, name, version)
    except UnreadableError as error:
        raise RegistryError(f"{error}. Run the pipeline of {name} again, which judges it anew") from error
    if judgement is None:
        raise RegistryError(f"{name} version {version} was never judged; run the pipeline, which judges it")
    if judgement.action != "pass" or not gates.passed(judgement.verdicts):
        failed = ", ".join(verdict.gate for verdict in judgement.verdicts if not verdict.passed) or "no gate ran"
        raise RegistryError(
            f"{name} version {version} failed the gates on {judgement.at} ({failed}): it is not promoted"
        )
    if judgement.evidence != version_tags(tracking, name, version).get(EVIDENCE):
        raise RegistryError(f"{name} version {version}: it passed the gates on other evidence than its own")
    return judgement


def for_production(tracking: Tracking, judgement: Decision) -> tuple[Verdict, ...]:
    """The verdicts as they are now; RegistryError where one does not pass, or compares with what is gone."""
    name, version = judgement.name, judgement.version
    rival = aliased(tracking, name, PRODUCTION)
    compared = any(verdict.gate == "production" for verdict in judgement.verdicts)
    if compared and rival not in (None, judgement.production):
        raise RegistryError(
            f"{name} version {version} was compared with {named(judgement.production)} in production, where "
            f"{named(rival)} is now{_by_whom(tracking, name, PRODUCTION)}; run the pipeline again, which compares them"
        )
    said = record.statements(tracking, name, version, judgement.evidence or "")
    against = [each for each in said if each.action == "reject"]
    if against:
        why = "; ".join(f"by {each.by} on {each.at[:19]}: {each.reason}" for each in against)
        raise RegistryError(f"{name} version {version} was rejected {why}; who did may approve it after all")
    age = record.moment(record.now()) - record.moment(judgement.at)
    verdicts = gates.at_promotion(judgement.verdicts, age.total_seconds() / DAY, said)
    failed = [f"{verdict.gate} ({verdict.reason})" for verdict in verdicts if not verdict.passed]
    if failed:
        people = any(verdict.gate == "approvals" and not verdict.passed for verdict in verdicts)
        asked = offered.command("convoy", "approve", name, "--reason", "…")
        how = f"; `{asked}` is how a person approves" if people else ""
        raise RegistryError(f"{name} version {version} is not ready for production: {'; '.join(failed)}{how}")
    return verdicts


def named(version: int | None) -> str:
    return "nothing" if version is None else f"version {version}"
