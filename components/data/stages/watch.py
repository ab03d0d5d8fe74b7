"""What a data set is made of that DVC does not see: a source outside the project, the user's own rule files, and what
the code means.

`source.json`, `rules.json` and a file for each stage in `places.watched` stand for them in `dvc.yaml`. All say contents
only, never places or times, so that they are the same on every machine. How a source is read and listed is `sources`'
business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from components.artifacts import ArtifactError, Card
from components.config import DatasetConfig, Located
from components.data import places
from components.data.errors import DataError
from components.data.stages import made_by
from components.files import digest_values, writing
from components.own_files import remove

NAMED = 3  # modules that have changed and are named; how many more there are is told


class WatchedSource(Card):
    """`source.json`: the content of a source that lies somewhere; those that Convoy brings along never change."""

    kind: str
    fingerprint: str | None  # as `ingest` writes it; None for a source that Convoy brings along


class WatchedRules(Card):
    """`rules.json`: SHA-256 of the files that `checks:` names, None where it names none."""

    expectations: str | None
    reviewed: str | None


class WatchedCode(Card):
    """`STAGE.json`: the code that decides what a stage writes, module → SHA-256 of what it means."""

    modules: dict[str, str]


class _Remembered(Card):
    """`.convoy/data/NAME.listing`: the fingerprint that belongs to a listing, as long as it is read the same way."""

    listing: str
    reader: str  # digest of the source's section and of the code that reads it
    fingerprint: str


def watch(name: str, config: DatasetConfig, project: Path) -> None:
    """Bring `source.json`, `rules.json` and a file for each stage up to date; one that stays the same is not touched.

    A source is read only where its listing (names, sizes, times) is not the one remembered, on this machine's first
    look for example. One that is not there at all (the data came by `dvc pull`) has not changed. Raises DataError
    for a rule file that is declared and missing, and for a source that is neither there nor known.
    """
    folder = places.watched(project, name)
    rules = rule_files(name, config, project)
    _keep(folder / "rules.json", rules)
    for stage in made_by.STAGES:
        _keep(folder / f"{stage}.json", WatchedCode(modules=made_by.code(stage, config)))
    if not isinstance(config.source, Located):
        _keep(folder / "source.json", WatchedSource(kind=config.source.kind, fingerprint=None))
        return
    found = _fingerprint(name, config.source, project, known=(folder / "source.json").is_file())
    if found is not None:
        _keep(folder / "source.json", WatchedSource(kind=config.source.kind, fingerprint=found))


def rule_files(name: str, config: DatasetConfig, project: Path) -> WatchedRules:
    """The files that `checks:` names; raises DataError for one that is missing."""
    return WatchedRules(
        expectations=_file_digest(project, f"datasets.{name}.checks.expectations", config.checks.expectations),
        reviewed=_file_digest(project, f"datasets.{name}.checks.reviewed", config.checks.reviewed),
    )


def changes(name: str, config: DatasetConfig, project: Path, *, certain: bool = False) -> list[str]:
    """What `watch` would find changed, told by names, sizes and times alone: nothing is read, nothing written.

    Where `watch` would have to read the source to know, that is a change only to those who want to be `certain`.
    """
    folder = places.watched(project, name)
    rules = rule_files(name, config, project)
    if not _is_kept(folder / "rules.json", rules):
        return ["watch: a file that `checks:` names has changed"]
    for stage in made_by.STAGES:
        if other := _other_code(folder / f"{stage}.json", made_by.code(stage, config)):
            return [f"{stage}: {other}"]
    return _source_changes(name, config.source, project, certain=certain) if isinstance(config.source, Located) else []


def _source_changes(name: str, source: Located, project: Path, *, certain: bool) -> list[str]:
    from components.data.sources import registry

    listing = registry.listing(source, project)
    remembered = _recall(places.listing_file(project, name))
    if listing is None:
        return []  # not there, which is no change
    if remembered is not None and remembered.listing != listing:
        return ["watch: the source is another than when it was read: names, sizes or times of its files differ"]
    if certain and (remembered is None or remembered.reader != _reader(source)):
        return ["watch: the source was not read yet, or not by the code that reads it now"]
    return []  # as it was; or not known here: its content decides, as it will


def confirm(name: str, project: Path, fingerprint: str) -> None:
    """Raises DataError where what was ingested is not what `watch` saw: the source has changed in between.

    DVC would remember it under the wrong content, and bring it back whenever that content is there again.
    """
    watched = WatchedSource.read(places.watched(project, name) / "source.json")
    if watched.fingerprint is not None and watched.fingerprint != fingerprint:
        raise DataError(
            f"datasets.{name}.source: expected a source that stays as it is while it is read, "
            "received one that changed; run again once nobody writes to it"
        )


def _fingerprint(name: str, source: Located, project: Path, *, known: bool) -> str | None:
    """The source's content; None where it is not there, although what it was is known."""
    from components.data.preparing.ingest import fingerprint
    from components.data.sources import registry

    listing = registry.listing(source, project)
    if listing is None:
        # Nothing to fall back to: reading it says what is wrong with it.
        return None if known else fingerprint(source, project)  # type: ignore[arg-type]
    reader = _reader(source)
    memory = places.listing_file(project, name)
    remembered = _recall(memory)
    if remembered is not None and (remembered.listing, remembered.reader) == (listing, reader):
        return remembered.fingerprint
    found = fingerprint(source, project)  # type: ignore[arg-type]
    # The listing is older than the fingerprint: what changes meanwhile is noticed next time.
    _keep(memory, _Remembered(listing=listing, reader=reader, fingerprint=found))
    return found


def _reader(source: Located) -> str:
    """Digest of what decides how a source is read: its section, and the code."""
    from components.members import SOURCES, Member
    from components.provenance import code_digest

    code = code_digest(["components.data.preparing.ingest"], [Member(SOURCES, source.kind)])  # type: ignore[attr-defined]
    return digest_values({"source": source.digest(), "code": code})


def _recall(path: Path) -> _Remembered | None:
    try:
        return _Remembered.read(path)
    except ArtifactError:  # none yet, or another release's: the content decides
        return None


def _file_digest(project: Path, key: str, name: str | None) -> str | None:
    if name is None:
        return None
    path = project / name
    if not path.is_file():
        raise DataError(
            f"{key}: expected a file in the project, received {name}, and there is none; write it, or remove the key"
        )
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _other_code(path: Path, modules: Mapping[str, str]) -> str | None:
    """What differs from the code that a stage was done with; None where nothing does."""
    try:
        before = WatchedCode.read(path).modules
    except ArtifactError:
        return "its code was not looked at yet"
    named = sorted(name for name in {*before, *modules} if before.get(name) != modules.get(name))
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return f"code: {', '.join(named[:NAMED])}{more} changed" if named else None


def _is_kept(path: Path, card: Card) -> bool:
    return path.is_file() and path.read_bytes() == card.to_json().encode()


def _keep(path: Path, card: Card) -> None:
    content = card.to_json()
    if _is_kept(path, card):
        return
    if path.is_dir():
        remove(path)
    with writing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
