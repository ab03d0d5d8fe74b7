"""Fashion-MNIST (Xiao et al. 2017): 60,000 images for training and 10,000 for testing, 28×28, ten classes.

The four published idx files, from the first place that has them unharmed: Convoy's own copy, a mirror the user names,
the public download, the Debian package.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from components import offered
from components.config import FashionMnistSource
from components.data.errors import DataError
from components.data.places import DOWNLOADS
from components.data.sources.base.form import BATCH_ROWS, SourceData
from components.data.sources.idx import parse_idx
from components.data.sources.places import download
from components.data.sources.places.download import Expected
from components.inputs import png

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

# Of what is inside the .gz files: distributors pack them again.
FILES = {
    "train-images-idx3-ubyte": Expected("c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888", 47_040_016),
    "train-labels-idx1-ubyte": Expected("bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9", 60_008),
    "t10k-images-idx3-ubyte": Expected("5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b", 7_840_016),
    "t10k-labels-idx1-ubyte": Expected("0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34", 10_008),
}
PUBLIC = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
)
PACKAGE = ("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist")
FOLDER = DOWNLOADS / "fashion-mnist"
BEFORE = Path("data/downloads/fashion-mnist")  # where earlier releases kept them; read, and left alone


def places(source: FashionMnistSource) -> list[download.Place]:
    """Where to look after Convoy's own copy, in order."""
    named = [value for value in (source.mirror, os.environ.get("CONVOY_MIRROR")) if value]
    return [
        *(download.mirror(value) for value in dict.fromkeys(named)),
        *(download.address(value) for value in PUBLIC),
        download.debian_package(*PACKAGE),
    ]


def read(source: FashionMnistSource, project: Path) -> SourceData:
    folder = project / FOLDER
    otherwise = (
        "Name a folder or address that holds the four .gz files (datasets.NAME.source.mirror, or CONVOY_MIRROR). "
        f"`{offered.command('convoy', 'run', '--recipe', 'digits')}` needs no download."
    )
    before = [download.directory(project / BEFORE)] if (project / BEFORE).is_dir() else []
    content = download.fetch(FILES, folder, [*before, *places(source)], otherwise)
    return SourceData(CLASSES, "class", _tables(content))


def _tables(content: dict[str, bytes]) -> Iterator[pa.Table]:
    for split, stem in (("train", "train"), ("test", "t10k")):
        pixels = parse_idx(f"{stem}-images-idx3-ubyte", content[f"{stem}-images-idx3-ubyte"])
        labels = parse_idx(f"{stem}-labels-idx1-ubyte", content[f"{stem}-labels-idx1-ubyte"])
        if len(pixels) != len(labels):
            raise DataError(
                f"{stem}: expected one label per image, received {len(pixels)} images and {len(labels)} labels"
            )
        for start in range(0, len(pixels), BATCH_ROWS):
            rows = slice(start, start + BATCH_ROWS)
            count = len(labels[rows])
            yield pa.table(
                {
                    "id": [f"{split}-{index:05d}" for index in range(start, start + count)],
                    "image": png.encode(pixels[rows]),
                    "target": labels[rows].astype(np.int64),
                    "published": [split] * count,
                }
            )
