"""YAML as it is read everywhere: what people mean, and nothing that refers to other places."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from components.config import ConfigurationError, YamlError, load, parse_override, read_yaml, write_yaml

PLAIN = """
numbers: [1, -3, +3, 2.5, .5, 1., 1e-3, 1E+3, 012, 0o12, 0x1f]
words: [on, off, yes, no, y, 12:30, 190:20:30, 2024-05-17T10, 2024-13-45x, 1e, 'null', "true", "=", "<<"]
others: [true, FALSE, ~, null, '']
nothing:
"""


def test_words_are_read_as_dvc_reads_them() -> None:
    # given: DVC's own reader of params.yaml
    theirs = YAML(typ="safe", pure=True)
    theirs.version = (1, 2)
    # when / then
    assert read_yaml(PLAIN) == theirs.load(PLAIN)
    assert read_yaml(PLAIN)["numbers"] == [1, -3, 3, 2.5, 0.5, 1.0, 0.001, 1000.0, 12, 10, 31]


def test_dates_are_texts_whether_they_exist_or_not() -> None:
    assert read_yaml("[2024-05-17, 2024-13-45]") == ["2024-05-17", "2024-13-45"]


def test_infinity_and_nan_are_numbers() -> None:
    assert read_yaml("[.inf, -.inf]") == [math.inf, -math.inf]
    assert math.isnan(read_yaml(".nan"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x [1]\nb: *x", r"an anchor .*line 1"),
        ("b: *x", r"an alias .*line 1"),
        ("!!python/object/apply:os.system [id]", "a tag"),
        ("a: 1\nb: 2\na: 3", r"each key once, received a again, line 3"),
        ("[" * 5000, "more than 40 levels"),
        ("{a: " * 60, "more than 40 levels"),
        ("a: 1\n---\nb: 2", r"one document, received another at line 2"),
        ("? [1]\n: 2", "a text as key"),
        ("a\0b", "unacceptable character"),
        ("9" * 5000, "at most 100 digits, received 5000"),
        ("a: " + "b: " * 3, r"line 1, column"),
        (b"\xff\xfe\x00\xd8", "unacceptable|truncated|invalid|unexpected"),
        ("x" * (5 * 2**20), "at most"),
    ],
)
def test_what_is_no_plain_yaml_is_one_short_sentence(text: str | bytes, said: str) -> None:
    with pytest.raises(YamlError, match=said) as caught:
        read_yaml(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_nine_lines_of_aliases_are_refused_before_they_are_unfolded(tmp_path: Path) -> None:
    # given: 300 bytes that stand for ten to the power of seven values
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 8)]
    (tmp_path / "params.yaml").write_text("\n".join(lines), encoding="utf-8")
    # when / then
    with pytest.raises(ConfigurationError, match=r"params\.yaml: not readable as YAML: .*anchor"):
        load(tmp_path)


@pytest.mark.parametrize("value", ["2024-13-45", "12:30", "on", "1_000"])
def test_an_override_is_the_word_that_was_written(value: str) -> None:
    assert parse_override(f"dataset={value}") == {"dataset": value}


def test_a_value_of_a_page_is_cut_in_the_message(tmp_path: Path) -> None:
    # given
    (tmp_path / "params.yaml").write_text("datasets: {}\nline: " + "x" * 100_000, encoding="utf-8")
    # when / then
    with pytest.raises(ConfigurationError, match="line: expected a mapping") as caught:
        load(tmp_path)
    assert len(str(caught.value)) < 500


def test_a_thousand_mistakes_are_a_screen(tmp_path: Path) -> None:
    # given
    entries = "\n".join(f"  d{number}: {{task: 3}}" for number in range(1000))
    (tmp_path / "params.yaml").write_text(f"datasets:\n{entries}\nline: {{}}", encoding="utf-8")
    # when / then
    with pytest.raises(ConfigurationError, match=r"and \d+ more") as caught:
        load(tmp_path)
    assert len(str(caught.value).splitlines()) <= 25


@pytest.mark.parametrize(
    "text", ["1e3", "on", "null", "12:30", "2024-05-17", "0o12", "1_000", ".5", "=", "~", "", "a: b", "#"]
)
@pytest.mark.parametrize("flow", [True, False])
def test_what_is_written_is_read_as_it_was_by_both_readers(text: str, flow: bool) -> None:
    # given: also what PyYAML would write once and refer to
    shared = [text, 1, True, None]
    value = {text: shared, "again": shared}
    # when
    written = write_yaml(value, flow=flow)
    # then
    assert read_yaml(written) == value
    assert YAML(typ="safe", pure=True).load(written) == value
    assert "&" not in written
