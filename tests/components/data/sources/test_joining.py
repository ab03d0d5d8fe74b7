"""Every source's names can be joined by one key; by default they stay as they are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.data.checking import detect
from components.data.errors import DataError
from components.data.preparing.ingest import fingerprint, ingest, ingested
from components.data.sources import registry
from components.inputs import png
from tests.components.data.sources import source_builders as sources
from tests.hostile_texts import NEVER

SPELT = ("cat", "Cat ", "cat", "cat", "dog", "dog")  # of six samples
PEOPLE = ("Ann", "ann", "Ann", "B", "ANN", "b\u00a0")


def folder(base: Path) -> dict[str, Any]:
    for number, name in enumerate(SPELT):
        sources.save(base / name / f"{number}.png", number)
    return {"kind": "folder", "path": str(base)}


def manifest(base: Path) -> dict[str, Any]:
    rows = ["path,target,group_person"]
    for number, name in enumerate(SPELT):
        sources.save(base / f"{number}.png", number)
        rows.append(f"{number}.png,{name},{PEOPLE[number]}")
    (base / "t.csv").write_text("\n".join(rows), encoding="utf-8")
    return {"kind": "manifest", "path": str(base / "t.csv")}


def arrays(base: Path) -> dict[str, Any]:
    base.mkdir()
    pixels = np.stack([sources.pixels(number) for number in range(6)])
    np.savez(base / "a.npz", images=pixels, labels=np.array(SPELT))
    return {"kind": "arrays", "path": str(base / "a.npz")}


def coco(base: Path) -> dict[str, Any]:
    categories = [{"id": number, "name": name} for number, name in enumerate(dict.fromkeys(SPELT))]
    number = {each["name"]: each["id"] for each in categories}
    content = {"images": [], "annotations": [], "categories": categories}
    for at, name in enumerate(SPELT):
        sources.save(base / "images" / f"{at}.png", at)
        content["images"].append({"id": at, "file_name": f"{at}.png", "width": 12, "height": 10})
        content["annotations"].append(
            {"id": at, "image_id": at, "category_id": number[name], "bbox": [1, 1, 6, 6], "area": 36, "iscrowd": 0,
             "segmentation": [[1, 1, 7, 1, 7, 7, 1, 7]]}
        )  # fmt: skip
    (base / "c.json").write_text(json.dumps(content), encoding="utf-8")
    return {"kind": "coco", "path": str(base)}


def voc(base: Path) -> dict[str, Any]:
    (base / "Annotations").mkdir(parents=True)
    for at, name in enumerate(SPELT):
        spelt = {"Cat ": "CAT"}.get(name, name)  # blanks around a name are the format's
        sources.save(base / "JPEGImages" / f"{at}.png", at, sources.SCENE)
        xml = sources.voc_xml(str(at), [(spelt, (1, 1, 8, 8), 0)])
        (base / "Annotations" / f"{at}.xml").write_text(xml, encoding="utf-8")
    return {"kind": "voc", "path": str(base)}


def idx(base: Path) -> dict[str, Any]:
    base.mkdir()
    pixels = np.stack([sources.pixels(number)[..., 0] for number in range(6)])
    (base / "train-images-idx3-ubyte").write_bytes(sources.idx_bytes(pixels))
    labels = [list(dict.fromkeys(SPELT)).index(name) for name in SPELT]
    (base / "train-labels-idx1-ubyte").write_bytes(sources.idx_bytes(np.array(labels, np.uint8)))
    return {"kind": "idx", "path": str(base), "names": list(dict.fromkeys(SPELT))}


def huggingface(base: Path) -> dict[str, Any]:
    pytest.importorskip("datasets")
    base.mkdir()
    contents = [sources.save(base / "pictures" / f"{number}.png", number).read_bytes() for number in range(6)]
    rows = {"image": [{"bytes": content, "path": None} for content in contents], "label": list(SPELT)}
    pq.write_table(pa.table(rows), base / "rows.parquet")
    return {"kind": "huggingface", "path": str(base / "rows.parquet")}


@pytest.mark.parametrize("write", [folder, manifest, arrays, coco, voc, idx, huggingface])
def test_one_key_joins_the_classes_of_every_source(write: Callable[[Path], dict[str, Any]], tmp_path: Path) -> None:
    # given a source with a class in two spellings
    section = write(tmp_path / "source")
    # when it is read as it is, and joined
    data, rows = sources.read(section, tmp_path)
    joined, same = sources.read({**section, "spellings": "join"}, tmp_path)
    # then nothing is joined unless it is asked for
    assert len(data.classes) == 3 and data.joined == ()
    # and the most frequent spelling takes the others, with nothing else changed
    assert set(joined.classes) == {"cat", "dog"}
    assert Counter(joined.classes[row["target"]] for row in same) == {"cat": 4, "dog": 2}
    assert [row["image"] for row in same] == [row["image"] for row in rows]
    (said,) = (each for each in joined.joined if not each.startswith("group_"))
    assert "'cat' (3)" in said and "the same name but for" in said
    # and what has been read is known by another fingerprint
    typed = [sources.parse(each) for each in (section, {**section, "spellings": "join"})]
    assert fingerprint(typed[0], tmp_path) != fingerprint(typed[1], tmp_path)
    assert ingest(typed[1], tmp_path, tmp_path / "raw").classes == joined.classes
    assert ingested(tmp_path / "raw").classes == joined.classes


def test_a_person_in_several_spellings_is_one_group_and_in_one_split(tmp_path: Path) -> None:
    section = manifest(tmp_path / "source")
    _, rows = sources.read(section, tmp_path)
    assert len({row["group_person"] for row in rows}) == 5
    joined, same = sources.read({**section, "spellings": "join"}, tmp_path)
    assert [row["group_person"] for row in same] == ["Ann", "Ann", "Ann", "B", "Ann", "B"]
    assert joined.joined[1:] == (
        "group_person: 'Ann' (2), 'ANN' (1), 'ann' (1): the same name but for case",
        "group_person: 'B' (1), 'b\\xa0' (1): the same name but for blanks and case",
    )


def test_names_of_files_are_not_joined_and_masks_are(tmp_path: Path) -> None:
    section = coco(tmp_path / "source")
    _, crops = sources.read({**section, "spellings": "join"}, tmp_path)
    assert len({row["group_image"] for row in crops}) == 6
    data, _ = sources.read({**section, "take": "masks"}, tmp_path)
    joined, rows = sources.read({**section, "take": "masks", "spellings": "join"}, tmp_path)
    assert data.classes == ("background", "cat", "Cat ", "dog") and joined.classes == ("background", "cat", "dog")
    masks = png.decode_masks(pa.array([row["target"] for row in rows], pa.binary()))
    assert [int(mask.max()) for mask in masks if mask is not None] == [1, 1, 1, 1, 2, 2]


def test_a_source_without_doubtful_names_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.data.sources import folder as reader

    opened: list[Path] = []
    real = reader.read
    monkeypatch.setattr(reader, "read", lambda source, project: opened.append(project) or real(source, project))
    section = sources.write_folder(tmp_path / "source")
    sources.read({**section, "spellings": "join"}, tmp_path)
    assert len(opened) == 1


@pytest.mark.parametrize("name", [NEVER["unseen"], "x" * 1001, NEVER["halves"]])
def test_a_class_that_has_no_name_is_refused_with_what_it_has(name: str, tmp_path: Path) -> None:
    section = coco(tmp_path / "source")
    path = tmp_path / "source" / "c.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["categories"][0]["name"] = name
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(
        DataError, match=r"^source \(coco\): expected .* for a class, received '.*'; rename it$"
    ) as told:
        registry.read(sources.parse(section), tmp_path)
    assert len(str(told.value)) < 400 and str(told.value).isascii() is ("…" not in str(told.value))


def test_half_a_character_in_a_group_is_named(tmp_path: Path) -> None:
    section = coco(tmp_path / "source")
    path = tmp_path / "source" / "c.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["images"][0]["group_site"] = NEVER["halves"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(
        DataError, match=r"^group_site: expected whole characters, received 'a\\ud800b'; write it anew$"
    ):
        sources.read(section, tmp_path)


@pytest.mark.parametrize("word", ["train", "Training", " TRAIN ", "ｔｒａｉｎ", "train\u00a0", "\ufefftrain"])
def test_a_published_split_is_the_same_however_it_is_written(word: str, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text(f"path,target,split\na.png,x,{word}\n", encoding="utf-8")
    _, rows = sources.read({"kind": "manifest", "path": str(tmp_path / "t.csv")}, tmp_path)
    assert rows[0]["published"] == "train"


@pytest.mark.parametrize(
    "words", [("train", "valid", "test"), ("Train", "VAL", "Testing"), ("training", "dev", "test ")]
)
def test_folders_of_splits_are_known_by_every_documented_word(words: tuple[str, ...], tmp_path: Path) -> None:
    for split in words:
        for number, name in enumerate(("cat", "dog")):
            sources.save(tmp_path / "set" / split / name / "0.png", number)
    data, rows = sources.read({"kind": "folder", "path": str(tmp_path / "set")}, tmp_path)
    assert data.classes == ("cat", "dog")
    assert Counter(row["published"] for row in rows) == {"train": 2, "validation": 2, "test": 2}
    found = detect.detect(tmp_path / "set", "set")
    assert [candidate.kind for candidate in found.candidates] == ["folder"]
