"""What kind of source a path is: from names, headers and a few first bytes, without reading an image.

A guess with its reasons, for `convoy data check` and `convoy data add`; whoever knows better says `--kind`. Whether the
source can be read is found out by reading it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from components.config import Located
from components.data.checking import layouts
from components.data.checking.layouts.arrays import is_idx
from components.data.checking.layouts.found import Found, images_in, is_image
from components.data.checking.layouts.listing import Contents, Folder, contents
from components.data.checking.layouts.tables import columns_advice
from components.data.errors import DataError
from components.data.sources import boundary, place, remote
from components.data.sources.tabular import SUFFIXES as TABLES

BUILT_IN = ("digits", "digit-scenes", "fashion-mnist")  # sources that lie nowhere: their kind is their path
LAYOUTS = {
    "folder": "PATH/CLASS/*.png, or PATH/{train,validation,test}/CLASS/*.png",
    "manifest": "a .csv, .tsv or .parquet: a row an image, columns path and target",
    "coco": "COCO's JSON: images, annotations, categories",
    "voc": "JPEGImages with Annotations (XML) or SegmentationClass (PNG)",
    "idx": "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, …",
    "arrays": ".npz or .npy: images (N, H, W) or (N, H, W, 3), labels (N,)",
    "huggingface": "saved by Hugging Face's `datasets`, or its Parquet files",
}
_MOST_NAMED = 6  # names of a kind that a sentence lists


@dataclass(frozen=True)
class Candidate:
    """One way to read a path: the catalogue's `source:` section, and what it was recognised by."""

    source: Mapping[str, Any]
    says: str

    @property
    def kind(self) -> str:
        return str(self.source["kind"])


@dataclass(frozen=True)
class Seen:
    """What lies at a path, in words, and the ways in which that can be read: none, one, or several."""

    candidates: tuple[Candidate, ...]
    says: str
    advice: str = ""  # what to change, where it is nearly one of the layouts


def choose(source: Mapping[str, Any], project: Path) -> Candidate:
    """The one way to read what lies at `source["path"]`; `kind`, where it is given, picks one.

    `source` is a `source:` section as far as it is known. A relative path is the project's; a URL is fetched into it,
    and an archive unpacked there. Raises DataError where there is no way, or several and no `kind` that picks one.
    """
    path, kind = str(source["path"]), source.get("kind")
    if kind in BUILT_IN or (kind is None and path in BUILT_IN and not (project / path).exists()):
        return Candidate({"kind": kind or path}, "built in")
    if kind is not None and kind not in LAYOUTS:
        raise DataError(f"--kind: expected one of {', '.join([*LAYOUTS, *BUILT_IN])}, received {kind!r}")
    known = Located.model_validate(
        {key: source[key] for key in ("path", "sha256", "checksums", "options") if key in source}
    )
    named = remote.shown(path)
    with boundary.reading(named, "a source"):
        here = place.local(known, project)
        # What lies in an archive or at a URL cannot be named by itself: the readers look for it.
        by_itself = not place.is_remote(path) and here == place.located(known, project)
        seen = detect(here, path, by_itself=by_itself)
    fitting = [candidate for candidate in seen.candidates if kind in (None, candidate.kind)]
    if len(fitting) == 1:
        return fitting[0]
    if len(fitting) > 1:
        ways = [f"  --kind {each.kind:<12} {each.says}{_keys(each.source)}" for each in fitting]
        raise DataError("\n".join([f"{named}: can be read in {len(fitting)} ways; say which:", *ways]))
    if kind is not None:
        return Candidate({"kind": kind, "path": path}, "as --kind says")  # its reader says what it misses
    layouts = [f"  {name:<12} {layout}" for name, layout in LAYOUTS.items()]
    advice = [f"  {seen.advice}"] if seen.advice else []
    text = f"{named}: expected one of the layouts below, received {seen.says}"
    raise DataError("\n".join([text, *advice, *layouts, "or an archive of one (zip, tar, tar.gz, …), or a URL"]))


def detect(path: Path, named: str, *, by_itself: bool = True) -> Seen:
    """Every way in which the file or folder at `path` can be read.

    `named` is how the catalogue names it; `by_itself` says whether what lies in it could be named instead.
    """
    if path.is_file():
        return _of_file(path, named)
    inside = contents(path)
    candidates, advice = _of_folder(named, inside, by_itself=by_itself)
    return Seen(tuple(candidates), in_words(inside.top), advice)


