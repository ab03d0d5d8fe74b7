"""A case, what is right for it, and whether that is what the check says and the line's own stages come to."""

from __future__ import annotations

import hashlib
import os
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from components import texts
from components.artifacts import SPLITS, Dataset
from components.config import ConfigurationError
from components.data import places
from components.data.checking.check import Checked, Wanted, check
from components.data.errors import DataError
from components.data.reading.loading import load_split
from components.data.stages import stages
from tests.strangers.making import BRIGHT

NAME = "strange"
LINES = 6  # of a terminal of 80 columns, that a sentence takes at most
NEAR = 45  # of a picture's mean from its class's brightness
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}|Traceback|<class '")
_LONG = re.compile(r"\S{150,}")


@dataclass(frozen=True)
class Read:
    """It is read, and means this."""

    classes: Mapping[str, int] = field(default_factory=dict)  # samples by class; of masks: that show it
    splits: Mapping[str, int] = field(default_factory=dict)  # as published; none: they are drawn
    told: tuple[str, ...] = ()  # words of warnings and notes
    bright: bool = True  # whether each picture is as bright as its class


@dataclass(frozen=True)
class Refused:
    """It is refused, in sentences that have these words."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """One situation of other people's data. `make` writes it into a folder, and says what the command line names."""

    name: str
    page: str
    make: Callable[[Path], Path | str]
    right: Read | Refused
    settings: tuple[str, ...] = ()  # `-S`
    task: str | None = None
    place: str = "data/strange"  # below the project
    slow: bool = False

    @property
    def title(self) -> str:
        return " ".join([self.name, *(f"-S '{each}'" for each in self.settings)])


@dataclass(frozen=True)
class Verdict:
    """What is wrong (nothing, if all is well), and what was said."""

    wrong: str
    says: str

    def __str__(self) -> str:
        return self.wrong and f"WRONG: {self.wrong}"


def judged(case: Case, root: Path) -> Verdict:
    """Make the case in an empty project at `root`, ask the check, then the stages."""
    base = root / case.place
    base.mkdir(parents=True)
    path = case.make(base)
    before = _files(base)
    checked, says = _checked(case, str(path), root)
    stopped = _stopped(checked, root) if checked is not None else ""
    wrong = _agreement(checked, says, stopped) or _right(case, checked, says, root)
    if not wrong and _files(base) != before:
        wrong = "the originals are not as they were"
    _remove(base)
    return Verdict(wrong, says.replace(f"{root}/", ""))


def _checked(case: Case, path: str, root: Path) -> tuple[Checked | None, str]:
    """What the check found, and what it refuses; nothing, if it is content."""
    wanted = Wanted(NAME, settings=case.settings, task=case.task)
    try:
        found = check(path, wanted, root, root.parent / f"{root.name}-check")
    except (DataError, ConfigurationError) as error:
        return None, str(error)
    stopping = [f"{texts.visible(row['id'])}: {row['says']}" for row in found.findings.to_pylist() if row["error"]]
    return found, "\n".join([*found.refusals, *stopping])


def _stopped(checked: Checked, root: Path) -> str:
    """Why the line stops; nothing, where it goes on."""
    entry = {"datasets": {NAME: checked.looked.entry}}
    (root / "params.yaml").write_text(yaml.safe_dump(entry, allow_unicode=True), encoding="utf-8")
    try:
        for stage in stages.STAGES:
            stages.run(stage, NAME, root)
    except (DataError, ConfigurationError) as error:
        return str(error)
    return ""


def _agreement(checked: Checked | None, says: str, stopped: str) -> str:
    if checked is not None and bool(says) != bool(stopped):
        return f"the check says {says or 'good'!r}, the line {stopped or 'good'!r}"
    return ""


def _right(case: Case, checked: Checked | None, says: str, root: Path) -> str:
    if isinstance(case.right, Refused):
        return _clear(case.right, says, root) if says else "expected a refusal, and it was read"
    if says or checked is None:
        return f"expected to be read, and was refused: {says}"
    return _meant(case.right, checked, root)


def _clear(right: Refused, says: str, root: Path) -> str:
    """What a refusal lacks, or has too much of."""
    lacking = [word for word in right.words if word not in says]
    if lacking:
        return f"the sentence lacks {', '.join(map(repr, lacking))}: {says}"
    for line in says.splitlines():
        short = line.replace(f"{root}/", "")
        if len(textwrap.wrap(short, 80)) > LINES:
            return f"a sentence of more than {LINES} lines: {short}"
        if _ADDRESS.search(short) or _LONG.search(short) or not short.isprintable():
            return f"a sentence with what nobody can read: {short[:400]!r}"
    return ""


def _meant(right: Read, checked: Checked, root: Path) -> str:
    """How what was prepared differs from what was meant."""
    counts = {name: sum(splits.values()) for name, splits in checked.looked.survey.classes.items()}
    if right.classes and counts != dict(right.classes):
        return f"expected {dict(right.classes)}, received {counts}"
    notes = [*checked.looked.reasons, *checked.inspection.notes, checked.looked.says]
    told = "\n".join([*notes, *(row["says"] for row in checked.findings.to_pylist())])
    lacking = [word for word in right.told if word not in told]
    if lacking:
        return f"{', '.join(map(repr, lacking))} is not told: {told}"
    dataset = Dataset.load(places.prepared(root, NAME), digest="not versioned")
    if right.splits and {name: dataset.card.splits[name] for name in SPLITS} != dict(right.splits):
        return f"expected the splits {dict(right.splits)}, received {dataset.card.splits}"
    if sum(dataset.card.splits.values()) < 10:
        return f"expected what was read to be prepared, received {dataset.card.splits}"
    return _as_bright(dataset) if right.bright else ""


def _as_bright(dataset: Dataset) -> str:
    """The first picture that is not as bright as its class."""
    seen: Counter[str] = Counter()
    for split in SPLITS:
        arrays = load_split(dataset, split)
        for number, image, target in zip(arrays.ids, arrays.inputs, arrays.targets, strict=True):
            name = dataset.card.classes[int(target)]
            meant = BRIGHT.get(name.strip().lower().split(" ")[0], None)
            seen[name] += meant is not None
            if meant is not None and abs(float(np.mean(image)) - meant) > NEAR:
                return f"{number} is labelled {name}, and its mean is {np.mean(image):.0f} instead of about {meant}"
    return "" if seen.total() else "no picture's class has a brightness that is known"


def _files(base: Path) -> dict[str, str]:
    """Each file's digest."""
    return {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in _inside(base)[1]}


def _remove(base: Path) -> None:
    """All of it, also folders that lie too deep in each other for Python's own way."""
    folders, files = _inside(base)
    for path in files:
        Path(path).unlink()
    for path in reversed(folders):
        Path(path).rmdir()


def _inside(base: Path) -> tuple[list[str], list[str]]:
    """Folders, each before those in it, and files."""
    folders, files = [str(base)], []
    for folder in folders:
        with os.scandir(folder) as found:
            for each in found:
                (folders if each.is_dir(follow_symlinks=False) else files).append(each.path)
    return folders, sorted(files)
