"""The order of a model's decisions as a chain of digests, so that what was changed in it later does not pass unseen.

Every record has a number, the entry of the record before it, and an entry of its own: the digest of those, of the
decision's file and of the tags that decide what follows from it. The first stands on what was on record before there
were chains. The last entry is kept at two other places: as a tag of the registered model, which everybody sees who uses
the store, and in the project's own list of all that it has seen (`.convoy/ledger.jsonl`). `verification` holds them
against each other.

Whoever can write to the store and to the project can write all of them anew: this shows a slip of the hand, a click in
a page, a restored back-up and a script that edits a store; it is no signature.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlflow.exceptions import MlflowException

from components import own_files
from components.files import digest_values
from components.registry.memory.store import explained, local_uri
from components.registry.memory.tracking import Run, Tracking

# Tags of a record.
NUMBER = "convoy.number"  # from 1 on, one more than the record before
BEFORE = "convoy.entry_before"
ENTRY = "convoy.entry"
# Tags of a registered model.
LEDGER = "convoy.ledger"  # a name for this chain that no other has
HEAD = "convoy.ledger_head"  # number and entry of its last record
SEEN = Path(".convoy") / "ledger.jsonl"  # below the project's root


@dataclass(frozen=True)
class Head:
    """Where a chain ends."""

    number: int
    entry: str

    def __str__(self) -> str:
        return f"{self.number} {self.entry}"


@dataclass(frozen=True)
class Seen:
    """A record as this project saw it when it was written."""

    ledger: str
    number: int
    entry: str
    run: str
    says: str  # what was decided, for people
    outcome: str | None = None  # how the run was closed, once it was


def entry(ledger: str, run_id: str, number: int, before: str, content: str, tags: Mapping[str, str]) -> str:
    """The digest of a record. `content` is that of the decision's file, `tags` are those that a chain covers."""
    return digest_values(
        {"ledger": ledger, "run": run_id, "number": number, "before": before, "file": content, "tags": dict(tags)}
    )


def content(file: Path) -> str:
    """SHA-256 of a decision's file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def beginning(earlier: Iterable[tuple[str, str]]) -> str:
    """What the first record stands on: run and content of each record from before there were chains."""
    return digest_values({"earlier": [list(each) for each in sorted(earlier)]})


def number(run: Run) -> int | None:
    """Of a record; None of one from before there were chains, and of one whose tag says something else."""
    said = run.tags.get(NUMBER, "")
    return int(said) if said.isascii() and said.isdigit() else None


def order(run: Run, at: str) -> tuple[int, str, float]:
    """By which records are sorted: as the chain has them, behind those from before it, which go by their time."""
    return number(run) or 0, run.tags.get(at, ""), run.started


# -- the model's tags ------------------------------------------------------------------------------------------------


def named(tracking: Tracking, name: str) -> tuple[str | None, Head | None]:
    """The chain's own name and its end, as the registered model's tags say them; None where they do not."""
    with explained(tracking.uri, f"reading the tags of {name}"):
        try:
            tags = tracking.client.get_registered_model(name).tags
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None, None
    last, _, found = str(tags.get(HEAD, "")).partition(" ")
    head = Head(int(last), found) if last.isascii() and last.isdigit() and found else None
    return tags.get(LEDGER) or None, head


def begun(tracking: Tracking, name: str) -> str:
    """The chain's own name; given to it where it has none."""
    ledger, _ = named(tracking, name)
    if ledger is None:
        ledger = next((each.ledger for each in reversed(seen(tracking, name))), None) or secrets.token_hex(16)
        _tag(tracking, name, LEDGER, ledger)
    return ledger


def keep(tracking: Tracking, name: str, ledger: str, head: Head, run_id: str, says: str) -> None:
    """Remember a record at the two other places, and what it says. Doing it twice is the same as doing it once."""
    known = seen(tracking, name)
    if not any((each.ledger, each.number, each.entry) == (ledger, head.number, head.entry) for each in known):
        _append(tracking, name, Seen(ledger, head.number, head.entry, run_id, says))
    _, there = named(tracking, name)
    if there is None or there.number <= head.number:
        _tag(tracking, name, HEAD, str(head))


def closed(tracking: Tracking, name: str, run_id: str, outcome: str) -> None:
    """Remember how a record that this project has written was closed."""
    mine = next((each for each in seen(tracking, name) if each.run == run_id), None)
    if mine is not None:
        _append(tracking, name, replace(mine, outcome=outcome))


def _tag(tracking: Tracking, name: str, key: str, value: str) -> None:
    with explained(tracking.uri, f"tagging {name}"):
        tracking.client.set_registered_model_tag(name, key, value)


# -- the project's own list -------------------------------------------------------------------------------------------


def seen(tracking: Tracking, name: str) -> list[Seen]:
    """What this project has written about a model in that store, oldest first, each record once.

    A line that cannot be read (a full disk, a kill) is passed over: the others are worth something without it.
    """
    found: dict[tuple[str, int, str], Seen] = {}
    for line in (own_files.text(tracking.root / SEEN) or "").splitlines():
        try:
            said = json.loads(line)
            if (said.pop("store"), said.pop("model")) != (_store(tracking), name):
                continue
            ledger, entry, run, says = (str(said[key]) for key in ("ledger", "entry", "run", "says"))
            one = Seen(ledger, int(said["number"]), entry, run, says, said["outcome"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        found[one.ledger, one.number, one.entry] = one
    return list(found.values())


def _append(tracking: Tracking, name: str, one: Seen) -> None:
    path = tracking.root / SEEN
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"store": _store(tracking), "model": name, **vars(one)}, sort_keys=True)
    whole = (own_files.text(path) or "\n").endswith("\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n" if whole else f"\n{line}\n")
        file.flush()
        os.fsync(file.fileno())


def _store(tracking: Tracking) -> str:
    """Which store: the project's own wherever the project lies, else the digest of the address, which may be secret."""
    own = tracking.uri == local_uri(tracking.root)
    return "own" if own else digest_values({"store": tracking.uri})[:16]


def end(tracking: Tracking, name: str, records: Sequence[Run]) -> Head | None:
    """What the next record stands on: the furthest end that is known anywhere, so that no number comes twice.

    `records` are the model's. None where there is no chain yet.
    """
    ledger, head = named(tracking, name)
    known = [head] if head else []
    known += [Head(each.number, each.entry) for each in seen(tracking, name) if each.ledger == ledger]
    known += [Head(at, run.tags[ENTRY]) for run in records if (at := number(run)) and run.tags.get(ENTRY)]
    return max(known, key=lambda each: each.number, default=None)
