"""What the rows of a whole data set are stratified by where splits and folds are drawn.

Of rows with one class, or one that counts, that is what their kind says of each. Rows with any number of labels are
drawn by these; where groups or twins have to stay together, their stratum is the labels that they have together, as
long as enough others have the same; of rarer combinations the most frequent label is left out, down to the rarest.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from components.targets.protocol import Shown

ENOUGH = 20  # rows with the same labels, of which each part's share is a whole number of rows, or nearly so


@dataclass
class Strata:
    """Gathered table by table."""

    _own: list[int] = field(default_factory=list)
    _sets: list[tuple[int, ...]] = field(default_factory=list)

    def add(self, shown: Shown) -> None:
        if not shown.together:
            self._own += shown.strata.tolist()
            return
        sets: list[list[int]] = [[] for _ in shown.strata]
        for row, label in zip(shown.rows.tolist(), shown.classes.tolist(), strict=True):
            sets[row].append(label)
        self._sets += [tuple(labels) for labels in sets]

    @property
    def labels(self) -> list[tuple[int, ...]] | None:
        """Of rows that have any number of them."""
        return self._sets or None

    def found(self) -> list[int]:
        """A number a row, in order."""
        return by_labels(self._sets) if self._sets else list(self._own)


def by_labels(sets: list[tuple[int, ...]]) -> list[int]:
    """The stratum of each of N rows by its set of labels; rows without any are one of their own."""
    frequency = Counter(label for labels in sets for label in set(labels))
    keys = [tuple(sorted(set(labels), key=lambda label: (frequency[label], label))) for labels in sets]
    enough: set[tuple[int, ...]] = set()
    while True:
        enough |= {key for key, count in Counter(keys).items() if count >= ENOUGH or len(key) <= 1}
        shorter = [key if key in enough else key[:-1] for key in keys]
        if shorter == keys:
            break
        keys = shorter
    number = {key: place for place, key in enumerate(sorted(set(keys)))}
    return [number[key] for key in keys]
