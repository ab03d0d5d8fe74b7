"""One's own pictures: layouts that are meant, and those that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from components.config import FolderSource
from components.data.errors import DataError
from components.data.sources import folder as source


def _read(path: Path) -> tuple[tuple[str, ...], list[dict[str, object]]]:
    data = source.read(FolderSource(kind="folder", path=str(path)), Path("/nowhere"))
    rows = [row for table in data.tables for row in table.select(["id", "target", "published"]).to_pylist()]
    return data.classes, rows


def test_classes_are_named_after_their_folders(pictures: Callable[..., Path]) -> None:
    classes, rows = _read(pictures(classes=("dog", "cat"), each=2))
    assert classes == ("cat", "dog")
    assert rows[0] == {"id": "cat/000.png", "target": 0, "published": None}
    assert rows[3]["target"] == 1


def test_folders_of_splits_are_published_splits(pictures: Callable[..., Path]) -> None:
    pictures(under="train", each=2)
    classes, rows = _read(pictures(under="test", classes=("cat", "owl"), each=1))
    assert classes == ("cat", "dog", "owl")
    assert {row["id"]: row["published"] for row in rows}["test/owl/000.png"] == "test"


def test_a_class_called_train_beside_others_is_a_class(pictures: Callable[..., Path]) -> None:
    assert _read(pictures(classes=("train", "car"), each=1))[0] == ("car", "train")


@pytest.mark.parametrize("place", ["", "cat"])
def test_a_link_out_of_the_folder_is_refused(pictures: Callable[..., Path], tmp_path: Path, place: str) -> None:
    folder = pictures(each=1)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.png").write_bytes(b"secret")
    target = tmp_path / "secret" if place == "" else tmp_path / "secret" / "key.png"
    (folder / place / "link.png").symlink_to(target)
    with pytest.raises(DataError, match="received a link to"):
        _read(folder)


def test_a_link_within_the_folder_is_a_file_like_others(pictures: Callable[..., Path]) -> None:
    folder = pictures(each=1)
    (folder / "dog" / "again.png").symlink_to(folder / "cat" / "000.png")
    assert len(_read(folder)[1]) == 3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cat/notes.txt", "received 1 of another kind: cat/notes.txt is text, .*faulty: skip"),
        ("loose.png", "inside a folder named after their class"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(pictures: Callable[..., Path], name: str, says: str) -> None:
    folder = pictures(each=1)
    (folder / name).write_bytes(b"x")
    with pytest.raises(DataError, match=says) as caught:
        _read(folder)
    assert name in str(caught.value)


def test_hidden_files_are_left_alone(pictures: Callable[..., Path]) -> None:
    folder = pictures(each=1)
    (folder / "cat" / ".DS_Store").write_bytes(b"x")
    assert len(_read(folder)[1]) == 2


@pytest.mark.parametrize(
    ("layout", "says"),
    [("absent", "expected a file or folder"), ("empty", "one folder per class"), ("file", "which is no folder")],
)
def test_a_folder_without_classes_is_refused(tmp_path: Path, layout: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match=says) as caught:
        _read(tmp_path / layout)
    assert str(tmp_path / layout) in str(caught.value)


@pytest.mark.parametrize(
    "left", ["__MACOSX/cat/._001.png", ".DS_Store", "cat/Thumbs.db", "cat/desktop.ini", "cat/.x/a"]
)
def test_what_packers_and_file_browsers_leave_is_no_class_and_no_image(
    pictures: Callable[..., Path], left: str
) -> None:
    # given
    folder = pictures(classes=("dog", "cat"), each=2)
    expected = _read(folder)
    stray = folder / left
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(bytes(3))
    # when / then
    assert _read(folder) == expected
