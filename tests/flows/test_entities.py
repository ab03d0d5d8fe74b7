"""A stranger's entities, in a table and in CoNLL's files, go the whole way to a version that finds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from components.data.sources.grammar_entities import CLASSES, GrammarEntitiesSource, compose
from components.registry import versions
from components.registry.memory import tracking

COUNT = 700
SOURCE = GrammarEntitiesSource(kind="grammar-entities", seed=3)
ASKED = "Ann Holderman paid 300 euros for a house in Lortaville."


def table(path: Path) -> Path:
    """JSON lines with columns of a stranger's own."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(COUNT):
            sentence = compose(SOURCE, number)
            found = [[each["start"], each["end"], CLASSES[each["label"]].upper()] for each in sentence.entities]
            file.write(json.dumps({"sentence": sentence.text, "label": found}) + "\n")
    return path


def conll(folder: Path) -> Path:
    """A file a split, with tokens as they stand between blanks."""
    folder.mkdir()
    for split, numbers in (("train", range(60)), ("dev", range(60, 90)), ("test", range(90, 120))):
        lines: list[str] = []
        for number in numbers:
            sentence, at = compose(SOURCE, number), 0
            for token in sentence.text.rstrip(".").split():
                at = sentence.text.index(token, at)
                inside = next((e for e in sentence.entities if e["start"] <= at < e["end"]), None)
                way = "" if inside is None else "B-" if inside["start"] == at else "I-"
                lines.append(f"{token}\t{way}{'O' if inside is None else CLASSES[inside['label']]}")
                at += len(token)
            lines.append("")
        (folder / f"{split}.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_strangers_entities_become_a_staged_version_that_finds_them(project: Path, tmp_path: Path) -> None:
    from flows.cli import app

    def convoy(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "110"})
        assert done.exit_code == code, f"{arguments}: {done.output}"
        return done.output

    notes, news = str(table(tmp_path / "notes.jsonl")), str(conll(tmp_path / "news"))
    checked = " ".join(convoy("data", "check", notes).split())
    assert "'sentence' is the text, 'label' the list of its entities" in checked and "MONEY" in checked
    assert "one token and its tag per line, one file per split" in " ".join(convoy("data", "check", news).split())
    convoy("data", "add", "news", news)
    added = convoy("data", "add", "notes", notes)
    assert "convoy run -r notes" in added and "network idcnn" in added
    entries = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))["datasets"]
    assert entries["notes"]["task"] == entries["news"]["task"] == "tagging"
    assert entries["notes"]["source"]["spans"] == "label" and entries["news"]["source"]["kind"] == "conll"

    command = ["run", "-r", "notes", "-S", "members.epochs=25", "-S", "evaluate.bootstrap=200"]
    assert "notes version 1 is staging" in convoy(*command, "-S", "gates.floor.limit=0.5")
    assert "Nothing new" in convoy(*command, "-S", "gates.floor.limit=0.5"), "a second run did something"
    evidence = versions.version_evidence(tracking.connect(project, "notes"), "notes", 1)
    assert evidence.figures["entity_f1"].value > 0.6

    asked = tmp_path / "asked.txt"
    asked.write_text(ASKED, encoding="utf-8")
    told = convoy("predict", "notes@staging", str(asked), "--json").splitlines()
    (answer,) = [json.loads(line) for line in told if line.startswith("{")]
    assert answer["entities"]
    for each in answer["entities"]:
        assert ASKED[each["start"] : each["end"]] == each["text"]
    assert {"label": "MONEY", "text": "300 euros"}.items() <= {
        key: value for each in answer["entities"] if each["label"] == "MONEY" for key, value in each.items()
    }.items()
