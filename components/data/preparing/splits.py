"""Which sample belongs to which split, and to which fold.

A pure function of ids, strata, published splits, groups, times, families of twins and a seed; how parts are drawn by
lot is `drawing`'s.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from components.artifacts import SPLITS, Split
from components.config import SplitDeclaration
from components.data.errors import DataError
from components.data.families import Families, joined
from components.data.preparing.drawing import Part, counts, rank, reunited, spread, whole_groups

T = TypeVar("T")


def assign(
    ids: Sequence[str],
    strata: Sequence[int],
    published: Sequence[str | None],
    declaration: SplitDeclaration,
    *,
    groups: Sequence[str | None] | None = None,
    times: Sequence[float | None] | None = None,
    families: Families = (),
    labels: Sequence[Collection[int]] | None = None,
    shown: str = "picture",
) -> list[Split]:
    """A split for each of N samples.

    What the source publishes as `validation` or `test` stays so, unless the declaration ignores it; a split it does
    not publish is drawn from the rest. Drawn at random, every split is within one sample of its share in each stratum.
    With `groups` (the declared column) all samples of a group go to one split, and shares and strata are met as nearly
    as the groups allow. With `order: time` the newest samples are the test split and the next ones validate; samples of
    one moment stay together. A sample's split never depends on the order of the rows.

    Where samples have any number of `labels` each, a draw at random gives every split its share of each (`spread`);
    their strata count where groups or families of twins stay together.

    `families` are ids of twins, each id in one family at most. Drawn at random or by group, a family goes to one split,
    that of its published samples where the source has put some aside; samples that the source trains on stay with it,
    and time goes before twins. A draw that tears no family apart stays as it is, and of another no more is changed than
    must be: strata keep their shares within one sample as long as there are samples without twins to make up for it.
    `shown` is what people see of an input, in messages.
    Raises DataError for a group or a time that is needed and missing, and where nothing would be left to train on, or
    (all inputs being alike) for a split.
    """
    if not len(ids) == len(strata) == len(published):
        raise DataError(f"expected as many ids as strata, received {len(ids)}, {len(strata)}, {len(published)}")
    unknown = {name for name in published if name is not None} - set(SPLITS)
    if unknown:
        raise DataError(f"expected predefined splits {', '.join(SPLITS)}, received {', '.join(sorted(unknown))}")
    if declaration.predefined == "ignore":
        published = [None] * len(ids)
    shares = _shares(published, declaration)
    fixed: dict[str, Split] = {"validation": "validation", "test": "test"}
    result: list[Split] = [fixed.get(name or "", "train") for name in published]
    free = [index for index, name in enumerate(published) if name not in fixed]
    kin = _kin(families if declaration.twins == "together" else (), ids, published)
    if declaration.order == "time":
        drawn = _by_time(free, ids, _present(times, free, ids, "time", "split.order"), shares)
    elif declaration.group is not None:
        members = _present(groups, range(len(ids)), ids, declaration.group, "split.group")
        drawn = _by_group(free, ids, strata, shares, kin, members, result, declaration.seed, shown)
    else:
        drawn = _at_random(free, ids, strata, shares, kin, result, declaration.seed, shown, labels)
    for index, split in drawn.items():
        result[index] = split
    return result


def assign_folds(
    ids: Sequence[str],
    strata: Sequence[int],
    folds: int,
    seed: int,
    *,
    groups: Sequence[str] | None = None,
    families: Families = (),
    labels: Sequence[Collection[int]] | None = None,
    shown: str = "picture",
) -> list[int]:
    """A fold, 0 … `folds` - 1, for each of N training samples: stratified, and no group or family in two folds.

    Without groups every fold has a k-th of each stratum, give or take one sample; with families and labels as in
    `assign`.
    Raises DataError where nothing would be left for a fold.
    """
    salt = f"folds {seed}"
    equal = dict.fromkeys(range(folds), 1.0 / folds)
    kin = _kin(families, ids, [None] * len(ids))
    if groups is not None:
        label = _labels(groups, kin)
        drawn = whole_groups(range(len(ids)), strata, groups, equal, salt)
        units = _several(range(len(ids)), groups, label)
    elif labels is not None:
        drawn, units = spread(range(len(ids)), labels, ids, equal, salt), _units(kin, ids)
    else:
        drawn, offset = {}, 0
        for indices in _strata(range(len(ids)), strata).values():
            for position, index in enumerate(sorted(indices, key=lambda index: rank(ids[index], salt))):
                drawn[index] = (offset + position) % folds
            offset += len(indices)  # the folds that get one more are others in each stratum
        units = _units(kin, ids)
    found = _reunited(drawn, units, ids, strata, equal, salt, shown, groups)
    return [found[index] for index in range(len(ids))]


def _shares(published: Sequence[str | None], declaration: SplitDeclaration) -> dict[Split, float]:
    test = 0.0 if "test" in published else declaration.test
    validation = 0.0 if "validation" in published else declaration.validation
    if test + validation >= 1.0:
        raise DataError(
            f"split: expected validation + test below 1, received {validation} + {test}: "
            "nothing would be left to train on"
        )
    return {"test": test, "validation": validation, "train": 1.0 - test - validation}


def _present(
    values: Sequence[T | None] | None, needed: Sequence[int], ids: Sequence[str], column: str, key: str
) -> list[T]:
    """The column, if it is there and complete where it is needed."""
    if values is None:
        raise DataError(f"{key}: expected a source with a column `{column}`, received none; correct it in params.yaml")
    missing = [ids[index] for index in needed if values[index] is None]
    if missing:
        raise DataError(
            f"{key}: expected a `{column}` for every sample, received none for {len(missing)} of {len(needed)}: "
            f"{', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}"
        )
    return list(values)  # type: ignore[arg-type]


def _strata(indices: Sequence[int], strata: Sequence[int]) -> dict[int, list[int]]:
    members: dict[int, list[int]] = defaultdict(list)
    for index in indices:
        members[int(strata[index])].append(index)
    return members


def _at_random(
    free: Sequence[int],
    ids: Sequence[str],
    strata: Sequence[int],
    shares: Mapping[Split, float],
    kin: Sequence[Kin],
    given: Sequence[Split],
    seed: int,
    shown: str,
    labels: Sequence[Collection[int]] | None,
) -> dict[int, Split]:
    """By lot in each stratum, or by labels; of twins, those that follow a published one first, the others together."""
    bound: dict[int, Split] = {}
    for each in kin:
        for index in each.free if each.published else ():
            bound[index] = max((given[other] for other in each.published), key=SPLITS.index)
    drawn: dict[int, Split] = {}
    loose = [index for index in free if index not in bound]
    wanted = {split: share for split, share in shares.items() if share > 0}
    if labels is not None:
        drawn = spread(loose, labels, ids, wanted, str(seed))
    for indices in _strata(loose, strata).values() if labels is None else ():
        ordered = sorted(indices, key=lambda index: (rank(ids[index], seed), ids[index]))
        number = counts(len(ordered), shares)
        test, validation = number["test"], number["validation"]
        for position, index in enumerate(ordered):
            drawn[index] = "test" if position < test else "validation" if position < test + validation else "train"
    found = _reunited(drawn, _units(kin, ids), ids, strata, wanted, str(seed), shown)
    found.update(bound)
    return found


def _by_time(
    free: Sequence[int], ids: Sequence[str], times: Sequence[float], shares: Mapping[Split, float]
) -> dict[int, Split]:
    """The newest are tested on. Where a boundary falls among samples of one moment, they go to the older side."""
    unfit = [ids[index] for index in free if not math.isfinite(times[index])]
    if unfit:
        raise DataError(f"split.order: expected times that are numbers, received others for {', '.join(unfit[:5])}")
    ordered = sorted(free, key=lambda index: (times[index], ids[index]))
    moments = [times[index] for index in ordered]
    number = counts(len(ordered), shares)
    validation = _after_ties(moments, number["train"])
    test = _after_ties(moments, number["train"] + number["validation"])
    parts: dict[Split, list[int]] = {
        "train": ordered[:validation],
        "validation": ordered[validation:test],
        "test": ordered[test:],
    }
    empty = [split for split, share in shares.items() if share > 0 and not parts[split]]
    if ordered and empty:
        raise DataError(
            f"split.order: expected times that leave samples for {' and '.join(empty)}, received {len(ordered)} "
            f"samples of {len(set(moments))} different times; split at random, or publish the splits"
        )
    return {index: split for split, indices in parts.items() for index in indices}


def _after_ties(moments: Sequence[float], start: int) -> int:
    """`start`, or the first place after it that does not lie between equals."""
    return start if start in (0, len(moments)) else bisect_right(moments, moments[start - 1])


def _by_group(
    free: Sequence[int],
    ids: Sequence[str],
    strata: Sequence[int],
    shares: Mapping[Split, float],
    kin: Sequence[Kin],
    groups: Sequence[str],
    given: Sequence[Split],
    seed: int,
    shown: str,
) -> dict[int, Split]:
    """A group that the source has put somewhere follows its published samples; the others are drawn whole.

    Groups that twins join are one, and follow or are drawn together.
    """
    taken = set(free)
    label = _labels(groups, kin)
    bound: dict[str, Split] = {}
    for index, group in enumerate(groups):
        if index not in taken:
            before = bound.get(label[group], given[index])
            bound[label[group]] = max(before, given[index], key=SPLITS.index)
    drawn = {index: bound[label[groups[index]]] for index in free if label[groups[index]] in bound}
    loose = [index for index in free if index not in drawn]
    wanted = {split: share for split, share in shares.items() if share > 0}
    whole = whole_groups(loose, strata, groups, wanted, str(seed))
    units = _several(loose, groups, label)
    return drawn | _reunited(whole, units, ids, strata, wanted, str(seed), shown, groups)


# -- twins -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kin:
    """Places of samples that must be in one split; where the source has published some, the others follow those."""

    free: list[int]
    published: list[int]


def _kin(families: Families, ids: Sequence[str], published: Sequence[str | None]) -> list[Kin]:
    """Of each family the samples whose split is Convoy's to draw, and what they follow.

    A sample that the source trains on does not follow its twin into a split that the source publishes too: both sides
    are the publisher's word then, and `checks.leakage` says what becomes of it. It stays with others like it.
    """
    place = {name: index for index, name in enumerate(ids)} if families else {}
    found = []
    for family in families:
        members = [place[name] for name in family if name in place]
        aside = [index for index in members if published[index] in ("validation", "test")]
        trained = [index for index in members if published[index] == "train"]
        unsaid = [index for index in members if published[index] is None]
        found += [Kin(unsaid, aside), Kin(trained, [])] if aside else [Kin(trained + unsaid, [])]
    return [kin for kin in found if kin.free and len(kin.free) + len(kin.published) > 1]


def _units(kin: Sequence[Kin], ids: Sequence[str]) -> dict[int, str]:
    """Place → what it must stay in one part with, of samples that have twins and follow nobody."""
    loose = [each.free for each in kin if not each.published]
    return {index: name for free in loose for name in [min(ids[index] for index in free)] for index in free}


def _labels(groups: Sequence[str], kin: Sequence[Kin]) -> dict[str, str]:
    """Group → the first of the groups that twins join it with: itself, mostly."""
    label = dict(zip(groups, groups, strict=True))
    for whole in joined([[groups[index] for index in (*each.free, *each.published)] for each in kin]):
        label |= dict.fromkeys(whole, whole[0])
    return label


def _several(indices: Sequence[int], groups: Sequence[str], label: Mapping[str, str]) -> dict[int, str]:
    """Place → label, of groups that are joined with another."""
    number = Counter(label.values())
    return {index: label[groups[index]] for index in indices if number[label[groups[index]]] > 1}


def _reunited(
    drawn: dict[int, Part],
    units: Mapping[int, str],
    ids: Sequence[str],
    strata: Sequence[int],
    shares: Mapping[Part, float],
    salt: str,
    shown: str,
    groups: Sequence[str] | None = None,
) -> dict[int, Part]:
    """As `reunited`; raises DataError where there are fewer units than parts that were drawn.

    With `groups` those of no unit are units themselves.
    """
    found = reunited(drawn, units, ids, strata, shares, salt, others_stay=groups is not None)
    there, left = set(drawn.values()), set(found.values())
    if there == left:
        return found
    wholes = {units.get(index, ids[index] if groups is None else groups[index]) for index in drawn}
    if len(wholes) < len(there):
        empty = [str(part) if part in SPLITS else f"fold {part}" for part in shares if part in there - left]
        one, *_, other = sorted(ids[index] for index in units)
        what = f"{shown}s that differ" if groups is None else f"groups without a {shown} in common"
        raise DataError(
            f"split: expected at least {len(there)} {what}, to have some for {' and '.join(empty)}, received "
            f"{len(drawn)} samples of {len(wholes)}, since copies, altered or not, stay together ({one!r} and "
            f"{other!r}, for example); publish the splits in the source, or set split.twins=ignore and "
            f"checks.leakage=keep, for which no {shown} is like another"
        )
    return found
