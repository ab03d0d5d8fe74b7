"""Pascal VOC's XML, where its files lie, and XML of other annotation tools."""

from __future__ import annotations

import re
from collections.abc import Iterator

from components.data.sources.layouts.form import Found, Layout, Told, images_in, splits_of
from components.data.sources.layouts.listing import Contents, Folder

_START = 2**16
_ROOT = re.compile(rb"<annotation[\s>]")


def _voc(contents: Contents, top: Folder) -> Iterator[Found]:
    """`JPEGImages` with `Annotations` or `SegmentationClass`."""
    if "JPEGImages" not in top.folders:
        return
    boxes = top.folders["Annotations"].suffixes[".xml"] if "Annotations" in top.folders else 0
    masks = images_in(top.folders["SegmentationClass"]) if "SegmentationClass" in top.folders else 0
    if boxes:
        yield Found("voc", f"Pascal VOC, {boxes:,} annotated images")
    elif masks:
        yield Found("voc", f"Pascal VOC, {masks:,} masks", keys={"take": "masks"})


def _beside_folder(contents: Contents, top: Folder) -> Iterator[Found]:
    """A folder of XML and a folder of pictures, called otherwise."""
    if "JPEGImages" in top.folders:
        return
    xml = [folder for folder in top.folders.values() if folder.suffixes[".xml"] and not images_in(folder)]
    pictured = [folder for folder in top.folders.values() if images_in(folder) and not folder.suffixes[".xml"]]
    meant = [each for each in pictured if each.name.lower().startswith(("image", "img"))] or pictured
    if len(xml) == 1 and len(meant) == 1 and _is_voc(contents, xml[0]):
        keys = {"images": meant[0].name, "annotations": xml[0].name}
        yield Found("voc", f"Pascal VOC's XML, {xml[0].suffixes['.xml']:,} annotated images", keys=keys)


def _beside_pictures(contents: Contents, top: Folder) -> Iterator[Found]:
    """XML beside the pictures."""
    if top.suffixes[".xml"] and images_in(top) and _is_voc(contents, top):
        count = top.suffixes[".xml"]
        keys = {"images": ".", "annotations": "."}
        yield Found("voc", f"Pascal VOC's XML beside the pictures, {count:,} annotated images", keys=keys)


def _in_splits(contents: Contents, top: Folder) -> Iterator[Found]:
    """XML beside the pictures, or in a folder beside theirs, in one folder per split."""
    splits = splits_of(top)
    if not splits:
        return
    images, annotations = {}, {}
    for split, folder in splits.items():
        if folder.suffixes[".xml"] and images_in(folder) and _is_voc(contents, folder):
            images[split] = annotations[split] = folder.name
        elif found := next(iter(_beside_folder(contents, folder)), None):
            images[split] = f"{folder.name}/{found.keys['images']}"
            annotations[split] = f"{folder.name}/{found.keys['annotations']}"
    if len(images) == len(splits):
        count = sum(each.suffixes[".xml"] for folder in splits.values() for each in folder.walk())
        says = f"Pascal VOC's XML, one folder per split ({', '.join(images.values())}), {count:,} annotated images"
        yield Found("voc", says, keys={"images": images, "annotations": annotations})


def _is_voc(contents: Contents, folder: Folder) -> bool:
    """Whether its first XML is VOC's."""
    name = next((each for each in folder.names if each.lower().endswith(".xml")), None)
    return name is not None and _ROOT.search(_start(contents, folder, name)) is not None


def _cvat(contents: Contents, top: Folder) -> Iterator[Told]:
    for folder in top.walk():
        for name in [each for each in folder.names if each.lower().endswith(".xml")][:1]:
            start = _start(contents, folder, name)
            if b"<annotations>" in start and (b"<image" in start or b"<track" in start or b"<meta" in start):
                yield Told(
                    f"{contents.path_of(folder, name)} is CVAT's own XML, which is not read: export the task anew as "
                    "`COCO 1.0` or `Pascal VOC 1.1`, whose boxes and outlines are, or as `ImageNet 1.0` where whole "
                    "pictures are labelled"
                )
                return


def _start(contents: Contents, folder: Folder, name: str) -> bytes:
    with contents.open(contents.path_of(folder, name)) as binary:
        return binary.read(_START)


LAYOUTS = (
    Layout("`JPEGImages/`, `Annotations/*.xml`, `SegmentationClass/`", "Pascal VOC, CVAT", _voc, sure=True),
    Layout("`images/`, `annotations/*.xml`", "Kaggle", _beside_folder, sure=True),
    Layout("`*.jpg` and `*.xml` together", "labelImg", _beside_pictures, sure=True),
    Layout("`train/*.jpg` and `train/*.xml`", "Roboflow (Pascal VOC)", _in_splits, sure=True),
    Layout("`annotations.xml` with `<image>`", "CVAT for images", _cvat, sure=True),
)
