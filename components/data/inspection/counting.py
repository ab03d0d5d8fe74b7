"""Are there enough samples of each class for the splits, and does a group tell the class? Counts alone, no pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from components.config import SplitDeclaration

Codes = npt.NDArray[np.integer]


def needed(declaration: SplitDeclaration, published: Mapping[str, int]) -> tuple[int, str]:
    """Unsplit samples of a class that are needed for one in every split and fold, and why.

    `published` holds the samples of all classes by the split that the source gives them ("" for none). A share s of n
    samples is at least one from n = 1/s on; where the source publishes a split, none is drawn for it.
    """
    given = set() if declaration.predefined == "ignore" else set(published)
    shares = {name: getattr(declaration, name) for name in ("validation", "test") if name not in given}
    parts = [f"{share:g} of them for {name}" for name, share in shares.items()]
    numbers = [1, *(_at_least(share) for share in shares.values())]
    if declaration.folds is not None:
        numbers.append(math.ceil(round(declaration.folds / (1.0 - sum(shares.values())), 9)))
        parts.append(f"{declaration.folds} folds of the rest")
    return max(numbers), ", ".join(parts) or "one to train on"


def parts(declaration: SplitDeclaration, published: Mapping[str, int]) -> int:
    """Into how many splits and folds the samples are drawn that the source has not put aside itself."""
    given = set() if declaration.predefined == "ignore" else set(published)
    return len({"validation", "test"} - given) + (declaration.folds or 1)


def groups_of_classes(groups: Codes, classes: Codes, number: int) -> npt.NDArray[np.int64]:
    """In how many groups each of `number` classes occurs; negative codes are left out."""
    known = (groups >= 0) & (classes >= 0)
    pairs = np.unique(np.stack([groups[known], classes[known]]), axis=1)
    counted: npt.NDArray[np.int64] = np.bincount(pairs[1], minlength=number)
    return counted


def joined(groups: Codes, families: Codes) -> npt.NDArray[np.int64]:
    """A number a sample `(N,)`: the same for samples of one group, of one family, or joined through others.

    Negative groups, which are unknown, stay negative.
    """
    known = groups >= 0
    count, own = len(families), np.arange(len(families))
    many = count + int(groups.max(initial=0)) + 1
    # Each sample is joined with the first place of its family, and with a node that stands for its group.
    _, first, inverse = np.unique(families, return_index=True, return_inverse=True)
    ends = np.concatenate([first[inverse], count + groups[known]])
    edges = (np.concatenate([own, own[known]]), ends)
    graph = coo_array((np.ones(len(ends)), edges), shape=(many, many))
    numbers: npt.NDArray[np.int64] = connected_components(graph, directed=False)[1][:count].astype(np.int64)
    return np.where(known, numbers, -1)


def _at_least(share: float) -> int:
    return math.ceil(round(1.0 / share, 9))


def loose(shown: Mapping[str, npt.NDArray[np.int64]], declaration: SplitDeclaration) -> npt.NDArray[np.int64]:
    """Samples a class that splits are drawn from: those that the source has not put aside."""
    aside = () if declaration.predefined == "ignore" else ("validation", "test")
    counts = [values for name, values in shown.items() if name not in aside]
    return np.sum(counts, axis=0) if counts else np.zeros(len(next(iter(shown.values()))), dtype=np.int64)


def goodman_kruskal(groups: Codes, classes: Codes) -> float:
    """Goodman and Kruskal's lambda (1954), leave-one-out: the share of the mistakes about the class that knowing the
    group spares.

    Both `(N,)`, not negative. Each sample's class is guessed as the most frequent one among the *others* of its group,
    and without the group among all others; of k that are equally frequent each is guessed one time in k. A sample that
    is alone in its group tells nothing about itself: it is guessed as if there were no groups. 0 where nothing can be
    spared; a group that misleads counts as 0 too.
    """
    if len(classes) == 0:
        return 0.0
    blind = _hits(np.zeros(len(classes), dtype=np.int64), classes)
    alone = np.bincount(groups)[groups] == 1
    informed = np.where(alone, blind, _hits(groups, classes))
    mistakes = float(np.sum(1.0 - blind))
    return max(0.0, float(np.sum(informed) - np.sum(blind)) / mistakes) if mistakes > 0.0 else 0.0


def _hits(groups: Codes, classes: Codes) -> npt.NDArray[np.float64]:
    """The chance that each sample's class is guessed from the other samples of its group."""
    codes, inverse, counts = np.unique(
        groups.astype(np.int64) * (int(classes.max()) + 1) + classes, return_inverse=True, return_counts=True
    )
    owner = codes // (int(classes.max()) + 1)
    order = np.lexsort((-counts, owner))
    starts = np.flatnonzero(np.r_[True, np.diff(owner[order]) != 0])
    sizes = np.diff(np.r_[starts, len(order)])
    most = counts[order][starts]  # of a group's most frequent class
    spread_most = np.repeat(most, sizes)
    ties = np.add.reduceat(counts[order] == spread_most, starts)
    below = np.add.reduceat(counts[order] == spread_most - 1, starts)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.repeat(np.arange(len(starts)), sizes)
    own, top, tied, second = counts, most[place], ties[place], below[place]
    # Without the sample its class has one less. The only most frequent class is still guessed if no other reaches
    # what is left of it; those that do share the guess with it.
    chance = np.where((own == top) & (tied == 1) & (own > 1), 1.0 / (1.0 + second), 0.0)
    return chance[inverse]
