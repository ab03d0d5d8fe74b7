"""When two names are one: spellings that differ only by what nobody sees, or by how they happen to be written.

For classes and groups it is a suspicion, which people are told of and settle; for people who decide it is the rule.
Ways of writing are tried one after another, the least visible first, so that what differs can be named.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from components import texts

IMAGE = "group_image"  # a group whose values are names of files: they differ where files do
_BLANK = re.compile(
    r"[\s\u115f\u1160\u2800\u3164\uffa0\u180e]+"
)  # Hangul's and Braille's blanks are letters to Unicode
_QUOTES = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u00b4`\uff07", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"')
)
_SEPARATORS = re.compile(r"(?<=\w)[\s._\u00b7\u2010-\u2015\u2212-]+(?=\w)")
_NUMBER = re.compile(r"(?P<sign>[+-]?)0*(?P<whole>\d+?)(?:\.(?P<part>\d*?)0*)?")
_ZEROS = re.compile(r"(?<![\d.])0+(?=\d)")  # not behind a point: 1.05 is not 1.5
_LISTED = re.compile(r"\s*[,;|]\s*")  # how labels are listed in a cell
_JOINED = re.compile(r"\s*[/&+]\s*|\s+and\s+")  # how they may be, and how single names are written too


def _blanks(text: str) -> str:
    return _BLANK.sub(" ", text).strip()


def _unseen(text: str) -> str:
    """Without soft hyphens, byte-order marks, zero-width and bidirectional characters, variation selectors."""
    if text.isascii() and text.isprintable():
        return text
    kept = (c for c in text if unicodedata.category(c) not in ("Cf", "Cc") and not "\ufe00" <= c <= "\ufe0f")
    return _blanks("".join(kept))


def _form(text: str) -> str:
    return text if text.isascii() else _blanks(unicodedata.normalize("NFKC", text))


def _case(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text.casefold())


def _number(text: str) -> str:
    """`01`, `1.0` and `+1` as `1`; of other texts, whole numbers in them without their leading zeros."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return _ZEROS.sub("", text)
    part = f".{found['part']}" if found["part"] else ""
    sign = "-" if found["sign"] == "-" and (found["whole"] != "0" or part) else ""
    return f"{sign}{found['whole']}{part}"


def _separators(text: str) -> str:
    """Numbers keep theirs: 1.5 is not 1-5."""
    return text if _NUMBER.fullmatch(text) else _SEPARATORS.sub(" ", text)


# What may differ, in words, and what makes it equal; each is given what the one before it made.
_WAYS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("blanks", _blanks),
    ("characters that are not seen", _unseen),
    ("Unicode form", _form),
    ("case", _case),
    ("quotes", lambda text: text.translate(_QUOTES)),
    ("how the number is written", _number),
    ("dashes, underscores, dots and blanks", _separators),
)


def key(text: str) -> str:
    """What all spellings of a name have in common; a text of blanks alone has the empty one."""
    for _, way in _WAYS:
        text = way(text)
    return text


@dataclass(frozen=True)
class Spellings:
    """Several spellings of one name, each with its samples: the first is the one that they are joined to."""

    counts: tuple[tuple[str, int], ...]

    @property
    def name(self) -> str:
        """The most frequent; of equally frequent ones the shortest, and of those the first in order."""
        return self.counts[0][0]

    @property
    def rest(self) -> int:
        """Samples of the other spellings."""
        return sum(count for _, count in self.counts[1:])

    @property
    def differ(self) -> str:
        """By what, in words: what makes two of them equal, or changes one of them and another not."""
        forms = {name for name, _ in self.counts}
        found = []
        for what, way in _WAYS:
            made = {form: way(form) for form in forms}
            changed = {form != other for form, other in made.items()}
            found += [what] if len(set(made.values())) < len(forms) or len(changed) > 1 else []
            forms = set(made.values())
        return _listed(found)

    def said(self, column: str = "") -> str:
        """The spellings with their samples, and by what they differ; `column` is that of a group."""
        forms = ", ".join(f"{texts.exact(name, 60)} ({count:,})" for name, count in self.counts)
        where = f"{texts.shown(column)}: " if column else ""
        return f"{where}{forms}: the same name but for {self.differ}"


def _listed(found: list[str]) -> str:
    return " and ".join([*([", ".join(found[:-1])] if found[:-1] else []), *found[-1:]])


def several(counts: Mapping[str, int]) -> list[Spellings]:
    """The names among those counted that occur in more than one spelling, the one with most samples aside first."""
    found: dict[str, list[tuple[str, int]]] = {}
    for name, count in counts.items():
        found.setdefault(key(name), []).append((name, count))
    ordered = [
        Spellings(tuple(sorted(each, key=lambda one: (-one[1], len(one[0]), one[0]))))
        for each in found.values()
        if len(each) > 1
    ]
    return sorted(ordered, key=lambda each: (-each.rest, each.name))


def lists(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Names that read like several in one cell (`cat, dog`; `cat|dog`), with their parts.

    Every part must be a name by itself or, where commas or the like are between them, a part of another such cell:
    `T-shirt/top` is one name.
    """
    known = list(names)
    alone = {key(name) for name in known}
    listed = {name: _parts(_LISTED, name) for name in known}
    there: dict[str, set[str]] = {}  # key of a part → the cells that it occurs in
    for name, parts in listed.items():
        for part in parts if len(parts) > 1 else ():
            there.setdefault(key(part), set()).add(name)
    found = {}
    for name, parts in listed.items():
        joined = _parts(_JOINED, name)
        if len(parts) > 1 and all(key(part) in alone or there[key(part)] - {name} for part in parts):
            found[name] = parts
        elif len(joined) > 1 and all(key(part) in alone for part in joined):
            found[name] = joined
    return found


def _parts(between: re.Pattern[str], name: str) -> tuple[str, ...]:
    return tuple(part for part in between.split(name.strip()) if part)
