"""YOLO's text files, in `labels/` or beside the pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from components.data.sources.layouts.form import Found, Layout, Told, images_below
from components.data.sources.layouts.listing import Contents, Folder

_LINE = re.compile(rb"\s*\d+(\s+-?\d*\.?\d+(e-?\d+)?){4,}\s*$")
_START = 2**16  # bytes of a first line: an outline of thousands of points
_PEEKED = 20  # files that are looked into
_NAMES = frozenset({"classes.txt", "obj.names", "readme.txt", "labels.txt", "license.txt", "predefined_classes.txt"})


def _yolo(contents: Contents, top: Folder) -> Iterator[Found | Told]:
    """A text file a picture, with a class's number and a box, or an outline, in shares a line."""
    if not images_below(top):
        return
    odd = ""
    for folder in top.walk():
        inside = _LABELS in PurePosixPath(folder.path.lower()).parts
        for name in [each for each in folder.names if each.lower().endswith(".txt")][:_PEEKED]:
            if name.lower() in _NAMES:
                continue
            path = contents.path_of(folder, name)
            with contents.open(path) as binary:
                first = binary.readline(_START)
            if _LINE.match(first) or (inside and not first.strip()):  # of pictures without an object they are empty
                yield Found("yolo", f"YOLO's text files ({path} and others)", keys=_data(contents, top))
                return
            odd = odd or (path if inside else "")
    if odd:
        yield Told(
            f"{odd} and others lie where YOLO's labels do, and are none: a line is a class's number and a box, "
            "`0 0.5 0.5 0.2 0.1`, or an outline, in shares of the picture"
        )


_LABELS = "labels"


def _data(contents: Contents, top: Folder) -> dict[str, str]:
    """The YAML that is meant, where there are several."""
    there = [name for name in top.names if name.lower().endswith((".yaml", ".yml"))]
    named = [name for name in there if PurePosixPath(name).stem in ("data", "dataset")]
    return {"data": named[0]} if len(there) > 1 and len(named) > 1 else {}


LAYOUTS = (
    Layout(
        "`labels/*.txt` or `*.txt` beside the pictures, `data.yaml`, `classes.txt`",
        "YOLO, labelImg, Roboflow",
        _yolo,
        sure=True,
    ),
)
