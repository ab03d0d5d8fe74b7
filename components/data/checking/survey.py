"""What a source holds, counted as it is read: classes, groups, published splits; sizes and modes from headers alone.

Says which `image:` fits. Whether the images can be decoded, and what else is wrong with them, is the inspection's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from components import decoding
from components.data.sources.base.form import SourceData
from components.decoding import Fit
from components.targets import registry as targets

UNPUBLISHED = ""  # the split of what the source has not split
LARGE = 512  # pixels: ImageNet's networks take 224 to 480; above it an epoch is measured in hours on a CPU


@dataclass
class Survey:
    """Counts, complete when the tables of `watch` have been read to their end."""

    classes: dict[str, Counter[str]] = field(default_factory=dict)  # class → split → samples (that show it)
    groups: dict[str, Counter[str]] = field(default_factory=dict)  # `group_*` → value → samples; missing ones left out
    splits: Counter[str] = field(default_factory=Counter)  # as published
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # (width, height) → images
    modes: Counter[str] = field(default_factory=Counter)  # Pillow's mode → images
    headless: int = 0  # files that state no size: they are no images
    samples: int = 0
    size: int = 0  # bytes
    # What the splits depend on, a value a sample; groups by column.
    ids: list[str] = field(default_factory=list)
    strata: list[int] = field(default_factory=list)
    published: list[str | None] = field(default_factory=list)
    members: dict[str, list[str | None]] = field(default_factory=dict)
    times: list[float | None] = field(default_factory=list)
    headers: list[decoding.Header | None] = field(default_factory=list)  # None: it is no image
    _known: dict[decoding.Header, decoding.Header] = field(default_factory=dict)  # equal ones are kept once
    asked: str = ""  # what can be answered, in words
    joined: tuple[str, ...] = ()  # what has been made one name, a sentence each

    def watch(self, data: SourceData, advanced: Callable[[int], None] = lambda _: None) -> SourceData:
        """The same source, counted as it passes; `advanced` is told how many samples have been read."""
        self.classes = {name: Counter() for name in data.classes}
        self.groups = {name: Counter() for name in data.groups}
        self.joined = data.joined
        self.asked = targets.get(data.target).described(data.classes, data.about)

        def tables() -> Iterator[pa.Table]:
            for table in data.tables:
                self._count(table, data)
                advanced(self.samples)
                yield table

        return replace(data, tables=tables())

    def _count(self, table: pa.Table, data: SourceData) -> None:
        published = table.column("published").to_pylist()
        self.samples += len(table)
        self.splits.update(split or UNPUBLISHED for split in published)
        self.ids += table.column("id").to_pylist()
        self.published += published
        self.times += table.column("time").to_pylist() if data.time else []
        for group in data.groups:
            values = table.column(group).to_pylist()
            self.members.setdefault(group, []).extend(values)
            self.groups[group].update(value for value in values if value)
        shown = targets.get(data.target).shown(table.column("target").combine_chunks(), len(data.classes))
        self.strata += shown.strata.tolist()
        for row, number in zip(shown.rows.tolist(), shown.classes.tolist(), strict=True):
            self.classes[data.classes[number]][published[row] or UNPUBLISHED] += 1
        for image in table.column("image"):
            self._header(image.as_buffer())

    def _header(self, content: pa.Buffer) -> None:
        self.size += content.size
        try:
            header = decoding.header(content)
        except decoding.UndecodableError:
            self.headless += 1
            self.headers.append(None)
            return
        self.headers.append(self._known.setdefault(header, header))
        self.modes[header.mode] += 1
        self.sizes[header.size] += 1


@dataclass(frozen=True)
class Fitting:
    """An `image:` section, and why it says so."""

    section: dict[str, Any]
    reasons: tuple[str, ...]


def fitting(
    survey: Survey,
    *,
    height: int | None = None,
    width: int | None = None,
    channels: int | None = None,
    resize: bool | None = None,
    fit: Fit = "stretch",
) -> Fitting:
    """What the catalogue should declare of the images: what is given, and for the rest what most of them are.

    `fit` is what suits the targets, for images of several sizes.
    """
    reasons = []
    if height is None or width is None:
        height, width, why = _size(survey, height, width)
        reasons.append(f"size {width}×{height}: {why}")
    if channels is None:
        coloured = sum(number for mode, number in survey.modes.items() if not decoding.is_grey(mode))
        channels = 3 if coloured else 1
        said = f"{coloured:,} of {survey.samples:,} images are in colour" if coloured else "all images are grey"
        reasons.append(f"channels {channels}: {said}")
    differing = sum(number for size, number in survey.sizes.items() if size != (width, height))
    lossless = decoding.LOSSLESS.get(channels, frozenset())
    lossy = {mode: number for mode, number in survey.modes.items() if mode not in lossless}
    if resize is None:
        resize = bool(differing or lossy)
        if differing:
            reasons.append(f"resize: {differing:,} of {survey.samples:,} images are of another size")
        if lossy:
            said = f"{sum(lossy.values()):,} of {survey.samples:,} images ({', '.join(sorted(lossy))})"
            reasons.append(f"resize: {said} must be converted")
    if max(height, width) > LARGE:
        reasons.append(f"large: training takes long above {LARGE} pixels; --height and --width make it smaller")
    section: dict[str, Any] = {
        "height": height,
        "width": width,
        "channels": channels,
        **({"resize": True} if resize else {}),
    }
    if resize and differing and fit != "stretch":
        section["fit"] = fit
        reasons.append(f"fit {fit}: so that what is looked for keeps its shape")
    return Fitting(section, tuple(reasons))


def _size(survey: Survey, height: int | None, width: int | None) -> tuple[int, int, str]:
    """Height, width and why: the most frequent size, and of two such the larger; one side that is given is kept."""
    if not survey.sizes:
        return height or width or 1, width or height or 1, "no image states its own"
    (w, h), count = max(survey.sizes.items(), key=lambda item: (item[1], item[0]))
    if height is None and width is None:
        share = "all" if len(survey.sizes) == 1 else f"{count:,} of {survey.samples:,}"
        return h, w, f"that of {share} images"
    why = f"the other side in proportion to {w}×{h}"
    return height or max(1, round(h * (width or w) / w)), width or max(1, round(w * (height or h) / h)), why
