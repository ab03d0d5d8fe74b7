"""Look at a source once, and write down what is suspicious about it: `.convoy/data/inspected/NAME`.

Each concern is a module of its own, a function of arrays; here they are put in order and their answers into words.
Nothing is judged: what to do about what is found is the catalogue's word (`reviewing`), validation's and prepare's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from components.config import DatasetConfig
from components.data.families import Families
from components.data.inspection import counting, far_values, label_noise, naming, outliers, sheets
from components.data.inspection.base import embedding, twins
from components.data.inspection.base.findings import KINDS, TWINS, Finding, Inspection, Kind, as_table, save_findings
from components.data.inspection.base.rows import Rows
from components.data.inspection.describing import describe
from components.data.inspection.eyes import registry as eyes
from components.data.inspection.eyes.protocol import Eye
from components.data.inspection.looking import Seen, look
from components.data.inspection.reviewing import decide, read_reviewed, write_review
from components.data.sources.base.form import SourceData, agreed
from components.files import replacing
from components.targets.protocol import UNKNOWN

DRAWN: tuple[Kind, ...] = ("blank", "duplicate", "near-duplicate", "outlier", "label-noise", "missing-group")
SIZES = 20  # most frequent sizes that are listed


def inspect(data: SourceData, config: DatasetConfig, project: Path, folder: Path) -> Inspection:
    """Read the source once and write `inspection.json`, `findings.parquet`, `decisions.json`, `pictures/KIND.png` and,
    where a review is asked for, `review.csv` into `folder`, in one move.

    `project` is where `checks.reviewed` lies. Memory grows by less than a kilobyte a sample; what is seen of inputs
    waits in nameless files beside `folder`. Raises DataError for an empty source, for one of another kind of input than
    is declared, and for a review that is not about it.
    """
    reviewed = read_reviewed(config.checks, project)
    agreed(config, data.given)
    with replacing(folder) as temporary, eyes.of_kind(data.given)(config.declared, folder.parent) as eye:
        seen = look(data, eye)
        reviewed.check(seen.ids.to_pylist() if reviewed.lines else ())
        found, notes = _find(seen, config, eye, folder.parent)
        notes = [*data.notes(), *notes]
        decisions, asked = decide(found, config.checks, reviewed)
        inspection = Inspection(
            samples=len(seen),
            classes=dict(zip(seen.classes, seen.counts.tolist(), strict=True)),
            groups=_groups(seen),
            sizes=dict(eye.sizes.most_common(SIZES)),
            modes=dict(eye.modes),
            found={kind: number for kind in KINDS if (number := sum(one.kind == kind for one in found))},
            unreviewed=tuple(sorted({one.id for one in asked} - set(reviewed.verdicts))),
            notes=(*notes, *_of_twins(decisions.twins, len(seen), config)),
        )
        table = as_table(found)
        save_findings(table, temporary)
        _draw(seen, [Finding(**row) for row in table.to_pylist()], eye, temporary / "pictures")
        write_review(asked, reviewed.verdicts, temporary / "review.csv")
        for name, card in (("decisions", decisions), ("inspection", inspection)):
            (temporary / f"{name}.json").write_text(card.to_json(), encoding="utf-8")
    return inspection


def _find(seen: Seen, config: DatasetConfig, eye: Eye, folder: Path) -> tuple[list[Finding], list[str]]:
    """Everything that is suspicious, and what could not be looked at."""
    found: list[Finding] = []
    notes, blank = eye.notes(), seen.blank
    clear = np.flatnonzero(seen.readable & ~blank)
    found += (Finding("corrupt", seen.id(index), "", 1.0, why) for index, why in seen.broken.items())
    found += eye.remarks()
    found += (Finding("blank", seen.id(index), "", *eye.blank(int(index))) for index in np.flatnonzero(blank))
    exact, different = twins.copies(seen.digests, np.flatnonzero(seen.readable))
    near = eye.near_copies(different[~blank[different]])
    faint = eye.faint_copies(different[blank[different]])
    found += _pairs(seen, "duplicate", exact, eye)
    found += _pairs(seen, "near-duplicate", near, eye)
    found += _pairs(seen, "near-duplicate", faint, eye)
    notes += near.notes
    with Rows(folder, (embedding.DIMENSIONS,), np.float32) as embedded:
        distances = describe(eye.descriptors, clear, embedded)
        found += _outliers(seen, clear, distances)
        doubts, said = _doubts(seen, config, clear, embedded, folder)
        found += doubts
        notes += said
    if len(clear) < outliers.LEAST:
        notes.append(f"outliers: not looked for among {len(clear)} {seen.given.shown}s, too few to know what is usual")
    found += _missing_groups(seen)
    found += _small_classes(seen, config, [exact, near, faint])
    found += _confounded(seen, config)
    found += naming.doubtful(
        dict(zip(seen.classes, seen.counts.tolist(), strict=True)), _groups(seen), config.split.group
    )
    if seen.kind.labelled != "once" and seen.groups:
        notes.append(f"confounded groups: not looked for, since {seen.kind.says}")
    return found, notes


def _of_twins(families: Families, count: int, config: DatasetConfig) -> Iterator[str]:
    """What happens to twins where Convoy draws the splits."""
    if not families:
        return
    samples, split = sum(map(len, families)), config.split
    said = "a family stays together where splits are drawn"
    if split.twins == "ignore":
        said = "they are drawn like others (split.twins: ignore)"
    elif split.order == "time":
        said = "time alone says which split they are in (split.order: time)"
    yield f"twins: {samples:,} samples in {len(families):,} {'families' if len(families) > 1 else 'family'}; {said}"
    largest = max(map(len, families))
    if split.twins == "together" and largest > count / 2:
        yield (
            f"twins: one family has {largest:,} of {count:,} samples, too many for the shares of the splits; if "
            "they are different samples that look alike: split.twins=ignore and checks.leakage=keep"
        )


def _groups(seen: Seen) -> dict[str, dict[str, int]]:
    groups = {}
    for name, column in seen.groups.items():
        counted = column.value_counts()
        values = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
        groups[name] = dict(sorted((value, count) for value, count in values if value is not None))
    return groups


def _pairs(seen: Seen, kind: Kind, pairs: twins.Twins, eye: Eye) -> Iterator[Finding]:
    for first, second, likeness in zip(*pairs.pairs, pairs.likeness, strict=True):
        one, other = seen.id(second), seen.id(first)
        said = f"the same {seen.given.content} as {other}"
        if kind == "near-duplicate":
            said = f"all but the same {seen.given.shown} as {other} ({eye.likeness} {likeness:.4f})"
        own, others = seen.label(second), seen.label(first)
        if own != others and None not in (own, others):
            said += f", but labelled {own}, not {others}"
        yield Finding(kind, one, other, float(likeness), said)


def _outliers(seen: Seen, samples: npt.NDArray[np.int64], distances: embedding.Floats) -> Iterator[Finding]:
    limit = outliers.limit(distances)
    for place in np.flatnonzero(distances > limit):
        score = float(distances[place] / limit)
        said = (
            f"outlier score {score:.2f}: its distance from what the {seen.given.shown}s have in common, relative to "
            "the 99.9th percentile"
        )
        yield Finding("outlier", seen.id(samples[place]), "", score, said)


def _doubts(
    seen: Seen, config: DatasetConfig, samples: npt.NDArray[np.int64], embedded: Rows, folder: Path
) -> tuple[list[Finding], tuple[str, ...]]:
    if seen.measures:
        return list(_far(seen)), ()
    if seen.kind.labelled != "once":
        return [], (f"doubtful labels: not looked for, since {seen.kind.says}",)
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


def _far(seen: Seen) -> Iterator[Finding]:
    for words, values in seen.measures.items():
        middle, distances = np.nanmedian(values), far_values.distances(values[:, None])[:, 0]
        for index in np.flatnonzero(distances > far_values.LIMIT):
            score = float(distances[index])
            said = (
                f"{words} is {values[index]:.6g}, {score:.0f} deviations from the median of {middle:.6g}: a slip of "
                "the pen, another unit, or a rare case"
            )
            yield Finding("label-noise", seen.id(index), "", score, said)


def _missing_groups(seen: Seen) -> Iterator[Finding]:
    for name, column in seen.groups.items():
        for index in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)):
            yield Finding("missing-group", seen.id(index), name, 1.0, f"no value in {name}")


def _small_classes(seen: Seen, config: DatasetConfig, pairs: Sequence[twins.Twins]) -> Iterator[Finding]:
    published = {name: int(counts.sum()) for name, counts in seen.shown.items() if name}
    least, why = counting.needed(config.split, published)
    have = dict(zip(seen.classes, counting.loose(seen.shown, config.split).tolist(), strict=True))
    aside = {"validation", "test"} & set(published) if config.split.predefined == "keep" else set()
    wholes, group = _wholes_of_classes(seen, config, pairs), config.split.group
    parts = counting.parts(config.split, published)
    for name in config.classes or seen.classes:
        number = have.get(name, 0)
        if number < least:
            said = f"{number} samples to split, and every split and fold needs one: at least {least} ({why})"
            yield Finding("small-class", name, "", float(least - number), said)
        elif wholes.get(name, parts) < parts:
            own = f"in {wholes[name]} of {group}" if group else f"of {number} samples {wholes[name]} differ"
            said = f"{own}, and each of {parts} splits and folds needs its own"
            yield Finding("small-class", name, group or "", float(parts - wholes[name]), said)
        for split in sorted(aside):
            if name not in have or seen.shown[split][seen.classes.index(name)] == 0:
                yield Finding("small-class", name, split, 1.0, f"none in {split}, a split that the source publishes")


def _wholes_of_classes(seen: Seen, config: DatasetConfig, pairs: Sequence[twins.Twins]) -> dict[str, int]:
    """Class → how many units that no draw tears apart it occurs in: groups where they are declared, families of twins.

    Nothing where no such units are drawn.
    """
    split = config.split
    alike = [each for each in pairs if each.pairs.size] if split.twins == "together" else []
    if seen.kind.labelled != "once" or split.order == "time" or not (alike or split.group in seen.groups):
        return {}
    wholes: counting.Codes = twins.families_of(len(seen), *alike) if alike else np.arange(len(seen))
    if split.group in seen.groups:
        wholes = counting.joined(_codes(seen.groups[split.group]), wholes)
    counted = counting.groups_of_classes(wholes, seen.targets, len(seen.classes))
    return dict(zip(seen.classes, counted.tolist(), strict=True))


def _codes(column: pa.DictionaryArray) -> npt.NDArray[np.integer]:
    """A number a value; a negative one where there is none."""
    codes: npt.NDArray[np.integer] = column.indices.fill_null(UNKNOWN).to_numpy(zero_copy_only=False)
    return codes


def _confounded(seen: Seen, config: DatasetConfig) -> Iterator[Finding]:
    if seen.kind.labelled != "once":
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


def _draw(seen: Seen, found: list[Finding], eye: Eye, folder: Path) -> None:
    """A sheet for each kind of finding about samples that can be seen."""
    chosen = {kind: [one for one in found if one.kind == kind][: sheets.MOST] for kind in KINDS if kind in DRAWN}
    wanted = {name for ones in chosen.values() for one in ones for name in (one.id, one.other)}
    place: dict[str, int] = {}
    for index, name in enumerate(seen.ids.to_pylist() if wanted else ()):
        if name in wanted:
            place.setdefault(name, index)

    def picture(name: str) -> Image.Image | None:
        return eye.picture(place[name]) if name in place else None

    for kind, ones in chosen.items():
        if ones:
            folder.mkdir(exist_ok=True)
            sheets.draw(ones, picture, folder / f"{kind}.png", eye.cell, pairs=kind in TWINS)
