"""Hostile texts down the whole line: as classes, groups, samples, recipe, people and reasons, from check to export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from components import texts
from components.data import places
from components.inputs import png
from components.registry import ledger, versions
from components.registry.memory import tracking
from tests.hostile_texts import WORDS

CLASSES = ("markup", "mathematics", "tag", "line end", "address", "pipes", "long", "formula")
RECIPE = "it's [bold] $x^2$ | “a” --help; `id`"
NAME, MODEL = "hostile", "1.e3-x"


def write(folder: Path) -> Path:
    """A table of the digits 0 to 7, 60 of each: classes, ids and two groups are hostile texts."""
    from components.data.sources.digits import load

    pixels, labels = load()
    chosen = [place for digit in range(8) for place in [p for p, label in enumerate(labels) if label == digit][:60]]
    words = list(WORDS.values())
    rows = {
        "path": png.encode(pixels[chosen]),
        "target": [WORDS[CLASSES[labels[place]]] for place in chosen],
        "name": [f"{words[number % len(words)]}{number}.png" for number in range(len(chosen))],
        "group_site": [words[number % len(words)] for number in range(len(chosen))],
        f"group_{WORDS['markup']} $x$ a.b": [words[number % 7] for number in range(len(chosen))],
    }
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), folder / "-rf [x].parquet")
    return folder / "-rf [x].parquet"


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_hostile_texts_go_down_the_line_and_harm_nowhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.cli import app
    from flows.line import line

    def convoy(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})
        said = done.output
        assert done.exit_code == code, f"{arguments}: {said}"
        assert not any(char in said for char in ("\x1b", "\x07", "\x00", "\u202e", "\r", "\x9b")), arguments
        return said

    # given a data set, and a recipe in a file, whose names are what they are
    table = write(tmp_path / "data")
    monkeypatch.chdir(project)
    recipe = project / "recipes" / f"{RECIPE}.yaml"
    small = yaml.safe_load((project / "recipes" / "digits.yaml").read_text(encoding="utf-8"))
    small["line"] |= {"dataset": NAME, "model": MODEL, "student": None}
    small["line"]["members"] |= {"count": 2, "epochs": 1}
    small["line"]["gates"] = {name: {"limit": 0.0} for name in ("floor", "worst_group", "robustness")} | {
        "calibration": {"limit": 1.0}, "int8_drop": {"limit": 1.0}, "latency": {"limit": 1e4}, "drift": {"limit": 1.0}
    }  # fmt: skip
    small["line"]["evaluate"] = {"min_samples": 2}  # that classes and groups of such names are judged
    recipe.write_text(yaml.safe_dump(small), encoding="utf-8")
    settings = ["-S", "id=name", "-S", "checks.leakage=keep", "--test", "0.3", "--validation", "0.2"]
    # when it is looked at, and added
    said = convoy("data", "check", str(table), *settings)
    assert "see [/docs]" in said and "$x^2$" in said and "<script>alert(1)</script>" in said
    convoy("data", "add", "1e3", str(table), *settings, code=1)
    convoy("data", "add", NAME, str(table), *settings)
    # then its stages run, everything is trained, measured, registered and judged
    first = line(RECIPE)
    assert first.decision.alias == "staging", first.decision.reason
    store = tracking.connect(project, MODEL)
    assert set(first.assessment.evidence.classes) == {WORDS[name] for name in CLASSES}
    measured = store.get(_run(first, "evaluate")).metrics
    groups = [name for name in measured if name.startswith("test.group_site.") and name.endswith(".accuracy")]
    assert len(groups) == len({row.group for row in first.assessment.evidence.groups if row.column == "group_site"})
    card = versions.version_card(store, MODEL, first.decision.version)
    assert "<script>" not in card.replace("\\<script", "")
    report = store.artifact_folder(_run(first, "promote"), "report/report.html")
    assert "<script>alert" not in report.read_text(encoding="utf-8")
    convoy("data", "show", NAME)
    page = (project / ".convoy" / "cards" / f"{NAME}.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page and "\u202e" not in page
    # and people decide about it
    convoy("approve", MODEL, "--by", "", "--reason", "x", code=1)
    convoy("approve", MODEL, "--by", "[/docs] <b>Ada</b> $x$ | `id`", "--reason", WORDS["markup"])
    convoy("promote", MODEL, "--to", "production", "--by", 'O\'Hara "so"', "--reason", WORDS["both quotes"])
    assert "see [/docs]" in convoy("ledger", MODEL)
    assert [each.reason for each in ledger.history(store, MODEL)][1:] == [WORDS["markup"], WORDS["both quotes"]]
    for command in (("status",), ("runs",), ("status", "--json"), ("ledger", MODEL, "--json"), ("data", "list")):
        convoy(*command)
    # and the next line compares with it, and finds the earlier run of the recipe
    second = line(RECIPE, ["evaluate.bootstrap=150"])
    assert second.compared.earlier == first.run_id and "drift" in {done.step for done in second.done}
    convoy("compare", first.run_id, second.run_id)
    pages = [store.artifact_folder(_run(second, "drift"), "drift/drift.html")]
    pages += (places.validated(project, NAME) / "docs").rglob("*.html")
    assert len(pages) > 5 and not any("<script>alert" in page.read_text(encoding="utf-8") for page in pages)
    # and it can be taken along
    convoy("export", f"{MODEL}@production", "--output", str(tmp_path / "out [x]"))
    labels = (tmp_path / "out [x]" / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert labels == [texts.visible(name) for name in first.assessment.predictions.classes]
    assert not (project / "x").exists() and Path.cwd() == project.resolve()


def _run(outcome: Any, step: str) -> str:
    return next(str(done.run_id) for done in outcome.done if done.step == step)
