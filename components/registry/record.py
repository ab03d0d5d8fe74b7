"""The record of decisions in MLflow: a run each, with the Decision as its file. Writing one, and finding what was said.

Nothing moves here: `decisions` decides, `approvals` asks people, `ledger` replays.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from components import spelling, texts
from components.artifacts import ArtifactError, Decision
from components.artifacts.decision import GATES, gates_action
from components.own_files import remove
from components.registry import chain, listing
from components.registry.memory.store import MissingError
from components.registry.memory.tracking import KIND, NOTE, Run, Tracking
from components.registry.versions import RegistryError, UnreadableError

FILE = "decision.json"
PERSON, REASON = 100, 2000  # characters: MLflow keeps 8,000 of a description
TAKEN_BACK = ("roll back", "retire")  # actions that take a version out of production
# Tags of the record.
MODEL, VERSION, ACTION, ALIAS = "convoy.model", "convoy.version", "convoy.action", "convoy.alias"
BY, AT = "convoy.by", "convoy.at"
FROM = "convoy.from_version"  # what the alias named before
TEST = "convoy.test_split"  # digest of the samples that the gates' figures are of
ARTIFACT = "convoy.artifact"  # digest of what the gates judged
EVALUATION = "convoy.evaluation"  # the how-manieth artifact that was on that test split
AGAINST = "convoy.against"  # the version in production that the gates compared it with
CHALLENGE = "convoy.challenge"  # the how-manieth artifact that was against that version, on whichever test split
SOURCE = "convoy.source"  # what a person's statement came through, where it may come twice
ACKNOWLEDGED = "convoy.acknowledged"  # which findings about the ledger a person has seen
COVERED = (
    FROM,
    TEST,
    ARTIFACT,
    EVALUATION,
    AGAINST,
    CHALLENGE,
    SOURCE,
    ACKNOWLEDGED,
)  # by a record's entry, beside the decision's file


def now() -> str:
    """This moment, ISO 8601 in UTC, to the microsecond. Records are ordered by their numbers: clocks go wrong."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def moment(text: str, *, end_of_day: bool = False) -> datetime:
    """ISO 8601 as a moment, UTC where it names no zone; a bare date is its beginning, or its end."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise RegistryError(f"expected a date or a moment like 2026-01-31T12:00:00+00:00, received {text!r}") from None
    if end_of_day and len(text) <= len("2026-01-31"):
        found = found.replace(hour=23, minute=59, second=59, microsecond=999_999)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def person(name: str) -> str:
    """The name of somebody who decides, in Unicode's plain form (NFKC); RegistryError for none, and the gates'.

    `spelling.key` says which names are one person's.
    """
    plain = " ".join(unicodedata.normalize("NFKC", name).split())
    if not spelling.key(plain) or spelling.key(plain) == GATES or plain != texts.visible(plain) or len(plain) > PERSON:
        raise RegistryError(
            f"by: expected the name of a person, at most {PERSON} characters that can be seen, received "
            f"{texts.exact(name)}; give another with --by"
        )
    return plain


def worded(reason: str) -> str:
    """Why, as it was said; RegistryError where nothing is said, or what cannot be kept."""
    said = reason.strip()
    if not spelling.key(said):
        raise RegistryError("reason: expected words, received none; decisions are recorded with their reason")
    if len(said) > REASON or texts.storable(said.replace("\r\n", "\n")) != said.replace("\r\n", "\n"):
        raise RegistryError(
            f"reason: expected at most {REASON:,} characters that can be seen, received {len(said):,}: "
            f"{texts.exact(said, 80)}; say it in plain words"
        )
    return said


def write(tracking: Tracking, decision: Decision, before: int | None, tags: dict[str, str]) -> str:
    """Open a record and return its run, which stays RUNNING until what was decided has happened.

    It is the next of the model's chain (`chain`), whatever becomes of it.
    """
    ledger = chain.begun(tracking, decision.name)
    there = every(tracking, decision.name)
    last = chain.end(tracking, decision.name, there) or chain.Head(0, chain.beginning(earlier(tracking, there)))
    labels = {
        KIND: "decision",
        MODEL: decision.name,
        VERSION: str(decision.version),
        ACTION: decision.action,
        ALIAS: decision.alias or "",
        FROM: "" if before is None else str(before),
        BY: decision.by,
        AT: decision.at,
        NOTE: _note(decision.action, str(decision.version), decision.by) + texts.markdown(decision.reason),
        chain.NUMBER: str(last.number + 1),
        chain.BEFORE: last.entry,
    } | tags
    run_id = tracking.start_run(f"{decision.action} {decision.name} v{decision.version}", tags=labels)
    try:
        with TemporaryDirectory() as temporary:
            decision.save(Path(temporary))
            tracking.log_artifact(run_id, Path(temporary) / FILE)
            content = chain.content(Path(temporary) / FILE)
        covered = covers(labels)
        found = chain.Head(last.number + 1, chain.entry(ledger, run_id, last.number + 1, last.entry, content, covered))
        tracking.log_tags(run_id, {chain.ENTRY: found.entry})
        chain.keep(tracking, decision.name, ledger, found, run_id, _said(labels))
    except BaseException:
        tracking.finish(run_id, "FAILED")
        raise
    return run_id


def complete(run: Run) -> bool:
    """Whether a record was written to its end; one from before there were chains counts as such."""
    return chain.number(run) is None or bool(run.tags.get(chain.ENTRY))


def keep(tracking: Tracking, name: str, run: Run) -> None:
    """Remember a record whose writer was killed before it could (`chain.keep`)."""
    number, entry = chain.number(run), run.tags.get(chain.ENTRY)
    if number is not None and entry:
        chain.keep(tracking, name, chain.begun(tracking, name), chain.Head(number, entry), run.id, _said(run.tags))


def _said(tags: Mapping[str, str]) -> str:
    return f"{tags.get(ACTION, '?')} version {tags.get(VERSION, '?')} by {tags.get(BY, '?')}"


def every(tracking: Tracking, name: str) -> list[Run]:
    """The records of a model's decisions whatever became of them, oldest first."""
    found = tracking.search({KIND: "decision", MODEL: name})
    return sorted(found, key=lambda run: chain.order(run, AT))


