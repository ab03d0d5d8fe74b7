"""What `watch` notices, what it does not read again, and that what it writes is the same on every machine."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.config import DatasetConfig
from components.data import places
from components.data.errors import DataError
from components.data.preparing import ingest
from components.data.stages.watch import changes, confirm, watch
from tests.components.data.data_builders import DIGITS, SCENES, folder_entry

Watch = Callable[..., dict[str, Any]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.fixture
def look(project: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """`look(entry)` watches it once; returns the two files' contents and times, and how often the source was read."""
    read: list[str] = []
    fingerprint = ingest.fingerprint

    def counted(source: Any, root: Path) -> str:
        read.append(source.path)
        return fingerprint(source, root)

    monkeypatch.setattr(ingest, "fingerprint", counted)

    def once(entry: dict[str, Any], name: str = "mine", root: Path = project) -> dict[str, Any]:
        read.clear()
        watch(name, DatasetConfig.model_validate(entry), root)
        folder = places.watched(root, name)
        told = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.iterdir()}
        return {
            **told,
            "read": len(read),
            "bytes": {path.name: path.read_bytes() for path in folder.iterdir()},
            "times": {path.name: path.stat().st_mtime_ns for path in folder.iterdir()},
        }

    return once


@pytest.mark.parametrize("entry", [DIGITS, SCENES], ids=["digits", "scenes"])
def test_what_convoy_brings_along_never_changes(look: Watch, entry: dict[str, Any]) -> None:
    first = look(entry)
    assert first["source"] == {"kind": entry["source"]["kind"], "fingerprint": None}
    assert first["rules"] == {"expectations": None, "reviewed": None}
    again = look({**entry, "split": {"seed": 1}})
    assert again == first


def test_a_sources_content_is_what_ingest_will_write(look: Watch, pictures: Callable[..., Path], project: Path) -> None:
    entry = folder_entry(pictures(each=3))
    found = look(entry)["source"]
    card = ingest.ingest(DatasetConfig.model_validate(entry).source, project, project / "raw")
    assert found == {"kind": "folder", "fingerprint": card.fingerprint}
    confirm("mine", project, card.fingerprint)
    with pytest.raises(DataError, match=r"datasets\.mine\.source: expected a source that stays as it is"):
        confirm("mine", project, "0" * 64)


def test_an_untouched_source_is_not_read_again(look: Watch, pictures: Callable[..., Path]) -> None:
    entry = folder_entry(pictures(each=3))
    first, second = look(entry), look(entry)
    assert (first["read"], second["read"]) == (1, 0)
    assert second["times"] == first["times"]


@pytest.mark.parametrize("why", ["nothing is known", "other code reads it"])
def test_that_a_source_is_to_be_read_is_a_change_to_those_who_want_to_be_certain(
    why: str, look: Watch, pictures: Callable[..., Path], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = folder_entry(pictures(each=3))
    look(entry)
    config = DatasetConfig.model_validate(entry)
    assert changes("mine", config, project, certain=True) == []
    if why == "nothing is known":
        places.listing_file(project, "mine").unlink()
    else:
        monkeypatch.setattr("components.provenance.code_digest", lambda modules, used: "another")
    assert "was not read yet" in changes("mine", config, project, certain=True)[0]
    assert changes("mine", config, project) == []


def test_a_touched_file_is_read_and_changes_nothing(look: Watch, pictures: Callable[..., Path]) -> None:
    folder = pictures(each=3)
    first = look(folder_entry(folder))
    os.utime(folder / "cat" / "000.png")
    second, third = look(folder_entry(folder)), look(folder_entry(folder))
    assert (second["read"], third["read"]) == (1, 0)
    assert second["times"] == first["times"]


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "moved to another class", "other pixels"])
def test_every_change_of_content_is_noticed(look: Watch, pictures: Callable[..., Path], change: str) -> None:
    folder = pictures(each=3)
    first = look(folder_entry(folder))
    picture = folder / "cat" / "000.png"
    match change:
        case "added":
            shutil.copy(picture, folder / "cat" / "copy.png")
        case "removed":
            picture.unlink()
        case "renamed":
            picture.rename(folder / "cat" / "zebra.png")
        case "moved to another class":
            picture.rename(folder / "dog" / "zebra.png")
        case "other pixels":
            Image.fromarray(np.full((10, 12, 3), 7, dtype=np.uint8)).save(picture)
    assert look(folder_entry(folder))["source"] != first["source"]


