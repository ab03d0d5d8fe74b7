"""What of a source cannot be used: gathered while it is read, and then told all at once, or left out and counted.

A kind says what was expected; the sources say where something else is. Whether one of them ends the reading is the
entry's word, `source.faulty`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from components import texts
from components.config import Faulty
from components.data.errors import DataError

_BARE = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
NAMED = 3  # of each kind, in a message
LONGEST = 60  # characters of a value from a file
MANY = 20  # columns that a message lists
ADVICE = "put them right, or leave them out by `faulty: skip` under `source:` (`-S faulty=skip`)"


Found = TypeVar("Found")


@dataclass(frozen=True)
class Kind:
    """In words: `expected boxes with an area, received 2 without one`, `left out: 2 boxes without one`."""

    one: str
    many: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Fault:
    """One of its kind: `says` names the place and what is there."""

    kind: Kind
    says: str


class Faults:
    """What has been found so far; `where` is the file or folder that all of it is in."""

    def __init__(self, where: str, faulty: Faulty = "refuse") -> None:
        self._where, self._faulty = where, faulty
        self._found: dict[Kind, list[str]] = {}
        self._count: dict[Kind, int] = {}

    def add(self, fault: Fault) -> None:
        named = self._found.setdefault(fault.kind, [])
        self._count[fault.kind] = self._count.get(fault.kind, 0) + 1
        if len(named) < NAMED:
            named.append(fault.says)

    def kept(self, items: Iterable[Found | Fault]) -> Iterator[Found]:
        """The items without the faults among them, which are gathered."""
        for item in items:
            if isinstance(item, Fault):
                self.add(item)
            else:
                yield item

    def sound(self, items: Iterable[Found | Fault]) -> Iterator[Found]:
        """The same, and at their end what `tell` has to say."""
        yield from self.kept(items)
        self.tell()

    def tell(self) -> None:
        """Raises DataError with everything found so far, a line a kind, unless it is to be left out."""
        if not self._found or self._faulty == "skip":
            return
        lines = [
            f"{self._where}: expected {kind.many} {kind.right}, received {self._count[kind]:,} {self._said(kind)}"
            for kind in self._found
        ]
        raise DataError(f"{lines[0]}; {ADVICE}" if len(lines) == 1 else "\n".join([*lines, ADVICE]))

    def notes(self) -> tuple[str, ...]:
        """What was left out, a sentence a kind."""
        return tuple(
            f"left out: {number:,} {kind.one if number == 1 else kind.many} {self._said(kind)} (`faulty: skip`)"
            for kind, number in self._count.items()
        )

    def _said(self, kind: Kind) -> str:
        more = self._count[kind] - len(self._found[kind])
        named = [*self._found[kind], *([f"{more:,} more"] if more else [])]
        return f"{kind.wrong}: {'; '.join(named)}"


def as_yaml(names: Iterable[str]) -> str:
    """Names as a list of YAML on one line."""
    plain = {name: _BARE.fullmatch(name) and texts.is_word(name) for name in names}
    return f"[{', '.join(name if bare else json.dumps(name, ensure_ascii=False) for name, bare in plain.items())}]"


def some(names: Iterable[str], most: int = 6) -> str:
    """The first names of several, and how many there are more."""
    listed = list(names)
    more = f", … {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def named(name: str) -> str:
    """The name of a file for a message, as `shown`, without quotes."""
    return shown(name)[1:-1]


def shown(value: Any) -> str:
    """A value from a file for a message: in one line, and not longer than a person reads."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of more digits than Python prints; lists in lists in lists
        return f"a {type(value).__name__} that cannot be printed"
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 4 :]}"
