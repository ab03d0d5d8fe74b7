"""What the how-tos and the tutorial say to do works as it stands: their blocks are run, in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import ROOT, make_project

FENCE = re.compile(r"^```(\w+) ?(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(name: str) -> dict[str, list[tuple[str, str, str]]]:
    """Section → its fenced blocks: language, file, content."""
    parts = re.split(r"^## ", (ROOT / "docs" / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {part.partition("\n")[0]: FENCE.findall(part) for part in parts}


def done(root: Path, script: str, timeout: int) -> str:
    """What a block prints, each line of which must end well, in a project whose own code runs."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("CONVOY_", "MLFLOW_", "PREFECT_"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{ours['PATH']}"
    variables = {**ours, "PATH": path, "PYTHONPATH": str(root), "COLUMNS": "120"}
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=root,
        env=variables,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert ended.returncode == 0, f"{script}\n{ended.stdout[-5000:]}{ended.stderr[-3000:]}"
    return ended.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, the flows' code included."""
    root = make_project(tmp_path / "project")
    shutil.copytree(ROOT / "flows", root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    return root


HOW_TO = {title: found for title, found in blocks("how-to.md").items() if any(kind == "bash" for kind, *_ in found)}
# What each section's blocks must have said in the end.
SAID = {
    "Train on my CSV": "pieces is not here: it was not made yet",
    "Change the network": "mobilenet",
    "Free disk": "",
    "Add a network family": "0 of ",
    "When something goes wrong": "",
}


def test_the_sections_that_are_run_are_these() -> None:
    assert HOW_TO.keys() == SAID.keys()


QUICK = {"Free disk", "When something goes wrong"}  # the others start a pipeline's own processes, which takes long


@pytest.mark.parametrize(
    "title", [pytest.param(each, marks=[] if each in QUICK else pytest.mark.slow) for each in HOW_TO]
)
def test_a_how_to_does_what_it_says(project: Path, title: str) -> None:
    told = ""
    for kind, name, content in HOW_TO[title]:
        if name:
            assert not (project / name).exists()
            (project / name).write_text(content, encoding="utf-8")
        elif kind == "bash":
            told += done(project, content, timeout=250)
    assert SAID[title] in told
    if title == "Train on my CSV":
        assert "task: classification" in (project / "params.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_family_of_the_page_learns_and_is_exported(project: Path) -> None:
    ((_, name, content),) = [block for block in blocks("how-to.md")["Add a network family"] if block[1]]
    (project / name).write_text(content, encoding="utf-8")
    program = """
import torch
from components.artifacts import ImageSpec
from components.config import NetworkConfig
from components.models import registry

inputs = ImageSpec(height=8, width=8, channels=1, mean=(0.5,), std=(0.25,))
network = registry.build(NetworkConfig(name="plain", arguments={"width": 4, "depth": 3}), inputs, 5)
images = torch.rand(6, 1, 8, 8)
outputs = network.train()(images)
assert outputs.shape == (6, 5)
torch.testing.assert_close(outputs, network.head(network.embed(images)))
outputs.square().sum().backward()
assert all(parameter.grad is not None for parameter in network.parameters())
torch.export.export(network.eval(), (images,))
print("learnt")
"""
    assert "learnt" in done(project, f"python - <<'PY'\n{program}\nPY", timeout=120)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_tutorial_leads_to_production(project: Path) -> None:
    told = {}
    for title, found in blocks("tutorial.md").items():
        for kind, _, content in found:
            if kind == "bash":
                told[title] = told.get(title, "") + done(project, content, timeout=1800)
    assert "numerals version 1 is staging" in told["Run the pipeline"]
    assert "floor" in told["Ask for more, and see why it fails"]
    assert "production" in told["Into production"]
    assert "seven" in told["Use it"]
    assert "roll back" in told["New data"] or "rolled back" in told["New data"]
