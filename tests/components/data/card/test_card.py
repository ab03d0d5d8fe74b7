"""The card of a data set: what it says is what is in the shards, and it needs nothing but itself."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from rich.console import Console

from components.artifacts import SPLITS
from components.config import ConfigurationError, DatasetConfig
from components.data import places
from components.data.card import samples as small
from components.data.card.page import EACH, MOST_BARS, MOST_CLASSES, write_card
from components.data.card.summary import catalogue, count, summarise
from components.data.catalogue import written
from components.data.errors import DataError
from components.data.inspection.base.findings import Decisions
from components.data.inspection.inspect import inspect
from components.data.preparing.ingest import ingest, ingested
from components.data.preparing.prepare import prepare
from components.data.sources import registry
from components.data.validation.validate import validate
from components.inputs.png import decode_stored
from flows.commands.data_pages import card_page
from tests.components.data.data_builders import DIGITS, SCENES, folder_entry
from tests.components.data.inspection.text_builders import source as text_source
from tests.components.data.inspection.text_builders import subjects


class Page(HTMLParser):
    """What a page says and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.titles: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.addresses += [value or "" for name, value in attributes if name in {"src", "href", "srcset", "action"}]
        if tag == "img":
            self.titles.append(given["title"] or "")
        if tag not in {"meta", "img", "br", "line", "polyline"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"line", "polyline"}:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def make(root: Path, name: str, entry: dict[str, Any], *, judged: bool = True) -> Path:
    """The stages of one data set, as DVC would run them."""
    (root / "params.yaml").write_text("datasets:\n" + written(name, entry, indent=2), encoding="utf-8")
    config = DatasetConfig.model_validate(entry)
    raw, inspected = places.ingested(root, name), places.inspected(root, name)
    ingest(config.source, root, raw)
    inspect(ingested(raw), config, root, inspected)
    dataset = prepare(name, config, raw, places.prepared(root, name), Decisions.load(inspected))
    if judged:
        validate(dataset, config, places.validated(root, name), project=root, inspected=inspected)
    return root


@pytest.fixture(scope="module")
def digits_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("digits"), "digits", DIGITS)


@pytest.fixture
def spoilt(tmp_path: Path, pictures: Callable[..., Path]) -> Path:
    """Two classes with a damaged picture, a copy, a blank one, and one that a person has dropped."""
    base = pictures(classes=("cat <b>&", "hund-äöü-" + "x" * 120), each=30)
    cats = base / "cat <b>&"
    shutil.copy(cats / "001.png", cats / "copy.png")
    (cats / "torn.png").write_bytes((cats / "000.png").read_bytes()[:90])
    Image.new("RGB", (12, 10), "white").save(cats / "white.png")
    (tmp_path / "reviewed.csv").write_text("id,verdict\n" + f"{cats.name}/002.png,drop\n", encoding="utf-8")
    checks = {"leakage": "drop", "reviewed": "reviewed.csv"}
    return make(tmp_path, "mine", folder_entry(base, checks=checks))


def test_the_counts_are_those_of_the_shards(digits_project: Path) -> None:
    summary = summarise(digits_project, "digits")
    table = pa.concat_tables([summary.dataset.table(split) for split in SPLITS])
    expected = Counter(zip(table.column("target").to_pylist(), table.column("split").to_pylist(), strict=True))
    received = {
        (int(name), split): number for name, splits in summary.counts.parts.items() for split, number in splits.items()
    }
    assert received == dict(expected)
    assert summary.counts.inputs.sizes(None) == {"8×8": 1797}
    assert sum(int(counts.sum()) for counts in summary.counts.inputs.distribution().values()) == 1797


def test_the_page_fetches_nothing_and_shows_what_matters(digits_project: Path) -> None:
    summary = summarise(digits_project, "digits")
    text = write_card(summary, {"Samples": ".convoy/data/prepared/digits"}).read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert page.addresses and all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not re.search(r"https?://|url\(|@import|<script", text)
    for said in (
        summary.dataset.digest,
        summary.dataset.card.fingerprint,
        "1,797 samples",
        ".convoy/data/prepared/digits",
    ):
        assert said in page.text, said
    for split in SPLITS:
        assert f"{summary.dataset.card.splits[split]:,}" in page.text
    assert "valid" in page.text and "source: {kind: digits}" in page.text


def test_the_pictures_are_those_of_the_samples_they_name(digits_project: Path) -> None:
    """Digits are small enough to be shown pixel for pixel."""
    dataset = summarise(digits_project, "digits").dataset
    train = dataset.table("train")
    decoded = decode_stored(train.column("image").combine_chunks())
    assert decoded is not None
    pixels = dict(zip(train.column("id").to_pylist(), decoded[..., 0], strict=True))
    targets = dict(zip(train.column("id").to_pylist(), train.column("target").to_pylist(), strict=True))

    sheet = small.of_parts(dataset, dataset.card.classes, EACH)

    for name, samples in sheet.items():
        assert len(samples) == len({sample.id for sample in samples}) == EACH
        for sample in samples:
            shown = Image.open(io.BytesIO(base64.b64decode((sample.look.uri or "").partition(",")[2])))
            assert np.array_equal(np.asarray(shown), pixels[sample.id])
            assert dataset.card.classes[targets[sample.id]] == sample.target == name
    assert small.of_parts(dataset, dataset.card.classes, EACH) == sheet  # the same ones every time


