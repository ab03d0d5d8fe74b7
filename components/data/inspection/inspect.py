"""Look at a source once, and write down what is suspicious about it: `data/inspected/NAME`.

Each concern is a module of its own, a function of arrays; here they are put in order and their answers into words.
Nothing is judged: what to do about what is found is the catalogue's word (`reviewing`), validation's and prepare's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from components.artifacts import replacing
from components.config import DatasetConfig
from components.data.inspection import counting, embedding, label_noise, outliers, sheets, twins
from components.data.inspection.findings import KINDS, Finding, Inspection, as_table, save_findings
from components.data.inspection.looking import UNKNOWN, Seen, look
from components.data.inspection.reviewing import decide, read_reviewed, write_review
from components.data.inspection.thumbnails import BATCH, SIDE, Rows
from components.data.sources.registry import SourceData

# Grey values, of 255, that a picture must span for anything to be seen in it. Re-encoding and a camera's noise make up
# to a dozen of one value; the faintest of Fashion-MNIST's 70,000 spans 254, of the digits 223.
BLANK = 16
SAMPLE = 20_000  # pictures by which it is known what is usual, and how pictures vary
SIZES = 20  # most frequent sizes that are listed


def inspect(data: SourceData, config: DatasetConfig, project: Path, folder: Path) -> Inspection:
    """Read the source once and write `inspection.json`, `findings.parquet`, `decisions.json`, `pictures/KIND.png` and,
    where a review is asked for, `review.csv` into `folder`, in one move.

    `project` is where `checks.reviewed` lies. Memory grows by some tens of bytes a sample; thumbnails wait in a
    nameless file beside `folder`. Raises DataError for an empty source and for a review that is not about it.
    """
    reviewed = read_reviewed(config.checks, project)
    channels = config.image.channels
    with replacing(folder) as temporary, Rows(folder.parent, (SIDE, SIDE, channels), np.uint8) as thumbnails:
        seen = look(data, channels, thumbnails)
        reviewed.check(seen.ids.to_pylist() if reviewed.lines else ())
        found, notes = _find(seen, config, thumbnails, folder.parent)
        decisions, asked = decide(found, config.checks, reviewed)
        inspection = Inspection(
            samples=len(seen),
            classes=dict(zip(seen.classes, seen.counts.tolist(), strict=True)),
            groups=_groups(seen),
            sizes=dict(seen.sizes.most_common(SIZES)),
            modes=dict(seen.modes),
            found={kind: number for kind in KINDS if (number := sum(one.kind == kind for one in found))},
            unreviewed=tuple(sorted({one.id for one in asked} - set(reviewed.verdicts))),
            notes=tuple(notes),
        )
        table = as_table(found)
        save_findings(table, temporary)
        _draw(seen, [Finding(**row) for row in table.to_pylist()], thumbnails, temporary / "pictures")
        write_review(asked, reviewed.verdicts, temporary / "review.csv")
        for name, card in (("decisions", decisions), ("inspection", inspection)):
            (temporary / f"{name}.json").write_text(card.to_json(), encoding="utf-8")
    return inspection


def _find(seen: Seen, config: DatasetConfig, thumbnails: Rows, folder: Path) -> tuple[list[Finding], list[str]]:
    """Everything that is suspicious, and what could not be looked at."""
    found: list[Finding] = []
    notes: list[str] = []
    blank = seen.decodable & (seen.contrast < BLANK)
    clear = np.flatnonzero(seen.decodable & ~blank)
    found += (Finding("corrupt", seen.id(index), "", 1.0, why) for index, why in seen.broken.items())
    found += _blank(seen, np.flatnonzero(blank))
    exact, different = twins.copies(seen.digests, np.flatnonzero(seen.decodable))
    near = twins.near_copies(thumbnails, different[~blank[different]], folder)
    found += _pairs(seen, "duplicate", exact)
    found += _pairs(seen, "near-duplicate", near)
    notes += near.notes
    with Rows(folder, (embedding.DIMENSIONS,), np.float32) as embedded:
        distances = _embed(thumbnails, clear, embedded)
        found += _outliers(seen, clear, distances)
        doubts, said = _doubts(seen, config, clear, embedded, folder)
        found += doubts
        notes += said
    if len(clear) < outliers.LEAST:
        notes.append(f"outliers: not looked for among {len(clear)} pictures, too few to know what is usual")
    found += _missing_groups(seen)
    found += _small_classes(seen, config)
    found += _confounded(seen, config)
    if seen.kind == "mask" and seen.groups:
        notes.append("confounded groups: not looked for, since a mask shows several classes at once")
    return found, notes


def _groups(seen: Seen) -> dict[str, dict[str, int]]:
    groups = {}
    for name, column in seen.groups.items():
        counted = column.value_counts()
        values = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
        groups[name] = dict(sorted((value, count) for value, count in values if value is not None))
    return groups


def _blank(seen: Seen, indices: Iterable[int]) -> Iterator[Finding]:
    for index in indices:
        span = int(seen.contrast[index])
        said = "is of one value" if span == 0 else f"spans {span} of 255 grey values"
        yield Finding("blank", seen.id(index), "", 1.0 - span / 255.0, f"the picture {said}: nothing is to be seen")


def _pairs(seen: Seen, kind: str, pairs: twins.Twins) -> Iterator[Finding]:
    for first, second, correlation in zip(*pairs.pairs, pairs.correlation, strict=True):
        one, other = seen.id(second), seen.id(first)
        said = f"the same pixels as {other}"
        if kind == "near-duplicate":
            said = f"all but the same picture as {other} (correlation {correlation:.4f})"
        labels = [int(seen.targets[index]) for index in (second, first)]
        if labels[0] != labels[1] and UNKNOWN not in labels:
            said += f", but labelled {seen.classes[labels[0]]}, not {seen.classes[labels[1]]}"
        yield Finding("duplicate" if kind == "duplicate" else "near-duplicate", one, other, float(correlation), said)


def _embed(thumbnails: Rows, samples: npt.NDArray[np.int64], embedded: Rows, seed: int = 0) -> embedding.Floats:
    """Write the embedding of each sample, and return how far each is from what is usual."""
    if len(samples) == 0:
        return np.zeros(0, dtype=np.float32)
    chosen = samples
    if len(samples) > SAMPLE:
        chosen = np.sort(np.random.default_rng(seed).choice(samples, SAMPLE, replace=False))
    sample = np.concatenate([embedding.descriptor(thumbnails.take(part)) for part in _parts(chosen)])
    usual, principal = outliers.Usual.of(sample), embedding.Embedding.of(sample)
    del sample
    distances = []
    for part in _parts(samples):
        descriptors = embedding.descriptor(thumbnails.take(part))
        distances.append(usual.distance(descriptors))
        embedded.append(principal(descriptors))
    return np.concatenate(distances)


def _parts(indices: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, len(indices), BATCH):
        yield indices[start : start + BATCH]


def _outliers(seen: Seen, samples: npt.NDArray[np.int64], distances: embedding.Floats) -> Iterator[Finding]:
    limit = outliers.limit(distances)
    for place in np.flatnonzero(distances > limit):
        score = float(distances[place] / limit)
        said = (
            f"has little in common with the other pictures: {score:.2f} times as far from them as one in a thousand is"
        )
        yield Finding("outlier", seen.id(samples[place]), "", score, said)


def _doubts(
    seen: Seen, config: DatasetConfig, samples: npt.NDArray[np.int64], embedded: Rows, folder: Path
) -> tuple[list[Finding], tuple[str, ...]]:
    if seen.kind == "mask":
        return [], ("doubtful labels: not looked for, since targets are masks",)
    groups = None
    if config.split.group in seen.groups:
        column = seen.groups[config.split.group]
        groups = column.indices.fill_null(UNKNOWN).to_numpy(zero_copy_only=False)[samples]
    doubts = label_noise.doubtful(embedded, seen.targets[samples], seen.classes, folder, groups=groups)
    found = []
    for place, other, probability, own in zip(
        doubts.samples, doubts.looks_like, doubts.probability, doubts.of_label, strict=True
    ):
        sample = samples[place]
        said = (
            f"labelled {seen.classes[seen.targets[sample]]} ({own:.1%} probable), looks like {seen.classes[other]} "
            f"({probability:.0%})"
        )
        found.append(Finding("label-noise", seen.id(sample), seen.classes[other], 1.0 - float(own), said))
    return found, doubts.notes


def _missing_groups(seen: Seen) -> Iterator[Finding]:
    for name, column in seen.groups.items():
        for index in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)):
            yield Finding("missing-group", seen.id(index), name, 1.0, f"no value in {name}")


def _small_classes(seen: Seen, config: DatasetConfig) -> Iterator[Finding]:
    published = {name: int(counts.sum()) for name, counts in seen.shown.items() if name}
    least, why = counting.needed(config.split, published)
    have = dict(zip(seen.classes, counting.loose(seen.shown, config.split).tolist(), strict=True))
    ignored = config.split.published == "ignore"
    for name in config.classes or seen.classes:
        number = have.get(name, 0)
        if number < least:
            said = f"{number} samples to split, and every split and fold needs one: at least {least} ({why})"
            yield Finding("small-class", name, "", float(least - number), said)
            continue
        for split in sorted({"validation", "test"} & set(published)) if not ignored else ():
            if seen.shown[split][seen.classes.index(name)] == 0:
                yield Finding(
                    "small-class", name, split, 1.0, f"no sample in {split}, a split that the source publishes"
                )


def _confounded(seen: Seen, config: DatasetConfig) -> Iterator[Finding]:
    if seen.kind == "mask":
        return
    limit = config.checks.confounding
    for name, column in seen.groups.items():
        if name == config.split.group:  # it is never in two splits: learning it by heart does not help
            continue
        codes = column.indices.fill_null(UNKNOWN).to_numpy(zero_copy_only=False)
        both = (codes >= 0) & (seen.targets >= 0)
        told = counting.goodman_kruskal(codes[both], seen.targets[both])
        if told > limit:
            said = (
                f"{name} spares {told:.0%} of the mistakes about the class (at most {limit:.0%}), so "
                f"that a network can learn it instead. Where that is in the nature of the data: `split.group: {name}`"
            )
            yield Finding("confounded-group", name, "", told, said)


def _draw(seen: Seen, found: list[Finding], thumbnails: Rows, folder: Path) -> None:
    """A sheet a kind that has pictures."""
    place: dict[str, int] = {}
    chosen = {kind: [one for one in found if one.kind == kind][: sheets.MOST] for kind in KINDS}
    chosen = {
        kind: ones
        for kind, ones in chosen.items()
        if ones and kind not in ("small-class", "confounded-group", "corrupt")
    }
    wanted = {name for ones in chosen.values() for one in ones for name in (one.id, one.other)}
    for index, name in enumerate(seen.ids.to_pylist() if wanted else ()):
        if name in wanted:
            place.setdefault(name, index)

    for kind, ones in chosen.items():
        folder.mkdir(exist_ok=True)
        sheets.draw(
            ones,
            lambda name: thumbnails.take(np.array([place[name]]))[0] if name in place else None,
            folder / f"{kind}.png",
            pairs=kind in ("duplicate", "near-duplicate"),
        )
