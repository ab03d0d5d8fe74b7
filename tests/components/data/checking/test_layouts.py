"""Layouts as other people's tools leave them: each is read as meant, or told apart with the way on.

The pictures of a class are of one brightness, so that what is read can be held against what was meant.
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.config import parse_entry
from components.data.checking.detect import choose
from components.data.errors import DataError
from components.data.sources import registry
from components.data.sources.base.form import SourceData
from components.data.sources.layouts.form import Layout
from tests.components.data.sources.source_builders import idx_bytes

CLASSES = ("cat", "dog")
BRIGHT = {"cat": 40, "dog": 200}
EACH = 2  # samples per class
NUMBERS = range(EACH * len(CLASSES))


def label(number: int) -> str:
    return CLASSES[number % 2]


def pixels(number: int) -> Any:
    """`(8, 10)` around its class's brightness; no two alike."""
    random = np.random.default_rng([5, number])
    return (BRIGHT[label(number)] + random.integers(-9, 10, (8, 10))).astype(np.uint8)


def content(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(number)).save(file, "PNG")
    return file.getvalue()


def put(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content(number))
    return path


def table(path: Path, columns: list[str], rows: list[list[Any]], delimiter: str = ",", encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([columns, *rows])


def read(path: Path, **keys: Any) -> tuple[SourceData, list[dict[str, Any]]]:
    """What is recognised at a path, read by its source; as the command does with further keys."""
    section = {**choose({"path": str(path), **keys}, path.parent).source, **keys}
    entry = {"task": "", "source": section, "image": {"height": 8, "width": 10, "channels": 1}}
    data = registry.read(parse_entry("found", entry).source, path.parent)
    return data, [row for part in data.tables for row in part.to_pylist()]


def refused(path: Path, **keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(path, **keys)
    said = str(caught.value)
    assert "have no labels" not in said and "0x" not in said and len(said) < 900
    return said


def check(
    path: Path, splits: dict[str | None, int] | None = None, classes: tuple[str, ...] = CLASSES, **keys: Any
) -> None:
    """Every picture has the class that its brightness says, and all are there."""
    data, rows = read(path, **keys)
    assert data.classes == classes
    for row in rows:
        bright = np.asarray(Image.open(io.BytesIO(row["image"])).convert("L")).mean()
        assert abs(bright - BRIGHT[CLASSES[row["target"]]]) < 15, row["id"]
    found: dict[str | None, int] = {}
    for row in rows:
        found[row["published"]] = found.get(row["published"], 0) + 1
    assert found == (splits or {None: len(NUMBERS)})
    assert len({row["id"] for row in rows}) == len(rows)


# -- folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("train", "valid", "test"),
        ("Train", "VAL", "Testing"),
        ("training", "validation", "test"),
        ("training_set", "dev_set", "test_set"),
    ],
)
@pytest.mark.parametrize("above", [True, False])
def test_splits_are_known_by_their_names_above_and_below_the_classes(
    tmp_path: Path, names: tuple[str, ...], above: bool
) -> None:
    for at, split in enumerate(names):
        for number in NUMBERS:
            place = Path(split, label(number)) if above else Path(label(number), split)
            put(tmp_path / "set" / place / f"{at}-{number}.png", number)
    check(tmp_path / "set", {"train": 4, "validation": 4, "test": 4})


def test_leftovers_of_macos_are_no_class(tmp_path: Path) -> None:
    for number in NUMBERS:
        put(tmp_path / "set" / label(number) / f"{number}.png", number)
        put(tmp_path / "set" / "__MACOSX" / label(number) / f"._{number}.png", number)
    check(tmp_path / "set")


def test_what_has_no_pictures_or_no_classes_is_left_out_and_said(tmp_path: Path) -> None:
    for number in NUMBERS:
        put(tmp_path / "plain" / label(number) / f"{number}.png", number)
        put(tmp_path / "kaggle" / "train" / label(number) / f"{number}.png", number)
        put(tmp_path / "kaggle" / "test" / f"{number}.png", number)
    (tmp_path / "plain" / "runs" / "exp").mkdir(parents=True)
    (tmp_path / "plain" / "runs" / "exp" / "weights.pt").write_bytes(b"x")
    found = choose({"path": str(tmp_path / "plain")}, tmp_path)
    assert found.source["without"] == ["runs"] and "runs has no pictures and is left out" in found.says
    check(tmp_path / "plain")
    assert "left out: the folder 'runs' (`without`)" in read(tmp_path / "plain")[0].notes()
    assert "test has pictures without a class" in choose({"path": str(tmp_path / "kaggle")}, tmp_path).says
    check(tmp_path / "kaggle", {"train": 4})


