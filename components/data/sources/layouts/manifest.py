"""Tables with one row per image or text: which column names or holds it, where names lead, and what tells the class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from components.artifacts import Split
from components.data.errors import DataError
from components.data.sources.base.faults import some
from components.data.sources.base.formats import is_image
from components.data.sources.base.named_files import BASE64, Names, Way, no_name, way
from components.data.sources.base.rows import split_named
from components.data.sources.layouts.coco import is_coco
from components.data.sources.layouts.form import Found, Layout, Told, below, keys, split_in, splits_of
from components.data.sources.layouts.listing import Contents, Folder
from components.data.sources.tables import records, tabular
from components.data.sources.tables.labels import truth
from components.data.sources.tables.numbers import number
from components.data.sources.tables.parquet import holds_lists
from components.data.sources.tables.several import is_list
from components.data.sources.tables.spans import is_spans

SLIPS = 0.05  # share of the rows of one-hot columns that may be none, or several, before any number is what is meant
# What the columns of other people's tables are called, in small letters; the first that is there is meant.
IMAGES = (
    *("path", "image_path", "img_path", "filepath", "file_path", "filename", "file_name", "image", "file", "img"),
    *("image_id", "image_name", "id_code", "id", "fname", "name"),
)
TARGETS = (
    *("target", "label", "labels", "class", "class_name", "classname", "category", "species", "diagnosis", "breed"),
    *("choice", "label_name", "class_id", "category_name", "dx", "level", "tag", "y"),
    *("sentiment", "polarity", "intent", "topic"),
    *("tags", "categories", "topics", "genres", "keywords"),
)
TEXTS = (
    *(
        "text",
        "sentence",
        "review",
        "review_text",
        "reviewtext",
        "content",
        "comment",
        "comment_text",
        "tweet",
        "message",
    ),
    *("body", "document", "phrase", "utterance", "headline", "sms"),
)
NUMBERS = ("age", "count", "price", "score", "value", "angle", "weight", "height_cm", "pawpularity", "bone_age")
MASKS = ("mask", "mask_path", "mask_file", "mask_filename", "mask_name")
SPANS = ("spans", "entities", "ner", "ner_tags", "annotations", "tags", "labels", "label")
SPLITS = ("split", "set", "subset", "partition", "usage", "data_set", "dataset")
_CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"))
_BOXES = (*map(set, _CORNERS), {"bbox"}, {"bbox_x", "bbox_y"}, {"objects"})
_RUNS = {"encodedpixels", "rle", "rle_mask", "segmentation"}
_PIXEL = re.compile(r"pixel_?\d+|\d+x\d+")
_INDEX = re.compile(r"|index|unnamed: ?\d+|__index_level_\d+__")  # what pandas writes beside the columns
_ROWS = 1000  # that are looked at
_BETWEEN = (";", "|", ",")  # what may be between the labels of a cell, the surest first
_SURE = ";|"  # what hardly ever stands in a name
_OFTEN = 0.25  # share of the rows that hold several, of what may stand in one
_CELLS = 1_000_000  # of them, in tables of many columns
_ASKED = 12  # names whose files are looked for, from all over them


@dataclass(frozen=True)
class _Table:
    """A table as far as it has been looked at."""

    name: str  # below the contents' base
    form: pa.Schema
    rows: Sequence[Mapping[str, Any]]  # the first, of columns that are not bytes

    def named(self, words: Sequence[str]) -> list[str]:
        """The columns of these names, in this order, whatever their case."""
        lowered = {column.lower(): column for column in reversed(self.form.names)}
        return [lowered[word] for word in words if word in lowered]

    def texts(self, column: str) -> list[str]:
        return [str(row[column]) for row in self.rows if row.get(column) not in (None, "")]


def _manifest(contents: Contents, top: Folder) -> Iterator[Found | Told]:
    """Tables at the top, or one in each folder of a split; tables of one form, one a split, are one."""
    here = {
        name: f"{contents.path_of(top, name)}" for name in top.names if _is_table(contents, contents.path_of(top, name))
    }
    seen = {name: _seen(contents, path) for name, path in here.items()}
    found = {name: each for name, each in seen.items() if isinstance(each, Found)}
    of_splits = _by_split(found)
    if of_splits is not None:
        yield of_splits
    else:
        several = sum(PurePosixPath(name).suffix.lower() in tabular.SUFFIXES for name in top.names) > 1
        for name, each in found.items():
            says = f"{name}, {each.says}" if several else each.says
            yield Found("manifest", says, keys={"table": name, **each.keys} if several else each.keys)
    if found:
        return
    inner = {
        split: (folder, name, _seen(contents, contents.path_of(folder, name)))
        for split, folder in splits_of(top).items()
        for name in folder.names
        if _is_table(contents, contents.path_of(folder, name))
    }
    tables = {split: each for split, (_, _, each) in inner.items() if isinstance(each, Found)}
    if tables and _same(list(tables.values())):
        named = {split: f"{below(contents, top, inner[split][0])}/{inner[split][1]}" for split in tables}
        first = next(iter(tables.values()))
        yield Found("manifest", f"{first.says}, one table per split", keys={"table": named, **first.keys})
        return
    said = [*seen.values(), *(each for _, _, each in inner.values())]
    yield from islice((each for each in said if isinstance(each, Told)), 1)


def _by_split(found: Mapping[str, Found]) -> Found | None:
    """Tables that are one data set, one a split: `train.csv`, `val.csv`."""
    splits: dict[Split, str] = {}
    for name in found:
        split, _ = split_in(name)
        if split is None or split in splits:
            return None
        splits[split] = name
    if len(splits) < 2 or not _same(list(found.values())):
        return None
    first = next(iter(found.values()))
    return Found("manifest", f"{first.says}, one table per split", keys={"table": splits, **first.keys})


def _same(found: Sequence[Found]) -> bool:
    return all(each.keys == found[0].keys for each in found)


def _is_table(contents: Contents, name: str) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in tabular.SUFFIXES or "submission" in name.lower():  # what Kaggle wants back
        return False
    return suffix != ".json" or (not is_coco(contents, name) and _is_list(contents, name))


def _is_list(contents: Contents, name: str) -> bool:
    with contents.open(name) as binary:
        return records.begins_a_list(binary.read(64))


def _of_file(contents: Contents, name: str) -> Found | Told | None:
    return _seen(contents, name) if _is_table(contents, name) else None


def _seen(contents: Contents, name: str) -> Found | Told | None:
    """What one table is."""
    path = contents.base / name
    try:
        form = tabular.columns(path)
        small = [item.name for item in form if not tabular.is_bytes(item.type) and not pa.types.is_nested(item.type)]
        most = max(_ASKED, min(_ROWS, _CELLS // max(1, len(small))))
        table = _Table(name, form, tabular.head(path, small, most) if small else [])
    except DataError as error:
        return Told(str(error))
    return _something_else(contents, table) or _read_as(contents, table)


# -- what a row is ---------------------------------------------------------------------------------------------------


def _something_else(contents: Contents, table: _Table) -> Found | Told | None:
    """Tables whose rows are no pictures with a class each."""
    lowered = {column.lower() for column in table.form.names}
    if table.name.endswith(".json"):
        tasks = records.tasks(contents.base / table.name, _ROWS)
        drawn = sorted(set().union(*map(records.drawn, tasks))) if tasks else []
        if drawn:
            return Told(
                f"{table.name} is Label Studio's JSON with {some(drawn)}: export it anew as COCO, whose boxes and "
                "outlines "
                "are read (`with images`)"
            )
    if any(boxes <= lowered for boxes in _BOXES):
        return _boxed(contents, table, lowered) or Told(
            f"{table.name} has one box per row, and a picture may have several: export or convert it to COCO's JSON, "
            "whose boxes are cut out of their pictures"
        )
    if lowered & _RUNS and not any(column in MASKS for column in lowered):
        return Told(
            f"{table.name} has outlines in text ({', '.join(sorted(lowered & _RUNS))}): draw them as masks, PNGs "
            "whose pixels "
            "are numbers of classes, beside the pictures, or convert it to COCO's JSON"
        )
    pixels = [column for column in table.form.names if _PIXEL.fullmatch(column.lower())]
    if len(pixels) > 3 or "pixels" in lowered:
        return Told(
            f"{table.name} has the pixels themselves ({some(pixels or ['pixels'], 3)}): save them as NumPy arrays, "
            '`numpy.savez("data.npz", images=…, labels=…)` with images (N, H, W) of uint8'
        )
    lists = [item.name for item in table.form if pa.types.is_list(item.type) and item.name.lower() in IMAGES]
    if lists and not any(tabular.is_bytes(item.type) for item in table.form):
        return Told(
            f"{table.name} has pixels in lists ({lists[0]}: {table.form.field(lists[0]).type}), which say no "
            "height and "
            "width: save each picture as the bytes of a PNG, or all as NumPy arrays, "
            '`numpy.savez("data.npz", images=…, labels=…)`'
        )
    return None


def _boxed(contents: Contents, table: _Table, lowered: set[str]) -> Found | None:
    """Tables with one box per row, or a list of objects; None where that is not all they need to be read."""
    image = _image(contents, table)
    if image is None:
        return None
    if "objects" in lowered:
        (column,) = table.named(("objects",))
        if pa.types.is_nested(table.form.field(column).type):
            return None
        says = f"a table with one row per image: {image.column!r} is the image{image.note}, {column!r} its objects"
        return Found("manifest", says, keys={**image.keys, "objects": column})
    corners = next((each for each in _CORNERS if set(each) <= lowered), None)
    known = [column for column in table.named(TARGETS) if column != image.column]
    if corners is None or not known or image.held:
        return None
    split = next((each for each in table.named(SPLITS) if _are_splits(table.texts(each))), None)
    keys = {**image.keys, "box": table.named(corners), **_key("target", "target", known[0])}
    says = f"a table with one row per object: {image.column!r} is the image{image.note}, {known[0]!r} the class"
    return Found("manifest", says, keys=keys | ({"split": split} if split not in (None, "split") else {}))


def _read_as(contents: Contents, table: _Table) -> Found | Told | None:
    image = _image(contents, table)
    if image is None:
        return _texts_in(contents, table) or Told(columns_advice(table.name, table.form.names))
    rest = [column for column in table.form.names if column != image.column and not _INDEX.fullmatch(column.lower())]
    split = next((each for each in table.named(SPLITS) if _are_splits(table.texts(each))), None)
    rest = [column for column in rest if column != split and not column.startswith("group_")]
    target = _target(contents, table, image, rest)
    if target is None:
        return Told(columns_advice(table.name, table.form.names))
    used = {image.column, *(target.columns), *([split] if split else [])}
    left = [column for column in rest if column not in used and column not in ("id", "time")]
    found = {**image.keys, **target.keys, **({"split": split} if split not in (None, "split") else {})}
    if image.held and (named := next((each for each in table.named(IMAGES) if each in left), None)):
        found["id"] = named
        left.remove(named)
    spare = f"; not used: {some(left)}" if left else ""
    if split is None and not image.held and len(above := _splits_above(table, image.column)) > 1:
        spare += f"; the splits that paths begin with ({some(above)}) are not used: that takes a column of them"
    said = some([repr(column) for column in target.columns], 3)
    says = f"a table with one row per image: {image.column!r} is the image{image.note}, {said} the {target.what}{spare}"
    return Found("manifest", says, keys=found)


def _texts_in(contents: Contents, table: _Table) -> Found | None:
    """A table with one row per text, by the name of the column that holds it."""
    text = next((column for column in table.named(TEXTS) if _are_texts(table, column)), None)
    if text is None:
        return None
    split = next((each for each in table.named(SPLITS) if _are_splits(table.texts(each))), None)
    rest = [
        column
        for column in table.form.names
        if column not in (text, split) and not _INDEX.fullmatch(column.lower()) and not column.startswith("group_")
    ]
    target = _spans(table) or _target(contents, table, _Image(text, {}), rest)
    if target is None or target.what == "mask":
        return None
    names = next((each for each in table.named(("id",)) if len({*table.texts(each)}) == len(table.rows)), None)
    used = (*target.columns, names, "time")
    left = [column for column in rest if column not in used]
    found = {"text": text, **target.keys, **({"split": split} if split not in (None, "split") else {})}
    found |= {"id": names} if names else {}
    said = some([repr(column) for column in target.columns], 3)
    spare = f"; not used: {some(left)}" if left else ""
    says = f"a table with one row per text: {text!r} is the text, {said} the {target.what}{spare}"
    return Found("manifest", says, keys=found)


def _spans(table: _Table) -> _Target | None:
    """The column whose values are lists of entities as JSON, most of them at least."""
    for column in table.named(SPANS):
        values = table.texts(column)
        if 2 * sum(map(is_spans, values)) >= len(values) and {*values} - {"[]"}:
            return _Target((column,), "list of its entities", {"spans": column})
    return None


def _are_texts(table: _Table, column: str) -> bool:
    kind = table.form.field(column).type
    return (pa.types.is_string(kind) or pa.types.is_large_string(kind)) and bool(table.texts(column))


@dataclass(frozen=True)
class _Image:
    column: str
    keys: dict[str, Any]
    held: bool = False  # the pictures are in the table
    note: str = ""
    found: Way | None = None


@dataclass(frozen=True)
class _Target:
    columns: tuple[str, ...]
    what: str  # class, mask or number
    keys: dict[str, Any]


def _image(contents: Contents, table: _Table) -> _Image | None:
    """The column of bytes; else that whose values are names of files here; else one that is called so."""
    held = [item.name for item in table.form if tabular.is_bytes(item.type) and item.name.lower() not in MASKS]
    if held:
        column = next((each for each in table.named(IMAGES) if each in held), held[0])
        return _Image(column, _key("image", "path", column), held=True)
    named = table.named(IMAGES)
    others = [column for column in table.form.names if column not in named]
    folder = (contents.base / table.name).parent
    for column in [*named, *others]:
        values = _spread(table.texts(column))
        if not values or (column.lower() in (*MASKS, *TARGETS) and column not in named):
            continue
        base = _Image(column, _key("image", "path", column))
        if all(BASE64.match(value) for value in values):
            return _Image(column, base.keys | {"encoding": "base64"}, held=True, note=" in base64")
        if all(Names((folder,)).path(value) is not None for value in values):
            return base
        found = way(values, folder)
        if found is not None:
            where = f" (in {some(found.roots)})" if found.roots != ("",) else ""
            return _Image(column, base.keys | found.keys(), note=where, found=found)
    for column in named:  # its reader says what is missing
        values = table.texts(column)
        if any(is_image(value) or no_name(value) for value in values[:1]):
            return _Image(column, _key("image", "path", column))
    return None


def _target(contents: Contents, table: _Table, image: _Image, rest: Sequence[str]) -> _Target | None:
    known = [column for column in table.named(TARGETS) if column in rest]
    masks = [
        column
        for column in [*table.named(MASKS), *known]
        if column in rest and _is_mask(contents, table, image, column)
    ]
    if masks or (not known and (named := [column for column in table.named(MASKS) if column in rest])):
        column = (masks or named)[0]
        return _Target((column,), "mask", {"mask": column})
    measured = [column for column in known[:1] or rest if _are_measures(table, column)]
    if measured and (known or len(measured) == len(rest)):
        what = "number to be answered" if len(measured) == 1 else "numbers to be answered"
        return _Target(tuple(measured), what, {"numbers": dict.fromkeys(measured, "")})
    if known:
        return _named(table, known[0])
    marked = [column for column in rest if table.texts(column) and _are_marks(table.texts(column))]
    if len(marked) > 1:
        ones = [sum(bool(truth(row.get(column))) for column in marked) for row in table.rows]
        odd = sum(number != 1 for number in ones)
        if odd <= SLIPS * len(ones):  # a slip is told with its row, where the table is read as it is meant
            return _Target(tuple(marked), "classes, of which one is 1", {"target": marked})
        return _Target(tuple(marked), "labels, of which any number is 1", {"labels": marked})
    return _named(table, rest[0]) if len(rest) == 1 else None


def _named(table: _Table, column: str) -> _Target:
    """A column of classes, or of any number of labels a row: in lists, or with something between their names."""
    values = table.texts(column)
    if holds_lists(table.form.field(column).type) or (values and all(is_list(value.strip()) for value in values)):
        return _Target((column,), "labels, in lists", {"labels": column})
    between = next((each for each in _BETWEEN if _parts(values, each, sure=each in _SURE)), None)
    if between is not None:
        return _Target((column,), f"labels, {between!r} between them", {"labels": column, "separator": between})
    return _Target((column,), "class", _key("target", "target", column))


def _parts(values: Sequence[str], separator: str, *, sure: bool) -> bool:
    """Whether cells hold names that other cells have too.

    Of what is not `sure` they must be fewer than the cells there are, and every fourth row must hold several: else a
    cell with several is a slip of the pen, and told as such.
    """
    cells = {value.strip() for value in values}
    parts = [{part.strip() for part in cell.split(separator)} - {""} for cell in cells]
    if not any(len(each) > 1 for each in parts):
        return False
    counted = Counter(part for each in parts for part in each)
    again = any(counted[part] > 1 for each in parts if len(each) > 1 for part in each)
    often = sum(separator in value for value in values) >= _OFTEN * len(values)
    return again and (sure or (often and len(counted) < len(cells) and len({len(each) for each in parts}) > 1))


def _is_mask(contents: Contents, table: _Table, image: _Image, column: str) -> bool:
    if tabular.is_bytes(table.form.field(column).type):
        return True
    values = _spread(table.texts(column))
    if not values or not all(map(is_image, values)):
        return False
    folder = (contents.base / table.name).parent
    roots = image.found.roots if image.found else ("",)
    names = Names(tuple((folder / root).resolve() for root in roots), image.found.prefix if image.found else "")
    return all(names.path(value) is not None for value in values)


def _splits_above(table: _Table, column: str) -> list[str]:
    """The splits that all paths begin with."""
    first = dict.fromkeys(re.split(r"[\\/]", value.removeprefix("./"))[0] for value in table.texts(column))
    return list(first) if all(map(split_named, first)) else []


def _spread(values: Sequence[str]) -> Sequence[str]:
    return values[:: max(1, len(values) // _ASKED)]


def _are_marks(values: Sequence[str]) -> bool:
    return {value.strip() for value in values} <= {"0", "1", "0.0", "1.0"}


def _are_measures(table: _Table, column: str) -> bool:
    """Numbers of which some have fractions, or whose column is called after what is counted or measured."""
    found = [number(value) for value in table.texts(column)]
    if not found or None in found:
        return False
    return column.lower() in NUMBERS or any(value is not None and not value.is_integer() for value in found)


def _are_splits(values: Sequence[str]) -> bool:
    return bool(values) and all(split_named(value) for value in values)


def _key(key: str, usual: str, column: str) -> dict[str, Any]:
    return {} if column == usual else {key: column}


def columns_advice(name: str, columns: Sequence[str]) -> str:
    """What the columns are, where none of them has a name that says enough."""
    named = keys({"image": "COLUMN", "target": "COLUMN"}).replace("'", "")
    return (
        f"{name} has the columns {some(columns, 12) or '(none)'}: with `--kind manifest {named}` say which holds an "
        "image's path and which its class, or with `-S 'numbers={COLUMN: unit}'` which numbers are to be answered"
    )


LAYOUTS = (
    Layout(
        "`labels.csv`, `images/*.jpg`; ids without a suffix, pictures in `train/`; `;`, tabs, UTF-16",
        "Kaggle, spreadsheets, pandas",
        _manifest,
        _of_file,
    ),
    Layout("`reviews.csv`: a column `text`, `sentence` or `review`, one `label`", "Kaggle, Hugging Face"),
    Layout("`notes.jsonl`: a column `text`, one of `spans`, `entities` or `label`", "Doccano, Prodigy, spaCy"),
    Layout("`train/metadata.jsonl`, `train/*.png`", "Hugging Face (imagefolder)"),
    Layout("`train/_classes.csv`, `train/*.jpg`", "Roboflow (one-hot)"),
    Layout("`export.json`, `/data/upload/…`", "Label Studio (choices)"),
)
