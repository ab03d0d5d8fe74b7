"""What a survey counts of texts says the section that fits, and what the line would make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.config import ConfigurationError, DigitsSource
from components.data.checking.check import Wanted, check, look
from components.data.checking.survey import of_kind
from components.data.errors import DataError
from components.data.preparing.ingest import RawCard, ingest
from components.data.preparing.prepare import prepare
from components.data.sources import registry
from components.data.sources.base.form import SourceData
from components.members import INPUTS, SURVEYS
from tests.components.data.inspection.text_builders import CLASSES, source, subjects


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str | bytes | None]:
    """What a built-in source gives from now on, with the classes of `subjects` in turn; it may be changed."""
    written: list[str | bytes | None] = [*subjects(120)[0]]
    real = registry.read

    def read(asked: Any, project: Path) -> SourceData:
        if not isinstance(asked, DigitsSource):
            return real(asked, project)
        return source(written, [number % len(CLASSES) for number in range(len(written))], rows=50)

    monkeypatch.setattr(registry, "read", read)
    return written


def test_there_is_a_survey_for_each_kind_of_input() -> None:
    assert SURVEYS.names() == INPUTS.names()


@pytest.mark.parametrize(("lengths", "length"), [([3] * 40, 8), ([9] * 40, 16), ([5] * 190 + [900] * 10, 8)])
def test_the_length_is_that_of_nearly_all_texts_rounded_up(lengths: list[int], length: int) -> None:
    survey = of_kind("text")({})
    for some in np.array_split(np.array(lengths), 3):
        survey.add(pa.chunked_array([[" ".join(["word"] * number) for number in some]]))
    fitting = survey.fitting("stretch")
    assert fitting.section == {"unit": "word", "length": length}
    assert survey.told() == {
        "lengths": f"{min(lengths)} to {max(lengths)} words, half of them at most {int(np.median(lengths))}"
    }
    assert survey.size == sum(5 * number - 1 for number in lengths)
    longest = "; the longest has 900" if max(lengths) == 900 else ""
    share = "95%" if longest else "100%"
    assert fitting.reasons == (f"length {length}: {share} of the texts have at most so many words{longest}",)


def test_what_is_said_is_kept_and_counted_by() -> None:
    survey = of_kind("text")({"unit": "character", "length": 12})
    survey.add(pa.chunked_array([["four words of text", None]]))
    assert survey.told() == {"lengths": "18 to 18 characters, half of them at most 18"}
    assert (survey.fitting("stretch").section, survey.fitting("stretch").reasons) == (
        {"unit": "character", "length": 12},
        (),
    )


def test_an_entry_for_texts_says_how_many_words_and_why(texts: list[str | bytes | None], tmp_path: Path) -> None:
    told: list[tuple[int, str]] = []
    looked = look("digits", Wanted(name="mine"), tmp_path, lambda *said: told.append(said))
    assert looked.entry == {
        "task": "classification",
        "source": {"kind": "digits"},
        "text": {"unit": "word", "length": 40},
    }
    assert looked.reasons == ("length 40: 100% of the texts have at most so many words",)
    assert told == [(50, "texts"), (100, "texts"), (120, "texts")]
    chosen = look("digits", Wanted(settings=("text.unit=character", "text.lower=false", "split.seed=3")), tmp_path)
    assert chosen.entry["text"] == {"unit": "character", "length": 232, "lower": False}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(height=8), "--height: expected none, since the source gives texts"),
        (Wanted(settings=("image.height=8",)), "expected images, since the entry declares `image:`, received texts"),
        (Wanted(settings=("text.unit=syllable",)), r"text\.unit: expected 'byte', 'character' or 'word'"),
    ],
)
def test_what_is_said_of_pictures_is_refused(
    texts: list[str | bytes | None], wanted: Wanted, said: str, tmp_path: Path
) -> None:
    with pytest.raises((DataError, ConfigurationError), match=said):
        look("digits", wanted, tmp_path)


def test_texts_are_checked_by_the_rules_of_the_line(texts: list[str | bytes | None], tmp_path: Path) -> None:
    assert texts[3] is not None
    texts += [None, "", texts[3]]
    checked = check("digits", Wanted(name="mine"), tmp_path, tmp_path / "check")
    rows = {(row["kind"], row["id"]): row["error"] for row in checked.findings.to_pylist()}
    assert rows[("corrupt", "s0120")] is True
    assert rows[("blank", "s0121")] is False and rows[("duplicate", "s0122")] is False
    assert (checked.errors, checked.refusals) == (1, ())


def test_the_facts_that_are_foreseen_are_those_that_are_prepared(
    texts: list[str | bytes | None], tmp_path: Path
) -> None:
    texts += [None, b"caf\xe9"]
    checked = check("digits", Wanted(name="mine"), tmp_path, tmp_path / "check")
    config = checked.looked.config
    ingest(config.source, tmp_path, tmp_path / "raw")
    assert RawCard.load(tmp_path / "raw").given == RawCard.load(tmp_path / "check" / "raw").given == "text"
    dataset = prepare("mine", config, tmp_path / "raw", tmp_path / "prepared")
    foreseen = pa.concat_tables(
        [_shards(tmp_path / "check" / "prepared", split) for split in ("train", "validation", "test")]
    )
    prepared = pa.concat_tables([dataset.table(split) for split in ("train", "validation", "test")])  # type: ignore[arg-type]
    assert foreseen.drop_columns(["text"]).equals(prepared.drop_columns(["text"]))


def _shards(folder: Path, split: str) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob(f"{split}-*.parquet"))])
