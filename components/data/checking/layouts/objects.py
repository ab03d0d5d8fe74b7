"""COCO's JSON and Pascal VOC's folder: objects in images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from components.data.checking.layouts.found import Found, images_in, split_in
from components.data.checking.layouts.listing import Contents, Folder

_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_CHUNK = 2**20


def coco(contents: Contents, top: Folder) -> list[Found]:
    """Every COCO JSON at the top, in `annotations/` or in a folder a split; of one name, one a split, they are one."""
    series: dict[str, dict[str, str]] = {}
    for below, path in _json_files(contents, top):
        if is_coco(contents, path):
            split, rest = split_in(below)
            series.setdefault(rest, {})[split or ""] = below
    found = []
    for parts in series.values():
        if len(parts) > 1 and "" not in parts:
            keys: dict[str, Any] = {"annotations": parts, **_images_of_splits(top, parts)}
            found.append(Found("coco", f"COCO's JSON, one a split ({', '.join(parts.values())})", keys=keys))
        else:
            for below in parts.values():
                keys = {"annotations": below, **_images(top, below)}
                found.append(Found("coco", f"COCO's JSON ({below})", keys=keys))
    return found


def is_coco(contents: Contents, path: str) -> bool:
    """Whether the three lists are in it: looked for as text, since these files may be larger than memory."""
    missing, before = set(_KEYS), b""
    with contents.open(path) as binary:
        while missing and (chunk := binary.read(_CHUNK)):
            text = before + chunk
            missing -= {key for key in missing if key in text}
            before = text[-max(map(len, _KEYS)) :]
    return not missing


def _json_files(contents: Contents, top: Folder) -> Iterator[tuple[str, str]]:
    """Path below the top, and below the base."""
    near = [folder for name, folder in top.folders.items() if name == "annotations" or split_in(name)[0]]
    for folder in (top, *near):
        for name in folder.names:
            if name.lower().endswith(".json"):
                path = contents.path_of(folder, name)
                yield (path.removeprefix(f"{top.path}/") if top.path else path), path


def _images_of_splits(top: Folder, annotations: Mapping[str, str]) -> dict[str, Any]:
    """Which folder has a split's images, where its JSON lies elsewhere."""
    if all(_beside(top, below) for below in annotations.values()):
        return {}
    named = {split_in(name)[0]: name for name, folder in top.folders.items() if images_in(folder)}
    return {"images": {split: named[split] for split in annotations}} if set(annotations) <= set(named) else {}  # type: ignore[index]


def _images(top: Folder, annotations: str) -> dict[str, Any]:
    if _beside(top, annotations):
        return {}
    named = [name for name, folder in top.folders.items() if images_in(folder)]
    return {"images": named[0]} if len(named) == 1 else {}


def _beside(top: Folder, below: str) -> bool:
    """Whether images lie beside the JSON, or in `images` there, where they are looked for by themselves."""
    folder: Folder | None = top
    for part in PurePosixPath(below).parts[:-1]:
        folder = folder.folders.get(part) if folder else None
    return folder is not None and bool(images_in(folder) or "images" in folder.folders)


def voc(contents: Contents, top: Folder) -> list[Found]:
    """`JPEGImages` with `Annotations` or `SegmentationClass`."""
    if "JPEGImages" not in top.folders:
        return []
    boxes = top.folders["Annotations"].suffixes[".xml"] if "Annotations" in top.folders else 0
    masks = images_in(top.folders["SegmentationClass"]) if "SegmentationClass" in top.folders else 0
    if boxes:
        return [Found("voc", f"Pascal VOC, {boxes:,} annotated images")]
    return [Found("voc", f"Pascal VOC, {masks:,} masks", keys={"take": "masks"})] if masks else []
