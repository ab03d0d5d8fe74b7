"""What commands say to programs: an object on the standard output, and exit codes that tell findings from failures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.base.project import Project
from flows.base.screen import Screen
from flows.commands import terminal
from flows.processes import journal, supervision

ROOT = Path(__file__).parents[2]
RUN = "0123456789abcdef0123456789abcdef"
TOLD = [
    {"kind": "started", "step": "data"},
    {"kind": "finished", "step": "data", "summary": "digits", "cached": True},
    {"kind": "finished", "step": "train", "summary": "accuracy 0.9", "cached": False},
    {"kind": "said", "text": "  look     convoy ui, then\n           MLflow   http://127.0.0.1:5000 (run "},
    {"kind": "said", "text": f"{RUN})\n"},
]
FAILED = [TOLD[1], {"kind": "failed", "step": "train", "reason": "out of memory"}]


@pytest.mark.parametrize(
    ("records", "code", "outcome", "run", "last"),
    [
        (TOLD, 0, "staged", RUN, ("train", "done", "accuracy 0.9")),
        (TOLD, 3, "gates-failed", RUN, ("train", "done", "accuracy 0.9")),
        (FAILED, 1, "failed", None, ("train", "failed", "out of memory")),
        ([], 130, "interrupted", None, None),
    ],
)
def test_a_run_says_what_it_came_to(
    records: list[dict[str, object]],
    code: int,
    outcome: str,
    run: str | None,
    last: tuple[str, ...] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = Project(tmp_path)
    project.logs.mkdir(parents=True)

    def supervise(project: Project, command: supervision.Command, console: Screen) -> int:
        lines = [json.dumps(each) for each in [*records, journal.ended(code)]]
        command.journal.write_text("\n".join(lines) + "\n", encoding="utf-8")
        console.print("for people")
        return code

    monkeypatch.setattr(supervision, "supervise", supervise)
    monkeypatch.setattr(terminal, "ready", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        terminal.supervised(project, "run", "digits", {"overrides": []}, json=True)
    streams = capsys.readouterr()
    told = json.loads(streams.out)
    assert ended.value.code == told["exit_code"] == code
    assert (told["recipe"], told["outcome"], told["run"]) == ("digits", outcome, run)
    assert [tuple(each.values()) for each in told["steps"][-1:]] == ([last] if last else [])
    assert "for people" in streams.err


def test_a_plan_is_an_object_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from flows import plan, plan_pages
    from flows.run.context import Planned

    planned = [Planned("data", "done", run=RUN), Planned("train", "runs", why="it was not done before")]
    monkeypatch.setattr(plan, "plan", lambda *_: planned)
    plan_pages.show(Project(ROOT), "digits", [], [], json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["recipe"] == "digits"
    assert told["steps"][1] == {"step": "train", "does": "runs", "why": "it was not done before", "run": ""}


def test_what_waits_for_no_end_has_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.cli import app

    monkeypatch.setenv("CONVOY_ROOT", str(ROOT))
    done = CliRunner().invoke(app, ["run", "--json", "--detach"])
    assert done.exit_code == 2 and done.stdout == ""


def test_help_says_what_the_exit_codes_mean() -> None:
    from flows.cli import app

    said = " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).stdout.split())
    for words in ("0 all well", "1 a failure", "2 wrong usage", "3 findings", "130 interrupted"):
        assert words in said
