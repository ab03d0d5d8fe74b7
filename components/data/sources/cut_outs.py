"""Scenes of cut-outs, pictures with transparency in one folder a class, over textured backgrounds: see `scenes`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from components import decoding
from components.artifacts import SPLITS
from components.config import CutOutsSource
from components.data.errors import DataError
from components.data.sources.base import rows
from components.data.sources.base.form import SourceData
from components.data.sources.base.formats import is_image
from components.data.sources.composing import ALPHA, Thing
from components.data.sources.places import place
from components.data.sources.scenes import Things, apart, scenes

_SIDE = 512  # pixels, to which larger cut-outs are made smaller when they are read: no scene shows more of them


def read(source: CutOutsSource, project: Path) -> SourceData:
    path = place.local(source, project)
    if not path.is_dir():
        raise DataError(f"source.path: expected a folder with a folder of cut-outs a class, received {path}")
    folders = sorted(each for each in path.iterdir() if each.is_dir() and not rows.is_leftover(each.name))
    files = {folder.name: _files(folder, path) for folder in folders}
    names = tuple(name for name, there in files.items() if there and name not in source.without)
    if not names:
        raise DataError(
            f"{path}: expected folders of cut-outs (PNG, WEBP with transparency), a class each, received none"
        )
    every = [file for name in names for file in files[name]]
    labels = np.repeat(np.arange(len(names)), [len(files[name]) for name in names])
    lots = apart(labels, source)
    things = {
        split: _things([every[at] for at in np.flatnonzero(lots == split)], labels[lots == split]) for split in SPLITS
    }
    data = scenes(source, names, things)
    return SourceData(data.classes, data.target, data.tables, left=tuple(set(source.without) & set(files)))


def _files(folder: Path, path: Path) -> list[Path]:
    found = sorted(each for each in folder.iterdir() if is_image(each.name) and not rows.is_leftover(each.name))
    return [rows.inside(path, each.relative_to(path).as_posix(), str(path)) for each in found]


def _things(files: list[Path], labels: npt.NDArray[np.int64]) -> Things:
    """Each file is read when it is asked for."""
    return Things(lambda number: _cut_out(files[number]), labels)


def _cut_out(file: Path) -> Thing:
    """The part of a picture in which there is something, and how opaque it is."""
    try:
        picture = decoding.load(file.read_bytes())
    except decoding.UndecodableError as error:
        raise DataError(f"{file}: {error}") from error
    picture = picture.convert("RGBA")
    picture.thumbnail((_SIDE, _SIDE))
    pixels: npt.NDArray[np.float64] = np.asarray(picture, dtype=np.float64) / 255.0
    cut = pixels[..., 3]
    if cut.min() >= ALPHA:
        raise DataError(
            f"{file}: expected a cut-out, a picture that is transparent around what it shows, received one without "
            "transparency"
        )
    down, across = np.flatnonzero((cut >= ALPHA).any(axis=1)), np.flatnonzero((cut >= ALPHA).any(axis=0))
    if not len(down):
        raise DataError(f"{file}: expected a cut-out that shows something, received one that is transparent")
    shown = (slice(down[0], down[-1] + 1), slice(across[0], across[-1] + 1))
    return Thing(cut[shown], pixels[(*shown, slice(0, 3))], ALPHA)
