"""Other people's data is read as meant or refused clearly, and the line does what the check says."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.environment import switch_off_telemetry
from tests.strangers.cases import CASES
from tests.strangers.judging import Case, Read, judged

switch_off_telemetry()

# What is read goes through all stages, which takes a second: these, one a reader and a key, are looked at each time.
QUICK = {
    "macos in data/raw",
    "float01",
    "tifforient",
    "case2 -S 'spellings=join'",
    "testlacks -S 'without=[two]'",
    "VOCnodiff",
    "coco_zeroheight -S 'faulty=skip'",
    "mask_l255 -S 'names=[background, thing]' -S 'values=[0, 255]'",
    "hf_jsonl",
    "csv_b64png",
    "emnist",
    "npz_n1",
}


def marks(case: Case) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if case.slow or (isinstance(case.right, Read) and case.title not in QUICK) else []


@pytest.mark.parametrize("case", [pytest.param(case, id=case.title, marks=marks(case)) for case in CASES])
def test_what_strangers_bring_is_read_as_meant_or_refused_clearly(case: Case, tmp_path: Path) -> None:
    verdict = judged(case, tmp_path / "project")
    assert not verdict.wrong, verdict.says


def test_the_quick_cases_are_there() -> None:
    assert {case.title for case in CASES} >= QUICK
