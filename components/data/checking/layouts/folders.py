"""One folder a class."""

from __future__ import annotations

from components.data.checking.layouts.found import Found, images_in, split_in
from components.data.checking.layouts.listing import Contents, Folder
from components.data.sources.rows import split_named


def classes(contents: Contents, top: Folder) -> list[Found]:
    """`PATH/CLASS/*`, or `PATH/{train,validation,test}/CLASS/*`."""
    if not top.folders or images_in(top):
        return []
    if all(map(split_named, top.folders)):
        labelled = [label for split in top.folders.values() for label in split.folders.values()]
        loose = any(images_in(split) for split in top.folders.values())
        says = f"one folder a class, in {', '.join(top.folders)}"
    else:
        labelled, loose, says = list(top.folders.values()), False, "one folder a class"
    names = {label.name for label in labelled}
    only_images = all(not label.folders and images_in(label) == label.suffixes.total() for label in labelled)
    some = any(images_in(label) for label in labelled)
    split_like = all(split_in(name)[0] for name in names)  # pictures of no class, in splits
    roles = {name.lower().rstrip("s") for name in names} <= {"image", "img", "mask", "label", "annotation"}
    if roles or len(names) < 2 or loose or not only_images or not some or split_like:
        return []
    return [Found("folder", says)]