def test_a_change_that_is_taken_back_is_the_old_content(look: Watch, pictures: Callable[..., Path]) -> None:
    folder = pictures(each=3)
    first = look(folder_entry(folder))
    (folder / "cat" / "000.png").rename(folder / "away.bin")
    away = (folder / "away.bin").rename(folder.parent / "away.bin")
    assert look(folder_entry(folder))["source"] != first["source"]
    away.rename(folder / "cat" / "000.png")
    assert look(folder_entry(folder))["source"] == first["source"]


def test_another_way_to_read_the_same_files_is_another_source(look: Watch, tmp_path: Path, project: Path) -> None:
    # given a table with two columns that could be the class
    folder = tmp_path / "table"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(np.full((10, 12, 3), number, dtype=np.uint8)).save(folder / f"{number}.png")
    lines = ["path,animal,colour", *(f"{number}.png,{number % 2},{number // 2}" for number in range(4))]
    (folder / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    source = {"kind": "manifest", "path": str(folder / "table.csv")}
    entries = [folder_entry(folder, source={**source, "target": target}) for target in ("animal", "colour")]
    first, second, again = look(entries[0]), look(entries[1]), look(entries[1])
    assert [found["read"] for found in (first, second, again)] == [1, 1, 0]
    assert first["source"] != second["source"]


def test_the_files_are_the_same_on_another_machine(
    look: Watch, pictures: Callable[..., Path], tmp_path: Path, project: Path
) -> None:
    # given the same pictures elsewhere, with other times, and a project elsewhere
    folder = pictures(each=3)
    (project / "rules.yaml").write_text("expectations: []\n", encoding="utf-8")
    checks = {"expectations": "rules.yaml"}
    here = look(folder_entry(folder, checks=checks))
    elsewhere, other = tmp_path / "elsewhere", tmp_path / "other-project"
    shutil.copytree(folder, elsewhere, copy_function=shutil.copyfile)
    shutil.copytree(project, other, ignore=shutil.ignore_patterns("data", ".convoy"))
    assert look(folder_entry(elsewhere, checks=checks), root=other)["bytes"] == here["bytes"]


def test_a_source_that_is_not_there_has_not_changed(look: Watch, pictures: Callable[..., Path]) -> None:
    folder = pictures(each=3)
    first = look(folder_entry(folder))
    folder.rename(folder.with_name("away"))
    second = look(folder_entry(folder))
    assert second["bytes"] == first["bytes"]
    assert second["times"] == first["times"]


def test_a_source_that_was_never_there_is_an_error_that_names_it(look: Watch, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"source\.path: .*absent"):
        look(folder_entry(tmp_path / "absent"))


def test_a_memory_that_is_no_longer_readable_is_as_good_as_none(
    look: Watch, pictures: Callable[..., Path], project: Path
) -> None:
    entry = folder_entry(pictures(each=3))
    first = look(entry)
    (project / ".convoy" / "data" / "mine.listing").write_text("0123abcd", encoding="utf-8")  # as it used to be
    second = look(entry)
    assert second["read"] == 1
    assert second["bytes"] == first["bytes"]


@pytest.mark.parametrize("key", ["expectations", "reviewed"])
def test_a_rule_file_counts_by_its_content(look: Watch, project: Path, key: str) -> None:
    entry = {**DIGITS, "checks": {key: "rules/mine.txt"}}
    with pytest.raises(DataError, match=rf"datasets\.mine\.checks\.{key}: expected a file .* rules/mine\.txt"):
        look(entry)
    (project / "rules").mkdir()
    (project / "rules" / "mine.txt").write_text("abc", encoding="utf-8")
    first = look(entry)
    # SHA-256 of "abc", as FIPS 180-2 has it
    assert first["rules"][key] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (project / "rules" / "mine.txt").write_text("abd", encoding="utf-8")
    assert look(entry)["rules"] != first["rules"]
    assert look(entry)["source"] == first["source"]


def test_twenty_thousand_files_are_looked_over_in_a_moment(look: Watch, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
    for number in range(20_000):
        (folder / str(number % 10) / f"{number}.png").write_bytes(b"%d" % number)
    entry = folder_entry(folder)
    assert look(entry)["read"] == 1
    started = time.thread_time()
    assert look(entry)["read"] == 0
    assert time.thread_time() - started < 2.5  # half of what a line may spend on finding nothing new
