"""One's own images: `PATH/CLASS/*`, with folders of splits above the classes or in them, where there are some.

A class is named after its folder. Files are taken as they are; whether they are images is found out in `prepare` and
judged in validation.
"""

from __future__ import annotations

from pathlib import Path

from components import decoding
from components.config import FolderSource
from components.data.sources.base import class_folders
from components.data.sources.base.faults import Kind
from components.data.sources.base.form import IMAGE, SourceData
from components.data.sources.base.formats import SUFFIXES
from components.data.sources.layouts import folder as layouts
from components.data.sources.places import place

LAYOUTS = layouts.LAYOUTS

NO_IMAGE = Kind("file", "files", "that are images by their names in classes' folders", "of another kind")


def read(source: FolderSource, project: Path) -> SourceData:
    return class_folders.samples(source, place.local(source, project), IMAGES)


def _told(path: Path) -> str:
    """What is in the place of an image."""
    if not path.is_file():  # reading a pipe waits for whoever writes into it
        return "is a pipe, a socket or a device"
    try:
        return f"is {decoding.header(path.read_bytes()).format}, and should be named so"
    except decoding.UndecodableError as error:
        return str(error)


IMAGES = class_folders.Files(IMAGE, SUFFIXES, "images", NO_IMAGE, _told, Path.read_bytes)
