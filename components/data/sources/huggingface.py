"""A data set of Hugging Face's `datasets`: saved to disk, or Parquet files as on the hub. Never asks the hub.

Images are taken as the bytes they are, not decoded. Splits are the data set's own, by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components import offered
from components.artifacts import Split
from components.config import HuggingFaceSource
from components.data.errors import DataError
from components.data.sources import boundary, parquet, place, rows
from components.data.sources.registry import BATCH_BYTES, BATCH_ROWS, SourceData, schema
from components.data.sources.tabular import bytes_of, is_bytes

_SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` writes
_BETWEEN = re.compile(r"[-._ 0-9/]+")  # what separates words in a file's name, as `datasets` sees it


@dataclass(frozen=True)
class Part:
    """The rows of one split."""

    name: str  # what its ids start with
    published: Split | None
    features: Any  # `datasets.Features`
    tables: Callable[[list[str]], Iterator[pa.Table]]  # of the columns that are named


def read(source: HuggingFaceSource, project: Path) -> SourceData:
    path = place.local(source, project)
    _library(path)
    parts = _saved(path) if any((path / name).is_file() for name in _SAVED) else _parquet(path)
    groups = rows.group_columns(parts[0].features, source.groups, str(path))
    for part in parts:
        _check(part, parts[0], [source.image, source.label, *groups.values()], source, path)
    classes, number = _classes(parts, source, path)
    taken = _rows(parts, source, groups, number, path)
    names = tuple(sorted(groups))
    return SourceData(classes, "class", rows.tables(schema("class", names), taken), names)


def _library(path: Path) -> Any:
    try:
        import datasets
    except ImportError:
        raise DataError(
            f"{path}: sources of kind huggingface need a package that is not installed: "
            f"`{offered.installing('huggingface')}`"
        ) from None
    return datasets


# -- where the rows are ----------------------------------------------------------------------------------------------


def _saved(path: Path) -> list[Part]:
    """What `save_to_disk` wrote: a `Dataset`, or a `DatasetDict` with a split a name."""
    library = _library(path)
    with boundary.reading(path, "what `save_to_disk` writes"):
        found = library.load_from_disk(str(path))
    if not isinstance(found, library.DatasetDict):
        return [Part("row", None, found.features, lambda names: _mapped(found, names))]
    return [
        Part(
            split,
            rows.published(split, f"{path}: split {split}"),
            each.features,
            lambda names, each=each: _mapped(each, names),  # type: ignore[misc]
        )
        for split, each in found.items()
    ]


def _mapped(dataset: Any, names: list[str]) -> Iterator[pa.Table]:
    """Arrow tables of a data set that `datasets` maps into memory."""
    step = max(1, min(BATCH_ROWS, BATCH_BYTES * len(dataset) // max(1, dataset.data.nbytes)))
    yield from dataset.select_columns(names).with_format("arrow").iter(batch_size=step)


def _parquet(path: Path) -> list[Part]:
    """Parquet files, the split being a word of a file's or folder's name (`data/train-00000-of-00002.parquet`)."""
    library = _library(path)
    found = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    files = [each for each in found if not any(map(rows.is_leftover, each.relative_to(path).parts))]
    if not files or any(each.suffix != ".parquet" for each in files):
        raise DataError(f"{path}: expected what `save_to_disk` writes, or .parquet files, received neither")
    splits: dict[Split | None, list[Path]] = {}
    for each in files:
        name = (
            each.name
            if path.is_file()
            else rows.inside(path, each.relative_to(path).as_posix(), str(path)).relative_to(path).as_posix()
        )
        splits.setdefault(_split(name, each), []).append(each)
    if None in splits and len(splits) > 1:
        raise DataError(
            f"{splits[None][0]}: expected the name of a split ({', '.join(rows.SPLIT_NAMES)}) in the file's name, as "
            "others have one; rename it, or name the folder that is meant"
        )
    return [
        Part(
            split or "row",
            split,
            library.Features.from_arrow_schema(_parquet_schema(some)),
            lambda names, some=some: (table for file in some for table in parquet.parts(file, names)),  # type: ignore[misc]
        )
        for split, some in splits.items()
    ]


def _split(name: str, path: Path) -> Split | None:
    words = {rows.SPLIT_NAMES[word] for word in _BETWEEN.split(name.lower()) if word in rows.SPLIT_NAMES}
    if len(words) > 1:
        raise DataError(f"{path}: expected the name of one split in {name}, received {' and '.join(sorted(words))}")
    return next(iter(words), None)


def _parquet_schema(files: list[Path]) -> pa.Schema:
    """Of all the files, which must agree."""
    first = None
    for path in files:
        found = parquet.schema(path)
        if first is not None and not found.equals(first):
            raise DataError(f"{path}: expected the columns of {files[0].name}, received {', '.join(found.names)}")
        first = first or found
    return first


# -- what the rows are -----------------------------------------------------------------------------------------------


def _check(part: Part, first: Part, names: list[str], source: HuggingFaceSource, path: Path) -> None:
    for key, name in (("image", source.image), ("label", source.label)):
        if name not in part.features:
            there = ", ".join(part.features)
            raise DataError(f"{path}: expected a feature {name!r} (source.{key}), received {there}")
    for name in names:
        if part.features.get(name) != first.features[name]:
            raise DataError(
                f"{path}: expected {name!r} to be the same in every split, received {first.features[name]} in "
                f"{first.name} and {part.features.get(name)} in {part.name}"
            )
    kind = part.features.arrow_schema.field(source.image).type
    if not is_bytes(kind):
        raise DataError(f"{path}: expected {source.image!r} to be an Image or bytes, received {kind}")


def _classes(parts: list[Part], source: HuggingFaceSource, path: Path) -> tuple[tuple[str, ...], dict[Any, int]]:
    """Class names, and the index of each value of the label."""
    feature = parts[0].features[source.label]
    if hasattr(feature, "int2str"):  # ClassLabel
        names = tuple(feature.names)
        return names, {index: index for index in range(len(names))}
    kind = parts[0].features.arrow_schema.field(source.label).type
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise DataError(
            f"{path}: expected {source.label!r} to be a ClassLabel, a text or a whole number, received {kind}"
        )
    found = {value for part in parts for table in part.tables([source.label]) for value in _values(table)}
    texts = {value: rows.text(value) for value in found}
    classes = rows.ordered(name for name in texts.values() if name is not None)
    index = rows.numbers(classes)
    return classes, {value: index[name] for value, name in texts.items() if name is not None}


def _values(table: pa.Table) -> list[Any]:
    values: list[Any] = table.column(0).unique().to_pylist()
    return values


def _rows(
    parts: list[Part], source: HuggingFaceSource, groups: dict[str, str], number: dict[Any, int], path: Path
) -> Iterator[dict[str, Any]]:
    names = list(dict.fromkeys([source.image, source.label, *groups.values()]))
    for part in parts:
        index = 0
        for table in part.tables(names):
            for values in table.to_pylist():
                where = f"{path}: {part.name} row {index}"
                if values[source.label] not in number:
                    raise DataError(
                        f"{where}: expected a class in {source.label!r}, received {values[source.label]}; "
                        "rows without a label (-1) cannot be used: remove them, or the split"
                    )
                yield {
                    "id": f"{part.name}-{index:07d}",
                    "image": _image(values[source.image], where),
                    "target": number[values[source.label]],
                    "published": part.published,
                    **{group: _text(part.features[name], values[name]) for group, name in groups.items()},
                }
                index += 1


def _image(value: Any, where: str) -> bytes:
    content = bytes_of(value)
    if content is None:
        named = value.get("path") if isinstance(value, dict) else None
        received = "nothing" if named is None else f"only its path, {named}"
        raise DataError(
            f"{where}: expected the image's bytes, received {received}; "
            "save the data set with its images in it (`datasets` does so unless it is told otherwise)"
        )
    return content


def _text(feature: Any, value: Any) -> str | None:
    """A group's value: a ClassLabel's name, or the value itself."""
    if hasattr(feature, "int2str") and value is not None:
        return str(feature.int2str(value)) if value >= 0 else None
    return rows.text(value)