def everywhere(tracking: Tracking, places: Sequence[Tracking]) -> dict[str, list[Run]]:
    """The records of the decisions about all models, by model, whatever became of them: in one request."""
    found: dict[str, list[Run]] = {}
    for _, run in listing.runs(tracking, places, {KIND: "decision"}):
        found.setdefault(run.tags.get(MODEL, ""), []).append(run)
    return found


def covers(tags: Mapping[str, str]) -> dict[str, str]:
    """Of a record's tags those that its entry covers, as the store keeps them."""
    return {key: texts.storable(tags[key]) for key in sorted(COVERED) if tags.get(key)}


def earlier(tracking: Tracking, there: Sequence[Run]) -> list[tuple[str, str]]:
    """Of records those from before there were chains: run and content of each, none where its file is gone."""
    old = [run for run in there if run.status == "FINISHED" and chain.number(run) is None]
    return [(run.id, content_of(tracking, run) or "") for run in old]


def content_of(tracking: Tracking, run: Run) -> str | None:
    """SHA-256 of the file of a record; None where it is gone."""
    try:
        return chain.content(tracking.artifact_folder(run, FILE))
    except (MissingError, OSError):
        return None


def read(tracking: Tracking, run: Run) -> Decision:
    """The decision that a run is the record of."""
    try:
        return _decision(tracking, run)
    except (ArtifactError, MissingError) as error:
        raise UnreadableError(
            f"{run.tags.get(MODEL, '?')} version {run.tags.get(VERSION, '?')}: the record of a decision "
            f"({run.tags.get(ACTION, '?')} by {run.tags.get(BY, '?')}, run {run.id}) cannot be read: {error}"
        ) from error


def _decision(tracking: Tracking, run: Run) -> Decision:
    try:
        return Decision.read(tracking.artifact_folder(run, FILE))
    except ArtifactError:
        if not (fetched := tracking.fetched(run.id)).is_dir():
            raise
        remove(fetched)  # what was damaged here may be whole on the server
    return Decision.read(tracking.artifact_folder(run, FILE))


def told(tracking: Tracking, run: Run) -> tuple[Decision | None, str | None]:
    """The decision that a run is the record of, and what is wrong with the record.

    Where its file cannot be read, what the run's tags still say; no decision where they do not say enough.
    """
    try:
        return read(tracking, run), None
    except UnreadableError as error:
        wrong = str(error)
    return by_tags(run), wrong


