"""Files with one token and its tag per line, as the shared tasks of CoNLL have them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from components.artifacts import Split
from components.data.errors import DataError
from components.data.sources.base import boundary
from components.data.sources.layouts.form import Found, Layout, split_in
from components.data.sources.layouts.listing import Contents, Folder

SUFFIXES = (".conll", ".bio", ".iob", ".iob2", ".bioes", ".txt", ".tsv")
TAG = re.compile(r"O|[BIESLU]-\S+")
LONGEST = 2**16  # characters of a line: tokens are names
_LINES = 200  # that are looked at


def opened(path: Path) -> Iterator[str]:
    """The lines without their ends; raises DataError for what is no text in UTF-8, or a line beyond `LONGEST`."""
    with boundary.reading(path, "one token and its tag per line, in UTF-8"), path.open(encoding="utf-8-sig") as file:
        while line := file.readline(LONGEST + 1):
            if len(line) > LONGEST:
                raise DataError(f"{path}: expected lines of at most {LONGEST:,} characters, received a longer one")
            yield line.rstrip("\r\n")


def is_comment(line: str) -> bool:
    """Whether a line says something of a sentence: `# id 12`; a token may be `#` too, with its tag."""
    columns = line.split()
    return columns[0].startswith("#") and not (len(columns) > 1 and TAG.fullmatch(columns[-1]))


def by_split(names: Sequence[str]) -> Mapping[str, Split] | None:
    """File → the split that its name speaks of; None where they are not one a split."""
    found = {name: split_in(name)[0] for name in names}
    splits = {name: split for name, split in found.items() if split is not None}
    return splits if len(splits) == len(names) == len(set(splits.values())) and len(names) > 1 else None


def is_conll(path: Path) -> bool:
    """Whether the first lines are tokens with tags, of entities too."""
    try:
        lines = [line.split() for line in islice(opened(path), _LINES) if line.strip() and not is_comment(line)]
    except DataError:
        return False
    tokens = [columns for columns in lines if columns[0] != "-DOCSTART-"]
    tagged = [len(columns) > 1 and TAG.fullmatch(columns[-1]) is not None for columns in tokens]
    return bool(tokens) and all(tagged) and any(columns[-1] != "O" for columns in tokens)


def _of_file(contents: Contents, name: str) -> Found | None:
    path = contents.base / name
    if path.suffix.lower() not in SUFFIXES or not is_conll(path):
        return None
    return Found("conll", "one token and its tag per line")


def _folder(contents: Contents, top: Folder) -> Iterator[Found]:
    """One file, or one per split, in the folder itself."""
    names = [name for name in top.names if Path(name).suffix.lower() in SUFFIXES]
    names = [name for name in names if is_conll(contents.base / contents.path_of(top, name))]
    splits = by_split(names)
    if splits is not None:
        said = "one token and its tag per line, one file per split"
        yield Found("conll", said, keys={"files": {split: name for name, split in splits.items()}})
        return
    for name in names:
        several = len(names) > 1
        yield Found("conll", f"{name}, one token and its tag per line", keys={"files": name} if several else {})


LAYOUTS = (
    Layout(
        "`train.conll`, `dev.conll`: one token and its tag per line",
        "CoNLL 2003, WNUT, OntoNotes",
        _folder,
        _of_file,
        True,
    ),
)
