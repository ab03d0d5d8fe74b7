"""The pages as people see them: two real lines, their servers, and the system's Chromium."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from components.registry import lines
from components.registry.memory import addresses, tracking
from flows.base.project import Project
from flows.pages import pages
from flows.processes.prefect_server import account, free_port
from flows.run.order import NAMES
from tests.flows import test_pages
from tests.flows.browsing import CHROMIUM, Browser, browsing
from tests.flows.conftest import make_project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: apt-get install chromium"),
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with two lines and a model in production, and its pages.

    CONVOY_BROWSED names one that an earlier test has left, for which nothing is trained.
    """
    kept = os.environ.get("CONVOY_BROWSED")
    root = Path(kept) if kept else make_project(tmp_path_factory.mktemp("browsed") / "project")
    ports = {name: free_port() for name in ("--port", "--mlflow-port", "--prefect-port", "--evidently-port")}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("CONVOY_ROOT", str(root))
        patch.setenv("CONVOY_MLFLOW_UI", f"http://127.0.0.1:{ports['--mlflow-port']}")
        patch.setenv("CONVOY_PREFECT_UI", f"http://127.0.0.1:{ports['--prefect-port']}")
        commands = (
            ["run", "-r", "digits"],
            ["approve", "digits", "--by", "Grace", "--reason", "read the report"],
            ["promote", "digits", "--to", "production", "--reason", "the first"],
            # On so few samples one cannot be sure that the second is no worse: its gate is not what is looked at here.
            ["run", "-r", "digits", "-S", "student.epochs=4", "-S", "gates.production.margin=0.5"],
        )
        for command in () if kept else commands:
            convoy(*command)
        options = [text for name, port in ports.items() for text in (name, str(port))]
        with test_pages.convoy(root, "ui", *options) as process:
            test_pages.wait_for("Ctrl-C ends them", root, process)
            yield Project(root)


