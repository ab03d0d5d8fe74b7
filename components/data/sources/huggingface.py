"""A data set of Hugging Face's `datasets`: saved to disk, or Parquet files as on the hub. Never asks the hub.

Neither needs the library: what it writes says by itself what is in it. Images are taken as the bytes they are, not
decoded. Splits are the data set's own, by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components import texts
from components.artifacts import Split
from components.config import HuggingFaceSource
from components.data.errors import DataError
from components.data.sources.base import rows
from components.data.sources.base.faults import MANY, Fault, Faults, Kind, shown, some
from components.data.sources.base.form import SourceData, schema
from components.data.sources.layouts import huggingface as layouts
from components.data.sources.places import place
from components.data.sources.tables import arrow, parquet, plain_json
from components.data.sources.tables.parquet import holds_lists
from components.data.sources.tables.tabular import bytes_of, is_bytes

LAYOUTS = layouts.LAYOUTS

NO_CLASS = Kind("row", "rows", "with a class", "without one")
NO_BYTES = Kind(
    "row", "rows", "with their pictures' bytes (`datasets` saves them unless it is told otherwise)", "without"
)
_LARGEST_JSON = 2**24  # bytes: ImageNet's thousand names are 20 kB
_SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` writes
_BETWEEN = re.compile(r"[-._ 0-9/]+")  # what separates words in a file's name, as `datasets` sees it


@dataclass(frozen=True)
class Feature:
    """A column: how Arrow keeps it, and the names of its numbers where it is a `ClassLabel`, or a list of such."""

    kind: pa.DataType
    names: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return str(self.kind) if self.names is None else f"ClassLabel of {', '.join(map(texts.shown, self.names))}"


@dataclass(frozen=True)
class Part:
    """The rows of one split."""

    name: str  # what its ids start with
    published: Split | None
    features: Mapping[str, Feature]
    tables: Callable[[list[str]], Iterator[pa.Table]]  # of the columns that are named


def read(source: HuggingFaceSource, project: Path) -> SourceData:
    path = place.local(source, project)
    parts = (_saved if any((path / name).is_file() for name in _SAVED) else _parquet)(path, source.label)
    groups = rows.group_columns(parts[0].features, source.groups, str(path))
    for part in parts:
        _check(part, parts[0], [source.image, source.label, *groups.values()], source, path)
    classes, number = _classes(parts, source, path)
    faults = Faults(str(path), source.faulty)
    taken = faults.sound(_rows(parts, source, groups, number))
    names = tuple(sorted(groups))
    target = "labels" if holds_lists(parts[0].features[source.label].kind) else "class"
    return SourceData(classes, target, rows.tables(schema(target, names), taken), names, notes=faults.notes)


# -- where the rows are ----------------------------------------------------------------------------------------------


def _saved(path: Path, label: str) -> list[Part]:
    """What `save_to_disk` wrote: a `Dataset`, or a `DatasetDict` with a split a name."""
    path = path.resolve()
    if not (path / "dataset_dict.json").is_file():
        return [_saved_part(path, "row", None, label)]
    named = _json(path, "dataset_dict.json").get("splits")
    if not isinstance(named, list) or not named or not all(isinstance(name, str) for name in named):
        raise DataError(f"{path}/dataset_dict.json: expected a list of `splits`, received {shown(named)}")
    where = f"{path}/dataset_dict.json"
    return [_saved_part(rows.folder_inside(path, name, where), name, _saved_split(name, path), label) for name in named]


def _saved_split(name: str, path: Path) -> Split | None:
    found = rows.split_named(name)
    if found is None:
        raise DataError(
            f"{path}: expected splits of {', '.join(rows.SPLIT_NAMES)}, received {texts.exact(name)}; save the one "
            "that is meant under such a name, or give the folder of a single split, whose rows are then split anew"
        )
    return found


def _saved_part(folder: Path, name: str, published: Split | None, label: str) -> Part:
    """One `Dataset`: `state.json` names its files, `dataset_info.json` what is in them."""
    state = _json(folder, "state.json")
    listed = state.get("_data_files")
    names = [each.get("filename") if isinstance(each, dict) else None for each in listed or ()]
    if not isinstance(listed, list) or not names or not all(isinstance(each, str) for each in names):
        raise DataError(f"{folder}/state.json: expected a list of `_data_files`, received {shown(listed)}")
    if state.get("_indices_data_files"):
        raise DataError(f"{folder}: expected rows, received a selection of others; save it anew with `save_to_disk`")
    files = [rows.inside(folder, str(each), f"{folder}/state.json") for each in dict.fromkeys(names)]
    form = _agreed([(each, arrow.schema(each)) for each in files])
    about = _json(folder, "dataset_info.json").get("features")
    return Part(
        name,
        published,
        _features(form, about),
        lambda wanted: (table for file in files for table in arrow.parts(file, wanted, (label,))),
    )


def _json(folder: Path, name: str) -> dict[str, Any]:
    """One of the files that `save_to_disk` keeps about the data."""
    path = rows.inside(folder, name, f"{folder}")
    if path.stat().st_size > _LARGEST_JSON:
        raise DataError(f"{path}: expected at most {_LARGEST_JSON:,} bytes, received {path.stat().st_size:,}")
    found = plain_json.parsed(path.read_bytes(), f"{path}")
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected an object, received {shown(found)}")
    return found


def _parquet(path: Path, label: str) -> list[Part]:
    """Parquet files, the split being a word of a file's or folder's name (`data/train-00000-of-00002.parquet`)."""
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
            _described(_agreed([(each, parquet.schema(each)) for each in these])),
            lambda names, these=these: (table for file in these for table in parquet.parts(file, names, (label,))),  # type: ignore[misc]
        )
        for split, these in splits.items()
    ]


def _described(form: pa.Schema) -> dict[str, Feature]:
    """The features of a Parquet file: `datasets` leaves what its numbers are called in the metadata."""
    try:
        about = plain_json.parsed((form.metadata or {}).get(b"huggingface", b"{}"), "metadata")["info"]["features"]
    except (DataError, KeyError, TypeError):
        about = {}  # another program's
    return _features(form, about)


def _features(form: pa.Schema, about: Any) -> dict[str, Feature]:
    """How the columns are kept, and what is said about them."""
    names = {name: _names(each) for name, each in about.items()} if isinstance(about, dict) else {}
    return {item.name: Feature(item.type, names.get(item.name)) for item in form}


def _names(feature: Any) -> tuple[str, ...] | None:
    """Those of a `ClassLabel`, or of a list of such, as the metadata has it; None for any other feature."""
    if isinstance(feature, list) and len(feature) == 1:  # how older versions write a list
        return _names(feature[0])
    if isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List", "LargeList"):
        return _names(feature.get("feature"))
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _split(name: str, path: Path) -> Split | None:
    words = {rows.SPLIT_NAMES[word] for word in _BETWEEN.split(name.lower()) if word in rows.SPLIT_NAMES}
    if len(words) > 1:
        raise DataError(f"{path}: expected the name of one split in {name}, received {' and '.join(sorted(words))}")
    return next(iter(words), None)


def _agreed(forms: list[tuple[Path, pa.Schema]]) -> pa.Schema:
    """The schema of all the files, which must agree."""
    path, first = forms[0]
    for other, found in forms[1:]:
        if not found.equals(first):
            raise DataError(f"{other}: expected the columns of {path.name}, received {some(found.names, MANY)}")
    return first


# -- what the rows are -----------------------------------------------------------------------------------------------


def _check(part: Part, first: Part, names: list[str], source: HuggingFaceSource, path: Path) -> None:
    for key, name in (("image", source.image), ("label", source.label)):
        if name not in part.features:
            there = some(part.features, MANY)
            raise DataError(f"{path}: expected a feature {name!r} (source.{key}), received {there}")
    for name in names:
        if part.features.get(name) != first.features[name]:
            raise DataError(
                f"{path}: expected {name!r} to be the same in every split, received {first.features[name]} in "
                f"{first.name} and {part.features.get(name)} in {part.name}"
            )
    kind = part.features[source.image].kind
    if not is_bytes(kind):
        raise DataError(f"{path}: expected {source.image!r} to be an Image or bytes, received {kind}")


def _classes(parts: list[Part], source: HuggingFaceSource, path: Path) -> tuple[tuple[str, ...], dict[Any, int]]:
    """Class names, and the index of each value of the label."""
    feature = parts[0].features[source.label]
    if feature.names is not None:
        return feature.names, {index: index for index in range(len(feature.names))}
    kind = feature.kind.value_type if holds_lists(feature.kind) else feature.kind
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise DataError(
            f"{path}: expected {source.label!r} to be a ClassLabel, a text or a whole number, received {feature.kind}"
        )
    found = {value for part in parts for table in part.tables([source.label]) for value in _values(table)}
    named = {value: rows.text(value) for value in found}
    classes = rows.ordered(name for name in named.values() if name is not None)
    index = rows.numbers(classes)
    return classes, {value: index[name] for value, name in named.items() if name is not None}


def _values(table: pa.Table) -> list[Any]:
    column = table.column(0)
    if holds_lists(column.type):
        column = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
    values: list[Any] = column.unique().to_pylist()
    return values


def _rows(
    parts: list[Part], source: HuggingFaceSource, groups: dict[str, str], number: dict[Any, int]
) -> Iterator[dict[str, Any] | Fault]:
    names = list(dict.fromkeys([source.image, source.label, *groups.values()]))
    for part in parts:
        index = 0
        for table in part.tables(names):
            for values in table.to_pylist():
                yield _row(part, index, values, source, groups, number)
                index += 1


def _row(
    part: Part,
    index: int,
    values: dict[str, Any],
    source: HuggingFaceSource,
    groups: dict[str, str],
    number: dict[Any, int],
) -> dict[str, Any] | Fault:
    where = f"row {index}" if part.name == "row" else f"{part.name} row {index}"
    label = values[source.label]
    several = holds_lists(part.features[source.label].kind)
    for each in (label or ()) if several else (label,):
        if each not in number:
            return Fault(NO_CLASS, f"{where} has {shown(each)} in {source.label!r}")
    content = bytes_of(values[source.image])
    if content is None:
        named = values[source.image].get("path") if isinstance(values[source.image], dict) else None
        return Fault(NO_BYTES, f"{where} has {'nothing' if named is None else f'only its path, {shown(named)}'}")
    return {
        "id": f"{part.name}-{index:07d}",
        "image": content,
        "target": sorted({number[each] for each in label or ()}) if several else number[label],
        "published": part.published,
        **{group: _text(part.features[name], values[name]) for group, name in groups.items()},
    }


def _text(feature: Feature, value: Any) -> str | None:
    """A group's value: a ClassLabel's name, or the value itself."""
    if feature.names is not None and isinstance(value, int):
        return feature.names[value] if 0 <= value < len(feature.names) else None
    return rows.text(value)
