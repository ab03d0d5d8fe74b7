"""An entry comes into params.yaml, and not another byte of the file changes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.config import ConfigurationError, dataset_entry
from components.data.catalogue import add, check_free, with_entry
from components.data.errors import DataError

ROOT = Path(__file__).parents[3]
ENTRY: dict[str, Any] = {
    "task": "classification",
    "source": {"kind": "folder", "path": "/data/päp: er, #1"},
    "image": {"height": 64, "width": 48, "channels": 3, "resize": True},
}
PLAIN = "# mine\ndatasets:\n  digits: {task: classification}   # built in\n\n# the line\nline:\n  seed: 0\n"
UNUSUAL = {
    "plain": PLAIN,
    "no line end": PLAIN + "# the end",
    "from Windows": PLAIN.replace("\n", "\r\n"),
    "four spaces": "datasets:\n    digits:\n        task: classification   # a comment\n        # and more\nline: {}\n",
    "catalogue last": "line: {seed: 0}\n\ndatasets:\n  digits:\n    task: classification",
    "quoted": "line: {}\n'datasets':\n  'digits': {task: classification}\n",
    "block text": "datasets:\n  digits:\n    task: |\n      classification\n      more\n\nline: {}\n",
    "a list last": "datasets:\n  digits:\n    classes:\n      - a\n      - b\n# behind\nline: {}\n",
    "empty": "datasets:\nline: {}\n",
    "null": "datasets: null  # none yet\nline: {}\n",
    "braces": "datasets: {}\nline: {}\n",
    "none": "line: {}\n",
    "nothing but comments below": "line: {}\ndatasets:\n  a: {task: b}\n  # c: {task: d}\n",
}


def removed(after: str, before: str) -> str:
    """What must be taken out of `after` in one piece to be left with `before`."""
    start = next((i for i, (a, b) in enumerate(zip(after, before, strict=False)) if a != b), len(before))
    end = len(before) - start
    assert after[:start] + after[len(after) - end :] == before
    return after[start : len(after) - end]


@pytest.mark.parametrize("name", UNUSUAL)
def test_the_rest_of_the_file_stays_byte_for_byte(name: str) -> None:
    before = UNUSUAL[name]

    after = with_entry(before, "mine", ENTRY)

    assert yaml.safe_load(after)["datasets"]["mine"] == ENTRY
    old = yaml.safe_load(before)
    expected = {**old, "datasets": {**(old.get("datasets") or {}), "mine": ENTRY}}
    assert yaml.safe_load(after) == expected
    if name not in ("null", "braces"):  # whose own word has to go
        assert "mine" in removed(after, before)
    assert ("\r\n" in before) == ("\r\n" in after)
    assert after.count("\r") in (0, after.count("\n"))


def test_a_file_that_nothing_else_would_read_is_refused_before_anything_is_looked_at() -> None:
    anchors = "datasets:\n  digits: &base {task: classification}\n  other:\n    <<: *base\nline: {}\n"
    with pytest.raises(ConfigurationError, match=r"params\.yaml: .*received an anchor \(&name\).*line 2"):
        with_entry(anchors, "mine", ENTRY)


@pytest.mark.parametrize("name", ["plain", "four spaces", "from Windows", "a list last"])
def test_an_entry_is_replaced_in_its_place(name: str) -> None:
    before = UNUSUAL[name]
    once = with_entry(before, "digits", ENTRY, replace=True)
    assert yaml.safe_load(once)["datasets"] == {"digits": ENTRY}
    assert yaml.safe_load(once)["line"] == yaml.safe_load(before)["line"]
    assert with_entry(once, "digits", ENTRY, replace=True) == once
    assert ("# the line" in once) == ("# the line" in before)


def test_the_project_s_own_file_only_gains_lines(tmp_path: Path) -> None:
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(before, encoding="utf-8")

    config = add(tmp_path, "mine", ENTRY)

    after = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    gained = removed(after, before)
    assert gained.count("\n") == 4 and "päp: er, #1" in gained
    assert dataset_entry(tmp_path, "mine") == config
    assert [path.name for path in tmp_path.iterdir() if path.name != ".convoy"] == ["params.yaml"]


@pytest.mark.parametrize("name", ["123", "true", "null", "on", "1e3", "2024-01-01", "2024-13-45", "x" * 101])
def test_a_name_that_a_reader_of_yaml_or_a_file_system_takes_for_something_else_is_refused(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text(PLAIN, encoding="utf-8")
    for refused in (lambda: check_free(tmp_path, name), lambda: add(tmp_path, name, ENTRY)):
        with pytest.raises(
            DataError, match=rf"datasets\.{name[:9]}.*: expected a name .* received .*give the entry another"
        ):
            refused()
    assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == PLAIN


def test_a_name_that_is_taken_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PLAIN, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"datasets.digits: expected a name that is free"):
        add(tmp_path, "digits", ENTRY)
    assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == PLAIN


def test_every_mistake_is_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PLAIN, encoding="utf-8")
    wrong = {**ENTRY, "image": {"height": 0, "channels": 2}, "colour": "blue"}
    with pytest.raises(ConfigurationError) as told:
        add(tmp_path, "mine", wrong)
    for key in ("datasets.mine.image.height", "datasets.mine.image.width", "datasets.mine.image.channels"):
        assert key in str(told.value)
    assert "datasets.mine.colour: expected no such key" in str(told.value)
    assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == PLAIN


@pytest.mark.parametrize("name", ["a/b", "../x", "ä", "a.b", ""])
def test_a_name_that_cannot_be_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PLAIN, encoding="utf-8")
    with pytest.raises(DataError, match="expected a name of letters, digits"):
        add(tmp_path, name, ENTRY)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("datasets: {digits: {task: classification}}\n", "one pair of braces"),
        ("- a\n- b\n", "expected a mapping"),
        ("datasets: [1]\n", "expected a mapping"),
        ("datasets: {\n", "not readable as YAML"),
        ("", "expected a mapping"),
    ],
)
def test_a_file_that_cannot_be_added_to_says_why(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=says):
        add(tmp_path, "mine", ENTRY)
    assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == text


def test_many_at_once_lose_no_entry(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PLAIN, encoding="utf-8")
    threads = [threading.Thread(target=add, args=(tmp_path, f"set-{number}", ENTRY)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(yaml.safe_load((tmp_path / "params.yaml").read_text())["datasets"]) == {
        "digits",
        *(f"set-{number}" for number in range(16)),
    }


def test_a_link_stays_one_and_the_file_keeps_its_permissions(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "params.yaml"
    real.parent.mkdir()
    real.write_text(PLAIN, encoding="utf-8")
    real.chmod(0o640)
    (tmp_path / "params.yaml").symlink_to(real)

    add(tmp_path, "mine", ENTRY)

    assert (tmp_path / "params.yaml").is_symlink()
    assert "mine" in real.read_text(encoding="utf-8")
    assert real.stat().st_mode & 0o777 == 0o640
