"""`convoy tasks` tells of every task what a line would do with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.members import TASKS
from tests.flows.conftest import make_project


def convoy(root: Path, *arguments: str) -> str:
    environment = {**os.environ, "CONVOY_ROOT": str(root), "COLUMNS": "80"}
    command = [sys.executable, "-m", "flows.cli", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("tasks"))


def test_every_task_is_told_with_what_it_learns_from_and_what_learns_it(project: Path) -> None:
    told = {each["task"]: each for each in json.loads(convoy(project, "tasks", "--json"))}
    assert sorted(told) == TASKS.names()
    for each in told.values():
        assert each["says"] and each["networks"] and each["metrics"] and each["outputs"]
        assert not set(each["can"]) & set(each["cannot"])
    assert told["classification"]["target"] == "class" and "residual" in told["classification"]["networks"]["image"]
    assert told["segmentation"]["target"] == "mask" and told["segmentation"]["networks"] == {"image": ["unet"]}
    assert told["classification"]["metrics"]["log_loss"] == "less is better"
    assert "digits" in told["classification"]["recipes"] and "digits-segment" in told["segmentation"]["recipes"]


def test_the_page_fits_a_terminal(project: Path) -> None:
    page = convoy(project, "tasks")
    assert max(map(len, page.splitlines())) <= 80
    assert "judged by" in page and "mean_iou (more is better)" in page
