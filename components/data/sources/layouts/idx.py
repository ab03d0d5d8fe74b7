"""LeCun's idx files: told by their names and first bytes."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from components.data.sources.layouts.form import Found, Layout, Told, split_in
from components.data.sources.layouts.listing import Contents, Folder

_IDX = re.compile(r"(?P<stem>.*?)(?P<what>images|labels)[-.]idx(?P<rank>[13])[-.]ubyte(?:\.gz)?")


def _idx(contents: Contents, top: Folder) -> Iterator[Found]:
    """Pairs of idx files: those called test or t10k are the test split."""
    stems: dict[str, dict[str, str]] = {}
    for name in top.names:
        match = _IDX.fullmatch(name)
        if match and _has_magic(contents, contents.path_of(top, name), int(match["rank"])):
            stems.setdefault(match["stem"], {})[match["what"]] = name.removesuffix(".gz")
    pairs = {stem: each for stem, each in stems.items() if len(each) == 2}
    tests = [stem for stem in pairs if split_in(stem)[0] == "test"]
    trains = [stem for stem in pairs if stem not in tests]
    if len(trains) != 1 or len(tests) > 1:
        return
    keys = {key: pairs[trains[0]][key] for key in ("images", "labels")}
    if tests:
        keys |= {f"test_{key}": pairs[tests[0]][key] for key in ("images", "labels")}
    usual = {
        "images": "train-images-idx3-ubyte",
        "labels": "train-labels-idx1-ubyte",
        "test_images": "t10k-images-idx3-ubyte",
        "test_labels": "t10k-labels-idx1-ubyte",
    }
    yield Found("idx", "idx files", keys={key: name for key, name in keys.items() if name != usual[key]})


def _of_file(contents: Contents, name: str) -> Told | None:
    if _IDX.fullmatch(PurePosixPath(name).name) is None:
        return None
    return Told(f"images and labels are two files: give their folder, {contents.base}")


def _has_magic(contents: Contents, name: str, rank: int) -> bool:
    with contents.open(name) as binary:
        try:
            stream = gzip.GzipFile(fileobj=binary) if name.endswith(".gz") else binary
            return stream.read(4) == bytes([0, 0, 8, rank])
        except (OSError, EOFError):
            return False


LAYOUTS = (
    Layout("`train-images-idx3-ubyte.gz`, `train-labels-idx1-ubyte.gz`, …", "MNIST, EMNIST, KMNIST", _idx, _of_file),
)
