"""What is doubtful about names is found, counted and said, by check, add, the inspection and validation alike."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from components.data.checking.check import Checked, Wanted, check, look
from components.data.inspection.base.findings import load_findings
from components.data.inspection.naming import doubtful
from components.data.sources.digits import load
from flows.base.screen import Screen
from flows.commands.data_pages import added_page, check_page
from tests.components.data.data_builders import build, judge


def digits(base: Path, names: list[str], people: list[str] | None = None) -> Path:
    """A table of zeros and ones of scikit-learn's digits, called as `names` in turn."""
    pixels, labels = load()
    (base / "i").mkdir(parents=True)
    rows = ["path\ttarget" + ("\tgroup_person" if people else "")]
    for number, place in enumerate([index for index, label in enumerate(labels) if label < 2][:120]):
        Image.fromarray(pixels[place]).save(base / "i" / f"{number}.png")
        called = names[number % (len(names) - 1)] if labels[place] == 0 else names[-1]
        rows.append(f"i/{number}.png\t{called}" + (f"\t{people[number % len(people)]}" if people else ""))
    (base / "t.tsv").write_text("\n".join(rows), encoding="utf-8")
    return base / "t.tsv"


def printed(page: Any) -> str:
    file = io.StringIO()
    Screen(file=file, width=80).print(page)
    return file.getvalue()


def checked(path: Path, tmp_path: Path, *settings: str) -> tuple[Checked, str]:
    found = check(str(path), Wanted(settings=settings), tmp_path, tmp_path / "work")
    return found, printed(check_page("data", found, 80))


# `lab_blank`, `lab_case` and `case2`: a class that was two or three, and "nothing is wrong".
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cat", "cat ", "dog"], "'cat' (34), 'cat ' (27): the same name but for blanks"),
        (["cat", "Cat", "dog"], "'cat' (34), 'Cat' (27): the same name but for case"),
        (["one ", "one", "One", "zero"], "'One' (21), 'one' (20), 'one ' (20): the same name but for blanks and case"),
    ],
)
def test_check_warns_with_the_counts_of_each_spelling_and_the_key_that_joins_them(
    names: list[str], said: str, tmp_path: Path
) -> None:
    path = digits(tmp_path / "set", names)
    found, page = checked(path, tmp_path)
    assert found.inspection.found["spelling"] == 1 and found.errors == 0
    assert f"! 1 spelling · one name in several spellings\n    {said}\n" in page
    assert "-S spellings=join gives each of these names its most frequent spelling" in page
    # when they are joined there is nothing to be said any more, and the entry says so
    joined, page = checked(path, tmp_path, "spellings=join")
    assert "spelling" not in joined.inspection.found and len(joined.looked.survey.classes) == 2
    assert joined.looked.entry["source"]["spellings"] == "join"


def test_add_warns_and_says_what_was_joined(tmp_path: Path) -> None:
    path = digits(tmp_path / "set", ["cat", "cat ", "cat, dog", "dog"])
    looked = look(str(path), Wanted(), tmp_path)
    page = " ".join(printed(added_page("pets", looked)).split())
    assert "! 'cat' (20), 'cat ' (20): the same name but for blanks" in page
    assert "! 'cat, dog' (21): reads like several, 'cat', 'dog', and counts as one" in page
    assert "-S spellings=join" in page
    joined = look(str(path), Wanted(settings=("spellings=join",)), tmp_path)
    assert "joined: 'cat' (20), 'cat ' (20): the same name but for blanks" in printed(added_page("pets", joined))


def test_classes_whose_names_occur_in_every_sentence_are_named_all_the_same(tmp_path: Path) -> None:
    # given classes called 0 and 1, of which the second has too few samples
    pixels, labels = load()
    for number, place in enumerate([index for index, label in enumerate(labels) if label == 0][:40]):
        file = tmp_path / "set" / ("1" if number < 2 else "0") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[place]).save(file)
    _, page = checked(tmp_path / "set", tmp_path)
    assert "1: 2 samples to split, and every split and fold needs one: at least 10" in page


def test_one_person_in_two_splits_is_warned_of_by_the_inspection_and_by_validation(tmp_path: Path) -> None:
    people = [f"person {number}" for number in range(12)] + [f"Person  {number}" for number in range(12)]
    entry = {
        "task": "classification",
        "source": {"kind": "manifest", "path": str(digits(tmp_path / "set", ["zero", "one"], people))},
        "image": {"height": 8, "width": 8, "channels": 1},
        "split": {"group": "group_person", "validation": 0.2, "test": 0.2},
        "checks": {"leakage": "keep"},
    }
    dataset, config = build(tmp_path, "apart", **entry)
    found = [row for row in load_findings(tmp_path / "inspected" / "apart").to_pylist() if row["kind"] == "spelling"]
    assert len(found) == 12 and {row["other"] for row in found} == {"group_person"}
    assert all(row["says"].endswith("one of them may be tested on while the other is learnt from") for row in found)
    told = judge(dataset, config, tmp_path / "judged")
    assert [line for line in told.warnings if "no group_person is in two splits under two spellings" in line]

    entry["source"]["spellings"] = "join"
    dataset, config = build(tmp_path, "joined", **entry)
    told = judge(dataset, config, tmp_path / "judged again")
    assert not [line for line in told.warnings if "spellings" in line]
    place: dict[str, set[str]] = {}
    for split in ("train", "validation", "test"):
        for value in dataset.table(split, ["group_person"]).column(0).to_pylist():
            place.setdefault(value.casefold().replace("  ", " "), set()).add(split)
    assert len(place) == 12 and all(len(splits) == 1 for splits in place.values())


def test_names_of_images_are_no_doubtful_names() -> None:
    counts = {"a.jpg": 1, "A.jpg": 1, "01.jpg": 2, "1.jpg": 1}
    assert list(doubtful({"x": 5}, {"group_image": counts}, "group_image")) == []
    assert len(list(doubtful({"x": 5}, {"group_site": counts}, None))) == 2
