from __future__ import annotations

import base64
import csv
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pyarrow as pa
import pytest

from components import texts
from components.artifacts import Evidence, Figure, Predictions, Verdict
from components.data.inspection.reviewing import COLUMNS
from components.evaluate import plots
from components.evaluate.evaluate import measure
from components.evaluate.report import ReportData, Words, write_report
from components.metrics.metric import shown
from components.tasks import registry as tasks
from components.tasks.protocol import Task
from tests.components.evaluate.evaluate_builders import CONFIG, NUMBERS, classify, detect, measure_numbers, segment

CLASSIFICATION = tasks.get("classification")


class Page(HTMLParser):
    """What a page says and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attributes if name in {"src", "href", "srcset", "action"}]
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def pair(task: str) -> tuple[Predictions, Evidence]:
    groups = ["left", "<b>right</b>"] * 100
    predictions = classify(200, 0.8, groups={"group_side": groups}) if task == "classification" else segment(40, 0.9)
    return predictions, measure(predictions, tasks.get(task), CONFIG)


def test_numbers_are_shown_with_their_unit_beside_the_truths(tmp_path: Path) -> None:
    predictions = measure_numbers(300, 2.0, groups={"group_side": ["left", "right"] * 150})
    evidence = measure(predictions, NUMBERS, CONFIG)
    page = Page(write_report(ReportData("Scales", evidence, predictions, NUMBERS), tmp_path).read_text("utf-8"))
    assert "Predictions and targets" in page.text
    assert re.search(r"[12]\.\d+ kg", page.text)
    assert "Confusion matrix" not in page.text and "By class" not in page.text
    assert {path.stem for path in (tmp_path / "plots").glob("*.png")} == {"numbers", "groups"}


def test_a_row_of_the_confusion_matrix_bears_the_name_of_its_own_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evidence that was stored has its classes in order of name, the matrix in order of index."""
    predictions = replace(classify(200, 0.8), classes=("zebra", "ant", "mole"))
    measure(predictions, CLASSIFICATION, CONFIG).save(tmp_path)
    named: list[tuple[str, ...]] = []
    drawn = plots.confusion_matrix
    monkeypatch.setattr(
        plots, "confusion_matrix", lambda counts, names: named.append(tuple(names)) or drawn(counts, names)
    )

    write_report(ReportData("zoo", Evidence.load(tmp_path), predictions, CLASSIFICATION), tmp_path)

    assert named == [("zebra", "ant", "mole")]


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_the_page_shows_the_figures_and_fetches_nothing(task: str, tmp_path: Path) -> None:
    predictions, evidence = pair(task)
    cost = {"latency_ms": Figure(value=1.25, unit="ms"), "size_bytes": Figure(value=2_500_000, unit="bytes")}
    evidence = evidence.model_copy(update={"figures": evidence.figures | cost})
    verdict = Verdict(gate="floor", passed=False, value=0.8, limit=0.9, reason="0.8 < 0.9")
    stages = {"member 1": evidence, "artifact (int8)": evidence}
    data = ReportData("Digits", evidence, predictions, tasks.get(task), stages, [verdict], {"git commit": "abcdef"})
    path = write_report(data, tmp_path)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    # nothing is fetched: every picture is inside, and is the picture beside it
    assert page.addresses and all(address.startswith("data:image/png;base64,") for address in page.addresses)
    inside = {base64.b64decode(address.partition(",")[2]) for address in page.addresses}
    assert inside == {file.read_bytes() for file in (tmp_path / "plots").glob("*.png")}
    assert {file.stem for file in (tmp_path / "plots").iterdir()} == {"confusion", "reliability", "classes", "groups"}
    assert not re.search(r"https?://|url\(|@import", text)
    # and what matters is there
    primary = shown(evidence.figures[evidence.primary].value)
    for said in (
        primary,
        "1.25 ms",
        "2.50 MB",
        "gates did not pass",
        "0.8 < 0.9",
        "artifact (int8)",
        "abcdef",
        evidence.model,
    ):
        assert said in page.text, said


def test_the_page_shows_each_class_in_each_group_and_what_is_withheld(tmp_path: Path) -> None:
    groups = {"group_site": ["<b>left</b>"] * 180 + ["right"] * 20}
    predictions = classify(200, 0.8, groups=groups)
    evidence = measure(predictions, CLASSIFICATION, CONFIG)
    text = write_report(ReportData("Zoo", evidence, predictions, CLASSIFICATION), tmp_path).read_text("utf-8")
    page = Page(text)
    worst = evidence.figures["worst_group_recall"]
    judged = [cell for cell in evidence.cells if cell.figure is not None]
    withheld = [cell for cell in evidence.cells if cell.figure is None]
    assert page.open == [] and len(judged) == 3 and withheld
    assert "By class and group" in page.text and "fewer than 20 samples in a group" in page.text
    for cell in judged:
        assert cell.figure is not None and shown(cell.figure.value) in page.text
        assert shown(cell.figure.low) in page.text and f"{cell.samples} samples" in page.text
    assert page.text.count("withheld") >= len(withheld)
    (marked,) = re.findall(r'<td class="n worst">(.*?)<br>', text)
    assert marked == shown(worst.value) and "worst group recall" in page.text
    assert "<b>left</b>" not in text


def test_what_may_have_been_learnt_by_heart_is_said_beside_the_figure(tmp_path: Path) -> None:
    predictions, plain = pair("classification")
    evidence = measure(predictions, CLASSIFICATION, CONFIG, twins={"sample-3", "sample-4"})

    page = Page(write_report(ReportData("Zoo", evidence, predictions, CLASSIFICATION), tmp_path).read_text("utf-8"))

    without = shown(evidence.figures["accuracy_without_twins"].value)
    assert "though 2 of them are all but the same picture as one that it has learnt from." in page.text
    assert "accuracy without twins" in page.text and without in page.text
    assert "all but the same" not in write_report(
        ReportData("Zoo", plain, predictions, CLASSIFICATION), tmp_path / "plain"
    ).read_text("utf-8")