def test_folders_within_classes_are_asked_about_and_can_be_joined(tmp_path: Path) -> None:
    for number in NUMBERS:
        put(tmp_path / "set" / label(number) / f"day{number // 2}" / f"{number}.png", number)
    said = refused(tmp_path / "set")
    assert "--kind folder -S 'nested=join'" in said and "can be read: folder" not in said
    source = {"kind": "folder", "path": str(tmp_path / "set"), "nested": "join"}
    data = registry.read(parse_entry("x", {"task": "", "source": source, "image": IMAGE}).source, tmp_path)
    rows = [row for part in data.tables for row in part.to_pylist()]
    assert data.classes == CLASSES
    assert {row["id"]: row["group_folder"] for row in rows}["dog/day1/3.png"] == "day1"


def test_classes_in_the_names_of_pictures_are_told(tmp_path: Path) -> None:
    for number in range(12):
        put(tmp_path / "set" / f"{label(number)}.{number}.jpg", number)
    assert "begin with their classes (cat, dog)" in refused(tmp_path / "set")


def test_a_picture_beside_the_classes_and_a_folder_beside_the_splits_are_told(tmp_path: Path) -> None:
    for number in NUMBERS:
        put(tmp_path / "loose" / label(number) / f"{number}.png", number)
        for folder in ("train", "test", "pred"):
            put(tmp_path / "more" / folder / label(number) / f"{number}.png", number)
    put(tmp_path / "loose" / "sample.png", 0)
    assert "pictures lie beside the folders of classes (cat, dog), 1 of them" in refused(tmp_path / "loose")
    said = refused(tmp_path / "more")
    assert "pred lies beside the splits" in said and "--kind folder -S 'without=[pred]'" in said
    check(tmp_path / "more", {"train": 4, "test": 4}, kind="folder", without=["pred"])


# -- tables ----------------------------------------------------------------------------------------------------------

IMAGE = {"height": 8, "width": 10, "channels": 1}


def pictures(base: Path, name: str = "{}.png") -> list[str]:
    names = [name.format(number) for number in NUMBERS]
    for number, each in enumerate(names):
        put(base / each, number)
    return names


def ids_without_suffix(base: Path) -> None:
    pictures(base, "train/{:03d}f.png")
    put(base / "test" / "900f.png", 0)
    table(base / "labels.csv", ["id", "breed"], [[f"{number:03d}f", label(number)] for number in NUMBERS])
    table(base / "sample_submission.csv", ["id", *CLASSES], [["900f", 0.5, 0.5]])


def pictures_in_two_folders(base: Path) -> None:
    for number in NUMBERS:
        put(base / f"part_{number % 2}" / f"im{number}.png", number)
    table(base / "meta.csv", ["image_id", "dx", "age"], [[f"im{number}", label(number), 50] for number in NUMBERS])


def paths_of_another_machine(base: Path) -> None:
    pictures(base, "images/{}.png")
    table(base / "l.csv", ["filename", "label"], [[f"/kaggle/input/x/images/{n}.png", label(n)] for n in NUMBERS])


def paths_of_windows(base: Path) -> None:
    pictures(base, "images/{}.png")
    table(base / "l.csv", ["file", "class"], [[f"C:\\Users\\me\\images\\{n}.png", label(n)] for n in NUMBERS])


def paths_from_above(base: Path) -> None:
    pictures(base, "images/{}.png")
    table(base / "l.csv", ["path", "class"], [[f"../data/images/{n}.png", label(n)] for n in NUMBERS])


def paths_that_lie_elsewhere(base: Path) -> None:
    elsewhere = base.parent / "elsewhere"
    pictures(elsewhere)
    table(base / "l.csv", ["path", "target"], [[elsewhere / f"{number}.png", label(number)] for number in NUMBERS])


def backslashes(base: Path) -> None:
    pictures(base, "images/{}.png")
    table(base / "l.csv", ["path", "target"], [[f"images\\{number}.png", label(number)] for number in NUMBERS])


def another_unicode(base: Path) -> None:
    pictures(base, unicodedata.normalize("NFC", "grün-{}.png"))
    rows = [[unicodedata.normalize("NFD", f"grün-{number}.png"), label(number)] for number in NUMBERS]
    table(base / "l.csv", ["path", "target"], rows)


def semicolons(base: Path) -> None:
    table(base / "l.csv", ["path", "target"], [[n, label(i)] for i, n in enumerate(pictures(base))], ";")


def tabs_in_utf_16(base: Path) -> None:
    table(base / "l.csv", ["path", "target"], [[n, label(i)] for i, n in enumerate(pictures(base))], "\t", "utf-16")


