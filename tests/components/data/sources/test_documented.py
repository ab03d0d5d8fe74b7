"""The examples of the pages on sources: each is built as it stands there, and read by the entry beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from components.config import DatasetConfig, Located, Source
from components.data.preparing.ingest import RawCard, ingest, raw_tables
from components.data.sources.folder import SUFFIXES
from components.targets import registry as targets
from tests.components.data.sources.source_builders import SCENE, idx_bytes, pixels

FOLDER = Path(__file__).parents[4] / "docs" / "data"
PAGES = [FOLDER / f"{name}.md" for name in ("sources", "tables", "masks", "objects")]
BRIEF = {"task": "classification"}
IMAGE = {"image": {"height": 30, "width": 40, "channels": 3}}

# What the page says of each example: samples, published splits, groups, whether there is a time.
EXPECTED: dict[str, tuple[int, set[str | None], tuple[str, ...], bool]] = {
    "folder animals": (4, {None}, (), False),
    "folder sorted": (6, {"train", "validation", "test"}, (), False),
    "texts reviews": (4, {None}, (), False),
    "manifest shop/reviews.csv": (3, {"train", "test"}, ("group_language",), False),
    "manifest clinic/scans.csv": (3, {"train", "test"}, ("group_patient", "group_site"), True),
    "manifest fields/fields.tsv": (1, {None}, (), False),
    "manifest hands/hands.csv": (2, {None}, (), False),
    "manifest shelf/boxes.csv": (2, {None}, (), False),
    "manifest radio/songs.csv": (3, {None}, (), False),
    "masks cells": (2, {None}, (), False),
    "masks organs": (2, {None}, (), False),
    "coco street": (3, {None}, ("group_image",), False),
    "coco street masks": (2, {None}, (), False),
    "coco town": (2, {"train", "validation"}, ("group_city", "group_image"), False),
    "coco street boxes": (2, {None}, (), False),
    "voc VOC2007 boxes": (2, {"train", "validation"}, (), False),
    "yolo shop": (3, {"train", "validation"}, (), False),
    "scenes": (300, {"train", "validation", "test"}, (), False),
    "cut-outs stamps": (20, {"train", "validation", "test"}, (), False),
    "voc VOC2007": (2, {"train", "validation"}, ("group_difficult", "group_image"), False),
    "voc VOC2007 masks": (1, {None}, (), False),
    "idx mnist": (6, {"train", "test"}, (), False),
    "arrays cells.npz": (6, {"train", "test"}, ("group_plate",), False),
    "huggingface hub": (4, {"train", "test"}, (), False),
    "huggingface rows.parquet": (4, {None}, (), False),
}


@dataclass
class Section:
    """One `##` of a page: what its fenced blocks hold."""

    title: str
    entries: list[dict[str, Any]] = field(default_factory=list)
    trees: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    programs: list[str] = field(default_factory=list)


def _sections() -> Iterator[Section]:
    for part in [part for page in PAGES for part in re.split(r"^## ", page.read_text("utf-8"), flags=re.MULTILINE)[1:]]:
        section = Section(part.partition("\n")[0])
        for language, name, content in re.findall(r"^```(\w+) ?(.*?)\n(.*?)^```$", part, re.DOTALL | re.MULTILINE):
            if name:
                section.files[name] = content
            elif language == "yaml":
                entry = yaml.safe_load(content)
                section.entries.append(BRIEF | ({} if "text" in entry else IMAGE) | entry)
            elif language == "python":
                section.programs.append(content)
            else:
                assert language == "text"
                section.trees += content.split()
        yield section


SECTIONS = {section.title: section for section in _sections()}


def _name(entry: dict[str, Any]) -> str:
    source = entry["source"]
    return " ".join(source[key] for key in ("kind", "path", "take") if key in source)


def _build(section: Section, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything the section speaks of: files with the content it shows, programs run, pictures drawn."""
    for name, content in section.files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(base)
    for program in section.programs:
        exec(program, {})  # noqa: S102  (our own page)
    for number, name in enumerate(section.trees):
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            continue
        if "idx" in name:
            count = 4 if "train" in name else 2
            labels = np.arange(count, dtype=np.uint8)
            images = np.stack([pixels(each, SCENE)[..., 0] for each in labels])
            path.write_bytes(idx_bytes(images if "images" in name else labels))
        elif path.suffix == ".txt":
            path.write_text(f"Text {number}", encoding="utf-8")
        elif "mask" in name or "SegmentationClass" in name:
            mask = pixels(number, SCENE)[..., 0] // 64
            if section.title == "Pixels of no class":
                mask[0] = 255
            Image.fromarray(mask).save(path)
        else:
            assert path.suffix in SUFFIXES
            Image.fromarray(pixels(number, SCENE)).save(path)


def test_the_pages_have_an_example_of_every_kind_that_lies_somewhere() -> None:
    kinds = {
        member.model_fields["kind"].annotation.__args__[0]
        for member in Source.__args__[0].__args__
        if issubclass(member, Located)
    }  # type: ignore[union-attr]
    shown = {name for section in SECTIONS.values() for name in map(_name, section.entries) if name in EXPECTED}
    assert {name.split()[0] for name in shown} == {*kinds, "scenes", "texts"}
    assert shown == set(EXPECTED)


@pytest.mark.parametrize("title", [title for title in SECTIONS if title != "Where a source lies"])
def test_an_example_is_read_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, title: str) -> None:
    section = SECTIONS[title]
    assert section.entries
    _build(section, tmp_path, monkeypatch)
    for entry in section.entries:
        config = DatasetConfig.model_validate(entry)
        samples, published, groups, timed = EXPECTED[_name(entry)]
        folder = tmp_path / "raw" / re.sub(r"\W", "-", _name(entry))
        card = ingest(config.source, tmp_path, folder)
        assert RawCard.load(folder) == card
        assert (card.samples, card.groups, card.time) == (samples, groups, timed)
        assert targets.get(card.target).task == entry["task"]
        rows = [row for table in raw_tables(folder) for row in table.to_pylist()]
        assert {row["published"] for row in rows} == published


@pytest.mark.parametrize("title", SECTIONS)
def test_every_entry_of_the_page_is_valid(title: str) -> None:
    for entry in SECTIONS[title].entries:
        assert DatasetConfig.model_validate(entry).source.kind in entry["source"]["kind"]


@pytest.mark.parametrize(
    ("title", "ids"), [("COCO", {"0001.jpg#7", "0001.jpg#8", "0002.jpg#9"}), ("Pascal VOC", {"000001#0", "000002#0"})]
)
def test_the_ids_that_the_page_names_are_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, title: str, ids: set[str]
) -> None:
    _build(SECTIONS[title], tmp_path, monkeypatch)
    ingest(DatasetConfig.model_validate(SECTIONS[title].entries[0]).source, tmp_path, tmp_path / "raw")
    assert {row["id"] for table in raw_tables(tmp_path / "raw", ["id"]) for row in table.to_pylist()} == ids
