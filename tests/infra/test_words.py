"""What users read has the field's own words: documentation, help, messages, pages, and none of the words that left."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("infra/*.md"),
        *ROOT.glob("benchmarks/*.md"),
    ]
)


class Word(NamedTuple):
    """A word, or a turn, that must not come back."""

    pattern: str
    instead: str
    meant: str = ""  # where it is meant: in text that this matches around it


WORDS = {
    word.pattern: word
    for word in (
        Word(
            r"(?i)\b(the|this|that|next|whole|every|each|its) lines?\b(?! of code)",
            "the pipeline, or a run of it",
            r"(?i)(on|below) the (dashed )?line|its line the interval|each line (names|says)|the command line|"
            r"row of each line|remove the line",
        ),
        Word(r"(?i)\b(two|several|no|killed|running) lines\b", "runs", r"(?i)of several lines"),
        Word(r"(?i)\ba line (runs?|needs?|starts?|was killed|ended|has begun|that)\b", "a run"),
        Word(
            r"(?i)\bgates?\b[^.|;,]{0,40}\b(approved?|rejects?|rejected)\b",
            "gates pass or fail",
        ),
        Word(r"(?i)\bconvoy deploy\b", "convoy schedule --register"),
        Word(r"(?i)\bnotices\b", "notifications"),
        Word(r"(?i)\brollbacks:|training\.rollbacks", "checkpoint_restores"),
        Word(r"(?i)\bmirror: (true|false)|ensemble\.mirror", "tta: hflip"),
        Word(r"(?i)\bmultiply-adds\b", "MACs"),
        Word(r"\bflops\b", "macs"),
        Word(r"(?i)\bfigures?\b", "metric"),
        Word(r"(?i)\bwhat (is|would be) served\b", "the deployable artifact"),
        Word(r"(?i)\b(each|every|the|n-th) try\b|\btry \d|\btries\b(?! all)", "evaluation on the test split"),
        Word(r"(?i)\bput right\b", "fixed"),
        Word(r"(?i)\bfound done\b", "cached"),
        Word(r"(?i)\b(paid and bought|pays and buys)\b", "trade-offs"),
        Word(r"(?i)\bcame[, ]+(and )?went\b|\d came\b|\d went\b", "added, removed"),
        Word(r"(?i)\bpublished (test )?splits?\b|split\.published", "predefined split"),
        Word(r"(?i)\b(the|one|each|every|exactly one) rooms?\b|\brooms of\b", "package", r"^the room$"),  # a grammar's
        Word(r"(?i)(Prefect|MLflow|Evidently)'s pages?\b", "web UI"),
        Word(r"(?i)\bteacher's answers\b|\bstored answers\b", "cached teacher outputs"),
        Word(r"(?i)\bfind themselves\b", "hyperparameter tuning"),
        Word(r"(?i)\bone in a thousand\b", "relative to the 99.9th percentile"),
        Word(
            r"(?i)\b(an?|one) (row|column|folder|table|object|point|label|box|value|verdict|scale|step|class|mask) "
            r"an? (image|text|sample|class|split|row|line|epoch|network|step|picture|round|column|channel)\b",
            "one … per …",
        ),
    )
}


class Text(NamedTuple):
    """A piece of what users read."""

    where: str
    said: str


def documentation() -> Iterator[Text]:
    for page in PAGES:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
            yield Text(f"{page.relative_to(ROOT)}:{number}", line)


def messages() -> Iterator[Text]:
    """Every text with a blank in it that code says; no docstrings, which are for readers of code."""
    for path in sorted([*ROOT.glob("components/**/*.py"), *ROOT.glob("flows/**/*.py"), *ROOT.glob("infra/**/*.py")]):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        apart = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        apart |= {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings
        for node in nodes:
            if (said := _said(node)) is not None and " " in said and id(node) not in apart:
                yield Text(f"{path.relative_to(ROOT)}:{node.lineno}", said)  # type: ignore[attr-defined]


def _said(node: ast.AST) -> str | None:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def configuration() -> Iterator[Text]:
    """The files that users change and what says which keys there are, remarks included, and what `make help` says."""
    files = [*ROOT.glob("*.yaml"), *ROOT.glob("recipes/*.yaml"), *ROOT.glob("infra/*.yaml"), ROOT / "Makefile"]
    files += [path for path in ROOT.glob("components/config/*.py") if path.name != "renamed.py"]  # which has old ones
    for path in sorted(files):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            yield Text(f"{path.relative_to(ROOT)}:{number}", line)


def templates() -> Iterator[Text]:
    for path in sorted([*ROOT.glob("components/**/*.j2"), *ROOT.glob("flows/**/*.j2")]):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            # What the page says, without what the template reads.
            yield Text(f"{path.relative_to(ROOT)}:{number}", re.sub(r"\{[{%#].*?[}%#]\}|<[^>]*>", "…", line))


def helps() -> Iterator[Text]:
    from flows.cli import app

    yield from _helped(get_command(app), "convoy")


def _helped(command: Any, name: str) -> Iterator[Text]:
    if not command.hidden:
        yield Text(name, command.help or "")
        for parameter in command.params:
            yield Text(f"{name} {parameter.name}", getattr(parameter, "help", None) or "")
        for part, below in getattr(command, "commands", {}).items():
            yield from _helped(below, f"{name} {part}")


READ = {
    "configuration": configuration,
    "documentation": documentation,
    "help": helps,
    "messages": messages,
    "templates": templates,
}
# Where an old name is told, on purpose: beside the new one.
TOLD = re.compile(r"docs/commands\.md:\d+: \|.*\| `(--|convoy )|docs/examples/")


def found(text: Text, word: Word) -> list[str]:
    """Where the word stands in it, unless it is meant there."""
    meant = [match.span() for match in re.finditer(word.meant, text.said)] if word.meant else []
    return [
        match[0]
        for match in re.finditer(word.pattern, text.said)
        if not any(start <= match.start() and match.end() <= end for start, end in meant)
    ]


@pytest.mark.parametrize("kind", READ)
def test_users_read_the_words_of_the_field(kind: str) -> None:
    wrong = [
        f"{text.where}: {match!r}: say {word.instead}"
        for text in READ[kind]()
        if not TOLD.match(f"{text.where}: {text.said}")
        for word in WORDS.values()
        for match in found(text, word)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ("each gate says why it rejected the version", "gates pass or fail"),
        ("run the line again", "the pipeline, or a run of it"),
        ("a table with a row an image", "one … per …"),
        ("2 errors to be put right", "fixed"),
        ("the command line; each line says what is missing; a gate passes, and a person approves", None),
        ("one row per image; the metric and its interval; the retries of a step", None),
    ],
)
def test_a_word_that_left_is_found_and_no_other(said: str, instead: str | None) -> None:
    told = [word.instead for word in WORDS.values() if found(Text("", said), word)]
    assert told == ([] if instead is None else [instead])
