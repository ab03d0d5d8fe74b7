"""Tables with a row an image, and what Hugging Face's `datasets` writes: told by their columns."""

from __future__ import annotations

import csv
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from components.data.checking.layouts.found import Found
from components.data.checking.layouts.listing import Contents, Folder
from components.data.sources.tabular import SUFFIXES as TABLES

# What the columns of other people's tables are called; the first that is there is meant.
IMAGE_COLUMNS = ("path", "image_path", "img_path", "filepath", "file_path", "filename", "file_name", "image", "file")
TARGET_COLUMNS = ("target", "label", "labels", "class", "class_name", "category", "species", "diagnosis")
_LINE = 2**20  # bytes: a header is shorter


def manifest(contents: Contents, top: Folder) -> list[Found]:
    """A table at the top whose columns are an image and a target."""
    tables = [name for name in top.names if PurePosixPath(name).suffix.lower() in TABLES]
    found = [(name, table(contents, contents.path_of(top, name))) for name in tables]
    # Its reader finds the only one there is.
    return [
        Found(each.kind, each.says, at=name if len(tables) > 1 else "", keys=each.keys) for name, each in found if each
    ]


def columns_advice(contents: Contents, name: str) -> str:
    """What the columns are, where none of them has a name that says enough."""
    columns = _columns(contents, name)
    if not columns:
        return f"{name} has no header with the columns' names"
    return (
        f"{name} has the columns {', '.join(columns)}: with `--kind manifest -S image=COLUMN -S target=COLUMN` say "
        "which holds an image's path and which its class"
    )


def table(contents: Contents, name: str) -> Found | None:
    if PurePosixPath(name).suffix.lower() == ".parquet":
        schema = _parquet_schema(contents, name)
        if schema is None:
            return None
        if _is_hugging_face(schema):
            return Found("huggingface", "Parquet of Hugging Face's `datasets`", keys=_features(schema))
        columns = schema.names
    else:
        columns = _columns(contents, name)
    image = next((column for column in IMAGE_COLUMNS if column in columns), None)
    target = next((column for column in TARGET_COLUMNS if column in columns), None)
    if image is None or (target is None and "mask" not in columns):
        return None
    keys = {} if image == "path" else {"image": image}
    if target is None:
        keys["mask"] = "mask"
    elif target != "target":
        keys["target"] = target
    what = f"{image!r} is the image, {target or 'mask'!r} the {'class' if target else 'mask'}"
    return Found("manifest", f"a table with a row an image: {what}", keys=keys)


def _columns(contents: Contents, name: str) -> list[str]:
    """The header's names; none where the first line is no header."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".parquet":
        schema = _parquet_schema(contents, name)
        return [] if schema is None else list(schema.names)
    with contents.open(name) as binary:
        line = binary.readline(_LINE).decode("utf-8-sig", errors="replace")
    rows = list(csv.reader([line], delimiter="\t" if suffix == ".tsv" else ","))
    return [column.strip() for column in rows[0]] if rows else []


def _parquet_schema(contents: Contents, name: str) -> pa.Schema | None:
    with contents.open(name) as binary:
        try:
            return pq.read_schema(binary)
        except (pa.ArrowInvalid, OSError):
            return None


# -- Hugging Face ----------------------------------------------------------------------------------------------------


def hugging_face(contents: Contents, top: Folder) -> list[Found]:
    """What `save_to_disk` writes, or Parquet files with `datasets`' own schema."""
    if "dataset_dict.json" in top.names or {"state.json", "dataset_info.json"} <= set(top.names):
        return [Found("huggingface", "saved by Hugging Face's `datasets`")]
    for folder in (top, top.folders.get("data")):
        parquet = [name for name in folder.names if name.endswith(".parquet")] if folder else []
        if not folder or not parquet:
            continue
        schema = _parquet_schema(contents, contents.path_of(folder, parquet[0]))
        if schema is not None and _is_hugging_face(schema):
            return [Found("huggingface", "Parquet files of Hugging Face's `datasets`", keys=_features(schema))]
    return []


def _is_hugging_face(schema: pa.Schema) -> bool:
    """`datasets` leaves its features in the metadata, and writes an image as a struct of bytes and path."""
    return b"huggingface" in (schema.metadata or {}) or _image_feature(schema) is not None


def _image_feature(schema: pa.Schema) -> str | None:
    for item in schema:
        if pa.types.is_struct(item.type) and {"bytes", "path"} <= {part.name for part in item.type}:
            return str(item.name)
    return None


def _features(schema: pa.Schema) -> dict[str, str]:
    image = _image_feature(schema)
    label = next((name for name in ("label", *TARGET_COLUMNS) if name in schema.names), None)
    keys = {} if image in (None, "image") else {"image": str(image)}
    return keys | ({"label": label} if label not in (None, "label") else {})
