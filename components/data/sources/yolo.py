"""YOLO's text files (Redmon 2016; Ultralytics): a text beside each picture, or in `labels/` for one in `images/`.

Every picture is a sample, whether it shows an object or not: one without a text shows none. A YAML (`data.yaml`) names
classes and splits, as folders or as lists of files; where there is none, folders on the way to a picture are called
after splits, and classes are named in `classes.txt` or `obj.names`, or are numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from components.artifacts import SPLITS, Split
from components.config import YoloSource, read_yaml
from components.data.errors import DataError
from components.data.sources.annotations import boxes, frames, objects, yolo_lines
from components.data.sources.annotations.frames import Frame
from components.data.sources.annotations.yolo_lines import Line
from components.data.sources.base import boundary, rows
from components.data.sources.base.faults import Fault, Faults, named, shown, some
from components.data.sources.base.form import SourceData, schema
from components.data.sources.base.formats import is_image
from components.data.sources.layouts import yolo as layouts
from components.data.sources.places import place

LAYOUTS = layouts.LAYOUTS

_KEYS: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}  # of the YAML
_NAMES = ("classes.txt", "obj.names", "labels/classes.txt", "labels.txt")
_YAML = (".yaml", ".yml")
_IMAGES, _LABELS = "images", "labels"


@dataclass(frozen=True)
class About:
    """What the YAML says; nothing where there is none."""

    names: tuple[str, ...] | None = None
    places: dict[Split, list[str]] = field(default_factory=dict)  # folders of pictures, or lists of them
    roots: tuple[Path, ...] = ()  # that these are relative to, the first that has one
    points: bool = False  # boxes are followed by points of the body


@dataclass(frozen=True)
class Picture:
    """A picture; `name` is its path below the source, `/` between."""

    name: str
    path: Path
    published: Split | None


@dataclass(frozen=True)
class Annotated:
    """A picture that is there, and its objects."""

    picture: Picture
    frame: Frame
    lines: list[Line | Fault]
    labelled: bool  # there is a text
    objects: list[tuple[Line, boxes.Box]] = field(default_factory=list)


def read(source: YoloSource, project: Path) -> SourceData:
    path = place.local(source, project)
    folder = path if path.is_dir() else path.parent
    faults = Faults(str(path), source.faulty)
    about = _about(source, path)
    listed = list(faults.kept(_pictures(source, folder, about)))
    rows.unique((each.name, f"{folder}: {each.published or 'a picture'}") for each in listed)
    names = source.names or about.names or _named(folder)
    found = list(faults.kept(rows.in_order(lambda each: _annotated(each, folder, names, about.points), listed)))
    if not any(each.labelled for each in found):
        raise DataError(
            f"{folder}: expected a text with the objects of each picture, beside it or in {_LABELS}/ for one in "
            f"{_IMAGES}/, received {len(found):,} pictures and no such text"
        )
    _add_objects(found, faults, path)
    faults.tell()
    numbers = sorted({line.number for each in found for line, _ in each.objects})
    if not numbers:
        raise DataError(f"{folder}: expected objects, received texts without any")
    classes = tuple(names[each] if names else str(each) for each in numbers)
    number = {str(each): index for index, each in enumerate(numbers)}
    boxed = (_row(each, number) for each in found)
    return SourceData(classes, "boxes", rows.tables(schema("boxes"), boxed), notes=faults.notes)


def listing(source: YoloSource, project: Path) -> str | None:
    """As `place.listing`, with the pictures and texts beside a YAML that is the path."""
    there = place.listing(source, project)
    path = None if place.is_remote(source.path) else place.located(source, project)
    if there is None or path is None or path.suffix.lower() not in _YAML:
        return there
    return place.touched(place.files_of(path.parent))


# -- what the YAML says ----------------------------------------------------------------------------------------------


def _about(source: YoloSource, path: Path) -> About:
    file = path if path.is_file() else _yaml(source, path)
    if file is None:
        return About()
    with boundary.reading(file, "YOLO's YAML, with names and splits"):
        content = read_yaml(file.read_bytes())
    if not isinstance(content, dict):
        raise DataError(f"{file}: expected YOLO's YAML, with names and splits, received {shown(content)}")
    places = {split: _texts(content.get(key), file, key) for split, key in _KEYS.items() if content.get(key)}
    root = content.get("path")
    roots = [file.parent / str(root)] if isinstance(root, str) and root else []
    names = content.get("names")
    return About(
        None if names is None else _classes(names, file), places, (*roots, file.parent), "kpt_shape" in content
    )


def _yaml(source: YoloSource, folder: Path) -> Path | None:
    if source.data is not None:
        return rows.inside(folder, source.data, "source.data")
    there = sorted(each for each in folder.iterdir() if each.suffix.lower() in _YAML and each.is_file())
    if len(there) > 1:
        usual = [each for each in there if each.stem in ("data", "dataset")]
        if len(usual) != 1:
            raise DataError(
                f"{folder}: expected one YAML with names and splits, received {some(each.name for each in there)}; "
                "name it as source.data"
            )
        there = usual
    return there[0] if there else None


def _texts(value: Any, file: Path, key: str) -> list[str]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise DataError(f"{file}: expected a folder or a list of files as {key}, received {shown(value)}")
    return found


def _classes(names: Any, file: Path) -> tuple[str, ...]:
    """Names in order of their numbers; what has none is called after its number."""
    listed = dict(enumerate(names)) if isinstance(names, list) else names
    whole = isinstance(listed, dict) and all(isinstance(key, int) and 0 <= key < 2**15 for key in listed)
    if not whole or not listed:
        raise DataError(f"{file}: expected names of classes, a list or by number, received {shown(names)}")
    found = tuple(str(listed.get(number, number)) for number in range(max(listed) + 1))
    return _different(found, file)


def _named(folder: Path) -> tuple[str, ...] | None:
    """The names in a text beside the pictures, one a line."""
    file = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
    if file is None:
        return None
    with boundary.reading(file, "a text in UTF-8 with the name of one class per line"):
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    return _different(tuple(line for line in lines if line), file) or None


def _different(names: tuple[str, ...], file: Path) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{file}: expected classes of different names, received {shown(twice[0])} again")
    return names


# -- which pictures --------------------------------------------------------------------------------------------------


def _pictures(source: YoloSource, folder: Path, about: About) -> Iterator[Picture | Fault]:
    if isinstance(source.images, dict):
        for split in (each for each in SPLITS if each in source.images):
            yield from _at(source.images[split], folder, split, "source.images")
    elif source.images is not None:
        yield from _at(source.images, folder, None, "source.images")
    elif about.places:
        for split in (each for each in SPLITS if each in about.places):
            for name in about.places[split]:
                yield from _at(_below(name, folder, about, _KEYS[split]), folder, split, _KEYS[split])
    else:
        yield from _walked(folder, folder, None)


def _below(name: str, folder: Path, about: About, key: str) -> str:
    """Where a path of the YAML leads, below the source: others wrote it for a place of their own, or one level off."""
    bare = name.replace("\\", "/")
    while bare.startswith(("../", "./")):
        bare = bare[bare.index("/") + 1 :]
    for path in (*(root / name for root in about.roots), folder / bare):
        real = Path(os.path.realpath(path))
        if real.exists() and real.is_relative_to(folder):
            return real.relative_to(folder).as_posix()
    raise DataError(
        f"{folder}: expected the pictures of {key} in {shown(name)}, as the YAML says, received no such folder or list "
        "here; name the folders as source.images, such as {train: train/images, validation: valid/images}"
    )


def _at(name: str, folder: Path, split: Split | None, key: str) -> Iterator[Picture | Fault]:
    """The pictures below a folder, or those that a list names."""
    if not (folder / name).is_file():
        yield from _walked(rows.folder_inside(folder, name, key), folder, split)
        return
    file = rows.inside(folder, name, key)
    with boundary.reading(file, "a text in UTF-8 with the name of one picture per line"):
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    for at, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        said = _listed(line.strip(), file.parent, folder)
        if said is None:
            yield Fault(frames.MISSING, f"{name}, line {at}, {shown(line.strip())}")
        else:
            yield Picture(said, rows.inside(folder, said, f"{file}, line {at}"), split)


def _listed(line: str, beside: Path, folder: Path) -> str | None:
    """The path below `folder` that a line means: lists are written where their pictures lay in other folders."""
    parts = [part for part in PurePosixPath(line.replace("\\", "/")).parts if part not in ("/", ".", "..")]
    for cut in range(len(parts)):
        below = PurePosixPath(*parts[cut:])
        for base in dict.fromkeys((beside, folder)):
            if (base / below).is_file():
                return (base / below).relative_to(folder).as_posix()
    return None


def _walked(below: Path, folder: Path, split: Split | None) -> Iterator[Picture]:
    """In order of name; folders called after splits publish them where nothing else does."""
    for base, folders, files in os.walk(below):
        folders[:] = sorted(name for name in folders if not rows.is_leftover(name))
        for name in sorted(each for each in files if is_image(each) and not rows.is_leftover(each)):
            said = Path(base, name).relative_to(folder).as_posix()
            path = rows.inside(folder, said, str(folder))
            yield Picture(said, path, split or _published(said))


def _published(name: str) -> Split | None:
    parts = PurePosixPath(name).parts[:-1]
    return next((split for part in parts if (split := rows.split_named(part)) is not None), None)


# -- what is in them -------------------------------------------------------------------------------------------------


def _annotated(each: Picture, folder: Path, names: tuple[str, ...] | None, points: bool) -> Annotated | Fault:
    frame = frames.frame(each.path, (None, None), named(each.name))
    if isinstance(frame, Fault):
        return frame
    text = _text(each.name, folder)
    if text is None:
        return Annotated(each, frame, [], labelled=False)
    path = rows.inside(folder, text, str(folder))
    lines = yolo_lines.lines(path, named(text), None if names is None else len(names), points)
    return Annotated(each, frame, lines, labelled=True)


def _text(name: str, folder: Path) -> str | None:
    """The text of a picture: in `labels` where it is in `images`, the last of that name; or beside it."""
    pure = PurePosixPath(name).with_suffix(".txt")
    parts = list(pure.parts)
    forms = [pure]
    if _IMAGES in parts[:-1]:
        at = max(index for index, part in enumerate(parts[:-1]) if part == _IMAGES)
        forms.insert(0, PurePosixPath(*parts[:at], _LABELS, *parts[at + 1 :]))
    return next((form.as_posix() for form in forms if (folder / form).is_file()), None)


def _add_objects(found: list[Annotated], faults: Faults, path: Path) -> None:
    """Add the boxes of their lines, in pixels."""
    taken = [(each, line) for each in found for line in faults.kept(each.lines)]
    written = [(line.where, line.box, each.frame.size) for each, line in taken]
    placed = boxes.placed(written, "cxcywh", "shares", path, least=0.0)
    for (each, line), box in zip(taken, placed, strict=True):
        each.objects.extend((line, one) for one in faults.kept([box]))


def _row(each: Annotated, number: dict[str, int]) -> dict[str, Any]:
    every = (objects.Object(str(line.number), box) for line, box in each.objects)
    return {
        "id": each.picture.name,
        "image": each.frame.path.read_bytes(),
        "target": objects.target(every, each.frame, number),
        "published": each.picture.published,
    }
