"""The example of docs/tasks.md does what the page says: its blocks are what is run here, in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from components.registry import versions
from components.registry.memory import tracking
from tests import slices
from tests.flows.conftest import ROOT, make_project

PAGE = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
ADDING = PAGE.partition("## Adding one\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^( *)```(\w+)\n(.*?)^ *```$", ADDING, re.MULTILINE | re.DOTALL)
COPY, *COMMANDS = [line for _, kind, text in BLOCKS if kind == "bash" for line in text.splitlines()]
(ENTRY,) = [textwrap.dedent(text) for _, kind, text in BLOCKS if kind == "yaml"]


def done(root: Path, command: str) -> str:
    """What a command of the page prints, which must end well, in a project whose own code runs."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("CONVOY_", "MLFLOW_", "PREFECT_"))
    }
    variables = {**ours, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "COLUMNS": "110"}
    ended = subprocess.run(
        ["bash", "-c", command], cwd=root, env=variables, capture_output=True, text=True, timeout=800, check=False
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout[-5000:]}{ended.stderr[-3000:]}"
    return ended.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the example's files, and its entry in the catalogue."""
    root = make_project(tmp_path / "project")
    for name in ("docs/examples", "flows", "tests/components"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "tests/conftest.py", "tests/remembered.py", "tests/slices.py", slices.RECORD):
        shutil.copy(ROOT / name, root / name)
    there = {path.relative_to(root) for path in root.rglob("*")}
    added = {path.relative_to(root / "docs/examples/direction") for path in (root / "docs/examples").rglob("*.*")}
    assert added and not added & there, "the example replaces a file that there is"
    done(root, COPY)
    params = root / "params.yaml"
    entry = textwrap.indent(ENTRY, "  ")
    params.write_text(params.read_text(encoding="utf-8").replace("datasets:\n", f"datasets:\n{entry}", 1))
    return root


def test_every_file_of_the_example_is_on_the_page() -> None:
    folder = ROOT / "docs"
    files = {
        path.relative_to(folder).as_posix() for path in (folder / "examples").rglob("*.*") if path.suffix != ".pyc"
    }
    assert files == set(re.findall(r"\]\((examples/\S+\.\w+)\)", ADDING))


def test_its_kind_and_its_task_keep_the_contract_and_its_data_can_be_learnt(project: Path) -> None:
    (command,) = [each for each in COMMANDS if "pytest" in each]
    told = done(project, f"{command} -vv -p no:cacheprovider")
    ended = set(re.findall(r"::(test_\w+)(?:\[[\w-]*(?:angle|direction)[\w-]*\])? PASSED", told))
    assert "test_renamed_targets_show_the_same_names_and_back_again_the_same" in ended
    assert "test_one_batch_can_be_learned_by_heart" in ended
    assert "test_the_exported_graph_answers_as_the_network_does" in ended
    assert "test_a_network_learns_what_the_stages_of_data_hand_on" in ended


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_line_takes_it_to_a_staged_version_and_skips_what_it_cannot(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, listing, run = COMMANDS
    assert "direction" in done(project, listing) and "digits-turn" in done(project, listing)
    assert "turned-digits version 1 is staging" in done(project, run)

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = tracking.connect(project, "turned-digits")
    evidence = versions.version_evidence(store, "turned-digits", 1)
    assert evidence.primary == "angular_error" and set(evidence.figures) >= {"angular_error", "close"}

    more = "-S members.count=2 -S 'student={network: {name: residual, arguments: {width: 8}}, epochs: 1}'"
    told = " ".join(done(project, f"{run} {more}").split())
    assert "has no way to combine members" in told
    assert "cannot be distilled" in told
