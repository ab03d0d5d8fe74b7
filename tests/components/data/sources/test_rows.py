"""What all readers share: bounded tables, bounded work ahead, names, times."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from components.data.errors import DataError
from components.data.sources.base import rows
from components.data.sources.base.form import schema


def _row(number: int, size: int) -> dict[str, object]:
    return {"id": f"{number}", "image": bytes(size), "target": 0, "published": None}


def test_tables_are_bounded_in_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BATCH_ROWS", 10)
    monkeypatch.setattr(rows, "BATCH_BYTES", 1000)
    form = schema("class")
    assert [len(table) for table in rows.tables(form, (_row(n, 1) for n in range(25)))] == [10, 10, 5]
    assert [len(table) for table in rows.tables(form, (_row(n, 400) for n in range(7)))] == [3, 3, 1]
    assert list(rows.tables(form, iter([]))) == []


def test_work_runs_ahead_by_a_few_items_only_and_stays_in_order() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def work(item: int) -> int:
        with lock:
            started.append(item)
        return item * item

    results = rows.in_order(work, iter(range(1000)))
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(started) < 40
    assert list(results) == [item * item for item in range(3, 1000)]


def test_an_error_of_the_work_reaches_whoever_reads() -> None:
    def work(item: int) -> int:
        if item == 5:
            raise DataError("five")
        return item

    with pytest.raises(DataError, match="five"):
        list(rows.in_order(work, range(100)))


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["10", "9", "-1", "2.5"], ("-1", "2.5", "9", "10")),
        (["b", "a", "10", "9"], ("10", "9", "a", "b")),
        (["07", "7", "6"], ("6", "07", "7")),
        (["nan", "1"], ("1", "nan")),
    ],
)
def test_classes_are_in_order_of_number_where_all_are_numbers(names: list[str], order: tuple[str, ...]) -> None:
    assert rows.ordered([*names, *names]) == order


@pytest.mark.parametrize("word", ["val", "VALID", "dev", " validation "])
def test_a_split_may_be_called_by_its_common_names(word: str) -> None:
    assert rows.published(word, "row 1") == "validation"


def test_a_word_that_is_no_split_is_named_with_its_row() -> None:
    with pytest.raises(DataError, match=r"row 7: expected a split.*received 'holdout'"):
        rows.published("holdout", "row 7")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        ("3.5", 3.5),
        ("2024-05-17", datetime(2024, 5, 17, tzinfo=UTC).timestamp()),
        ("2024-05-17T09:30:00Z", datetime(2024, 5, 17, 9, 30, tzinfo=UTC).timestamp()),
        ("2024-05-17T09:30:00+02:00", datetime(2024, 5, 17, 7, 30, tzinfo=UTC).timestamp()),
        (datetime(2024, 5, 17), datetime(2024, 5, 17, tzinfo=UTC).timestamp()),
    ],
)
def test_a_time_is_a_number_or_a_date(value: object, expected: float) -> None:
    assert rows.seconds(value, "row 1") == expected


@pytest.mark.parametrize("value", [None, "", "yesterday", "nan", float("inf"), True, "2024-13-01"])
def test_what_is_no_time_is_named(value: object) -> None:
    with pytest.raises(DataError, match="row 3: expected a time"):
        rows.seconds(value, "row 3")


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, None), ("", None), (float("nan"), None), (3.0, "3"), (3, "3"), ("NA", "NA"), (0.5, "0.5")],
)
def test_a_missing_value_is_null_and_a_whole_number_is_whole(value: object, said: str | None) -> None:
    assert rows.text(value) == said


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "", "a\0b", "link", "folder", "absent"])
def test_a_file_outside_of_the_folder_or_none_is_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match="row 2: expected a"):
        rows.inside(root, name, "row 2")


def test_two_samples_of_one_id_are_both_named() -> None:
    with pytest.raises(DataError, match="row 9: expected an id of its own, received 'a', which row 1 has too"):
        rows.unique([("a", "row 1"), ("b", "row 2"), ("a", "row 9")])
