"""What Hugging Face's `datasets` writes: folders it saves, and Parquet with pictures in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

import pyarrow as pa

from components.data.errors import DataError
from components.data.sources.layouts.form import Found, Layout
from components.data.sources.layouts.listing import Contents, Folder
from components.data.sources.layouts.manifest import TARGETS
from components.data.sources.tables import parquet


def _saved(contents: Contents, top: Folder) -> Iterator[Found]:
    """What `save_to_disk` writes."""
    if "dataset_dict.json" in top.names or {"state.json", "dataset_info.json"} <= set(top.names):
        yield Found("huggingface", "saved by Hugging Face's `datasets`")


def _parquet(contents: Contents, top: Folder) -> Iterator[Found]:
    """Parquet files in which a picture is a struct of bytes and path."""
    for folder in (top, top.folders.get("data")):
        names = [name for name in folder.names if name.endswith(".parquet")] if folder else []
        found = _of_file(contents, contents.path_of(folder, names[0])) if folder and names else None
        if found is not None:
            yield Found("huggingface", "Parquet files of Hugging Face's `datasets`", keys=found.keys)
            return


def _of_file(contents: Contents, name: str) -> Found | None:
    if PurePosixPath(name).suffix.lower() != ".parquet":
        return None
    try:
        form = parquet.schema(contents.base / name)
    except DataError:
        return None  # the reader of tables says what is wrong with it
    image = next((item.name for item in form if _is_image(item.type)), None)
    if image is None:
        return None
    label = next((each for each in ("label", *TARGETS) if each in form.names), None)
    keys = {key: name for key, name in (("image", image), ("label", label)) if name not in (None, key)}
    return Found("huggingface", "Parquet of Hugging Face's `datasets`", keys=keys)


def _is_image(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and {"bytes", "path"} <= {part.name for part in kind}


LAYOUTS = (
    Layout("`dataset_dict.json`, `train/state.json`, …", "Hugging Face (`save_to_disk`)", _saved, sure=True),
    Layout(
        "`data/train-00000-of-00002.parquet`", "Hugging Face (the hub, `to_parquet`)", _parquet, _of_file, sure=True
    ),
)
