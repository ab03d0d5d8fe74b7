"""Look at a source once, and write down what is suspicious about it: `data/inspected/NAME`.

Each concern is a module of its own, a function of arrays; here they are put in order and their answers into words.
Nothing is judged: what to do about what is found is the catalogue's word (`reviewing`), validation's and prepare's.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from components.artifacts import replacing
from components.config import DatasetConfig
from components.data.inspection import counting, embedding, label_noise, naming, outliers, sheets, twins
from components.data.inspection.describing import describe
from components.data.inspection.findings import KINDS, TWINS, Finding, Inspection, Kind, as_table, save_findings
from components.data.inspection.looking import UNKNOWN, Seen, look
from components.data.inspection.reviewing import decide, read_reviewed, write_review
from components.data.inspection.thumbnails import SIDE, Previews, Rows
from components.data.sources.registry import SourceData

# Grey values, of 255, that a picture must span for anything to be seen in it. Re-encoding and a camera's noise make up
# to a dozen of one value; the faintest of Fashion-MNIST's 70,000 spans 254, of the digits 223.
BLANK = 16
DRAWN: tuple[Kind, ...] = ("blank", "duplicate", "near-duplicate", "outlier", "label-noise", "missing-group")
SIZES = 20  # most frequent sizes that are listed


def inspect(data: SourceData, config: DatasetConfig, project: Path, folder: Path) -> Inspection:
    """Read the source once and write `inspection.json`, `findings.parquet`, `decisions.json`, `pictures/KIND.png` and,
    where a review is asked for, `review.csv` into `folder`, in one move.

    `project` is where `checks.reviewed` lies. Memory grows by less than a kilobyte a sample; thumbnails wait in
    nameless files beside `folder`. Raises DataError for an empty source and for a review that is not about it.
    """
    reviewed = read_reviewed(config.checks, project)
    channels = config.image.channels
    with (
        replacing(folder) as temporary,
        Rows(folder.parent, (SIDE, SIDE, channels), np.uint8) as thumbnails,
        Previews(folder.parent) as previews,
    ):
        seen = look(data, channels, thumbnails, previews)
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
        _draw(seen, [Finding(**row) for row in table.to_pylist()], thumbnails, previews, temporary / "pictures")
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
        distances = describe(thumbnails, clear, embedded)
        found += _outliers(seen, clear, distances)
        doubts, said = _doubts(seen, config, clear, embedded, folder)
        found += doubts
        notes += said
    if len(clear) < outliers.LEAST:
        notes.append(f"outliers: not looked for among {len(clear)} pictures, too few to know what is usual")
    found += _missing_groups(seen)
    found += _small_classes(seen, config)
    found += _confounded(seen, config)
    found += naming.doubtful(
        dict(zip(seen.classes, seen.counts.tolist(), strict=True)), _groups(seen), config.split.group
    )
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


def _pairs(seen: Seen, kind: Kind, pairs: twins.Twins) -> Iterator[Finding]:
    for first, second, correlation in zip(*pairs.pairs, pairs.correlation, strict=True):
        one, other = seen.id(second), seen.id(first)
        said = f"the same pixels as {other}"
        if kind == "near-duplicate":
            said = f"all but the same picture as {other} (correlation {correlation:.4f})"
        labels = [int(seen.targets[index]) for index in (second, first)]
        if labels[0] != labels[1] and UNKNOWN not in labels:
            said += f", but labelled {seen.classes[labels[0]]}, not {seen.classes[labels[1]]}"
        yield Finding(kind, one, other, float(correlation), said)


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
    if len(samples) == 0:
        return [], ()
    groups = None
    if config.split.group in seen.groups:
        groups = _codes(seen.groups[config.split.group])[samples]
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
    aside = {"validation", "test"} & set(published) if config.split.published == "keep" else set()
    spread = _groups_of_classes(seen, config)
    parts = counting.parts(config.split, published)
    for name in config.classes or seen.classes:
        number = have.get(name, 0)
        if number < least:
            said = f"{number} samples to split, and every split and fold needs one: at least {least} ({why})"
            yield Finding("small-class", name, "", float(least - number), said)
        elif spread.get(name, parts) < parts:
            said = f"in {spread[name]} of {config.split.group}, and each of {parts} splits and folds needs its own"
            yield Finding("small-class", name, config.split.group or "", float(parts - spread[name]), said)
        for split in sorted(aside):
            if name not in have or seen.shown[split][seen.classes.index(name)] == 0:
                yield Finding("small-class", name, split, 1.0, f"none in {split}, a split that the source publishes")


def _groups_of_classes(seen: Seen, config: DatasetConfig) -> dict[str, int]:
    """Class → groups it occurs in, where splits are drawn by group."""
    if seen.kind == "mask" or config.split.group not in seen.groups:
        return {}
    codes = _codes(seen.groups[config.split.group])
    counted = counting.groups_of_classes(codes, seen.targets, len(seen.classes))
    return dict(zip(seen.classes, counted.tolist(), strict=True))


def _codes(column: pa.DictionaryArray) -> npt.NDArray[np.integer]:
    """A number a value; a negative one where there is none."""
    codes: npt.NDArray[np.integer] = column.indices.fill_null(UNKNOWN).to_numpy(zero_copy_only=False)
    return codes


def _confounded(seen: Seen, config: DatasetConfig) -> Iterator[Finding]:
    if seen.kind == "mask":
        return
    limit = config.checks.confounding
    for name, column in seen.groups.items():
        if name == config.split.group:  # it is never in two splits: learning it by heart does not help
            continue
        codes = _codes(column)
        both = (codes >= 0) & (seen.targets >= 0)
        told = counting.goodman_kruskal(codes[both], seen.targets[both])
        if told > limit:
            said = (
                f"{name} spares {told:.0%} of the mistakes about the class (at most {limit:.0%}), so "
                f"that a network can learn it instead. Where that is in the nature of the data: `split.group: {name}`"
            )
            yield Finding("confounded-group", name, "", told, said)


def _draw(seen: Seen, found: list[Finding], thumbnails: Rows, previews: Previews, folder: Path) -> None:
    """A sheet for each kind of finding about samples that can be seen."""
    chosen = {kind: [one for one in found if one.kind == kind][: sheets.MOST] for kind in KINDS if kind in DRAWN}
    wanted = {name for ones in chosen.values() for one in ones for name in (one.id, one.other)}
    place: dict[str, int] = {}
    for index, name in enumerate(seen.ids.to_pylist() if wanted else ()):
        if name in wanted:
            place.setdefault(name, index)

    def picture(name: str) -> Image.Image | None:
        if name not in place:
            return None
        content = previews[place[name]]
        if content:
            return Image.open(io.BytesIO(content))
        pixels = thumbnails.take(np.array([place[name]]))[0]
        return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)

    for kind, ones in chosen.items():
        if ones:
            folder.mkdir(exist_ok=True)
            sheets.draw(ones, picture, folder / f"{kind}.png", pairs=kind in TWINS)
