"""A path on the command line → what would be its catalogue entry, and what is wrong with what lies there.

Nothing is written but the folder that the inspection is given. Reading is the sources', looking the inspection's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from components import texts
from components.config import (
    ConfigurationError,
    DatasetConfig,
    FashionMnistSource,
    Located,
    Source,
    YamlError,
    parse_entry,
    read_yaml,
)
from components.data.checking import detect, verdict
from components.data.checking.foresee import foresee, keeping
from components.data.checking.survey import Advanced, Survey, of_kind
from components.data.errors import DataError
from components.data.inspection import naming
from components.data.inspection.base.findings import Finding, Inspection, load_findings
from components.data.sources import apart, fashion_mnist, registry
from components.data.sources.base.form import IMAGE, SourceData, agreed
from components.data.sources.places.place import is_remote
from components.data.sources.places.remote import shown
from components.data.stages.watch import rule_files
from components.inputs import registry as inputs
from components.members import SURVEYS
from components.targets import registry as targets

INSPECTED = "inspected"
NAMELESS = "NAME"  # of an entry that has none yet, in messages
_TAKES = {
    "segmentation": "masks",
    "detection": "boxes",
    "multilabel": "labels",
}  # what sources of several kinds of targets need for a task
_TAKING = ("coco", "voc", "scenes", "cut-outs", "digit-scenes")
_NAMED_GROUPS = ("manifest", "huggingface")  # kinds whose further columns must be named to be groups
_GROUP = "group_"
_CLASSES = ["classes"]  # a key of the entry that no source has


@dataclass(frozen=True)
class Wanted:
    """What a command line says beside the path; None: as it is found."""

    name: str = NAMELESS  # the entry's
    kind: str | None = None
    task: str | None = None
    height: int | None = None
    width: int | None = None
    channels: int | None = None
    resize: bool | None = None
    group: str | None = None
    validation: float | None = None
    test: float | None = None
    settings: tuple[str, ...] = ()  # key=value of the source, or SECTION.key=value of the entry


@dataclass(frozen=True)
class Reading:
    """A source that is about to be read, and counted while it is."""

    says: str  # what it was recognised by
    entry: dict[str, Any]  # as far as the command line and the layout say it
    data: SourceData
    survey: Survey
    wanted: Wanted


@dataclass(frozen=True)
class Looked:
    """A source that has been read to its end: its counts, and the entry it would have."""

    name: str
    says: str
    entry: dict[str, Any]  # as the catalogue would have it
    config: DatasetConfig
    survey: Survey
    reasons: tuple[str, ...]  # why the section about inputs is what it is, and what was left out of the source

    def doubts(self) -> list[Finding]:
        """Names in several spellings, and several names in one cell: by the counts alone."""
        counts = {name: sum(splits.values()) for name, splits in self.survey.classes.items()}
        return list(naming.doubtful(counts, self.survey.groups, self.config.split.group))


@dataclass(frozen=True)
class Checked:
    """The same, and what the inspection has found."""

    looked: Looked
    inspection: Inspection
    findings: pa.Table  # columns of `inspection.findings.SCHEMA`, and `error` (bool): it would stop the pipeline
    refusals: tuple[str, ...] = ()  # what else would stop the pipeline, a sentence each

    @property
    def errors(self) -> int:
        """How many things would stop the pipeline."""
        return int(pc.sum(self.findings.column("error")).as_py() or 0) + len(self.refusals)


def look(path: str, wanted: Wanted, root: Path, advanced: Advanced = lambda *_: None) -> Looked:
    """Read all that lies at `path` once, for its counts; raises DataError and ConfigurationError.

    `root` is the project's: a path inside it is written relative to it, and what must be fetched is kept there.
    """
    reading = begin(path, wanted, root, root, advanced)
    for _ in reading.data.tables:
        pass
    return finish(reading)


def check(path: str, wanted: Wanted, root: Path, folder: Path, advanced: Advanced = lambda *_: None) -> Checked:
    """Inspect what lies at `path`. Raises DataError and ConfigurationError.

    What must be fetched or unpacked goes below `folder`, and the inspection's files into `folder/inspected`: nothing is
    written elsewhere.
    """
    from components.data.inspection.inspect import inspect

    reading = begin(path, wanted, root, folder, advanced)
    tables = iter(reading.data.tables)
    first = next(tables, None)
    ahead = [] if first is None else [first]  # what most inputs are is not known yet: the first ones stand in for it
    provisional = _complete(reading).config
    inspected = folder / INSPECTED
    rule_files(wanted.name, provisional, root)
    passing = keeping(replace(reading.data, tables=chain(ahead, tables)), folder)
    inspection = inspect(passing, provisional, root, inspected)
    return _judged(finish(reading), inspection, folder, root)


def _judged(looked: Looked, inspection: Inspection, folder: Path, root: Path) -> Checked:
    """The findings, whether each would stop the pipeline, and what else would."""
    inspected, config = folder / INSPECTED, looked.config
    table = load_findings(inspected)
    rows = table.to_pylist()
    corrupt = {row["id"]: row["says"] for row in rows if row["kind"] == "corrupt"}
    try:
        rules = foresee(looked.name, config, folder, looked.survey, corrupt, inspected=inspected, project=root)
    except DataError as error:
        said = verdict.of_refusal(str(error), rows, config)
    else:
        said = verdict.of_rules(rules, rows, config)
    findings = table.append_column("error", pa.array(said.stopping, pa.bool_()))
    return Checked(looked, inspection, findings, said.refusals)


def begin(path: str, wanted: Wanted, root: Path, project: Path, advanced: Advanced) -> Reading:
    """Recognise the source, and open it: no input is read yet. What must be fetched is kept in `project`."""
    settings = [_setting(text) for text in wanted.settings]
    place = path if path in detect.BUILT_IN and not Path(path).exists() else _absolute(path)
    known: dict[str, Any] = {"path": place}
    _lay_on(known, {}, settings)
    if wanted.kind is not None:
        known["kind"] = wanted.kind
    located = {key: value for key, value in known.items() if key in Located.model_fields}
    section = {IMAGE: of_kind(IMAGE).placeholder}
    parse_entry(wanted.name, {"task": "", "source": {**located, "kind": "folder"}, **section})
    if (local := apart.here(str(known["path"]), root)) is not None and known["path"] not in detect.BUILT_IN:
        apart.check_path(local, root, "PATH", wanted.name)  # before anything is looked for in it
    candidate = detect.choose(known, project)
    entry = _entry(candidate, wanted, settings)
    said = {key: getattr(wanted, key) for key in _options() if getattr(wanted, key) is not None}
    declared = next((name for name in SURVEYS.names() if name in entry), IMAGE)
    section = {declared: dict(of_kind(declared).placeholder) | _taken(declared, said) | entry.get(declared, {})}
    config = parse_entry(wanted.name, {**entry, "task": entry["task"] or "", **section})
    apart.check_entry(wanted.name, config, root)
    read = registry.read(_nearest(config.source, root), project)
    if declared in entry:
        agreed(config, read.given)
    survey = Survey.of(read, _taken(read.given, said) | entry.get(read.given, {}))
    data = survey.watch(read, advanced)
    if config.split.group is not None and config.split.group not in data.groups:
        there = ", ".join(name.removeprefix(_GROUP) for name in data.groups) or "it has none"
        raise DataError(f"--group: expected a group of the source ({there}), received {wanted.group!r}")
    if "path" in entry["source"]:
        entry["source"]["path"] = _portable(entry["source"]["path"], root)
    return Reading(candidate.says, entry, data, survey, wanted)


def finish(reading: Reading) -> Looked:
    """The whole entry, once everything has been counted."""
    if not reading.survey.samples:
        source = reading.entry["source"]
        many = inputs.get(reading.data.given).many
        raise DataError(f"{shown(source.get('path', source['kind']))}: expected {many}, received none")
    return _complete(reading)


def _complete(reading: Reading) -> Looked:
    """The entry by what has been counted so far."""
    name, entry, given = reading.wanted.name, reading.entry, reading.data.given
    kind = targets.get(reading.data.target)
    fitting = reading.survey.inputs.fitting(kind.fit)
    whole = {
        "task": entry["task"] or kind.task,
        "source": entry["source"],
        given: fitting.section | entry.get(given, {}),
        **{key: value for key, value in entry.items() if key not in ("task", "source", given) and value},
    }
    spellings = (f"joined: {each}" for each in reading.survey.joined)
    reasons = (*fitting.reasons, *reading.data.notes(), *spellings)
    return Looked(name, reading.says, whole, parse_entry(name, whole), reading.survey, reasons)


def _options() -> list[str]:
    """Options of the command line that say something of inputs, of whatever kind."""
    return list(dict.fromkeys(key for name in SURVEYS.names() for key in of_kind(name).asks))


def _taken(given: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of inputs; raises ConfigurationError where that is said of another kind."""
    for key in said:
        if key not in of_kind(given).asks:
            raise ConfigurationError(f"--{key}: expected none, since the source gives {inputs.get(given).many}")
    return dict(said)


