"""Texts in folders called after classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from components.data.sources.base.faults import some
from components.data.sources.base.rows import split_named
from components.data.sources.layouts.folder import are_roles
from components.data.sources.layouts.form import Found, Layout
from components.data.sources.layouts.listing import Contents, Folder

SUFFIX = ".txt"


def _classes(contents: Contents, top: Folder) -> Iterator[Found]:
    """`PATH/CLASS/*.txt`, with splits above or below the classes."""
    if not top.folders or are_roles(top):
        return
    labelled, says = list(top.folders.values()), "one folder of texts per class"
    if all(split_named(name) for name in top.folders):
        labelled = [label for split in labelled for label in split.folders.values()]
        says = f"{says}, in {', '.join(top.folders)}"
    yield from _labelled(labelled, says)


def _labelled(labelled: Sequence[Folder], says: str) -> Iterator[Found]:
    if any(are_roles(Folder("", {each.name: each})) for each in labelled):
        return
    classes = {each.name for each in labelled}
    if len(classes) < 2 or not all(map(_holds_texts, labelled)):
        return
    nested = sorted({inner for each in labelled for inner in each.folders if not split_named(inner)})
    note = f"; what lies in folders in them ({some(nested)}) is their classes' too" if nested else ""
    yield Found("texts", f"{says}{note}", keys={"nested": "join"} if nested else {})


def _holds_texts(label: Folder) -> bool:
    """Whether nothing but texts lies in a folder and below it."""
    found = [each.suffixes for each in label.walk()]
    return any(each[SUFFIX] for each in found) and all(set(each) <= {SUFFIX} for each in found)


LAYOUTS = (Layout("`CLASS/*.txt`", "IMDb's reviews, 20 Newsgroups, BBC News", _classes),)
