"""Drawing splits and folds by lot: whole numbers for shares, groups in one piece, families of twins reunited.

A draw maps a sample's place to its part and is a pure function of ids, strata, units and a salt, never of the order of
the rows. Which samples are drawn, and into which parts, is for `splits`.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from components.artifacts import Split

Part = TypeVar("Part", Split, int)


def rank(sample: str, salt: int | str) -> bytes:
    """The lot of a sample: samples in order of it are in random order."""
    return hashlib.sha256(f"{salt}\0{sample}".encode()).digest()


def counts(samples: int, shares: Mapping[Part, float]) -> dict[Part, int]:
    """Largest remainders: whole numbers that add up to `samples`, each within one of its share.

    Ties go to the part that comes first: of splits that is the test split, since a class without a test sample cannot
    be judged.
    """
    quotas = {part: samples * share for part, share in shares.items()}
    found = {part: int(quota) for part, quota in quotas.items()}
    left = samples - sum(found.values())
    by_remainder = sorted(quotas, key=lambda part: round(found[part] - quotas[part], 9))
    for part in by_remainder[:left]:
        found[part] += 1
    return found


def spread(
    indices: Iterable[int],
    labels: Sequence[Collection[int]],
    ids: Sequence[str],
    shares: Mapping[Part, float],
    salt: str,
) -> dict[int, Part]:
    """Samples with any number of `labels` each, so that every part has its share of each label.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011): of the labels that are left, the rarest one's
    samples go, in order of their lots, where it is missed most; among parts that miss it alike, where most samples are
    missed; then to the part that comes first. Samples without a label come last.
    """
    waiting = sorted(indices, key=lambda index: (rank(ids[index], salt), ids[index]))
    total = Counter(label for index in waiting for label in labels[index])
    missed = {part: {label: share * count for label, count in total.items()} for part, share in shares.items()}
    samples = {part: share * len(waiting) for part, share in shares.items()}
    having: dict[int, list[int]] = defaultdict(list)
    for index in waiting:
        for label in labels[index]:
            having[label].append(index)
    left, drawn = dict(total), dict[int, Part]()

    def draw(index: int, label: int | None) -> None:
        wanted = {part: samples[part] if label is None else missed[part][label] for part in shares}
        part = max(shares, key=lambda part: (round(wanted[part], 9), round(samples[part], 9)))
        drawn[index] = part
        samples[part] -= 1
        for own in labels[index]:
            missed[part][own] -= 1
            left[own] -= 1

    while remaining := {label: count for label, count in left.items() if count}:
        rarest = min(remaining, key=lambda label: (remaining[label], label))
        for index in having[rarest]:
            if index not in drawn:
                draw(index, rarest)
    for index in waiting:
        if index not in drawn:
            draw(index, None)
    return drawn


def whole_groups(
    indices: Sequence[int], strata: Sequence[int], groups: Sequence[str], shares: Mapping[Part, float], salt: str
) -> dict[int, Part]:
    """Each group into the part whose strata it brings nearest to their share: the largest groups choose first."""
    sizes: dict[str, Counter[int]] = defaultdict(Counter)
    for index in indices:
        sizes[groups[index]][int(strata[index])] += 1
    total: Counter[int] = sum(sizes.values(), Counter())
    held: dict[Part, Counter[int]] = {part: Counter() for part in shares}
    place: dict[str, Part] = {}
    for group in sorted(sizes, key=lambda group: (-sizes[group].total(), rank(group, salt), group)):
        place[group] = _nearest(held, sizes[group], total, shares)
        held[place[group]] += sizes[group]
    return {index: place[groups[index]] for index in indices}


def reunited(
    drawn: dict[int, Part],
    units: Mapping[int, str],
    ids: Sequence[str],
    strata: Sequence[int],
    shares: Mapping[Part, float],
    salt: str,
    *,
    others_stay: bool,
) -> dict[int, Part]:
    """The draw with every unit in one part, and else changed as little as that allows.

    `drawn` has the part of each place, `units` the unit of those that must stay with others, `shares` (above 0) what
    the parts should have of each stratum. Of a unit that the draw has torn apart one member is chosen by lot, and the
    others join it: so each part keeps its share of units, whatever their size. Where the part would then have more of
    a stratum than the draw gave it, the unit goes where it brings the strata nearest to their shares. Samples without a
    unit make up for what has moved, as many as needed, unless `others_stay` (which groups do, being units themselves).
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, unit in units.items():
        members[unit].append(index)
    torn = {unit: indices for unit, indices in members.items() if len({drawn[index] for index in indices}) > 1}
    if not torn:
        return drawn
    wanted = _tally(drawn, strata, shares)
    # In order of the strata, so that sums over them round alike whatever the order of the rows.
    strata_of = {unit: Counter(sorted(int(strata[index]) for index in each)) for unit, each in members.items()}
    scarce = _scarce(torn, strata_of, wanted, (int(strata[index]) for index in drawn if index not in units))
    torn |= {unit: members[unit] for unit, own in strata_of.items() if not scarce.isdisjoint(own)}
    moving = {index for indices in torn.values() for index in indices}
    fixed = {i: part for i, part in drawn.items() if i not in moving and (others_stay or i in units)}
    held = _tally(fixed, strata, shares)
    total: Counter[int] = sum(wanted.values(), Counter())
    waiting = Counter(stratum for unit in torn for stratum in strata_of[unit])  # units, and samples without one
    waiting += Counter(int(strata[index]) for index in drawn if index not in fixed and index not in moving)
    result = dict(drawn)
    for unit in sorted(torn, key=lambda unit: (-len(torn[unit]), rank(unit, salt), unit)):
        added = strata_of[unit]
        part = drawn[min(torn[unit], key=lambda index: rank(ids[index], f"twins {salt}"))]
        open_to = _parts_left(held, wanted, waiting, added)
        if part not in open_to or any(held[part][each] + number > wanted[part][each] for each, number in added.items()):
            part = _nearest(held, added, total, {each: shares[each] for each in shares if each in open_to})
        held[part] += added
        waiting -= Counter(dict.fromkeys(added, 1))
        result.update(dict.fromkeys(torn[unit], part))
    if not others_stay:
        touched = {int(strata[index]) for index in moving}
        result.update(_made_up(drawn, units, ids, strata, wanted, held, touched, salt))
    return result


