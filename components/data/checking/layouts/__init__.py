"""How each kind of source is recognised: one function a kind, from names, headers and a few first bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from components.data.checking.layouts.arrays import arrays, idx, npz
from components.data.checking.layouts.folders import classes
from components.data.checking.layouts.found import Found
from components.data.checking.layouts.listing import Contents, Folder
from components.data.checking.layouts.objects import coco, is_coco, voc
from components.data.checking.layouts.tables import hugging_face, manifest, table
from components.data.sources.tabular import SUFFIXES as TABLES

RECOGNISERS: Sequence[Callable[[Contents, Folder], list[Found]]] = (
    hugging_face,
    voc,
    coco,
    idx,
    arrays,
    manifest,
    classes,
)


def file(contents: Contents, name: str) -> Found | None:
    """What a single file is, if it is one of the kinds by itself."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in TABLES:
        return table(contents, name)
    if suffix == ".npz":
        return npz(contents, name)
    if suffix == ".json" and is_coco(contents, name):
        return Found("coco", "COCO's JSON")
    return None
