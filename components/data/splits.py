"""Which sample belongs to which split: a pure function of ids, strata and a seed."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from components.artifacts import SPLITS, Split
from components.config import SplitDeclaration
from components.data.errors import DataError


def assign(
    ids: Sequence[str], strata: Sequence[int], published: Sequence[str | None], declaration: SplitDeclaration
) -> list[Split]:
    """A split for each of N samples.

    What the source publishes as `validation` or `test` stays so; a split it does not publish is drawn from the rest.
    In each stratum every split is within one sample of its share. A sample's split depends on the set of ids,
    strata and the seed, never on the order of the rows.
    """
    if not len(ids) == len(strata) == len(published):
        raise DataError(f"expected as many ids as strata, received {len(ids)}, {len(strata)}, {len(published)}")
    unknown = {name for name in published if name is not None} - set(SPLITS)
    if unknown:
        raise DataError(f"expected published splits {', '.join(SPLITS)}, received {', '.join(sorted(unknown))}")
    shares = _shares(published, declaration)
    fixed: dict[str, Split] = {"validation": "validation", "test": "test"}
    result: list[Split] = [fixed.get(name or "", "train") for name in published]
    members: dict[int, list[int]] = defaultdict(list)
    for index, (stratum, name) in enumerate(zip(strata, published, strict=True)):
        if name is None or name == "train":
            members[int(stratum)].append(index)
    for indices in members.values():
        ordered = sorted(indices, key=lambda index: (_rank(ids[index], declaration.seed), ids[index]))
        counts = _counts(len(ordered), shares)
        test, validation = counts["test"], counts["validation"]
        for position, index in enumerate(ordered[: test + validation]):
            result[index] = "test" if position < test else "validation"
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


def _rank(sample: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{sample}".encode()).digest()


def _counts(samples: int, shares: dict[Split, float]) -> dict[Split, int]:
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