def _scarce(
    torn: Iterable[str],
    strata_of: Mapping[str, Counter[int]],
    wanted: Mapping[Part, Counter[int]],
    single: Iterable[int],
) -> set[int]:
    """Strata of so few units and samples without one that none is left over once each part has one."""
    number = Counter(stratum for own in strata_of.values() for stratum in own) + Counter(single)
    touched = {stratum for unit in torn for stratum in strata_of[unit]}
    return {each for each in touched if number[each] <= sum(own[each] > 0 for own in wanted.values())}


def _parts_left(
    held: Mapping[Part, Counter[int]],
    wanted: Mapping[Part, Counter[int]],
    waiting: Mapping[int, int],
    added: Mapping[int, int],
) -> set[Part]:
    """Where a unit may go: into any part, unless so few are waiting that each is needed for an empty one."""
    possible = set(wanted)
    for stratum in added:
        empty = {part for part in wanted if wanted[part][stratum] and not held[part][stratum]}
        if waiting[stratum] <= len(empty):
            possible = possible & empty or possible
    return possible


def _made_up(
    drawn: Mapping[int, Part],
    units: Mapping[int, str],
    ids: Sequence[str],
    strata: Sequence[int],
    wanted: Mapping[Part, Counter[int]],
    held: Mapping[Part, Counter[int]],
    touched: set[int],
    salt: str,
) -> dict[int, Part]:
    """New parts for as few samples without a unit as bring the touched strata to what is wanted."""
    single: dict[int, dict[Part, list[int]]] = {stratum: {part: [] for part in wanted} for stratum in touched}
    for index, part in drawn.items():
        if index not in units and int(strata[index]) in touched:
            single[int(strata[index])][part].append(index)
    changed: dict[int, Part] = {}
    for stratum, have in single.items():
        number = sum(map(len, have.values()))
        room = {part: max(0, wanted[part][stratum] - held[part][stratum]) for part in wanted}
        first = [part for part in wanted if room[part] and not held[part][stratum]]
        first = first if len(first) <= number else []  # one for each part that has none, before shares are looked at
        left = sum(room.values()) - len(first)
        rest = {part: (room[part] - (part in first)) / max(left, 1) for part in wanted}
        needed = counts(number - len(first), rest)
        for part in first:
            needed[part] += 1
        spare: list[int] = []
        for part, indices in have.items():
            spare += sorted(indices, key=lambda index: (rank(ids[index], salt), ids[index]))[needed[part] :]
        for part, indices in have.items():
            missing = max(0, needed[part] - len(indices))
            changed.update(dict.fromkeys(spare[:missing], part))
            spare = spare[missing:]
    return changed


def _tally(drawn: Mapping[int, Part], strata: Sequence[int], shares: Mapping[Part, float]) -> dict[Part, Counter[int]]:
    """Part → stratum → samples."""
    tally: dict[Part, Counter[int]] = {part: Counter() for part in shares}
    for index, part in drawn.items():
        tally[part][int(strata[index])] += 1
    return tally


def _nearest(
    held: Mapping[Part, Counter[int]], added: Counter[int], total: Counter[int], shares: Mapping[Part, float]
) -> Part:
    """The part whose strata come nearest to their shares by taking what is added."""
    return min(shares, key=lambda part: _cost(held[part], added, total, shares[part]))


def _cost(held: Counter[int], added: Counter[int], total: Counter[int], share: float) -> float:
    """How much further from their shares (nearer, if negative) the part's strata come by taking the group."""
    change = 0.0
    for stratum, count in added.items():
        wanted = total[stratum] * share
        before, after = held[stratum] / wanted - 1.0, (held[stratum] + count) / wanted - 1.0
        change += share * (after**2 - before**2)
    return change