def a_byte_order_mark(base: Path) -> None:
    table(base / "l.csv", ["path", "target"], [[n, label(i)] for i, n in enumerate(pictures(base))], ",", "utf-8-sig")


def blanks_behind_commas(base: Path) -> None:
    lines = ["path, target", *(f'{name}, "{label(number)}"' for number, name in enumerate(pictures(base)))]
    (base / "l.csv").write_text("\n".join(lines) + "\n")


def excel_s_first_line(base: Path) -> None:
    lines = ["sep=;", "path;target", *(f"{name};{label(number)}" for number, name in enumerate(pictures(base)))]
    (base / "l.csv").write_text("\r\n".join(lines))


def a_column_a_class(base: Path) -> None:
    rows = [[name, number % 2 ^ 1, number % 2] for number, name in enumerate(pictures(base))]
    table(base / "l.csv", ["path", *CLASSES], rows)


def in_base64(base: Path) -> None:
    rows = [[base64.b64encode(content(number)).decode(), label(number)] for number in NUMBERS]
    table(base / "l.csv", ["image", "label"], rows)


def an_index_of_pandas(base: Path) -> None:
    rows = [[number, name, label(number)] for number, name in enumerate(pictures(base))]
    table(base / "l.csv", ["", "path", "what it is"], rows)


def json_min(base: Path) -> None:
    names = pictures(base, "upload/{}.png")
    tasks = [{"image": f"/data/{name}", "choice": label(n), "id": n} for n, name in enumerate(names)]
    (base / "export.json").write_text(json.dumps(tasks))


def label_studio(base: Path) -> None:
    pictures(base, "pictures/8a2d{}-x.png")
    tasks = [
        {
            "id": number,
            "data": {"image": f"/data/upload/1/8a2d{number}-x.png"},
            "annotations": [
                {"was_cancelled": False,
                 "result": [{"type": "choices", "from_name": "choice", "value": {"choices": [label(number)]}}]}
            ],
        }
        for number in NUMBERS
    ]  # fmt: skip
    (base / "export.json").write_text(json.dumps(tasks))


def bytes_beside_names(base: Path) -> None:
    base.mkdir()
    columns = {
        "filename": [f"{number}.png" for number in NUMBERS],
        "image": [content(number) for number in NUMBERS],
        "label": [label(number) for number in NUMBERS],
    }
    pq.write_table(pa.table(columns), base / "t.parquet")