def test_names_from_the_data_are_text_and_not_markup(tmp_path: Path) -> None:
    predictions, evidence = pair("classification")
    text = write_report(ReportData("<i>x</i>", evidence, predictions, CLASSIFICATION), tmp_path).read_text("utf-8")
    assert "<b>right</b>" not in text and "&lt;b&gt;right" in text and "<i>x" not in text


def test_what_could_not_be_measured_is_said_and_not_shown_as_a_number(tmp_path: Path) -> None:
    predictions, evidence = pair("classification")
    evidence = evidence.model_copy(update={"figures": evidence.figures | {"accuracy": Figure(value=float("nan"))}})
    page = write_report(ReportData("Digits", evidence, predictions, CLASSIFICATION), tmp_path)
    assert "not measurable" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("value", "name", "unit", "text"),
    [
        (0.91234, "accuracy", "", "91.23 %"),
        (0.5, "log_loss", "", "0.5000"),
        (2_500_000, "size_bytes", "bytes", "2.50 MB"),
        (900, "size_bytes", "bytes", "0.9 kB"),
        (0.123, "latency_ms", "ms", "0.123 ms"),
        (12345.6, "throughput_64", "images/s", "12,346 images/s"),
        (12.5, "rmse", "px", "12.5 px"),
    ],
)
def test_numbers_are_written_for_people(value: float, name: str, unit: str, text: str) -> None:
    assert Words(CLASSIFICATION.spec).number(Figure(value=value, unit=unit), name) == text


def test_every_metric_of_a_task_says_what_it_means() -> None:
    for name in tasks.names():
        spec = tasks.get(name).spec
        assert all(Words(spec).meaning(metric.name) == metric.says != "" for metric in spec.metrics)
    assert Words(spec).number(None, "accuracy") == "–"


def test_a_task_without_classes_has_a_page_without_what_it_cannot_show(tmp_path: Path) -> None:
    predictions, whole = pair("classification")
    bare = cast(Task, SimpleNamespace(spec=CLASSIFICATION.spec, measure=CLASSIFICATION.measure))
    evidence = measure(predictions, bare, CONFIG)
    assert evidence.classes == {} and evidence.cells == ()
    assert evidence.figures == {name: each for name, each in whole.figures.items() if name != "worst_group_recall"}
    page = write_report(ReportData("Bare", evidence, predictions, bare), tmp_path).read_text("utf-8")
    assert {file.stem for file in (tmp_path / "plots").iterdir()} == {"groups"}
    assert not any(said in page for said in ("Confusion matrix", "Calibration", "By class"))
    assert "By group" in page and "All metrics" in page


def test_detections_are_shown_in_their_pictures_beside_what_goes_wrong(tmp_path: Path) -> None:
    task = tasks.get("detection")
    predictions, pictures = detect(40, 0.7)
    evidence = measure(predictions, task, CONFIG)
    data = ReportData("Yard", evidence, predictions, task, pictures=lambda: pictures)
    page = Page(write_report(data, tmp_path).read_text("utf-8"))
    for title in (
        "What goes wrong",
        "Confusion matrix",
        "By size",
        "By how much is visible",
        "Predictions on samples",
    ):
        assert title in page.text
    assert "said where there is nothing" in page.text and "Precision" not in page.text
    files = {path.stem for path in (tmp_path / "plots").glob("*.png")}
    assert files == {"classes", "groups", "confusion-matrix", "scenes", "faults"}
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)


def test_without_the_samples_there_are_no_pictures_of_them(tmp_path: Path) -> None:
    task = tasks.get("detection")
    predictions, _ = detect(40, 0.7)
    evidence = measure(predictions, task, CONFIG)
    page = Page(write_report(ReportData("Yard", evidence, predictions, task), tmp_path).read_text("utf-8"))
    assert "What goes wrong" in page.text and "Predictions on samples" not in page.text


def test_labels_that_are_doubted_are_listed_for_people_to_go_through(tmp_path: Path) -> None:
    """A classifier that is right but for three samples, of which it is sure: the labels may be wrong."""
    right = classify(300, 1.0)
    evidence = measure(right, CLASSIFICATION, CONFIG)
    page = Page(write_report(ReportData("Zoo", evidence, right, CLASSIFICATION), tmp_path / "no").read_text("utf-8"))
    assert "Doubtful labels" not in page.text and not (tmp_path / "no" / "review.csv").exists()

    target, ids = (right.table.column(name).to_pylist() for name in ("target", "id"))
    for row in (7, 21, 200):
        target[row] = (target[row] + 1) % 3
    ids[7] = "=1+1"  # what a spreadsheet would take for a formula
    table = right.table.set_column(right.table.column_names.index("target"), "target", pa.array(target))
    doubted = replace(right, table=table.set_column(table.column_names.index("id"), "id", pa.array(ids)))
    page = Page(write_report(ReportData("Zoo", evidence, doubted, CLASSIFICATION), tmp_path).read_text("utf-8"))
    assert "Doubtful labels" in page.text and "looks like" in page.text
    header, *rows = csv.reader((tmp_path / "review.csv").read_text("utf-8").splitlines())
    assert tuple(header) == COLUMNS
    assert {texts.uncell(row[0]) for row in rows} == {"=1+1", "sample-21", "sample-200"}
    assert {(row[1], row[-1]) for row in rows} == {("label-noise", "")}
    assert not rows[0][0].startswith("=")