def test_what_was_found_and_what_was_left_out_is_on_the_page(spoilt: Path) -> None:
    summary = summarise(spoilt, "mine")
    page = Page(write_card(summary).read_text(encoding="utf-8"))
    cats = "cat <b>&"
    for said in ("1 corrupt", "1 duplicate", "1 blank", f"{cats}/torn.png", f"{cats}/white.png", "no picture"):
        assert said in page.text, said
    assert f"{cats}/002.png" in page.text and "a person has said so" in page.text
    assert f"{cats}/002.png" in page.titles  # with its picture, though it is in no split
    assert {f"{cats}/001.png", f"{cats}/copy.png"} <= set(page.titles)
    assert "not valid" in page.text and "every image can be decoded" in page.text


@pytest.mark.parametrize(
    ("leakage", "said"),
    [
        ("move", "1 sample is in a later split than drawn or predefined, beside its twin"),
        ("keep", "1 sample of validation and test has a twin in an earlier split"),
    ],
)
def test_what_becomes_of_twins_in_two_published_splits_is_on_the_page(
    leakage: str, said: str, tmp_path: Path, pictures: Callable[..., Path]
) -> None:
    base = pictures(each=20, under="train")
    pictures(each=8, under="test")
    shutil.copy(base / "train" / "cat" / "003.png", base / "test" / "cat" / "copy.png")

    root = make(tmp_path, "mine", folder_entry(base, checks={"leakage": leakage}), judged=False)

    summary = summarise(root, "mine")
    page = Page(write_card(summary).read_text(encoding="utf-8"))
    assert page.open == []
    assert said in page.text
    assert "twins: 2 samples in 1 family" in page.text
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(card_page(summary, 100))
    shown = re.sub(r"\s+", " ", console.export_text())
    rows = {"move": "moved 1 sample beside", "keep": "twins 1 judged sample with one in an earlier split"}
    assert rows[leakage] in shown and "twins: 2 samples in 1 family" in shown


def test_names_from_the_data_are_text_and_not_markup(spoilt: Path) -> None:
    text = write_card(summarise(spoilt, "mine")).read_text(encoding="utf-8")
    assert "<b>" not in text and "cat &lt;b&gt;&amp;" in text
    assert "hund-äöü-" in text


def test_masks_are_shown_over_their_pictures(tmp_path: Path) -> None:
    root = make(tmp_path, "scenes", SCENES, judged=False)
    summary = summarise(root, "scenes")
    page = Page(write_card(summary).read_text(encoding="utf-8"))
    assert "not validated" in page.text and "dvc repro validate@scenes" in page.text
    dataset = summary.dataset
    (sample,) = small.of_parts(dataset, [dataset.card.classes[3]], 1)[dataset.card.classes[3]]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode((sample.look.uri or "").partition(",")[2]))))
    table = dataset.table("train").to_pylist()
    row = next(row for row in table if row["id"] == sample.id)
    mask = np.asarray(Image.open(io.BytesIO(row["target"])))
    assert (mask == 3).any()
    grey = (shown[..., 0] == shown[..., 1]) & (shown[..., 1] == shown[..., 2])
    assert grey[mask == 0].all() and not grey[mask > 0].any()
    assert summary.counts.parts[dataset.card.classes[0]].total() == 60


def test_a_long_tail_is_folded_and_the_page_stays_small(tmp_path: Path, pictures: Callable[..., Path]) -> None:
    names = tuple(f"species-{number:03d}" for number in range(MOST_BARS + 20))
    base = pictures(classes=names, each=10)
    root = make(tmp_path, "many", folder_entry(base), judged=False)
    path = write_card(summarise(root, "many"))
    page = Page(path.read_text(encoding="utf-8"))
    assert f"The {MOST_CLASSES} most frequent of {len(names)} classes" in page.text
    assert "… 20 more, down to" in page.text
    assert path.stat().st_size < 2**20