def bytes_without_the_library(base: Path) -> None:
    base.mkdir()
    images = [{"bytes": content(number), "path": None} for number in NUMBERS]
    features = {"label": {"names": list(CLASSES), "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    about = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    whole = pa.table({"image": images, "label": [number % 2 for number in NUMBERS]})
    pq.write_table(whole.replace_schema_metadata(about), base / "all.parquet")


@pytest.mark.parametrize(
    "build",
    [
        *(ids_without_suffix, pictures_in_two_folders, paths_of_another_machine, paths_of_windows, paths_from_above),
        paths_that_lie_elsewhere,
        *(backslashes, another_unicode, semicolons, tabs_in_utf_16, a_byte_order_mark, blanks_behind_commas),
        *(excel_s_first_line, a_column_a_class, in_base64, an_index_of_pandas, json_min, label_studio),
        *(bytes_beside_names, bytes_without_the_library),
    ],
)
def test_a_table_is_read_as_it_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Callable[[Path], None]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)  # as if it was not installed
    build(tmp_path / "set")
    check(tmp_path / "set", **({"kind": "manifest"} if build is pictures_in_two_folders else {}))


def _measured(base: Path, columns: list[str], values: Callable[[int], list[Any]]) -> None:
    for number in NUMBERS:
        put(base / "pictures" / f"{number}.png", number)
    table(base / "list.csv", ["image", *columns], [[f"pictures/{n}.png", *values(n)] for n in NUMBERS])


@pytest.mark.parametrize(
    ("columns", "values", "numbers"),
    [
        (["price"], lambda n: [n], ["price"]),  # a name that only numbers have
        (["y"], lambda n: [n + 0.5], ["y"]),  # fractions
        (["target", "site"], lambda n: [n / 3, "north"], ["target"]),
        (["left_eye", "right_eye"], lambda n: [n + 0.25, -n - 0.5], ["left_eye", "right_eye"]),
    ],
)
def test_numbers_to_be_answered_are_told_from_classes(
    tmp_path: Path, columns: list[str], values: Callable[[int], list[Any]], numbers: list[str]
) -> None:
    _measured(tmp_path / "set", columns, values)
    data, rows = read(tmp_path / "set")
    assert (data.target, list(data.about["names"])) == ("values", numbers)
    assert [row["target"] for row in rows] == [pytest.approx(values(n)[: len(numbers)]) for n in NUMBERS]


@pytest.mark.parametrize("column", ["class", "label", "kind"])
def test_whole_numbers_stay_classes(tmp_path: Path, column: str) -> None:
    _measured(tmp_path / "set", [column], lambda n: [n % 2])
    data, _ = read(tmp_path / "set")
    assert (data.target, data.classes) == ("class", ("0", "1"))


def a_table_a_split(base: Path, name: str, write: Callable[[Path, list[int]], None]) -> None:
    for at, split in enumerate(("train", "valid", "test")):
        numbers = [number + 10 * at for number in NUMBERS]
        for number in numbers:
            put(base / split / f"{number}.png", number)
        write(base / split / name, numbers)


def test_roboflow_s_column_a_class_is_read_in_its_splits(tmp_path: Path) -> None:
    def write(path: Path, numbers: list[int]) -> None:
        lines = ["filename, cat, dog", *(f"{n}.png, {n % 2 ^ 1}, {n % 2}" for n in numbers)]
        path.write_text("\n".join(lines))

    a_table_a_split(tmp_path / "set", "_classes.csv", write)
    check(tmp_path / "set", {"train": 4, "validation": 4, "test": 4})


def test_hugging_face_s_metadata_is_read_in_its_splits(tmp_path: Path) -> None:
    def write(path: Path, numbers: list[int]) -> None:
        lines = [json.dumps({"file_name": f"{n}.png", "label": label(n), "note": None}) for n in numbers]
        path.write_text("\n".join(lines))

    a_table_a_split(tmp_path / "set", "metadata.jsonl", write)
    found = choose({"path": str(tmp_path / "set")}, tmp_path)
    assert found.source["table"]["validation"] == "valid/metadata.jsonl" and "not used: note" in found.says
    check(tmp_path / "set", {"train": 4, "validation": 4, "test": 4})


def test_a_table_a_split_beside_each_other(tmp_path: Path) -> None:
    base = tmp_path / "set"
    names = pictures(base, "images/{}.png")
    for split, some in (("train", [0, 1]), ("val", [2, 3])):
        table(base / f"{split}.csv", ["path", "target"], [[names[number], label(number)] for number in some])
    check(base, {"train": 2, "validation": 2})


def test_a_split_column_is_known_by_its_words(tmp_path: Path) -> None:
    words = ["Training", "Training", "PublicTest", "valid"]
    rows = [[name, label(number), words[number]] for number, name in enumerate(pictures(tmp_path / "set"))]
    table(tmp_path / "set" / "l.csv", ["path", "label", "Usage"], rows)
    assert "not used: Usage" in choose({"path": str(tmp_path / "set")}, tmp_path).says  # one word is none of a split's
    table(
        tmp_path / "set" / "l.csv",
        ["path", "label", "Usage"],
        [[*row[:2], row[2].replace("Public", "")] for row in rows],
    )
    check(tmp_path / "set", {"train": 2, "test": 1, "validation": 1})


def a_box_a_row(base: Path) -> None:
    rows = [[name, label(n), 1, 1, 5, 5] for n, name in enumerate(pictures(base))]
    table(base / "_annotations.csv", ["filename", "class", "xmin", "ymin", "xmax", "ymax"], rows)


def a_box_without_a_class(base: Path) -> None:
    rows = [[name, 1, 1, 5, 5] for name in pictures(base)]
    table(base / "_annotations.csv", ["filename", "xmin", "ymin", "xmax", "ymax"], rows)


def lists_of_objects(base: Path) -> None:
    for n, name in enumerate(pictures(base)):
        line = {"file_name": name, "objects": {"bbox": [[1, 1, 4, 4]], "categories": [label(n)]}}
        with (base / "metadata.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


@pytest.mark.parametrize("build", [a_box_a_row, lists_of_objects])
def test_tables_of_boxes_are_read_as_they_are(tmp_path: Path, build: Callable[[Path], None]) -> None:
    build(tmp_path / "set")
    data, rows = read(tmp_path / "set")
    assert (data.target, data.classes, len(rows)) == ("boxes", CLASSES, len(NUMBERS))
    for row in rows:
        ((number, *sides),) = [
            [each[key] for key in ("label", "left", "top", "right", "bottom")] for each in row["target"]
        ]
        bright = np.asarray(Image.open(io.BytesIO(row["image"])).convert("L")).mean()
        assert sides == [1, 1, 5, 5] and abs(bright - BRIGHT[CLASSES[number]]) < 15


def run_lengths(base: Path) -> None:
    table(base / "train.csv", ["ImageId", "EncodedPixels"], [[name, "1 3"] for name in pictures(base)])


def pixels_in_columns(base: Path) -> None:
    table(base / "train.csv", ["label", *(f"pixel{n}" for n in range(16))], [[1, *range(16)]])


def pixels_in_lists(base: Path) -> None:
    base.mkdir()
    lists = pa.array([pixels(number).ravel().tolist() for number in NUMBERS], pa.list_(pa.uint8()))
    pq.write_table(pa.table({"image": lists, "label": [label(number) for number in NUMBERS]}), base / "t.parquet")


def addresses(base: Path) -> None:
    table(base / "t.csv", ["image", "label"], [[f"https://example.org/{n}.jpg", label(n)] for n in NUMBERS])


def literals(base: Path) -> None:
    table(base / "t.csv", ["image", "label"], [[repr(content(n)), label(n)] for n in NUMBERS])


def latin_letters(base: Path) -> None:
    rows = [[name, "Käfer"] for name in pictures(base)]
    table(base / "t.csv", ["path", "target"], rows, encoding="latin-1")


def two_labels_a_picture(base: Path) -> None:
    rows = [[name, label(n)] for n, name in enumerate(pictures(base))]
    table(base / "t.csv", ["path", "target"], [*rows, ["0.png", "dog"]])


def several_columns_marked(base: Path) -> None:
    table(base / "t.csv", ["path", *CLASSES], [[name, 1, n % 2] for n, name in enumerate(pictures(base))])


def another_case(base: Path) -> None:
    table(base / "t.csv", ["path", "target"], [[name.upper(), label(n)] for n, name in enumerate(pictures(base))])


def label_studio_s_boxes(base: Path) -> None:
    results = [{"type": "rectanglelabels", "from_name": "l", "value": {"x": 1, "rectanglelabels": ["cat"]}}]
    tasks = [
        {"id": n, "data": {"image": f"/data/upload/{n}.png"}, "annotations": [{"result": results}]} for n in NUMBERS
    ]
    pictures(base, "upload/{}.png")
    (base / "export.json").write_text(json.dumps(tasks))


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (a_box_without_a_class, ["_annotations.csv has one box per row", "COCO's JSON"]),
        (run_lengths, ["outlines in text (encodedpixels)", "masks"]),
        (pixels_in_columns, ["pixel0, pixel1, pixel2, … 13 more", "numpy.savez"]),
        (pixels_in_lists, ["t.parquet has pixels in lists (image: list<", "PNG"]),
        (addresses, ["t.csv, row 1", "https://example.org/0.jpg", "addresses are not fetched"]),
        (literals, ["t.csv, row 1", "Python's notation of bytes", "Parquet"]),
        (latin_letters, ["t.csv: expected a table in UTF-8 or UTF-16", "iconv -f WINDOWS-1252 -t UTF-8"]),
        (two_labels_a_picture, ["row 5 is 0.png again, as row 1, and 'dog' instead of 'cat'", "faulty: skip"]),
        (another_case, ["0.PNG, received none; there is '0.png', and case counts"]),
        (label_studio_s_boxes, ["Label Studio's JSON with rectanglelabels", "export it anew as COCO"]),
    ],
)
def test_a_table_that_is_not_read_says_why_and_what_to_do(
    tmp_path: Path, build: Callable[[Path], None], says: list[str]
) -> None:
    build(tmp_path / "set")
    said = refused(tmp_path / "set")
    for each in says:
        assert each in said


