"""CoNLL's files of named entities: one line per token with its tag in the last column, a blank line between sentences.

A text is its tokens with a blank between each two. Tags are BIO, with an `I` or a `B` where an entity begins (IOB1,
IOB2), or BIOES and BILOU. Lines of comments, and those of `-DOCSTART-`, are no tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from components.artifacts import Split
from components.config.catalogue import Faulty, Located, OfSplits
from components.data.errors import DataError
from components.data.sources.base import limits, rows
from components.data.sources.base.faults import Fault, Faults, Kind, shown, some
from components.data.sources.base.form import SourceData, schema
from components.data.sources.layouts import conll as layouts
from components.data.sources.layouts.conll import SUFFIXES, TAG, is_comment, opened
from components.data.sources.manifest_spans import target
from components.data.sources.places import place
from components.data.sources.tables.spans import Span

LAYOUTS = layouts.LAYOUTS

NO_TAG = Kind("line", "lines", "of a token and its tag, such as `B-PER` or `O`, the last column", "of something else")
TOO_LONG = Kind("sentence", "sentences", f"of at most {limits.TEXT:,} bytes", "that are longer")
_BEGIN, _END = "BSU", "ELSU"  # tags with which an entity begins whatever was before, and ends whatever follows


class ConllSource(Located):
    """Files with one token and its tag per line: `PATH` is one, or holds one a split."""

    kind: Literal["conll"]
    files: str | OfSplits | None = None  # below `path`: the file, or one per split; None: all there are, by their names
    faulty: Faulty = "refuse"  # sentences with lines that are none


@dataclass
class Sentence:
    """Tokens and tags, from one line of a file to another."""

    id: str
    where: str
    published: Split | None
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    wrong: Fault | None = None

    @property
    def text(self) -> str:
        return " ".join(self.tokens)

    def spans(self) -> tuple[Span, ...]:
        """The entities, whichever of the schemes the tags are of: an inside that goes on with nothing begins one."""
        found: list[Span] = []
        at, open_ = 0, False
        for token, tag in zip(self.tokens, self.tags, strict=True):
            prefix, _, label = tag.partition("-")
            end = at + len(token)
            if prefix != "O":
                if open_ and prefix not in _BEGIN and found[-1].label == label:
                    found[-1] = Span(found[-1].start, end, label, self.where)
                else:
                    found.append(Span(at, end, label, self.where))
            open_ = prefix != "O" and prefix not in _END
            at = end + 1
        return tuple(found)


def read(source: ConllSource, project: Path) -> SourceData:
    path = place.local(source, project)
    files = _files(source, path)
    faults = Faults(str(path), source.faulty)
    labels = {span.label for each in faults.kept(_sentences(files)) for span in each.spans()}
    faults.tell()
    if not labels:
        raise DataError(f"{path}: expected tags of entities, such as `B-PER`, received none but `O`")
    classes = rows.ordered(labels)
    number = rows.numbers(classes)
    sound = (each for each in _sentences(files) if isinstance(each, Sentence))
    every = (
        {"id": each.id, "text": each.text, "target": target(each.spans(), number), "published": each.published}
        for each in sound
    )
    taken = rows.tables(schema("tags", given="text"), every)
    return SourceData(classes, "tags", taken, notes=faults.notes, given="text")


def _files(source: ConllSource, path: Path) -> list[tuple[Path, Split | None]]:
    """The files, and the split that each is of."""
    if path.is_file():
        return [(path, None)]
    if isinstance(source.files, dict):
        return [(rows.inside(path, name, "source.files"), split) for split, name in source.files.items()]
    if source.files is not None:
        return [(rows.inside(path, source.files, "source.files"), None)]
    there = sorted(
        each
        for each in path.iterdir()
        if each.is_file() and each.suffix.lower() in SUFFIXES and not rows.is_leftover(each.name)
    )
    splits = layouts.by_split([each.name for each in there])
    if splits is None and len(there) != 1:
        raise DataError(
            f"{path}: expected one file ({', '.join(SUFFIXES)}), or one per split, called after it, received "
            f"{some([each.name for each in there]) or 'none'}; name them as source.files"
        )
    return [(each, splits[each.name] if splits else None) for each in there]


def _sentences(files: list[tuple[Path, Split | None]]) -> Iterator[Sentence | Fault]:
    for path, split in files:
        before = f"{split}-" if split else ""
        for number, each in enumerate(_of_file(path, split), start=1):
            each.id = f"{before}{number:06d}"
            if each.wrong is not None:
                yield each.wrong
            elif len(each.text.encode()) > limits.TEXT:
                yield Fault(TOO_LONG, each.where)
            else:
                yield each


def _of_file(path: Path, split: Split | None) -> Iterator[Sentence]:
    sentence: Sentence | None = None
    for number, line in enumerate(opened(path), start=1):
        columns = line.split()
        if not columns or columns[0] == "-DOCSTART-":
            if sentence is not None:
                yield sentence
            sentence = None
            continue
        if is_comment(line):
            continue
        where = f"{path.name}, line {number:,}"
        if sentence is None:
            sentence = Sentence("", where, split)
        if len(columns) < 2 or not TAG.fullmatch(columns[-1]):
            sentence.wrong = sentence.wrong or Fault(NO_TAG, f"{where}, {shown(line)}")
            continue
        sentence.tokens.append(columns[0])
        sentence.tags.append(columns[-1])
    if sentence is not None:
        yield sentence
