"""A store with two versions, decisions and a failed line, cleaned: everything that people do afterwards still works."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from components.registry.memory.tracking import connect
from tests.flows.conftest import make_project
from tests.flows.test_cleaning import a_step, aged, long_ago
from tests.flows.test_cli import convoy

# What is tested is what is left of lines, not what they learn.
SETTINGS = (
    "members.count=1", "members.epochs=1", "student.epochs=1", "student.allowance=1.0", "quantize.allowance=1.0",
    "quantize.control_seconds=0", "evaluate.corruptions=null", "gates.robustness=null", "gates.floor.limit=0.0",
    "gates.worst_group.limit=0.0", "gates.production.margin=1",
)  # fmt: skip
SMALL = ["-r", "digits", *(word for setting in SETTINGS for word in ("-S", setting))]


def done(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    ended = convoy(root, *arguments, **variables)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two versions that were in production one after the other; takes three minutes on two busy cores."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = make_project(tmp_path / "project")
    for seed in ("0", "3"):
        done(root, "run", *SMALL, "-S", f"seed={seed}")
        done(root, "approve", "digits", "--by", "grace", "--reason", "looked at it")
        done(root, "promote", "digits", "--to", "production")
    return root


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_after_a_cleaning_everything_still_works(root: Path, tmp_path: Path) -> None:
    store = connect(root, "digits")
    a_step(store, "of a line that failed")
    long_ago(store, 40)
    aged(root / ".convoy", 40)
    before = [json.loads(done(root, "status", "--json").stdout)["standings"], done(root, "ledger", "digits").stdout]
    files = len(list((root / ".convoy" / "mlartifacts").rglob("*")))

    said = done(root, "clean", "--yes", TMPDIR=str(tmp_path)).stdout  # not what else is left on this machine

    assert re.search(r"steps +[1-9]", said) and re.search(r"decoded +[1-9]", said) and re.search(r"logs +[1-9]", said)
    assert len(list((root / ".convoy" / "mlartifacts").rglob("*"))) < files
    assert not list((root / ".convoy" / "locks").glob("step-*.lock"))
    after = [json.loads(done(root, "status", "--json").stdout)["standings"], done(root, "ledger", "digits").stdout]
    assert after == before
    for version in ("1", "2"):
        done(root, "export", f"digits:{version}", "--format", "onnx", "-o", str(tmp_path / f"exported-{version}"))
    assert (
        "version 1 is production now" in done(root, "rollback", "digits", "--reason", "to see whether it works").stdout
    )
    done(root, "approve", "digits", "--by", "grace", "--reason", "it works")  # a roll back voids what was said before
    done(root, "promote", "digits", "--to", "production", "--despite-rollback")
    again = done(root, "run", *SMALL, "-S", "seed=3").stdout
    for step in ("train", "distil", "quantize", "evaluate", "register"):
        assert re.search(rf"(?m)^= {step}", again), again
    assert convoy(root, "clean", "--only", "everything").returncode == 2
    done(root, "compare", "last", store.search({"kind": "pipeline"})[1].id)
    assert "nothing can go" in done(root, "clean", "--yes", TMPDIR=str(tmp_path)).stdout