def command(looked: Looked, path: str, wanted: Wanted) -> list[str]:
    """The words of the `convoy data add` that writes this entry; an address with secrets in it is not repeated."""
    place = path if shown(path) == path else "URL"
    place = f"./{place}" if place.startswith("-") else place  # else it would be an option
    words = ["convoy", "data", "add", wanted.name, place, "--kind", looked.config.source.kind]
    options = {
        "--task": wanted.task,
        "--height": wanted.height,
        "--width": wanted.width,
        "--channels": wanted.channels,
        "--group": wanted.group,
        "--validation": wanted.validation,
        "--test": wanted.test,
    }
    for option, value in options.items():
        words += [] if value is None else [option, str(value)]
    words += [] if wanted.resize is None else ["--resize" if wanted.resize else "--no-resize"]
    for setting in wanted.settings:
        words += ["-S", setting]
    return words


def _entry(candidate: detect.Candidate, wanted: Wanted, settings: Sequence[tuple[list[str], Any]]) -> dict[str, Any]:
    """The entry as far as the command line and the layout say it."""
    source = dict(candidate.source)
    if candidate.kind in _TAKING and wanted.task in _TAKES:
        source["take"] = _TAKES[wanted.task]
    split: dict[str, Any] = {"validation": wanted.validation, "test": wanted.test}
    if wanted.group is not None:
        split["group"] = wanted.group if wanted.group.startswith(_GROUP) else _GROUP + wanted.group
        if candidate.kind in _NAMED_GROUPS and not wanted.group.startswith(_GROUP):
            source["groups"] = [wanted.group]
    entry: dict[str, Any] = {
        "task": wanted.task,
        "source": source,
        "split": {key: value for key, value in split.items() if value is not None},
    }
    _lay_on(source, entry, settings)
    return entry