def test_groups_are_counted_by_value_and_split(tmp_path: Path, pictures: Callable[..., Path]) -> None:
    base = pictures(each=20)
    lines = ["path,target,group_site"]
    for number, path in enumerate(sorted(base.rglob("*.png"))):
        lines.append(f"{path.relative_to(base).as_posix()},{path.parent.name},{'north' if number % 4 else 'south'}")
    (base / "all.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    source = {"kind": "manifest", "path": str(base / "all.csv")}
    root = make(tmp_path, "sites", folder_entry(base, source=source))
    summary = summarise(root, "sites")
    sites = {value: splits.total() for value, splits in summary.counts.groups["group_site"].items()}
    assert sites == {"north": 30, "south": 10}
    assert "group_site" in Page(write_card(summary).read_text(encoding="utf-8")).text


def test_a_set_that_is_not_prepared_says_which_command_makes_it(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("datasets:\n" + written("digits", DIGITS, indent=2), encoding="utf-8")
    with pytest.raises(DataError, match="`dvc repro validate@digits` makes it"):
        summarise(tmp_path, "digits")
    with pytest.raises(ConfigurationError, match=r"datasets\.nobody: expected an entry"):
        summarise(tmp_path, "nobody")
    assert [(each.name, each.state) for each in catalogue(tmp_path)] == [("digits", "not prepared")]


def test_an_entry_that_is_wrong_does_not_hide_the_others(digits_project: Path) -> None:
    path = digits_project / "params.yaml"
    before = path.read_text(encoding="utf-8")
    path.write_text(before + "  broken: {task: 3}\n", encoding="utf-8")
    try:
        listed = {each.name: each for each in catalogue(digits_project)}
    finally:
        path.write_text(before, encoding="utf-8")
    assert listed["digits"].state == "prepared" and listed["digits"].samples == 1797
    assert listed["broken"].state.startswith("wrong: datasets.broken")


def test_an_entry_that_was_changed_since_is_said_to_be(digits_project: Path) -> None:
    """By what dvc.lock says the data was made by."""
    lock = digits_project / "dvc.lock"
    stage = {"params": {"params.yaml": {"datasets.digits": DIGITS}}, "outs": [{"md5": "ab12.dir"}]}
    lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": {"prepare@digits": stage}}), encoding="utf-8")
    try:
        assert not summarise(digits_project, "digits").changed
        assert summarise(digits_project, "digits").dataset.digest == "ab12.dir"
        stage["params"] = {"params.yaml": {"datasets.digits": {**DIGITS, "task": "segmentation"}}}
        lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": {"prepare@digits": stage}}), encoding="utf-8")
        assert summarise(digits_project, "digits").changed
        assert catalogue(digits_project)[0].state == "changed since in params.yaml"
        assert "out of date" in write_card(summarise(digits_project, "digits")).read_text(encoding="utf-8")
    finally:
        lock.unlink()


def test_a_catalogue_of_many_reads_each_file_once(digits_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a second entry that is prepared and one that is not
    path, folder = digits_project / "params.yaml", places.prepared(digits_project, "copy")
    before = path.read_text(encoding="utf-8")
    path.write_text(before + written("copy", DIGITS, indent=2) + written("third", DIGITS, indent=2), encoding="utf-8")
    shutil.copytree(places.prepared(digits_project, "digits"), folder)
    # when
    opened: list[str] = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: opened.append(file.name) or read(file))
    try:
        listed = catalogue(digits_project)
    finally:
        path.write_text(before, encoding="utf-8")
        shutil.rmtree(folder)
    # then
    assert [each.state for each in listed] == ["prepared", "prepared", "not prepared"]
    assert [opened.count(name) for name in ("params.yaml", "dvc.lock")] == [1, 1]


def test_counting_needs_no_image(digits_project: Path, tmp_path: Path) -> None:
    dataset = summarise(digits_project, "digits").dataset
    for shard in dataset.folder.glob("*.parquet"):
        pq.write_table(pq.read_table(shard).drop_columns(["image"]), tmp_path / shard.name)
    without = count(replace(dataset, folder=tmp_path))
    assert without.parts == count(dataset).parts


def test_texts_are_shown_as_text_and_counted_by_their_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, labels = subjects(150)
    contents: list[str | bytes | None] = [*written, "<b>bold</b> onions & <script>alert(1)</script>", "", None]
    monkeypatch.setattr(registry, "read", lambda *_: text_source(contents, [*labels, 0, 1, 2]))
    entry = {
        "task": "classification",
        "source": {"kind": "digits"},
        "text": {"unit": "word", "length": 40},
        "checks": {"outliers": "keep"},
    }
    root = make(tmp_path, "mine", entry, judged=False)
    summary = summarise(root, "mine")
    counts = summary.counts.inputs
    assert sum(counts.sizes(summary.inspection).values()) == 152
    assert list(counts.sizes(summary.inspection))[:2] == ["0", "8–15"]
    assert sum(int(each.sum()) for each in counts.distribution().values()) == 152

    text = write_card(summary).read_text(encoding="utf-8")

    page = Page(text)
    assert not page.addresses and "no text" in text
    assert "153 samples for classification, texts of 40 words, in 3 classes" in page.text
    assert "Of the texts in words; a network is given the first 40." in page.text
    assert "<script>alert" not in text and "<b>bold" not in text
    (sample,) = small.of_ids(summary.dataset, ["s0150"]).values()
    assert sample.look.text == contents[150]
    assert small.of_ids(summary.dataset, ["s0152"])["s0152"].look.text is None
    sheet = small.of_parts(summary.dataset, summary.dataset.card.classes, EACH)
    assert any(each.look.text in page.text for each in sheet["sailing"] if each.look.text)
