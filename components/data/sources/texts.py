"""One's own texts: `PATH/CLASS/*.txt`, with folders of splits above the classes or in them, where there are some.

Files are in UTF-8, or in UTF-16 with the mark that says so.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Literal

from components.config import ClassFolders
from components.data.sources.base import class_folders, limits
from components.data.sources.base.faults import Fault, Kind, named
from components.data.sources.base.form import SourceData
from components.data.sources.layouts import texts as layouts
from components.data.sources.places import place

LAYOUTS = layouts.LAYOUTS

NO_TEXT = Kind("file", "files", "named `.txt` in classes' folders", "of another kind")
NOT_UNICODE = Kind("file", "files", "in UTF-8, or in UTF-16 with its mark", "in something else")
TOO_LONG = Kind("file", "files", f"of at most {limits.TEXT:,} bytes", "that is longer")


class TextsSource(ClassFolders):
    """One folder per class: `PATH/CLASS/*.txt`, with folders of splits above or below them where there are some."""

    kind: Literal["texts"]


def read(source: TextsSource, project: Path) -> SourceData:
    return class_folders.samples(source, place.local(source, project), TEXTS)


def _content(path: Path) -> str | Fault:
    if path.stat().st_size > limits.TEXT:
        return Fault(TOO_LONG, f"{_said(path)} has {path.stat().st_size:,}")
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        return Fault(NOT_UNICODE, f"{_said(path)} from byte {error.start:,} on")


def _said(path: Path) -> str:
    """The file's name with its folder's: a class is named after that."""
    return named(f"{path.parent.name}/{path.name}")


def _told(path: Path) -> str:
    """What is in the place of a text."""
    return "is named otherwise" if path.is_file() else "is a pipe, a socket or a device"


TEXTS = class_folders.Files("text", (".txt",), "texts (.txt)", NO_TEXT, _told, _content, beside=True)