def _lay_on(source: dict[str, Any], entry: dict[str, Any], settings: Sequence[tuple[list[str], Any]]) -> None:
    """Set the keys that belong to the source, and those that belong to the entry."""
    for parts, value in settings:
        of_entry = parts == _CLASSES or (len(parts) > 1 and parts[0] in DatasetConfig.model_fields)
        place = entry if of_entry else source
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        place[parts[-1]] = value


def _setting(text: str) -> tuple[list[str], Any]:
    """`key=value` of the source; `SECTION.key=value`, and `classes=[…]`, of the entry."""
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigurationError(
            f"-S {texts.shown(text)}: expected key=value with a key of the source, for example target=label"
        )
    if parts == ["sha256"]:
        return parts, value.strip()  # which may be all digits, or a number with an exponent
    try:
        return parts, read_yaml(value)
    except YamlError as error:
        raise ConfigurationError(f"-S {texts.shown(text)}: the value is not YAML: {error}") from None


def _nearest(source: Source, root: Path) -> Source:
    """Fashion-MNIST is read from the project's own copy, where it has one, rather than fetched into `project`."""
    if not isinstance(source, FashionMnistSource) or source.mirror is not None:
        return source
    copies = [root / each for each in (fashion_mnist.FOLDER, fashion_mnist.BEFORE) if (root / each).is_dir()]
    return source.model_copy(update={"mirror": str(copies[0])}) if copies else source


def _absolute(path: str) -> str:
    """A path on the command line is that of the current folder, one in the catalogue the project's; a URL stays one."""
    if is_remote(path) or path.startswith("file://"):
        return path
    place = Path(path).expanduser()
    return str(place.resolve() if ".." in place.parts else place.absolute())  # a link's name is meant, as `latest` is


def _portable(path: str, root: Path) -> str:
    """Relative to the project where it lies in it."""
    if is_remote(path):
        return path
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path
