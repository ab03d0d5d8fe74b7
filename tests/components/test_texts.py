"""Hostile texts through every place that text goes to, each asked itself: what arrives is the text alone."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from rich.table import Table
from rich.text import Text

from components import texts
from components.artifacts import Evidence, Figure, GroupFigure
from tests.hostile_texts import NEVER, WORDS

HOSTILE = list(WORDS.values())
EVERY = [*HOSTILE, *NEVER.values()]
SEARCHED = (
    *("apostrophe", "both quotes", "sql", "backslash", "trailing backslash", "format", "line end", "colour", "nul"),
    *("long", "blanks around", "substitution", "comment", "family"),
)  # what a filter's syntax might stumble over
UNSEEN = ("\x1b", "\x07", "\x08", "\x00", "\r", "\x9b", "\u202e", "\u2066", "\u2028", "\ud800")


@pytest.mark.parametrize("text", EVERY)
def test_what_people_see_is_one_line_without_a_character_that_does_something(text: str) -> None:
    for said in (texts.visible(text), texts.shown(text), texts.exact(text)):
        assert not any(char in said for char in (*UNSEEN, "\n", "\t"))
        said.encode("utf-8")
    assert len(texts.shown(text)) <= texts.LONGEST
    if text.isprintable():
        assert texts.visible(text) == text


def test_what_shapes_letters_and_pictures_stays_and_what_hides_others_does_not() -> None:
    assert texts.visible("👩‍👩‍👧 می‌خواهم") == "👩‍👩‍👧 می‌خواهم"
    assert texts.visible("a\u200db \u200b\ufeff\xad") == "a\\u200db \\u200b\\ufeff\\xad"
    assert texts.exact("cat\u00a0 \u3000") == "'cat\\xa0 \\u3000'"
    assert texts.exact("cafe\u0301") == "'cafe\\u0301'" and texts.exact("café") == "'café'"


def test_a_message_keeps_its_lines_and_its_paths_and_loses_endless_words() -> None:
    path = "/".join(["folder"] * 100)
    assert texts.printable(f"two\nlines, {path}\n") == f"two\nlines, {path}\n"
    assert len(texts.printable(f"received {'QUJD' * 9000}; correct it")) < 300


def test_json_for_programs_is_the_same_values_and_moves_no_cursor() -> None:
    for text in [*EVERY, "a\x7fb"]:
        said = texts.as_json({text: [text]})
        assert json.loads(said) == {text: [text]}
        assert not any(char in said for char in UNSEEN)


# -- terminal --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", EVERY)
def test_a_terminal_of_80_columns_shows_the_text_however_it_gets_there(text: str) -> None:
    from flows.base.screen import Screen

    # given a real console, with colours
    file = io.StringIO()
    screen = Screen(file=file, width=80, force_terminal=True, color_system="truecolor")
    table = Table("name", title=text)
    table.add_row(text)
    table.add_row(Text(texts.shown(text)))
    # when it prints the text as a string, as a text, in tables, in a title
    screen.print(text)
    screen.print(Text(text), style="red")
    screen.print(table)
    screen.print(Text.assemble((text, "bold")), soft_wrap=True)
    # then the only escapes are those of our own styles, and no line of the table is torn
    said = file.getvalue()
    plain = Text.from_ansi(said).plain
    assert not any(char in plain for char in UNSEEN)
    assert said.count("\x1b[") == said.count("\x1b")
    assert all(line[-1:] in "┃│┐┘┤┓┛┩┨╯" for line in plain.splitlines() if line[:1] in "┃│")
    if text.isascii() and text.isprintable() and len(text) < 60:
        assert plain.count(text.strip()) >= 5


# -- MLflow ----------------------------------------------------------------------------------------------------------


def test_mlflow_keeps_what_it_is_told_under_names_that_differ_and_finds_it_again(
    empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.registry import comparing
    from components.registry.memory import tracking

    # given a store
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / ".convoy").mkdir()
    shutil.copy(empty_database, tmp_path / ".convoy" / "mlflow.db")
    store = tracking.connect(tmp_path, "digits")
    # when every text is a group, a group's column, a parameter, a run's name, a tag and a note
    groups = [(f"group_{text}", text) for text in HOSTILE] + [("group_site", text) for text in [*HOSTILE, ""]]
    rows = tuple(
        GroupFigure(column=column, group=group, metric="accuracy", samples=1, figure=Figure(value=place, low=0, high=1))
        for place, (column, group) in enumerate(groups)
    )
    disparity = {f"group_{text}.ratio": float(place) for place, text in enumerate(HOSTILE)}
    evidence = Evidence(model="a", data="b", split="test", samples=1, primary="accuracy",
                        figures={"accuracy": Figure(value=0.5)}, groups=rows, disparity=disparity)  # fmt: skip
    run = store.start_run("\n".join(HOSTILE), tags={"convoy.recipe": "plain"})
    store.log_evidence(run, evidence)
    store.log_params(run, dict.fromkeys(HOSTILE, "value"))
    # then each figure has a name of its own, which reads as nearly as it can be
    found = store.get(run)
    named = [name for name in found.metrics if name.endswith(".accuracy") and name.count(".") >= 3]
    assert len(named) == len(groups) == len(set(named))
    assert sorted(found.metrics[name] for name in named) == list(range(len(groups)))
    assert len([name for name in found.metrics if name.startswith("test.disparity.")]) == len(disparity)
    assert len(found.params) == len(HOSTILE)
    assert found.metrics["test.group_site.it_s-" + texts.mlflow_key("it's")[-10:] + ".accuracy"] >= 0
    assert "test.group_site.null.accuracy" in found.metrics and "test.group_site.a/b.accuracy" in found.metrics
    assert list(comparing.figures_of(found)) == ["test.accuracy"]
    # and runs are found by what their tags are, and by nothing else
    runs = {WORDS[what]: store.start_run("a run", tags={"convoy.recipe": WORDS[what]}) for what in SEARCHED}
    for text, expected in runs.items():
        assert [each.id for each in store.search({"convoy.recipe": text})] == [expected], text
        assert [each.id for each in store.search({"convoy.recipe": text}, limit=1)] == [expected], text
    assert len(store.search()) == len(runs) + 1


def test_names_for_mlflow_differ_where_texts_do_and_stay_where_they_fit() -> None:
    keys = [texts.mlflow_key(text) for text in EVERY]
    assert len(set(keys)) == len(keys) and max(map(len, keys)) <= texts.KEY
    for fit in ("accuracy", "group_site.north.accuracy", "T-shirt/top", "1.5 mm", "münchen", "a:b"):
        assert texts.mlflow_key(fit) == fit
    # a text that looks like what was made of another is not taken for it
    made = texts.mlflow_key("http://x//y")
    assert texts.mlflow_key(made) != made
    # what is in front of a dot is not taken for what is behind it
    assert texts.mlflow_name("t", "group_a.b", "c", "m") != texts.mlflow_name("t", "group_a", "b.c", "m")


# -- pictures --------------------------------------------------------------------------------------------------------


def test_matplotlib_draws_every_name_as_it_stands(tmp_path: Path) -> None:
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from components.evaluate import plots

    names = [*HOSTILE[:30], "$", "$$", "a$b$c", r"\$", r"\frac{1}{2}"]
    rows = [
        GroupFigure(column=f"group_{name}", group=name, metric="accuracy", samples=9, figure=Figure(value=0.5))
        for name in names
    ]
    picture = plots.group_bars(rows, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that its fonts lack are boxes
        FigureCanvasAgg(picture).draw()
        matrix = plots.confusion_matrix(np.eye(len(names), dtype=np.int64), names)
        plots.save(matrix, tmp_path / "matrix.png")
    for tick, name in zip(picture.axes[0].get_yticklabels(), names, strict=True):
        said, mathematics = tick._preprocess_math(tick.get_text())  # what is handed to the fonts
        assert not mathematics
        assert said == f"{texts.shown(name, texts.LABEL)}: {texts.shown(name, texts.LABEL)}"


def test_a_sheet_of_findings_is_drawn_whatever_its_files_are_called(tmp_path: Path) -> None:
    from PIL import Image

    from components.data.inspection import sheets
    from components.data.inspection.base.findings import Finding

    found = [Finding("outlier", text, "", 1.0, "") for text in HOSTILE[:24]]
    sheets.draw(found, lambda name: Image.new("L", (8, 8)), tmp_path / "sheet.png", (96, 96))
    assert Image.open(tmp_path / "sheet.png").size[0] == 6 * (96 + 6) + 6


# -- pages -----------------------------------------------------------------------------------------------------------


class _Read(HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.tags, self.attributes = "", list[str](), list[str | None]()
        self.feed(page)
        self.close()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [value for _, value in attrs]


def _rendered(markdown: str) -> _Read:
    """By a renderer that takes raw HTML, and finds tables and struck-out words, as MLflow's and Prefect's do."""
    from markdown_it import MarkdownIt

    return _Read(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown))


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_the_text_in_a_sentence_in_code_and_in_a_table(text: str) -> None:
    shown = "".join(texts.visible(text).split())
    for marked in (texts.markdown(text), texts.code(text)):
        sentence = _rendered(f"By {marked}: **so**")
        assert "".join(sentence.text.split()) == f"By{shown}:so"
        assert set(sentence.tags) <= {"p", "strong", "code"}
        alone = _rendered(marked)
        assert "".join(alone.text.split()) == shown and set(alone.tags) <= {"p", "code"}
        table = _rendered(texts.markdown_table(("name", "value"), [(marked, "1"), ("b", marked)]))
        assert table.tags.count("td") == 4 and {"a", "img", "script", "em", "del", "s"}.isdisjoint(table.tags)
        assert "".join(table.text.split()) == f"namevalue{shown}1b{shown}"
    assert texts.unmarked(texts.markdown(text)) == texts.visible(text)


@pytest.mark.parametrize("text", EVERY)
def test_html_shows_the_text_between_tags_and_in_attributes(text: str) -> None:
    page = _Read(f'<b title="{texts.html(text)}">{texts.html(text)}</b>')
    assert page.tags == ["b"] and page.text == texts.visible(text) and page.attributes == [texts.visible(text)]


# -- files, shells, spreadsheets -------------------------------------------------------------------------------------


def test_files_can_be_called_after_every_text_and_none_is_another_where_letters_are_folded(tmp_path: Path) -> None:
    names = [texts.file_name(text) for text in [*EVERY, "A", "a", "con", "nul.txt", "é", "e"]]
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        (tmp_path / name).write_text("x", encoding="utf-8")
        assert name.isascii() and len(name) <= texts.FILE and not name.startswith(("-", "."))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


@pytest.mark.parametrize("text", [text for text in [*HOSTILE, NEVER["byte"], " ", ""] if "\x00" not in text])
def test_a_shell_takes_the_word_for_the_word_and_it_is_pasted_as_one_line(text: str) -> None:
    word = texts.shell(text)
    assert "\n" not in word and word == texts.visible(word)
    said = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True, cwd="/")
    assert said.stdout.decode("utf-8", "surrogateescape") == text


def test_a_spreadsheet_is_given_no_formula_and_the_same_text_is_read_back() -> None:
    cells = [*HOSTILE, "'=1", "''=1", "'a", "-5", "|cmd", "%x"]
    file = io.StringIO(newline="")
    csv.writer(file).writerows([texts.cell(text)] for text in cells)
    rows = [row[0] for row in csv.reader(io.StringIO(file.getvalue(), newline=""))]
    assert not any(row.startswith(("=", "+", "-", "@", "\t", "\r", "|", "%")) for row in rows)
    assert [texts.uncell(row) for row in rows] == cells


# -- YAML ------------------------------------------------------------------------------------------------------------

CANDIDATES = [
    *("null", "Null", "NULL", "true", "False", "yes", "NO", "on", "Off", "y", "N", "123", "0", "007", "1_000", "1e3"),
    *("1E3", "1e-3", "12e03", "0x1F", "0o17", "0b101", "2024-01-02", "2024-13-45", "2024-1-2", "190_000", "0x_1"),
    *("digits", "1e3x", "e3", "nulls", "set-123", "123-a", "2024-scans", "3d", "0xyz", "o1", "1e", "1-2", "12-2024"),
]


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_bare_word_is_a_text_to_every_reader_of_yaml_or_it_is_refused(name: str) -> None:
    from ruamel.yaml import YAML

    readers = (yaml.safe_load, YAML(typ="safe").load)
    read = []
    for reader in readers:
        try:
            read.append(reader(name))
        except ValueError:  # `2024-13-45` looks like a date to one of them, and is none
            read.append(None)
    if texts.is_word(name):
        assert read == [name, name]
    elif name.lower() not in ("y", "n", "1_000", "190_000", "0x_1"):  # those of other readers
        assert read != [name, name]
