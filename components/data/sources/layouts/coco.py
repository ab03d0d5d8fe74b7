"""COCO's JSON, where its files lie, and JSON of other annotation tools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from components.data.sources.base.faults import some
from components.data.sources.layouts.form import Found, Layout, Told, images_in, split_in
from components.data.sources.layouts.listing import Contents, Folder

_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_UNUSED = (b'"keypoints"', b'"caption"', b'"attributes"')
_CHUNK = 2**20
_START = 2**16
# What the JSON of other tools has in it, looked for at its beginning → the tool.
_OTHERS = {
    "labelme": (b'"shapes"', b'"imagePath"'),
    "VGG Image Annotator": (b'"regions"', b'"shape_attributes"'),
    "CreateML": (b'"annotations"', b'"coordinates"'),
    "Supervisely": (b'"objects"', b'"classTitle"'),
}


def _coco(contents: Contents, top: Folder) -> Iterator[Found]:
    """Every COCO JSON at the top, in `annotations/` or in a folder a split; of one name, one a split, they are one."""
    series: dict[str, dict[str, str]] = {}
    for below, path in _json_files(contents, top):
        if is_coco(contents, path):
            split, rest = split_in(below)
            series.setdefault(rest, {})[split or ""] = below
    for parts in series.values():
        if len(parts) > 1 and "" not in parts:
            keys: dict[str, Any] = {"annotations": parts, **_images_of_splits(top, parts)}
            says = f"COCO's JSON, one a split ({', '.join(parts.values())})"
            yield Found("coco", says + _beyond(contents, top, parts.values()), keys=keys)
        else:
            for below in parts.values():
                keys = {"annotations": below, **_images(top, below)}
                yield Found("coco", f"COCO's JSON ({below})" + _beyond(contents, top, [below]), keys=keys)


def _beyond(contents: Contents, top: Folder, files: Iterable[str]) -> str:
    """What the files hold that no task here uses, for the sentence that says what they are."""
    there = {key for below in files for key in _keys_in(contents, contents.path_of(top, below), _UNUSED)}
    return f"; not used: {some(key.decode()[1:-1] for key in _UNUSED if key in there)}" if there else ""


def is_coco(contents: Contents, path: str) -> bool:
    """Whether the three lists are in it: looked for as text, since these files may be larger than memory."""
    return len(_keys_in(contents, path, _KEYS)) == len(_KEYS)


def _keys_in(contents: Contents, path: str, keys: Sequence[bytes]) -> set[bytes]:
    """Those of the keys that occur in a file's text."""
    found, before = set[bytes](), b""
    with contents.open(path) as binary:
        while len(found) < len(keys) and (chunk := binary.read(_CHUNK)):
            text = before + chunk.replace(b"\0", b"")  # UTF-16, where it is that
            found |= {key for key in keys if key in text}
            before = text[-max(map(len, keys)) :]
    return found


def _of_file(contents: Contents, name: str) -> Found | None:
    if PurePosixPath(name).suffix.lower() == ".json" and is_coco(contents, name):
        return Found("coco", "COCO's JSON")
    return None


def _json_files(contents: Contents, top: Folder) -> Iterator[tuple[str, str]]:
    """Path below the top, and below the base."""
    near = [folder for name, folder in top.folders.items() if name.lower() == "annotations" or split_in(name)[0]]
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


def _other_tools(contents: Contents, top: Folder) -> Iterator[Told]:
    """JSON of tools whose own form is not read."""
    for folder in top.walk():
        for name in [each for each in folder.names if each.lower().endswith(".json")][:1]:
            with contents.open(contents.path_of(folder, name)) as binary:
                start = binary.read(_START)
            tool = next((tool for tool, marks in _OTHERS.items() if all(mark in start for mark in marks)), None)
            if tool is not None and not all(mark in start for mark in _KEYS):
                yield Told(
                    f"{contents.path_of(folder, name)} is JSON of {tool}, which is not read: export or convert the "
                    "annotations to COCO's JSON, whose boxes and outlines are"
                )
                return


LAYOUTS = (
    Layout(
        "`annotations/instances_train.json`, `train/*.jpg`; `train/_annotations.coco.json` beside its pictures",
        "COCO, Roboflow, CVAT, Label Studio",
        _coco,
        _of_file,
        sure=True,
    ),
    Layout(
        "`*.json` with `shapes`, `regions` or `classTitle`",
        "labelme, VIA, Supervisely, CreateML",
        _other_tools,
        sure=True,
    ),
)