def test_columns_of_which_several_are_one_are_labels_and_refused_as_one_class(tmp_path: Path) -> None:
    several_columns_marked(tmp_path / "set")
    data, rows = read(tmp_path / "set")
    assert data.target == "labels" and [row["target"] for row in rows[:2]] == [[0], [0, 1]]
    said = refused(tmp_path / "set", target=list(CLASSES), labels=None)
    assert "received 2 in which several are, or none: row 2 is 'cat' and 'dog'" in said and "faulty: skip" in said


def test_rows_that_cannot_be_used_are_left_out_and_counted(tmp_path: Path) -> None:
    two_labels_a_picture(tmp_path / "set")
    data, rows = read(tmp_path / "set", faulty="skip")
    assert [row["id"] for row in rows] == ["1.png", "2.png", "3.png"]  # nobody knows what 0.png is
    assert "left out: 2 rows whose picture another row has too" in data.notes()[0]
    (tmp_path / "set" / "3.png").unlink()
    data, rows = read(tmp_path / "set", faulty="skip")
    assert [row["id"] for row in rows] == ["1.png", "2.png"]


# -- arrays ----------------------------------------------------------------------------------------------------------


def arrays(path: Path, names: dict[str, tuple[str, str]], shape: Callable[[Any], Any]) -> Path:
    found = {}
    for images, labels in names.values():
        found[images] = np.stack([pixels(number) for number in NUMBERS])
        found[labels] = shape(np.array([number % 2 for number in NUMBERS]))
    np.savez(path, **found)
    return path


