"""The first page: it says how things are, whatever the texts in them are, and whatever is broken."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from components import texts
from components.registry.drifts import Drift
from components.registry.lines import Standing
from components.registry.memory.tracking import KIND, connect
from components.registry.verification import NotDecided
from flows.base.project import Project
from flows.pages import index, overview, overview_page, status, under_way
from flows.pages.overview import Disk, Overview, Part
from flows.pages.status import GONE, Planned, Waiting
from flows.pages.under_way import UnderWay
from tests.flows.test_index import ENGINES, get
from tests.flows.test_status import a_line

HOSTILE = "<script>alert('x')</script>\"&"


def state(**changes: object) -> Overview:
    text = HOSTILE
    known: dict[str, object] = {
        "at": time.time(),
        "models": Part(
            [
                Standing(text, "production", 3, "accuracy", 0.94, 0.93, 0.95, None),
                Standing("digits", "production", 1, "accuracy", 0.94, 0.93, 0.95, None),
            ]
        ),
        "not_decided": Part({text: [NotDecided(text, "production", 3, 2)]}),
        "waiting": Part(
            [
                Waiting(f"{text} version 4", text, "convoy approve digits (1 of 2 missing)", whom=f"{text} to approve"),
                Waiting(f"{text}, suspended", "flow run", "0b9c", whom=status.ANSWERS, flow_run="0b9c"),
            ]
        ),
        "running": Part(
            [
                UnderWay(text, text, time.time() - 130, None, "train", 5, text, 3, 12, text),
                UnderWay("convoy tune digits", None, time.time() - 5),
            ]
        ),
        "runs": Part(
            [
                a_line(text, text, "FINISHED", decision="fail", why=text),
                a_line("digits", "digits", "DEAD", id="ab" * 16, problem=GONE, seconds=None),
            ]
        ),
        "drift": Part(
            [
                Drift(text, text, time.time(), "1", "c" * 32, 0.25, text, (0.0, 0.5)),
                Drift("digits", "digits", time.time(), "1", "d" * 32, None, "there is no reference yet", ()),
            ]
        ),
        "plans": Part([Planned("1", text, "Scheduled", datetime.now(UTC) + timedelta(hours=3))]),
        "disk": Part(Disk({".convoy": 3 * 2**20, "data": 5 * 2**30}, 7 * 2**30)),
    }
    return Overview(**{**known, **changes})  # type: ignore[arg-type]


def shown(found: Overview) -> str:
    return index.page(
        Project(Path("/nowhere") / "my <b>project"), ENGINES, Part({HOSTILE: f"#/{HOSTILE}"}), Part(found)
    )


def test_it_says_how_things_are() -> None:
    page = shown(state())
    for words in (
        "accuracy 0.9400 [0.9300, 0.9500]", ">production<", "<code>convoy approve digits</code> (1 of 2 missing)",
        "v12 failed", "dead: its process is gone", "in 3 h", "3.0 MB", "5.0 GB", "7.0 GB free",
        ">production: not decided<", "production is version 3, which nobody decided: by the ledger it is version 2",
        'href="http://127.0.0.1:2/runs/flow-run/0b9c"', "open its form", "step 5 of 12: train", "3 of 12",
        'max="12" value="4.250"', "convoy tune digits", "it is being prepared", "for 2 min", "25% of columns",
        "there is no reference yet", "not known", "earlier runs: 0%, 50%, 25%",
    ):  # fmt: skip
        assert words in page, words
    assert ", running<" not in page and ">running<" not in page  # one of the runs is dead
    assert 'http-equiv="refresh"' in page and 'name="viewport"' in page


def test_no_text_becomes_part_of_the_page() -> None:
    page = shown(state(disk=Part(problem=HOSTILE)))
    assert "<script" not in page and "<b>project" not in page and "alert('" not in page
    assert page.count("&lt;script&gt;") >= 20


def test_each_part_may_be_broken_by_itself() -> None:
    page = shown(state(models=Part(problem="MLflow at x: reading failed"), disk=Part(None)))
    assert page.count('class="broken"') == 2
    assert "MLflow at x: reading failed" in page and "v12 failed" in page


def test_what_cannot_even_be_shown_is_a_box_too() -> None:
    page = shown(state(runs=Part([a_line("digits", "digits", "FINISHED", started=None)])))
    assert "cannot be shown" in page and "accuracy 0.9400" in page


def test_nothing_so_far_is_said_with_the_way_on() -> None:
    nothing = Part[list[object]]([])
    parts = dict.fromkeys(("models", "waiting", "running", "runs", "drift", "plans"), nothing)
    page = shown(state(**parts, not_decided=Part({}), disk=Part(Disk(None, 2**30))))
    assert "Nothing runs." in page and "Nothing waits for approval" in page
    assert page.count("convoy run") >= 2 and "convoy schedule" in page and "Being measured" in page


def test_errors_keep_secrets_and_stay_short() -> None:
    def fail() -> None:
        raise RuntimeError(f"http://me:se@cret@host/ failed {'x' * 9999}")

    found = overview.part(fail)
    assert found.problem is not None and "cret" not in found.problem and len(found.problem) < 400


# -- gathered from a real store --------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    found = Project(tmp_path)
    found.leases.mkdir(parents=True)
    shutil.copy(empty_database, found.state / "mlflow.db")
    return found


def test_a_run_whose_process_is_gone_is_told_as_dead(project: Project) -> None:
    store = connect(project.root, "digits")
    ended = subprocess.Popen(["true"])
    ended.wait()
    ids = {}
    for name, pid in {"gone": ended.pid, "here": os.getpid()}.items():
        started = psutil.Process().create_time()
        content = {"pid": pid, "started": started, "host": socket.gethostname()}
        (project.leases / f"{name}.json").write_text(json.dumps(content))
        ids[name] = store.start_run(
            "pipeline · digits", tags={KIND: "pipeline", "convoy.lease": name, "convoy.recipe": "digits"}
        )

    found = overview.Watch(project)()

    assert found.running.value is not None
    assert [each.line.id for each in found.running.value if each.line] == [ids["here"]]
    assert found.runs.value is not None
    assert {run.id: run.status for run in found.runs.value} == {ids["gone"]: "DEAD", ids["here"]: "RUNNING"}
    assert found.plans.problem is not None and "PREFECT_API_URL" in found.plans.problem
    assert found.disk.value is not None and found.disk.value.places is not None
    assert found.disk.value.places[".convoy"] > 100_000


def lease_of(project: Project, name: str, pid: int, **values: object) -> None:
    content = {"pid": pid, "started": psutil.Process(pid).create_time(), "host": socket.gethostname()}
    (project.leases / f"{name}.json").write_text(json.dumps({**content, **values}))


def test_what_runs_tells_how_far_it_is_by_its_journal_or_by_its_steps(project: Project) -> None:
    """A command that was started here, a run that a schedule has started, and a search that is no pipeline run."""
    store = connect(project.root, "digits")
    children = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    try:
        for number, command in enumerate(("convoy digits", "convoy tune digits")):
            log = project.state / f"{number}.log"
            records = [
                {"kind": "started", "step": "train" if number == 0 else "trials"},
                {"kind": "advanced", "what": "members", "done": 3, "total": 12, "note": "8,000 images/s"},
            ]
            log.with_suffix(".jsonl").write_text("half a li\n" + "".join(f"{json.dumps(each)}\n" for each in records))
            lease_of(project, f"command{number}", os.getpid(), command=command, worker=children[0].pid + 9 * number,
                     log=str(log))  # fmt: skip
        lease_of(project, "worker", children[0].pid)
        lease_of(project, "scheduled", children[1].pid)
        for name in ("worker", "scheduled"):
            tags = {KIND: "pipeline", "convoy.lease": name, "convoy.recipe": name}
            run = store.start_run("pipeline", tags=tags)
            store.start_run("11 register", parent=run, tags={KIND: "step", "convoy.step": "register"})

        found = {each.what: each for each in under_way.now(project, store)}
    finally:
        for child in children:
            child.kill()
            child.wait()

    assert found.keys() == {"convoy digits", "convoy tune digits", "pipeline · scheduled"}
    mine, tune, scheduled = (found[each] for each in sorted(found))
    assert (mine.step, mine.number, mine.doing, mine.done, mine.total) == ("train", 5, "members", 3, 12)
    assert mine.line is not None and mine.line.recipe == "worker"
    assert (tune.line, tune.step, tune.number, tune.note) == (None, "trials", None, "8,000 images/s")
    assert (scheduled.step, scheduled.number, scheduled.total) == ("register", 11, 0)
    assert [each.line for each in under_way.now(project, store)] == [None, None]  # the runs' processes are gone


def test_drift_at_a_glance_is_that_of_each_models_last_run(project: Project) -> None:
    for model, shares in {"digits": [0.0, 0.5, None], "letters": [0.25]}.items():
        store = connect(project.root, model)
        for share in shares:
            step = store.start_run("03 drift", tags={KIND: "step"})
            store.log_note(step, texts.markdown("no drift in *pixels*" if share == 0 else "there is drift"))
            if share is not None:
                store.log_metrics(step, {"drifted_share": share})
            line = store.start_run("pipeline", tags={KIND: "pipeline", "convoy.ran.drift": step})
            store.finish(line)

    found = overview.Watch(project)().drift.value

    assert found is not None
    assert [(each.model, each.share, each.before) for each in found] == [
        ("digits", None, (0.0, 0.5)),
        ("letters", 0.25, ()),
    ]


def test_why_a_run_failed_is_said_in_its_own_words(project: Project) -> None:
    store = connect(project.root, "digits")
    for note in ("**failed**: student\\.allowance: 3 > 2  \nTrain longer", "x\n**fail version 3**: floor \\*\n\ny"):
        run = store.start_run("pipeline", tags={KIND: "pipeline", "convoy.recipe": "digits"})
        store.log_note(run, note)
        store.finish(run, "FAILED")
    said = overview.Watch(project)().runs.value
    assert said is not None
    assert {line.why for line in said} == {"student.allowance: 3 > 2  \nTrain longer", "floor *"}


def test_a_damaged_store_breaks_boxes_and_not_the_page(project: Project) -> None:
    (project.state / "mlflow.db").write_bytes(b"no database" * 1000)
    found = overview.Watch(project)()
    parts = (found.runs, found.models, found.waiting, found.not_decided, found.running, found.drift)
    assert None not in [each.problem for each in parts]
    assert found.disk.problem is None
    assert "broken" in shown(found)


def test_a_visitor_does_not_wait_for_a_slow_store(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = overview.Watch(project)
    first = watch()
    monkeypatch.setattr(overview, "FRESH_SECONDS", 0.0)
    real, answers = overview.gather, threading.Event()

    def slow(*arguments: object) -> Overview:
        assert answers.wait(60)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(overview, "gather", slow)
    assert watch() is first  # and says of when it is: the store has not answered yet
    answers.set()
    limit = time.monotonic() + 60
    while watch().at == first.at:
        assert time.monotonic() < limit
    assert watch().at > first.at


# -- served ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def address(project: Project) -> Iterator[str]:
    def models() -> dict[str, str]:
        raise RuntimeError("MLflow has ended")

    with index.served(project, 0, ENGINES, models, state) as found:
        yield found


def test_an_engine_that_fails_does_not_take_the_page_down(address: str) -> None:
    page = get(address)
    assert "MLflow has ended" in page and "accuracy 0.9400" in page and 'href="http://127.0.0.1:2"' in page


def test_the_page_runs_nothing_and_is_in_no_frame(address: str) -> None:
    place = urlsplit(address)
    connection = http.client.HTTPConnection(str(place.hostname), place.port or 0, timeout=10)
    connection.request("GET", "/")
    headers = connection.getresponse().headers
    assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1:PORT", 200), ("localhost:PORT", 200), ("LOCALHOST:PORT", 200), ("[::1]:PORT", 200),
        ("evil.example:PORT", 421), ("127.0.0.1", 421), ("127.0.0.1:1", 421), ("localhost.evil.example:PORT", 421),
        ("", 421),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/addresses.json"), ("GET", "/cards/a.html"), ("HEAD", "/cards/a.html")]
)
def test_it_answers_by_its_own_names_alone(
    project: Project, address: str, host: str, code: int, method: str, path: str
) -> None:
    (project.state / "cards").mkdir()
    (project.state / "cards" / "a.html").write_text("<html>")
    place = urlsplit(address)
    connection = http.client.HTTPConnection(str(place.hostname), place.port or 0, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host.replace("PORT", str(place.port)))
    connection.endheaders()
    assert connection.getresponse().status == code


def test_lengths_of_time_read_well() -> None:
    assert [overview_page._span(seconds) for seconds in (5, 130, 8000, 400_000)] == ["5 s", "2 min", "2 h", "5 days"]
