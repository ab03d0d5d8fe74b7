"""Lists in terminals of 60, 80 and 160 columns, whatever the names are: nothing is cut, and nothing stands over."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.console import Group, RenderableType

from components.artifacts import Decision, Verdict
from components.data.card.summary import Listed
from components.registry import ledger
from components.registry.comparing import Compared, Comparison, Difference
from components.registry.ledger import Ledger
from components.registry.lines import Standing
from components.registry.verification import Finding, NotDecided, Verified
from flows.base.screen import Screen
from flows.commands.data_pages import bars, catalogue_table
from flows.commands.summary import ledger_tables
from flows.pages import comparison, judgement, status, tables
from flows.pages.status import Planned, Waiting
from tests.flows.test_status import AMX, OLDER, a_line

WIDTHS = pytest.mark.parametrize("width", [60, 80, 160])
LONG = "plankton-of-the-north-sea-and-the-baltic-by-month-and-depth"
ALIKE = [f"{LONG}-{season}" for season in ("spring", "autumn")]  # which differ at their end alone
WIDE = "浮遊生物の分類器・北海とバルト海・第二世代・月別および深度別"
REASON = (
    "the figures hold on every one of the new sites, with the exception of the two harbours, whose pictures were taken "
    "by night; see https://example.org/reports/2026/harbours-by-night.html before you promote it any further"
)


def printed(page: RenderableType, width: int) -> str:
    stream = io.StringIO()
    screen = Screen(file=stream, width=width)
    if isinstance(page, Group):
        status.show(screen, page)
    else:
        screen.print(page)
    return stream.getvalue()


def holds(page: str, width: int, expected: Iterable[str]) -> None:
    """No line is wider than the terminal but those that are commands, and each text is there to its last letter."""
    over = [line for line in page.splitlines() if cell_len(line) > width and not line.strip().startswith("convoy ")]
    assert over == []
    assert "…" not in page.replace("--reason …", "")
    letters = re.sub(r"\s", "", page)
    for text in expected:
        assert re.sub(r"\s", "", text) in letters, text


def in_columns(page: str, values: Iterable[str]) -> None:
    """Each of the values stands in its own line, and all begin at the same cell."""
    starts = set()
    for value in values:
        (line,) = [line for line in page.splitlines() if value in line]
        starts.add(cell_len(line[: line.index(value)]))
    assert len(starts) == 1, page


@WIDTHS
def test_runs(width: int) -> None:
    lines = [a_line(name, f"{name}-fast", "FINISHED", id=f"{place:032x}"[::-1]) for place, name in enumerate(ALIKE)]
    lines.append(a_line(WIDE, WIDE, "FAILED", seconds=None, value=None, version=None, problem=REASON, id="c" * 32))
    page = printed(status.runs_page(lines), width)
    holds(page, width, [*ALIKE, *(line.recipe for line in lines), WIDE, REASON, "v12 passed", "failed !"])
    in_columns(page, [line.id[:8] for line in lines[:2]])
    in_columns(page, ["outcome", "failed !"])


@WIDTHS
def test_status(width: int) -> None:
    standings = [
        Standing(name, "production", 3, "mean_average_precision", 0.94, 0.93, 0.95, "a" * 32, 0.045, processor)
        for name, processor in zip([*ALIKE, WIDE], (AMX, OLDER, None), strict=True)
    ]
    standings.append(replace(standings[0], alias="staging", problem=REASON))
    wants = [Waiting(f"{LONG} version 4, accuracy 0.94", "staged; 1 of 2 missing", f"convoy approve {LONG} --reason …")]
    plans = [Planned("1", f"pipeline/{LONG}", "Scheduled", datetime.now(UTC) + timedelta(hours=3))]
    moved = {ALIKE[1]: [NotDecided(ALIKE[1], "production", 3, 2)]}
    page = printed(status.page([], standings, wants, plans, moved), width)
    said = "production is version 3, which nobody decided: by the ledger it is version 2"
    expected = [*ALIKE, WIDE, REASON, AMX, OLDER, said, "production, not decided", "0.9400 [0.9300, 0.9500]"]
    holds(page, width, [*expected, wants[0].since, f"pipeline/{LONG}"])
    assert wants[0].how in page  # on one line, to be copied
    assert f"convoy ledger {ALIKE[1]} --verify" in page
    assert page.count(", not decided") == 1


@WIDTHS
def test_compare(width: int) -> None:
    one, other = (a_line(name, name, "FINISHED", id=letter * 32) for name, letter in zip(ALIKE, "ab", strict=True))
    figures = [Compared(f"test.{LONG}", (0.896, 0.8902, 0.902), (0.897, 0.8912, 0.903))]
    params = [Difference(f"members.networks.{LONG}.arguments", f"{{width: 8, {LONG}}}", None)]
    origins = [Difference("data", "a" * 64, "ab" * 32), Difference("recipe", *ALIKE)]
    page = printed(comparison.page(Comparison(one, other, origins, params, [], figures, (AMX, OLDER), [REASON])), width)
    holds(page, width, [*ALIKE, params[0].what, f"{{width: 8, {LONG}}}", "0.8960 [0.8902, 0.9020]", "+0.0010", REASON])
    assert "a" * 17 not in page and "abababababababab" in page  # digests are known by their beginning


@WIDTHS
def test_data_list(width: int) -> None:
    state = f"wrong: datasets.{LONG}.source.kind: expected one of folder, table, received 'x'"
    listed = [Listed(name, "classification", "digits", "prepared", "4460dd55aa", 1_797) for name in (*ALIKE, WIDE)]
    listed.append(Listed("small", "multilabel", "?", state, None, None))
    page = printed(catalogue_table(listed), width)
    holds(page, width, [*ALIKE, WIDE, state, "4460dd55", "1,797", "classification", "multilabel"])
    assert not re.search(r"classifi\s*\n", page)  # a word that fits is not broken


@WIDTHS
def test_classes_in_data_show(width: int) -> None:
    counts = {"train": 1000, "validation": 20, "test": 300}
    page = printed(bars("class", dict.fromkeys((*ALIKE, WIDE, "cod"), counts), width), width)
    holds(page, width, ["1,000", "validation"])
    beside = page.splitlines()
    room = cell_len(beside[0][: beside[0].index("samples")])
    first = re.sub(r"[\s█]", "", "".join(line[:room] for line in beside))
    assert all(name in first or name in re.sub(r"[\s█\d,]", "", page) for name in ALIKE)
    assert re.sub(r"[\s█\d,]", "", page).count("浮") == 1 and "別" in page


def a_decision(reason: str, by: str) -> Decision:
    return Decision(
        action="approve",
        name=LONG,
        version=12,
        alias=None,
        by=by,
        at="2026-01-02T03:04:05+00:00",
        reason=reason,
        evidence="d" * 64,
    )


@WIDTHS
def test_ledger(width: int) -> None:
    decisions = (a_decision(REASON, "Grace"), a_decision(f"{WIDE} {REASON}", WIDE))
    held = ledger.replay([replace_alias(each) for each in decisions])
    finding = Finding("x", f"decision 3 (approve version 12 by {WIDE}) is gone: its run was deleted")
    verified = Verified(LONG, 3, 0, (finding,), ())
    page = printed(ledger_tables(Ledger(LONG, None, decisions, held, {0: REASON}), verified), width)
    holds(page, width, [LONG, REASON, f"{WIDE} {REASON}", finding.says])
    assert f"convoy ledger {LONG} --acknowledge --reason …" in page
    for line in page.splitlines():  # a reason has most of the width, and no column of six letters
        assert "harbours" not in line or cell_len(line) > width / 2 or line.rstrip().endswith(("harbours,", "further"))


def replace_alias(decision: Decision) -> Decision:
    return decision.model_copy(update={"action": "promote", "alias": "production"})


@WIDTHS
def test_the_gates_of_one_run(width: int) -> None:
    verdicts = (Verdict(gate="worst_group", passed=False, value=0.5, limit=0.9, reason=f"{WIDE}: {REASON}"),)
    decision = a_decision(REASON, "gates").model_copy(update={"verdicts": verdicts, "action": "fail"})
    page = printed(judgement.page(a_line(LONG, LONG, "FINISHED", decision="fail"), decision), width)
    holds(page, width, [f"{WIDE}: {REASON}", LONG, "worst_group", "0.9000"])


@pytest.mark.parametrize("width", [12, 20])
def test_next_to_no_room_is_enough(width: int) -> None:
    listing = tables.Listing("runs", "run", "recipe", "took", right=["took"])
    listing.add_row("75aa0a24", LONG, "3 s")
    page = printed(listing, width)
    letters = re.sub(r"\s", "", page)
    assert LONG in letters and "75aa0a24" in letters
    assert max(map(cell_len, page.splitlines())) <= width


def test_a_sentence_is_broken_between_words_and_a_command_is_not() -> None:
    command = "convoy rollback a-model-of-a-long-name --reason …"
    said = printed(Group(tables.Words(f"it is gone. Put its files back, or: `{command}` puts version 2 back")), 40)
    assert f"`{command}`" in said
    assert all(len(line) <= 40 for line in said.splitlines() if command not in line)
    assert " ".join(said.split()) == f"it is gone. Put its files back, or: `{command}` puts version 2 back"
