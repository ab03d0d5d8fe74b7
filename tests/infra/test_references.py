"""The pages of docs/reference are what the code says, all of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from pydantic import Field

from components.config import Params, Section, effective, recipes
from components.models import registry
from components.registry.names import TAGS
from flows.cli import app
from infra import references

ROOT = Path(__file__).parents[2]


def page(name: str) -> str:
    return (references.FOLDER / name).read_text(encoding="utf-8")


def keys(name: str) -> set[str]:
    """The first cells of a page's tables, without links and back-quotes."""
    return set(re.findall(r"^\| \[?`([^`]+)`", page(name), re.MULTILINE))


def test_the_pages_are_what_the_code_says() -> None:
    assert references.stale() == []


def test_a_page_that_was_changed_by_hand_is_told_and_so_is_one_that_nothing_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in references.PAGES:
        (tmp_path / name).write_text(page(name), encoding="utf-8")
    (tmp_path / "metrics.md").write_text(page("metrics.md").replace("`accuracy`", "`precision`"), encoding="utf-8")
    (tmp_path / "networks.md").unlink()
    (tmp_path / "old.md").write_text("# Old\n", encoding="utf-8")
    monkeypatch.setattr(references, "FOLDER", tmp_path)
    assert references.stale(tmp_path) == ["metrics.md", "networks.md", "old.md"]
    monkeypatch.setattr(references, "stale", lambda: ["metrics.md"])
    assert references.main(["--check"]) == 1
    assert "`make references` writes it" in capsys.readouterr().err


def test_every_key_that_a_recipe_comes_to_is_on_the_page() -> None:
    known = keys("configuration.md")
    for recipe in recipes(ROOT):
        for key in [each.key for each in effective(ROOT, recipe) if not each.key.startswith("datasets.")]:
            # Elements of lists have a name, or a number, in their keys; what is below them stands under the list's.
            plain = re.sub(r"^(members\.networks|members\.augments)\.[^.]+", r"\1", key)
            plain = re.sub(r"^members\.augments", "augment", plain)
            plain = re.sub(r"^(student\.network|student\.assistants\.[^.]+)(?=\.)", "members.networks", plain)
            plain = re.sub(r"\.arguments\..+$", ".arguments", plain)
            assert plain in known, (recipe, key)


def test_every_section_of_params_yaml_is_on_the_page() -> None:
    headings = set(re.findall(r"^## (\w+)", page("configuration.md"), re.MULTILINE))
    assert Params.model_fields.keys() <= headings


def test_every_command_and_every_option_of_its_help_is_on_the_page() -> None:
    text = page("command-line.md")
    for words in (["run"], ["data", "add"], ["predict"], ["backfill"], ["tune"]):
        shown = subprocess.run(
            [sys.executable, "-m", "flows", *words, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        section = text[text.index(f"\n## convoy {' '.join(words)}\n") :].split("\n## ")[1]
        options = set(
            re.findall(r"(?<![\w-])--[a-z][\w-]+", "\n".join(re.findall(r"^│ +[*-].*$", shown, re.MULTILINE)))
        )
        assert options - {"--help"} <= set(re.findall(r"--[a-z][\w-]+", section)), words
    root = typer.main.get_command(app)
    assert {name for name in root.commands if not root.commands[name].hidden} <= set(  # type: ignore[attr-defined]
        re.findall(r"^## convoy (\w+)", text, re.MULTILINE)
    )


def test_a_family_that_somebody_else_has_registered_is_not_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._entries, "theirs", lambda inputs, outputs, width=1: None)
    assert "theirs" in registry.names()
    assert references.networks() == page("networks.md")


def test_every_tag_that_the_code_writes_is_promised() -> None:
    written = set()
    for path in [*ROOT.glob("flows/**/*.py"), *ROOT.glob("components/registry/**/*.py")]:
        if path.name != "names.py":
            written |= set(re.findall(r'"(convoy\.[a-z_]+(?:\.[a-z_]+)*)"', path.read_text(encoding="utf-8")))
    known = {tag.name for tag in TAGS}
    # Of one kind of run alone that is nobody's contract, of registered models, of earlier releases, names of files.
    assert len(written) > 30
    assert {tag for tag in written if tag.count(".") == 1} - known == {
        *("convoy.best", "convoy.cleaned", "convoy.digest", "convoy.message", "convoy.notifications", "convoy.trial"),
        *("convoy.ledger", "convoy.ledger_head", "convoy.line"),
    }


def test_a_key_of_which_nothing_is_said_is_refused() -> None:
    class Said(Section):
        """A section."""

        # Above: what it is.
        first: int = Field(default=1)  # and behind it
        second: int = 2

    told = references.of_fields(Said)
    assert told["first"] == "Above: what it is. and behind it"
    assert told["second"] == ""
    with pytest.raises(ValueError, match=r"Said\.second: expected a comment beside it"):
        references.Sections().add(Said, "said", "said")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 1000}, "whole number, 1 to 1,000"),
        ({"type": "number", "exclusiveMinimum": 0.0}, "number, above 0"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or `null`"),
        ({"enum": ["a", "b"]}, "`a`, `b`"),
        ({"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}]}, "list of 2: number"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, "list of one or more: text"),
        ({}, "anything"),
    ],
)
def test_what_a_key_takes_is_said_in_words(schema: dict[str, object], said: str) -> None:
    assert references.kinds(schema, str) == said