def in_words(folder: Folder) -> str:
    """What lies in a folder: `3 folders (a, b, c), 12 .png, 1 .txt (labels.txt)`."""
    parts = []
    if folder.folders:
        parts.append(f"{_count(len(folder.folders), 'folder')} ({_some(folder.folders)})")
    for suffix, count in sorted(folder.suffixes.items(), key=lambda item: (-item[1], item[0]))[:_MOST_NAMED]:
        named = [name for name in folder.names if Path(name).suffix.lower() == suffix]
        parts.append(f"{count:,} {suffix or 'without a suffix'}" + (f" ({_some(named)})" if named else ""))
    return ", ".join(parts) or "an empty folder"


def _of_file(path: Path, named: str) -> Seen:
    inside = Contents(path.parent, Folder(""))
    found = layouts.file(inside, path.name)
    if found is not None:
        return Seen((Candidate({"kind": found.kind, "path": named, **found.keys}, found.says),), found.says)
    advice = ""
    if is_image(path.name):
        advice = "one picture is no data set: give the folder that its class's folder lies in"
    elif is_idx(path.name):
        advice = f"images and labels are two files: give their folder, {Path(named).parent}"
    elif path.suffix.lower() in TABLES:
        advice = columns_advice(inside, path.name)
    return Seen((), f"a file {path.suffix or 'without a suffix'}", advice)


def _of_folder(named: str, inside: Contents, *, by_itself: bool) -> tuple[list[Candidate], str]:
    """The ways to read a folder, looking into a single folder that wraps everything; and advice where there is none."""
    top = inside.top
    found = _found(inside)
    candidates = [
        Candidate({"kind": each.kind, "path": f"{named}/{each.at}" if each.at else named, **each.keys}, each.says)
        for each in found
        if by_itself or not each.at
    ]
    inner = next(iter(top.folders.values())) if len(top.folders) == 1 and not top.suffixes else None
    if not candidates and by_itself and inner is not None and (inner.names or not images_in(inner)):
        return _of_folder(f"{named}/{inner.name}", inside.below(inner), by_itself=True)
    return candidates, "" if candidates else next(chain(_advice(inside), _further_down(named, inside)), "")


def _found(inside: Contents) -> list[Found]:
    found = [each for recogniser in layouts.RECOGNISERS for each in recogniser(inside, inside.top)]
    # What these lay out also looks like folders of classes, or holds tables and JSON of their own.
    for kind in ("huggingface", "voc"):
        if any(each.kind == kind for each in found):
            return [each for each in found if each.kind == kind]
    return found


def _further_down(named: str, inside: Contents) -> Iterator[str]:
    """The folders in it that can be read by themselves."""
    for name, folder in inside.top.folders.items():
        for each in _found(inside.below(folder)):
            yield f"{named}/{name} can be read: {each.kind}, {each.says}"


def _advice(inside: Contents) -> Iterator[str]:
    """What is nearly right, the surest first."""
    top = inside.top
    lowered = {name.lower() for name in top.folders}
    if lowered & {"labels", "annotations"} and any(each.suffixes[".txt"] for each in top.walk()):
        yield "this looks like YOLO's labels, which are not read: export them as COCO's JSON"
    if images_in(top) and not top.folders:
        yield "these pictures have no labels: put them into one folder a class, or write a manifest beside them"
    if "masks" in lowered:
        yield "pictures with masks need a manifest: a .csv with the columns path and mask"
    tables = [name for name in top.names if Path(name).suffix.lower() in TABLES]
    if len(tables) > 1:
        yield f"there are several tables ({_some(tables)}): give the one that is meant"
    for name in tables:
        yield columns_advice(inside, inside.path_of(top, name))
    for each in top.folders.values():
        if images_in(each) and each.names:
            yield f"a class's folder holds nothing but images: move {each.path}/{each.names[0]} elsewhere"
        elif images_in(each) and each.folders:
            yield f"a class's folder holds nothing but images: move what is in {next(iter(each.folders.values())).path}"
    if len(top.folders) == 1:
        yield "one class leaves nothing to tell apart: put a folder a class beside it"


def _keys(source: Mapping[str, Any]) -> str:
    """The keys beyond kind and path that tell two ways of one kind apart."""
    return "".join(f" -S {key}={value}" for key, value in source.items() if key not in ("kind", "path"))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f", … {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
    return ", ".join(listed[:_MOST_NAMED]) + more


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