def convoy(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def known(site: Project) -> list[lines.Line]:
    """Both lines, the newest first."""
    return lines.recent(tracking.connect(site.root), 5)


@pytest.fixture(scope="module")
def up(site: Project) -> dict[str, str]:
    return pages.running(site)


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Every test ends with the question whether the pages complained."""
    with browsing() as found:
        yield found
        assert found.errors == []


def test_the_first_page_leads_to_all_others(browser: Browser, up: dict[str, str]) -> None:
    page = browser.page
    page.goto(up["index"])
    page.get_by_role("heading", name="Convoy").wait_for()
    browser.picture("index")
    for name in ("Prefect", "Evidently"):
        assert page.get_by_role("link", name=name).get_attribute("href") == up[name]
    page.get_by_role("link", name="its runs, step by step").click()
    page.get_by_role("link", name="pipeline · digits").first.wait_for()
    page.goto(up["index"])
    page.get_by_role("link", name="expectations, and the rows that break them").click()
    page.get_by_text("Expectation").first.wait_for()


@pytest.mark.parametrize("width", [390, 1360])
def test_the_first_page_says_how_things_are_without_javascript(width: int, site: Project, up: dict[str, str]) -> None:
    """On a telephone and on a screen: every part, nothing beside the window, nothing for the console."""
    with browsing(width, 844, scripts=False) as browser:
        page = browser.page
        page.goto(up["index"])
        for part in (
            "Waiting for a person",
            "Running now",
            "Models",
            "Last runs",
            "Drift",
            "Schedule",
            "Disk",
            "Web UIs",
        ):
            assert page.get_by_role("heading", name=part, exact=True).is_visible(), part
        assert page.get_by_text("production", exact=True).is_visible()
        assert page.get_by_text("convoy approve digits --reason …").is_visible()
        assert page.get_by_text("waits for a person to approve").is_visible()
        assert page.get_by_text("v2 passed").is_visible()
        assert page.locator(".broken").count() == 0
        for each in page.locator("body *").all():
            box = each.bounding_box()
            assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= width + 0.5), each.inner_text()
        beside, models = (page.get_by_role("heading", name=name, exact=True) for name in ("Web UIs", "Models"))
        apart = (beside.bounding_box() or {})["x"] - (models.bounding_box() or {})["x"]
        assert (apart > width / 2) == (width > 1024)  # links stand beside where there is room
        browser.picture(f"index-{width}")
        assert browser.errors == []


def test_the_first_page_shows_what_runs_with_its_progress_and_nothing_dead(site: Project, up: dict[str, str]) -> None:
    store = tracking.connect(site.root, "digits")
    alive = subprocess.Popen(["sleep", "600"])
    gone = subprocess.Popen(["true"])
    gone.wait()
    runs = {}
    try:
        for name, pid in (("alive", alive.pid), ("gone", gone.pid)):
            born = psutil.Process(alive.pid).create_time()
            content = {"pid": pid, "started": born, "host": socket.gethostname(), "root": str(site.root)}
            (site.leases / f"{name}.json").write_text(json.dumps(content))
            tags = {tracking.KIND: "pipeline", lines.LEASE: name, lines.RECIPE: f"{name}-recipe"}
            runs[name] = store.start_run("pipeline", tags=tags)
            store.start_run("05 train", parent=runs[name], tags={tracking.KIND: "step", lines.STEP: "train"})
        with browsing(scripts=False) as browser:
            page = browser.page
            limit = time.monotonic() + 60
            while True:  # what is shown is at most seconds old
                page.goto(up["index"])
                running = page.locator("section", has=page.get_by_role("heading", name="Running now"))
                if running.get_by_text("alive-recipe").count() or time.monotonic() > limit:
                    break
            assert running.get_by_text("step 5 of 12: train").count() == 1
            assert running.locator("progress").get_attribute("value") == "4.000"
            assert "gone-recipe" not in running.inner_text()
            ended = page.locator("section", has=page.get_by_role("heading", name="Last runs"))
            row = ended.locator("li", has_text="gone-recipe").inner_text()
            assert "running" not in row and ("dead" in row or "killed" in row), row
            browser.picture("index-running")
            assert browser.errors == []
    finally:
        alive.kill()
        alive.wait()
        for name, run in runs.items():
            (site.leases / f"{name}.json").unlink(missing_ok=True)
            for child in store.children(run):
                store.client.delete_run(child.id)
            store.client.delete_run(run)


def test_an_alias_that_was_moved_by_hand_shows_on_the_first_page(site: Project, up: dict[str, str]) -> None:
    store = tracking.connect(site.root, "digits")
    store.client.set_registered_model_alias("digits", "production", "2")
    try:
        with browsing(390, 844, scripts=False) as browser:
            limit = time.monotonic() + 60
            while not browser.page.get_by_text("production: not decided").count() and time.monotonic() < limit:
                browser.page.goto(up["index"])
            assert browser.page.get_by_text("production: not decided").is_visible()
            assert browser.page.get_by_text("convoy ledger digits --verify").is_visible()
            browser.picture("index-not-decided")
            assert browser.errors == []
        assert "not decided" in convoy("status")
    finally:
        store.client.set_registered_model_alias("digits", "production", "1")
    assert "not decided" not in convoy("status")


def test_prefects_page_shows_the_steps_in_their_order_as_a_graph(
    browser: Browser, up: dict[str, str], known: list[lines.Line], site: Project
) -> None:
    page, flow_run = browser.page, known[-1].flow_run
    known_as = base64.b64encode(account(site).encode()).decode()
    page.add_init_script(f"localStorage.setItem('prefect-password', '{known_as}')")
    page.goto(f"{up['Prefect']}/runs/flow-run/{flow_run}")
    page.locator(".flow-run-graph canvas, .run-graph canvas").first.wait_for()
    asked = page.request.get(
        f"{up['Prefect']}/api/flow_runs/{flow_run}/graph-v2", headers={"Authorization": f"Basic {known_as}"}
    )
    nodes = sorted((node for _, node in asked.json()["nodes"]), key=lambda node: node["start_time"])
    order = [node["label"] for node in nodes]
    assert order == [step for step in NAMES if step in order] and len(order) >= 10
    for node, behind in itertools.pairwise(nodes):  # an arrow from each step to the next one
        assert behind["id"] in {child["id"] for child in node["children"]}, behind["label"]
    browser.picture("prefect-graph")


def test_an_experiment_lists_its_lines_and_two_of_them_are_compared(
    browser: Browser, up: dict[str, str], known: list[lines.Line]
) -> None:
    page, (second, first) = browser.page, known
    page.goto(f"{up['MLflow']}/{addresses.experiment(first.experiment_id)}")
    page.get_by_role("link", name="pipeline · digits").first.wait_for()
    assert page.get_by_role("link", name="pipeline · digits").count() == 2
    page.get_by_role("button", name="Sort: Created").wait_for()
    browser.picture("mlflow-runs")
    page.goto(f"{up['MLflow']}/{addresses.comparison([first.experiment_id], [first.id, second.id])}")
    page.get_by_text("student.epochs").first.wait_for()
    page.get_by_text("Show diff only").first.click()
    page.get_by_text("seed", exact=True).wait_for(state="detached")  # the same in both
    assert page.get_by_text("student.epochs").first.is_visible()
    browser.picture("mlflow-compare")


def test_a_lines_run_leads_to_its_report_and_its_steps_in_order(
    browser: Browser, up: dict[str, str], known: list[lines.Line]
) -> None:
    page, line = browser.page, known[-1]
    page.goto(f"{up['MLflow']}/{addresses.run(line.experiment_id, line.id)}")
    page.get_by_role("link", name="report", exact=True).wait_for()
    page.get_by_role("link", name=re.compile(r"^\d\d [\w-]+$")).first.wait_for()
    steps = [link.inner_text() for link in page.get_by_role("link", name=re.compile(r"^\d\d [\w-]+$")).all()]
    assert sorted(steps)[0] == "02 data-validation" and len(steps) == 10
    browser.picture("mlflow")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="report", exact=True).click()
    report = opened.value
    report.frame_locator("iframe").get_by_text("digits version 1").first.wait_for()


def test_a_network_shows_a_curve_by_epoch(
    browser: Browser, site: Project, up: dict[str, str], known: list[lines.Line]
) -> None:
    page, line = browser.page, known[-1]
    store = tracking.connect(site.root, line.model)
    member = store.children(line.ran["train"])[0]
    page.goto(f"{up['MLflow']}/#/experiments/{line.experiment_id}/runs/{member.id}/model-metrics?{addresses.VIEW}")
    page.get_by_text("validation_accuracy").first.wait_for()
    page.locator(".js-plotly-plot").first.wait_for()
    browser.picture("mlflow-curves")


def test_a_registered_model_leads_to_its_run_and_data(browser: Browser, up: dict[str, str]) -> None:
    page = browser.page
    page.goto(f"{up['MLflow']}/#/models/digits?{addresses.VIEW}")
    page.get_by_role("link", name="Version 1").wait_for()
    assert page.get_by_text("production").first.is_visible()
    page.get_by_role("link", name="Version 1").click()
    page.get_by_role("link", name="the run", exact=True).wait_for()
    browser.picture("mlflow-version")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="the run", exact=True).click()
    opened.value.get_by_text("pipeline · digits").first.wait_for()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="its data, judged", exact=True).click()
    opened.value.frame_locator("iframe").get_by_text("Expectation").first.wait_for()


def test_a_flow_run_shows_its_steps_and_artifacts_and_the_way_to_mlflow(
    browser: Browser, up: dict[str, str], known: list[lines.Line], site: Project
) -> None:
    page, line = browser.page, known[0]
    known_as = base64.b64encode(account(site).encode()).decode()  # as the page keeps it after a login
    page.add_init_script(f"localStorage.setItem('prefect-password', '{known_as}')")
    page.goto(f"{up['Prefect']}/runs/flow-run/{line.flow_run}")
    for step in ("data-validation", "train", "promote"):
        page.get_by_text(step, exact=True).first.wait_for()
    browser.picture("prefect")
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_role("link", name=re.compile("mlflow")).click()
    page.locator(f"a[href*='{addresses.run(line.experiment_id, line.id)}']").first.wait_for()


def test_the_terminal_tells_the_same(site: Project, known: list[lines.Line]) -> None:
    said = convoy("status")
    assert known[0].id[:8] in said and "production" in said and "convoy approve digits" in said
    assert "student.epochs" in convoy("compare", known[0].id[:8], known[1].id[:8])
    assert known[1].id[:8] in convoy("runs")


@pytest.fixture
def decision(request: pytest.FixtureRequest, site: Project) -> Iterator[tracking.Run]:
    """The run of a decision, by default the approval's; what was done to it is undone afterwards."""
    store = tracking.connect(site.root, "digits")
    (found,) = store.search(getattr(request, "param", {"convoy.action": "approve"}))
    yield found
    store.client.restore_run(found.id)
    store.log_tags(found.id, {"convoy.by": found.tags["convoy.by"]})
    assert "all as written" in convoy("ledger", "digits", "--verify")


def test_an_approval_that_is_edited_in_mlflow_is_told_and_nothing_is_promoted(
    browser: Browser, up: dict[str, str], decision: tracking.Run, known: list[lines.Line]
) -> None:
    page = browser.page
    page.goto(f"{up['MLflow']}/{addresses.run(known[0].experiment_id, decision.id)}")
    page.get_by_role("button", name="Edit tags").click()
    form = page.get_by_role("dialog")
    form.get_by_role("combobox").click()
    page.keyboard.type("convoy.by")
    page.keyboard.press("Enter")
    form.get_by_label("Value").fill("Mallory")
    form.get_by_role("button", name="Add tag").click()
    form.get_by_role("button", name="Save tags").click()
    form.wait_for(state="hidden")
    page.get_by_text("Mallory").first.wait_for()
    said = convoy("ledger", "digits", "--verify", code=3)
    assert "approve version 1 by Mallory" in said and "say something else than its file: convoy.by" in said
    assert "its ledger is not as it was written" in refused("digits")


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        ({"convoy.action": "approve"}, "its ledger is not as it was written"),
        ({"convoy.action": "pass", "convoy.version": "2"}, "version 2 was never judged"),  # the last of the chain
    ],
    indirect=["decision"],
    ids=["approval", "last"],
)
def test_a_decision_that_is_deleted_in_mlflow_is_told_and_nothing_is_promoted(
    browser: Browser, up: dict[str, str], decision: tracking.Run, known: list[lines.Line], why: str
) -> None:
    page = browser.page
    page.goto(f"{up['MLflow']}/{addresses.run(known[0].experiment_id, decision.id)}")
    page.get_by_test_id("overflow-menu-trigger").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").wait_for(state="hidden")
    said = convoy("ledger", "digits", "--verify", code=3)
    assert f"decision {decision.tags['convoy.number']}" in said and "deleted" in said
    assert why in refused("digits")


def refused(model: str) -> str:
    """What is said where the second version is to go into production."""
    return convoy("promote", model, "--to", "production", "--version", "2", "--reason", "a try", code=1)
