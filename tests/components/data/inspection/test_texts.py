"""Texts are inspected as pictures are: what is planted among them is found, shown as text, and told in such words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.data.errors import DataError
from components.data.inspection.base import pairing
from components.data.inspection.base.findings import Decisions, Inspection, load_findings
from components.data.inspection.eyes import ngrams, shingles
from components.data.inspection.eyes.text import normalised
from components.data.inspection.inspect import inspect
from components.data.inspection.wording import says
from components.data.sources.base.form import SourceData
from components.files import digest_folder
from tests.components.data.inspection import inspection_builders as pictures
from tests.components.data.inspection.text_builders import CLASSES, EDITED, config, source, subjects


def findings(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [row for row in load_findings(folder / "inspected").to_pylist() if row["kind"] == kind]


def looked_at(folder: Path, data: SourceData, **changes: Any) -> Inspection:
    return inspect(data, config(**changes), folder, folder / "inspected")


def test_everything_that_was_planted_is_found_told_in_words_and_drawn(tmp_path: Path) -> None:
    written, labels = subjects(400)
    planted: list[str | bytes | None] = [
        f"  {written[3].upper()}\r\n",  # the same words
        written[4].rpartition(" ")[0],  # a word less
        " \n\t ",
        "0x7f 0x80 0x91 {};;;=> ## 1234567890 0987654321 %%% $$$ 0xdeadbeef 0xcafebabe",
        None,
        b"caf\xe9",
        written[9],
    ]
    targets = [*labels, labels[3], labels[4], 0, 0, 0, 0, (labels[9] + 1) % 3]

    inspection = looked_at(tmp_path, source([*written, *planted], targets))

    assert [(row["id"], row["other"]) for row in findings(tmp_path, "duplicate")] == [
        ("s0400", "s0003"),
        ("s0406", "s0009"),
    ]
    assert findings(tmp_path, "duplicate")[0]["says"] == "the same words as s0003"
    assert findings(tmp_path, "duplicate")[1]["says"].endswith(
        f"but labelled {CLASSES[(labels[9] + 1) % 3]}, not {CLASSES[labels[9]]}"
    )
    (near,) = findings(tmp_path, "near-duplicate")
    assert (near["id"], near["other"]) == ("s0401", "s0004")
    assert near["says"].startswith("all but the same text as s0004 (similarity 0.")
    assert [(row["id"], row["says"]) for row in findings(tmp_path, "blank")] == [
        ("s0402", "the text is empty: there is nothing to be read")
    ]
    assert {row["id"]: row["says"] for row in findings(tmp_path, "corrupt")} == {
        "s0404": "there is none",
        "s0405": "bytes that are no UTF-8",
    }
    outlying = {row["id"]: row["says"] for row in findings(tmp_path, "outlier")}
    assert "what the texts have in common, relative to the 99.9th" in outlying["s0403"]
    assert len(outlying) <= 3
    assert (inspection.samples, inspection.modes) == (407, {})
    assert sum(inspection.sizes.values()) == 405
    assert Decisions.load(tmp_path / "inspected").twins == (
        *(("s0003", "s0400"), ("s0004", "s0401"), ("s0009", "s0406")),
    )
    drawn = {path.stem for path in (tmp_path / "inspected" / "pictures").glob("*.png")}
    assert drawn == {"duplicate", "near-duplicate", "blank", "outlier"}
    with Image.open(tmp_path / "inspected" / "pictures" / "duplicate.png") as sheet:
        assert sheet.width > 570 and np.asarray(sheet).std() > 20
    assert [path.name for path in tmp_path.iterdir()] == ["inspected"]


def test_the_same_texts_are_inspected_to_the_same_bytes_in_tables_of_whatever_size(tmp_path: Path) -> None:
    written, labels = subjects(150)
    random = np.random.default_rng(0)
    written += [EDITED["a slip"](text, random) for text in written[:20]]
    digests = set()
    for number, rows in enumerate((500, 500, 7)):
        data = source(written, [*labels, *labels[:20]], rows)
        inspect(data, config(), tmp_path, tmp_path / str(number))
        digests.add(digest_folder(tmp_path / str(number)))
    assert len(digests) == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_handful_is_inspected_too(count: int, tmp_path: Path) -> None:
    inspection = looked_at(tmp_path, source(*subjects(count)))
    assert inspection.samples == count
    assert f"outliers: not looked for among {count} texts, too few to know what is usual" in inspection.notes


def test_wrong_labels_are_found_and_right_ones_left_alone(tmp_path: Path) -> None:
    written, labels = subjects(600)
    changed = [(label + 1) % 3 if place % 25 == 0 else label for place, label in enumerate(labels)]
    looked_at(tmp_path, source(written, changed))
    found = {row["id"]: row["other"] for row in findings(tmp_path, "label-noise")}
    wrong = {f"s{place:04d}": CLASSES[labels[place]] for place in range(0, 600, 25)}
    assert len(found.keys() & wrong.keys()) >= 20 and len(found.keys() - wrong.keys()) <= 1
    assert all(wrong[name] == other for name, other in found.items() if name in wrong)


def test_a_source_of_another_kind_than_declared_is_refused_by_both_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected texts, since the entry declares `text:`, received images; declare"):
        looked_at(tmp_path, pictures.source(*pictures.digits(20)))
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="expected texts, received none"):
        looked_at(tmp_path, SourceData(CLASSES, "class", iter([]), given="text"))


def test_findings_are_called_by_what_they_are_about() -> None:
    assert says("image")["duplicate"] == "the same pixels as another"
    assert says("text")["duplicate"] == "the same words as another"
    assert says("image")["label-noise"] == says("text")["label-noise"]


# -- copies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "least"),
    [("a slip", 1.0), ("three slips", 0.75), ("a word less", 0.99), ("another word", 0.85), ("exclaimed", 1.0)],
)
def test_edited_copies_are_found(how: str, least: float) -> None:
    written, _ = subjects(300)
    random = np.random.default_rng(1)
    every = [normalised(text) for text in [*written, *(EDITED[how](text, random) for text in written)]]

    found = shingles.near_copies(shingles.keys(every), every.__getitem__)

    pairs = set(zip(*found.pairs.tolist(), strict=True))
    own = {(place, 300 + place) for place in range(300)}
    assert len(pairs & own) >= 300 * least
    assert pairs <= own
    assert (found.likeness >= shingles.ALIKE).all() and (found.likeness <= 1.0).all()


def test_texts_that_share_their_subject_and_their_words_are_no_copies() -> None:
    every = [normalised(text) for text in subjects(1500, words=(8, 20))[0]]
    assert shingles.near_copies(shingles.keys(every), every.__getitem__).pairs.shape == (2, 0)


def test_likeness_is_jaccards_of_runs_of_three_characters() -> None:
    one, other = "a quick brown fox jumps over it all", "a quick brown fox jumps over it alas"
    runs = [{text[place : place + 3] for place in range(len(text) - 2)} for text in (one, other)]
    found = shingles.near_copies(shingles.keys([one, other]), [one, other].__getitem__)
    assert found.likeness.tolist() == [len(runs[0] & runs[1]) / len(runs[0] | runs[1])]


def test_of_a_crowd_of_copies_a_tree_is_listed_and_said_to_be_compared_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "CROWDED", 50)
    written = "one sentence that everybody has copied and numbered by hand, as it is wont to be, number {}"
    every = [written.format(number) for number in range(200)]
    found = shingles.near_copies(shingles.keys(every), every.__getitem__)
    assert found.pairs.shape == (2, 199)
    assert "groups of more than 50 texts" in found.notes[0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Straße", "STRASSE", True),
        ("e\u0301te\u0301", "ÉTÉ", True),
        (" a\tb\r\n c ", "a b c", True),
        ("\ufeffa", "A", True),
        ("a b", "ab", False),
        ("not good", "good", False),
    ],
)
def test_texts_that_read_the_same_are_the_same(one: str, other: str, same: bool) -> None:
    assert (normalised(one) == normalised(other)) is same


# -- descriptors ------------------------------------------------------------------------------------------------------


def test_a_descriptor_is_of_length_one_whatever_the_batch_and_near_for_what_is_alike() -> None:
    written, labels = subjects(90)
    every = [normalised(text) for text in written]
    found = ngrams.descriptor(every)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(np.concatenate([ngrams.descriptor([text]) for text in every]), found)
    alike = found @ found.T
    same = np.equal.outer(labels, labels)
    assert alike[same & ~np.eye(90, dtype=bool)].mean() > 1.5 * alike[~same].mean()
    assert ngrams.descriptor([""]).shape == (1, ngrams.DIMENSIONS)
