"""A stranger's table of texts goes the whole way, from the check to a version that answers for sentences."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from components.data.sources.grammar import GrammarSource, read
from components.registry import versions
from components.registry.memory import tracking

COUNT = 600
SENTENCES = ["the food was not good at all", "the room was hardly bad"]


def reviews(path: Path) -> Path:
    """A table as people have it: names of columns that are their own, and a group."""
    data = read(GrammarSource(kind="grammar", sentences=COUNT, seed=5), path.parent)
    rows = [row for table in data.tables for row in table.to_pylist()]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "sentiment", "group_shop"])
        writer.writerows([row["text"], data.classes[row["target"]], "AB"[n % 2]] for n, row in enumerate(rows))
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_table_of_texts_becomes_a_staged_version_without_a_line_of_code(project: Path, tmp_path: Path) -> None:
    from flows.cli import app

    def convoy(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "110"})
        assert done.exit_code == code, f"{arguments}: {done.output}"
        return done.output

    table = str(reviews(tmp_path / "reviews.csv"))

    checked = convoy("data", "check", table)
    assert "'review' is the text, 'sentiment' the class" in " ".join(checked.split())
    assert "lengths" in checked and "words" in checked
    added = convoy("data", "add", "reviews", table)
    assert "convoy run -r reviews" in added and "network textcnn" in added
    entry = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))["datasets"]["reviews"]
    assert "image" not in entry and entry["text"]["unit"] == "word"

    command = ["run", "-r", "reviews", "-S", "members.epochs=20", "-S", "evaluate.bootstrap=200"]
    said = convoy(*command, "-S", "gates.floor.limit=0.6")
    assert "reviews version 1 is staging" in said
    assert "Nothing new" in convoy(*command, "-S", "gates.floor.limit=0.6"), "a second run did something"

    store = tracking.connect(project, "reviews")
    evidence = versions.version_evidence(store, "reviews", 1)
    assert evidence.figures["accuracy"].value > 0.75  # words alone: two thirds
    assert {row.group for row in evidence.groups if row.column == "group_shop"} == {"A", "B"}
    assert "texts of" in versions.version_card(store, "reviews", 1)

    asked = tmp_path / "asked.txt"
    asked.write_text("\n".join(SENTENCES), encoding="utf-8")
    told = convoy("predict", "reviews@staging", str(asked), "--json").splitlines()
    answers = [json.loads(line) for line in told if line.startswith("{")]
    assert [each["label"] for each in answers] == ["bad", "good"]
