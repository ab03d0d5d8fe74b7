"""Which sample belongs to which split, and to which fold: a pure function of ids, strata, groups, times and a seed."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeVar

from components.artifacts import SPLITS, Split
from components.config import SplitDeclaration
from components.data.errors import DataError

T = TypeVar("T")
Part = TypeVar("Part", Split, int)


def assign(
    ids: Sequence[str],
    strata: Sequence[int],
    published: Sequence[str | None],
    declaration: SplitDeclaration,
    *,
    groups: Sequence[str | None] | None = None,
    times: Sequence[float | None] | None = None,
) -> list[Split]:
    """A split for each of N samples.

    What the source publishes as `validation` or `test` stays so, unless the declaration ignores it; a split it does
    not publish is drawn from the rest. Drawn at random, every split is within one sample of its share in each stratum.
    With `groups` (the declared column) all samples of a group go to one split, and shares and strata are met as nearly
    as the groups allow. With `order: time` the newest samples are the test split and the next ones validate; samples of
    one moment stay together. A sample's split never depends on the order of the rows.
    Raises DataError for a group or a time that is needed and missing, and where nothing would be left to train on.
    """
    if not len(ids) == len(strata) == len(published):
        raise DataError(f"expected as many ids as strata, received {len(ids)}, {len(strata)}, {len(published)}")
    unknown = {name for name in published if name is not None} - set(SPLITS)
    if unknown:
        raise DataError(f"expected published splits {', '.join(SPLITS)}, received {', '.join(sorted(unknown))}")
    if declaration.published == "ignore":
        published = [None] * len(ids)
    shares = _shares(published, declaration)
    fixed: dict[str, Split] = {"validation": "validation", "test": "test"}
    result: list[Split] = [fixed.get(name or "", "train") for name in published]
    free = [index for index, name in enumerate(published) if name not in fixed]
    if declaration.order == "time":
        drawn = _by_time(free, ids, _present(times, free, ids, "time", "split.order"), shares)
    elif declaration.group is not None:
        members = _present(groups, range(len(ids)), ids, declaration.group, "split.group")
        drawn = _by_group(free, ids, strata, members, result, shares, declaration.seed)
    else:
        drawn = _at_random(free, ids, strata, shares, declaration.seed)
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
) -> list[int]:
    """A fold, 0 … `folds` - 1, for each of N training samples: stratified, and no group in two folds.

    Without groups every fold has a k-th of each stratum, give or take one sample.
    """
    salt = f"folds {seed}"
    if groups is not None:
        equal = dict.fromkeys(range(folds), 1.0 / folds)
        return list(_whole_groups(range(len(ids)), strata, groups, equal, salt).values())
    result = [0] * len(ids)
    offset = 0
    for indices in _strata(range(len(ids)), strata).values():
        for position, index in enumerate(sorted(indices, key=lambda index: _rank(ids[index], salt))):
            result[index] = (offset + position) % folds
        offset += len(indices)  # the folds that get one more are others in each stratum
    return result


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
    free: Sequence[int], ids: Sequence[str], strata: Sequence[int], shares: Mapping[Split, float], seed: int
) -> dict[int, Split]:
    drawn: dict[int, Split] = {}
    for indices in _strata(free, strata).values():
        ordered = sorted(indices, key=lambda index: (_rank(ids[index], seed), ids[index]))
        counts = _counts(len(ordered), shares)
        test, validation = counts["test"], counts["validation"]
        for position, index in enumerate(ordered[: test + validation]):
            drawn[index] = "test" if position < test else "validation"
    return drawn


def _by_time(
    free: Sequence[int], ids: Sequence[str], times: Sequence[float], shares: Mapping[Split, float]
) -> dict[int, Split]:
    """The newest are tested on. Where a boundary falls among samples of one moment, they go to the older side."""
    unfit = [ids[index] for index in free if not math.isfinite(times[index])]
    if unfit:
        raise DataError(f"split.order: expected times that are numbers, received others for {', '.join(unfit[:5])}")
    ordered = sorted(free, key=lambda index: (times[index], ids[index]))
    moments = [times[index] for index in ordered]
    counts = _counts(len(ordered), shares)
    validation = _after_ties(moments, counts["train"])
    test = _after_ties(moments, counts["train"] + counts["validation"])
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
    groups: Sequence[str],
    given: Sequence[Split],
    shares: Mapping[Split, float],
    seed: int,
) -> dict[int, Split]:
    """A group that the source has put somewhere follows its published samples; the others are drawn whole."""
    taken = set(free)
    bound = {groups[index]: given[index] for index in range(len(ids)) if index not in taken}
    drawn: dict[int, Split] = {index: bound[groups[index]] for index in free if groups[index] in bound}
    loose = [index for index in free if groups[index] not in bound]
    wanted = {split: share for split, share in shares.items() if share > 0}
    return drawn | _whole_groups(loose, strata, groups, wanted, str(seed))


def _whole_groups(
    indices: Sequence[int], strata: Sequence[int], groups: Sequence[str], shares: Mapping[Part, float], salt: str
) -> dict[int, Part]:
    """Each group into the part whose strata it brings nearest to their share: the largest groups choose first."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for index in indices:
        counts[groups[index]][int(strata[index])] += 1
    total: Counter[int] = sum(counts.values(), Counter())
    held: dict[Part, Counter[int]] = {part: Counter() for part in shares}
    place: dict[str, Part] = {}
    for group in sorted(counts, key=lambda group: (-counts[group].total(), _rank(group, salt), group)):
        place[group] = min(shares, key=lambda part: _cost(held[part], counts[group], total, shares[part]))
        held[place[group]] += counts[group]
    return {index: place[groups[index]] for index in indices}


def _cost(held: Counter[int], added: Counter[int], total: Counter[int], share: float) -> float:
    """How much further from their shares (nearer, if negative) the part's strata come by taking the group."""
    change = 0.0
    for stratum, count in added.items():
        wanted = total[stratum] * share
        before, after = held[stratum] / wanted - 1.0, (held[stratum] + count) / wanted - 1.0
        change += share * (after**2 - before**2)
    return change


def _rank(sample: str, seed: int | str) -> bytes:
    return hashlib.sha256(f"{seed}\0{sample}".encode()).digest()


def _counts(samples: int, shares: Mapping[Split, float]) -> dict[Split, int]:
    """Largest remainders: whole numbers that add up to `samples`, each within one of its share.

    Ties go to the test split first: a class without a test sample cannot be judged.
    """
    quotas = {split: samples * share for split, share in shares.items()}
    counts = {split: int(quota) for split, quota in quotas.items()}
    left = samples - sum(counts.values())
    by_remainder = sorted(quotas, key=lambda split: round(counts[split] - quotas[split], 9))
    for split in by_remainder[:left]:
        counts[split] += 1
    return counts