def by_tags(run: Run) -> Decision | None:
    """What a record's tags say was decided, without its file; None where they do not say enough."""
    note = run.tags.get(NOTE, "")
    before = _note(*(run.tags.get(tag, "") for tag in (ACTION, VERSION, BY)))
    # Records of older releases have the words as they were said.
    said = texts.unmarked(note.removeprefix(before)) if note.startswith(before) else note.partition(": ")[2]
    known = {
        "action": run.tags.get(ACTION),
        "name": run.tags.get(MODEL),
        "version": run.tags.get(VERSION),
        "alias": run.tags.get(ALIAS) or None,
        "by": run.tags.get(BY),
        "at": run.tags.get(AT),
        "reason": said or "its reason is lost",
        "evidence": None,
    }
    try:
        return Decision.model_validate(known)
    except ValueError:
        return None


def _note(action: str, version: str, by: str) -> str:
    """How the description of a record begins: Markdown, the reason follows."""
    return f"**{action}** version {version}, by {texts.markdown(by)}: "


def runs(
    tracking: Tracking,
    name: str,
    status: Literal["FINISHED", "RUNNING"],
    known: Sequence[Run] | None = None,
    **tags: str,
) -> list[Run]:
    """The records of a model's decisions, oldest first; out of those that are `known`, where they are at hand."""
    named = {"version": VERSION, "action": ACTION, "source": SOURCE, "test": TEST, "before": FROM, "alias": ALIAS}
    named["against"] = AGAINST
    wanted = {KIND: "decision", MODEL: name} | {named[key]: value for key, value in tags.items()}
    if known is None:
        found = tracking.search(wanted, status)
    else:
        found = [run for run in known if run.status == status and wanted.items() <= run.tags.items()]
    return sorted(found, key=lambda run: chain.order(run, AT))


def judgement(tracking: Tracking, name: str, version: int, known: Sequence[Run] | None = None) -> Decision | None:
    """The gates' last word on a version; UnreadableError where its record cannot be read."""
    found = [run for run in runs(tracking, name, "FINISHED", known, version=str(version)) if _is_judgement(run)]
    return read(tracking, found[-1]) if found else None


def test_evaluations(tracking: Tracking, name: str, test: str, artifact: str) -> int:
    """The how-manieth artifact this is that the gates judge on that test split.

    What is judged again keeps its number, so that the same verdicts come out.
    """
    return _counted(runs(tracking, name, "FINISHED", test=test), EVALUATION, artifact)


def challenges(tracking: Tracking, name: str, production: int | None, artifact: str) -> int:
    """The how-manieth artifact this is that the gates judge against that version in production; 1 against nothing."""
    if production is None:
        return 1
    return _counted(runs(tracking, name, "FINISHED", against=str(production)), CHALLENGE, artifact)


def _counted(judged: Sequence[Run], tag: str, artifact: str) -> int:
    """The number of an artifact among judgements, oldest first: its own, where it has one, else the next.

    Each says its number: a run that was deleted since does not lower the next one's.
    """
    numbers: dict[str, int] = {}
    for run in judged:
        if _is_judgement(run):
            said = run.tags.get(tag, "")
            next_one = max(numbers.values(), default=0) + 1
            numbers.setdefault(run.tags.get(ARTIFACT, run.id), int(said) if said.isdigit() else next_one)
    return numbers.get(artifact) or max(numbers.values(), default=0) + 1


def statements(
    tracking: Tracking, name: str, version: int, evidence: str, known: Sequence[Run] | None = None
) -> list[Decision]:
    """Each person's last word on a version and that evidence, oldest first; what is taken back was said in vain."""
    taken = [
        run
        for action in TAKEN_BACK
        for run in runs(tracking, name, "FINISHED", known, action=action, before=str(version))
    ]
    void = max((chain.order(run, AT) for run in taken), default=(0, "", 0.0))
    last: dict[str, Run] = {}
    for run in runs(tracking, name, "FINISHED", known, version=str(version)):
        if run.tags.get(ACTION) in {"approve", "reject"} and not _is_judgement(run) and chain.order(run, AT) > void:
            name = spelling.key(run.tags.get(BY, ""))
            last.pop(name, None)
            last[name] = run
    said = [read(tracking, run) for run in last.values()]
    return [decision for decision in said if decision.evidence == evidence]


def _is_judgement(run: Run) -> bool:
    return run.tags.get(BY) == GATES and gates_action(run.tags.get(ACTION, "")) in {"pass", "fail"}
