"""What kind of source a path is: from names, headers and a few first bytes, without reading an image.

A guess with its reasons, for `convoy data check` and `convoy data add`; whoever knows better says `--kind`. Whether the
source can be read is found out by reading it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from components.config import Located
from components.data.errors import DataError
from components.data.sources import registry
from components.data.sources.base import boundary
from components.data.sources.base.faults import some
from components.data.sources.layouts.form import Found, Layout, Told, images_in, keys
from components.data.sources.layouts.listing import Contents, Folder, contents
from components.data.sources.places import place, remote

BUILT_IN = (
    "digits",
    "digit-scenes",
    "digit-sheets",
    "fashion-mnist",
    "grammar",
    "scenes",
    "topics",
)  # sources that lie nowhere: their kind is their path
LAYOUTS = {
    "folder": "PATH/CLASS/*.png, or PATH/{train,validation,test}/CLASS/*.png",
    "cut-outs": "PATH/CLASS/*.png with transparency, which are composed to scenes",
    "texts": "PATH/CLASS/*.txt, or PATH/{train,validation,test}/CLASS/*.txt",
    "manifest": "a .csv, .tsv, .jsonl or .parquet: one row per image or text, columns path or text, and target",
    "masks": "images/*.jpg and masks/*.png of the same names",
    "coco": "COCO's JSON: images, annotations, categories",
    "voc": "pictures with Pascal VOC's XML, or JPEGImages with SegmentationClass (PNG)",
    "yolo": "images/*.jpg and labels/*.txt of the same names, or both in one folder; data.yaml",
    "idx": "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, …",
    "arrays": ".npz or .npy: images (N, H, W) or (N, H, W, 3), labels (N,); x_train, y_train, …",
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
    fitting = [each for each in fitting if _fits(each, source)] if len(fitting) > 1 else fitting
    if len(fitting) == 1:
        return fitting[0]
    if len(fitting) > 1:
        raise DataError(_asked(named, fitting))
    if kind is not None:
        return Candidate({"kind": kind, "path": path}, "as --kind says")  # its reader says what it misses
    if seen.advice:
        raise DataError(f"{named}: expected a layout that can be read, received {seen.says}: {seen.advice}")
    layouts = [f"  {name:<12} {layout}" for name, layout in LAYOUTS.items()]
    text = f"{named}: expected one of the layouts below, received {seen.says}"
    raise DataError("\n".join([text, *layouts, "or an archive of one (zip, tar, tar.gz, …), or a URL"]))


def _fits(candidate: Candidate, source: Mapping[str, Any]) -> bool:
    """Whether it is what the keys say that are known."""
    return all(source.get(key, value) == value for key, value in candidate.source.items() if key != "path")


def _asked(named: str, ways: Sequence[Candidate]) -> str:
    """Which of several ways is meant? One of a kind is known by it; those of one kind, by what else differs."""
    lines = []
    for each in ways:
        others = [other.source for other in ways if other.kind == each.kind and other is not each]
        differs = {
            key: value
            for key, value in each.source.items()
            if key not in ("kind", "path") and any(other.get(key) != value for other in others)
        }
        say = f"{each.kind} {keys(differs)}".strip()
        lines.append(f"  --kind {say:<12} {each.says}")
    return "\n".join([f"{named}: can be read in {len(ways)} ways; say which:", *lines])


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
        parts.append(f"{_count(len(folder.folders), 'folder')} ({some(folder.folders)})")
    for suffix, count in sorted(folder.suffixes.items(), key=lambda item: (-item[1], item[0]))[:_MOST_NAMED]:
        named = [name for name in folder.names if Path(name).suffix.lower() == suffix]
        parts.append(f"{count:,} {suffix or 'without a suffix'}" + (f" ({some(named)})" if named else ""))
    return ", ".join(parts) or "an empty folder"


def _of_file(path: Path, named: str) -> Seen:
    inside = Contents(path.parent, Folder(""))
    seen = [(each, layout) for layout in registry.layouts() if (each := layout.of_file(inside, path.name)) is not None]
    found, told = _meant(seen)
    candidates = [Candidate({"kind": each.kind, "path": named, **each.keys}, each.says) for each in found]
    says = found[0].says if found else f"a file {path.suffix or 'without a suffix'}"
    return Seen(tuple(candidates), says, told[0].says if told and not found else "")


def _of_folder(named: str, inside: Contents, *, by_itself: bool) -> tuple[list[Candidate], str]:
    """The ways to read a folder, looking into a single folder that wraps everything; and advice where there is none."""
    top = inside.top
    found, told = _seen(inside)
    candidates = [Candidate({"kind": each.kind, "path": named, **each.keys}, each.says) for each in found]
    inner = next(iter(top.folders.values())) if len(top.folders) == 1 and not top.suffixes else None
    if not candidates and by_itself and inner is not None and (inner.names or inner.folders or not images_in(inner)):
        further, advice = _of_folder(f"{named}/{inner.name}", inside.below(inner), by_itself=True)
        if further or not told:
            return further, advice
    return candidates, "" if candidates else next(chain((each.says for each in told), _further_down(named, inside)), "")


def _seen(inside: Contents) -> tuple[list[Found], list[Told]]:
    """What the layouts of all sources see in a folder."""
    return _meant([(each, layout) for layout in registry.layouts() for each in layout.recognise(inside, inside.top)])


def _meant(seen: Sequence[tuple[Found | Told, Layout]]) -> tuple[list[Found], list[Told]]:
    """Without what the less sure layouts see beside the sure ones; what is said, the surest first."""
    sure = [each for each, layout in seen if layout.sure]
    kept = sure or [each for each, _ in seen]
    found = [each for each in kept if isinstance(each, Found)]
    return found, [each for each in kept if isinstance(each, Told)]


def _further_down(named: str, inside: Contents) -> Iterator[str]:
    """The one folder in it that can be read by itself: where there are several, none of them is the whole."""
    ways = [(name, each) for name, folder in inside.top.folders.items() for each in _seen(inside.below(folder))[0]]
    if len({name for name, _ in ways}) == 1:
        name, each = ways[0]
        yield f"{named}/{name} can be read: {each.kind}, {each.says}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