@pytest.mark.parametrize(
    "names",
    [
        {s: (f"{s}_images", f"{s}_labels") for s in ("train", "val", "test")},  # MedMNIST
        {s: (f"x_{s}", f"y_{s}") for s in ("train", "val", "test")},  # Keras
    ],
)
@pytest.mark.parametrize(
    "shape", [lambda y: y, lambda y: y[:, None], lambda y: np.eye(2)[y], lambda y: y.astype(float)]
)
def test_arrays_of_splits_are_read_whatever_their_labels_shape(
    tmp_path: Path, names: dict[str, tuple[str, str]], shape: Callable[[Any], Any]
) -> None:
    path = arrays(tmp_path / "set.npz", names, shape)
    check(path, {"train": 4, "validation": 4, "test": 4}, ("0", "1"))


def test_labels_of_one_column_go_with_images(tmp_path: Path) -> None:
    check(arrays(tmp_path / "set.npz", {"": ("X", "y")}, lambda y: y[:, None]), classes=("0", "1"))


def test_arrays_without_a_clear_name_are_listed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.zeros((4, 8, 8), np.uint8), b=np.zeros((4, 8, 8), np.uint8))
    assert "the arrays a uint8 4×8×8, b uint8 4×8×8: with `--kind arrays" in refused(tmp_path / "a.npz")


@pytest.mark.parametrize("names", [None, ["cat", "dog"]])
def test_idx_labels_may_be_numbered_from_1(tmp_path: Path, names: list[str] | None) -> None:
    (tmp_path / "set").mkdir()
    for kind, values in (
        ("images-idx3", np.stack([pixels(number) for number in NUMBERS])),
        ("labels-idx1", np.array([number % 2 + 1 for number in NUMBERS], np.uint8)),
    ):
        (tmp_path / "set" / f"emnist-letters-train-{kind}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(values)))
    check(tmp_path / "set", classes=tuple(names or ("1", "2")), **({"names": names} if names else {}))


# -- objects ---------------------------------------------------------------------------------------------------------


def scene(path: Path, number: int) -> Path:
    """`(20, 30)` of one brightness, with its class's in a box of 10 × 8 at (4, 6)."""
    image = np.full((20, 30), 120, np.uint8)
    image[6:14, 4:14] = pixels(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def xml(path: Path, number: int, filename: str = "") -> None:
    box = "<bndbox><xmin>5</xmin><ymin>7</ymin><xmax>14</xmax><ymax>14</ymax></bndbox>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<annotation verified="yes"><filename>{filename or path.stem}.png</filename><path>C:\\x\\1.png</path>'
        f"<size><width>30</width><height>20</height></size><object><name>{label(number)}</name>{box}</object></annotation>"
    )


def xml_in_a_folder(base: Path) -> None:
    for number in NUMBERS:
        scene(base / "images" / f"{number}.png", number)
        xml(base / "annotations" / f"{number}.xml", number)


def xml_beside_the_pictures(base: Path) -> None:
    for number in NUMBERS:
        scene(base / f"{number}.png", number)
        xml(base / f"{number}.xml", number)
    (base / "classes.txt").write_text("cat\ndog\n")


def xml_of_other_names(base: Path) -> None:
    for number in NUMBERS:
        scene(base / "JPEGImages" / f"image {number}.png", number)
        xml(base / "Annotations" / f"{number:04d}.xml", number, f"image {number}")


def coco_of(base: Path, names: list[str]) -> dict[str, Any]:
    return {
        "images": [{"id": n, "file_name": name, "width": 30, "height": 20} for n, name in enumerate(names)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [4, 6, 10, 8]} for n in range(len(names))
        ],
        "categories": [{"id": 0, "name": "animals"}, {"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def coco_with_backslashes(base: Path) -> None:
    for number in NUMBERS:
        scene(base / "images" / f"{number}.png", number)
    names = [f"images\\{number}.png" for number in NUMBERS]
    (base / "result.json").write_text(json.dumps(coco_of(base, names)))


@pytest.mark.parametrize("build", [xml_in_a_folder, xml_beside_the_pictures, xml_of_other_names, coco_with_backslashes])
def test_objects_are_cut_out_of_their_pictures(tmp_path: Path, build: Callable[[Path], None]) -> None:
    (tmp_path / "set").mkdir()
    build(tmp_path / "set")
    check(tmp_path / "set")
    assert {Image.open(io.BytesIO(row["image"])).size for row in read(tmp_path / "set")[1]} == {(10, 8)}


@pytest.mark.parametrize("form", ["xml", "coco"])
def test_roboflow_s_objects_are_read_in_their_splits(tmp_path: Path, form: str) -> None:
    for split in ("train", "valid", "test"):
        folder = tmp_path / "set" / split
        for number in NUMBERS:
            scene(folder / f"{number}_png.rf.1a.png", number)
            if form == "xml":
                xml(folder / f"{number}_png.rf.1a.xml", number)
        if form == "coco":
            names = [f"{number}_png.rf.1a.png" for number in NUMBERS]
            (folder / "_annotations.coco.json").write_text(json.dumps(coco_of(folder, names)))
    (tmp_path / "set" / "README.dataset.txt").write_text("x")
    check(tmp_path / "set", {"train": 4, "validation": 4, "test": 4})


def test_a_path_before_coco_s_names_has_a_key(tmp_path: Path) -> None:
    base = tmp_path / "set"
    for number in NUMBERS:
        scene(base / "pictures" / f"{number}.png", number)
    document = coco_of(base, [f"/data/upload/1/{number}.png" for number in NUMBERS])
    document["images"][0]["caption"] = "x"
    (base / "result.json").write_text(json.dumps(document))
    assert "not used: caption" in choose({"path": str(base)}, tmp_path).says
    keys = {"images": "pictures", "prefix": "/data/upload/1/"}
    source = {"kind": "coco", "path": str(base)}
    with pytest.raises(DataError, match="`prefix: /data/upload/1/` and `images: pictures`"):
        registry.read(parse_entry("x", {"task": "", "source": source, "image": IMAGE}).source, tmp_path)
    check(base, **keys)


def yolo(base: Path) -> None:
    for number in NUMBERS:
        scene(base / "train" / "images" / f"{number}.png", number)
        (base / "train" / "labels").mkdir(exist_ok=True)
        (base / "train" / "labels" / f"{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (base / "data.yaml").write_text("names: [cat, dog]\n")


def yolo_of_label_img(base: Path) -> None:
    for number in NUMBERS:
        scene(base / f"{number}.png", number)
        (base / f"{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (base / "classes.txt").write_text("cat\ndog\n")


def lines_of_something_else(base: Path) -> None:
    yolo(base)
    for path in (base / "train" / "labels").iterdir():
        path.write_text("Car 0.00 0 1.5 10 20 30 40 1.5 1.6 3.4 1 2 3 0\n")


@pytest.mark.parametrize(("build", "published"), [(yolo, {"train": 4}), (yolo_of_label_img, {None: 4})])
def test_yolo_s_texts_are_boxes_of_named_classes(
    tmp_path: Path, build: Callable[[Path], None], published: dict[str | None, int]
) -> None:
    (tmp_path / "set").mkdir()
    build(tmp_path / "set")
    data, rows = read(tmp_path / "set")
    assert (data.target, data.classes) == ("boxes", ("cat",))
    assert Counter(row["published"] for row in rows) == published
    assert all(len(row["target"]) == 1 for row in rows)


def cvat(base: Path) -> None:
    scene(base / "images" / "1.png", 1)
    (base / "annotations.xml").write_text(
        '<?xml version="1.0"?><annotations><version>1.1</version><image id="0" name="1.png" width="30" height="20">'
        '<box label="cat" xtl="1" ytl="1" xbr="5" ybr="5"/></image></annotations>'
    )


def labelme(base: Path) -> None:
    for number in NUMBERS:
        scene(base / f"{number}.png", number)
        (base / f"{number}.json").write_text('{"version": "5", "shapes": [], "imagePath": "1.png"}')


def cifar(base: Path) -> None:
    base.mkdir(exist_ok=True)
    (base / "data_batch_1").write_bytes(b"\x80\x02}q")


def records(base: Path) -> None:
    base.mkdir(exist_ok=True)
    (base / "train.tfrecord").write_bytes(b"x")


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lines_of_something_else, "train/labels/0.txt and others lie where YOLO's labels do, and are none"),
        (cvat, "annotations.xml is CVAT's own XML"),
        (labelme, "0.json is JSON of labelme"),
        (cifar, "CIFAR's batches"),
        (records, ".tfrecord is TensorFlow's records"),
    ],
)
def test_annotations_of_other_tools_are_told_apart(tmp_path: Path, build: Callable[[Path], None], says: str) -> None:
    (tmp_path / "set").mkdir()
    build(tmp_path / "set")
    said = refused(tmp_path / "set")
    assert says in said and "received" in said


# -- masks -----------------------------------------------------------------------------------------------------------


def mask(path: Path, number: int, values: tuple[Any, Any] = (0, 1)) -> None:
    """Where the picture's class is a dog, the left half is the second value."""
    shape = (20, 30) if np.ndim(values[0]) == 0 else (20, 30, 3)
    image = np.zeros(shape, np.uint8) + np.array(values[0], np.uint8)
    image[:, :15] = values[number % 2]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


LAID = {
    "images and masks": ("images/{}.png", "masks/{}.png", {None: 4}),
    "an ending": ("images/{}.png", "masks/{}_mask.png", {None: 4}),
    "folders within": ("images/training/{}.jpg", "annotations/training/{}.png", {"train": 4}),
    "splits above": ("train/images/{}.png", "train/masks/{}.png", {"train": 4}),
    "CamVid": ("train/0001_{}.png", "trainannot/0001_{}.png", {"train": 4}),
    "Carvana": ("train/{}.jpg", "train_masks/{}_mask.png", {"train": 4}),
    "Cityscapes": (
        "leftImg8bit/val/ulm/{}_leftImg8bit.png",
        "gtFine/val/ulm/{}_gtFine_labelIds.png",
        {"validation": 4},
    ),
    "together": ("kaggle/{}.tif", "kaggle/{}_mask.tif", {None: 4}),
}


@pytest.mark.parametrize("laid", LAID)
def test_masks_go_with_their_pictures(tmp_path: Path, laid: str) -> None:
    images, masks, splits = LAID[laid]
    for number in NUMBERS:
        scene(tmp_path / "set" / images.format(number), number)
        mask(tmp_path / "set" / masks.format(number), number)
    data, rows = read(tmp_path / "set")
    assert (data.target, data.classes) == ("mask", ("0", "1"))
    found: dict[str | None, int] = {}
    for row in rows:
        found[row["published"]] = found.get(row["published"], 0) + 1
        is_dog = bool(np.asarray(Image.open(io.BytesIO(row["target"])))[0, 0])
        bright = np.asarray(Image.open(io.BytesIO(row["image"])))[6:14, 4:14].mean()
        assert (bright > 120) == is_dog
    assert found == splits


def test_colours_of_masks_are_classes(tmp_path: Path) -> None:
    for number in NUMBERS:
        scene(tmp_path / "set" / "images" / f"{number}.png", number)
        mask(tmp_path / "set" / "masks" / f"{number}.png", number, ((0, 0, 0), (192, 0, 128)))
    assert "mode RGB" in refused(tmp_path / "set") and "source.values" in refused(tmp_path / "set")
    keys = {"names": ["background", "dog"], "values": ["#000000", "#C00080"]}
    data, rows = read(tmp_path / "set", **keys)
    assert data.classes == ("background", "dog")
    assert [np.asarray(Image.open(io.BytesIO(row["target"])))[0, 0] for row in rows] == [0, 1, 0, 1]
    said = refused(tmp_path / "set", names=["background", "dog"], values=["#000000", "#000001"])
    assert "masks/1.png has #c00080" in said and "faulty: skip" in said


def test_a_picture_without_a_mask_is_told_and_can_be_left_out(tmp_path: Path) -> None:
    for number in NUMBERS:
        scene(tmp_path / "set" / "images" / f"{number}.png", number)
        if number:
            mask(tmp_path / "set" / "masks" / f"{number}.png", number)
    mask(tmp_path / "set" / "masks" / "9.png", 0)
    said = refused(tmp_path / "set")
    assert "received 1 without one: images/0.png" in said and "received 1 without one: masks/9.png" in said
    assert [row["id"] for row in read(tmp_path / "set", faulty="skip")[1]] == [f"images/{n}.png" for n in (1, 2, 3)]


def test_several_masks_a_picture_are_told(tmp_path: Path) -> None:
    for number in NUMBERS:
        scene(tmp_path / "set" / f"a{number}" / "images" / f"a{number}.png", number)
        mask(tmp_path / "set" / f"a{number}" / "masks" / "x1.png", number)
        mask(tmp_path / "set" / f"a{number}" / "masks" / "x2.png", number)
    assert "a folder each, with one mask per object" in refused(tmp_path / "set")


# -- the table of them -----------------------------------------------------------------------------------------------


def test_every_layout_is_on_the_page() -> None:
    page = (Path(__file__).parents[4] / "docs" / "data" / "layouts.md").read_text(encoding="utf-8")
    every: list[Layout] = list(registry.layouts())
    assert len(every) > 20
    for layout in every:
        assert layout.looks in page, layout.looks
        assert layout.known_from in page, layout.known_from
