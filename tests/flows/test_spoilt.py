"""Every file that a run writes for itself, spoilt: the same command goes on, or says in a sentence what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.artifacts import ArtifactError
from components.config import ConfigurationError
from components.data.errors import DataError
from components.registry.memory.store import TrackingError
from components.registry.versions import RegistryError
from flows.line import Outcome, line
from tests.flows.spoiling import SPOILS, cut, empty, other, rubbish

pytestmark = pytest.mark.slow

AREAS = {  # what a run writes for itself, and where
    "results of steps": ".convoy/mlartifacts/*/artifacts/result/**/*",
    "what keys were made of": ".convoy/mlartifacts/*/artifacts/key/known-by.json",
    "manifests": ".convoy/mlartifacts/*/artifacts/manifest.json",
    "files of versions": ".convoy/mlartifacts/*/artifacts/version/**/*",
    "packages": ".convoy/mlartifacts/models/*/artifacts/**/*",
    "decisions": ".convoy/mlartifacts/*/artifacts/decision.json",
    "decoded splits": ".convoy/decoded/*/*/*",
    "memory of sources": ".convoy/data/*",
    "Evidently's history": ".convoy/evidently/**/*",
    "watched": ".convoy/data/watched/digits/*",
    "raw": ".convoy/data/ingested/digits/*",
    "inspected": ".convoy/data/inspected/digits/*",
    "prepared": ".convoy/data/prepared/digits/*",
    "data-validation": ".convoy/data/validated/digits/*.*",
    "DVC's lock": "dvc.lock",
    "DVC's temporary files": ".dvc/tmp/*",
    "DVC's runs": ".dvc/cache/runs/*/*/*",
}
NOT_OURS = {".convoy/mlflow.db", ".convoy/locks", ".convoy/lines", ".convoy/logs", ".convoy/prefect", ".convoy/work",
            ".convoy/decoded/lock", ".convoy/cache", ".dvc/config", ".dvc/cache/files"}  # fmt: skip
LEFT_OUT = ("validation/", "drift/", "augmentation/", "chain/", "report/", "plots/", "inspection/")  # pages for people


def test_the_areas_are_all_that_a_run_writes(project: Path, outcome: Outcome) -> None:
    known = {path for pattern in AREAS.values() for path in project.glob(pattern)}
    written = {path for top in (".convoy", ".dvc") for path in (project / top).rglob("*") if path.is_file()}
    names = {path.relative_to(project).as_posix() for path in written - known}
    unknown = {
        name
        for name in names
        if not any(name.startswith(other) for other in NOT_OURS)
        and not any(f"/artifacts/{kind}" in name for kind in LEFT_OUT)
        and not name.startswith((".convoy/data/validated/digits/docs/", ".convoy/data/inspected/digits/pictures/"))
    }
    assert unknown == set()


@pytest.mark.parametrize("area", AREAS)
def test_whatever_is_spoilt_the_same_command_goes_on_or_says_what_to_do(
    area: str, project: Path, outcome: Outcome, tmp_path: Path
) -> None:
    files = sorted(path for path in project.glob(AREAS[area]) if path.is_file())
    if not files and area in ("memory of sources", "Evidently's history"):
        pytest.skip("this recipe writes none")
    kept = tmp_path / "kept"
    for number, file in enumerate(files):
        (kept / file.relative_to(project)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, kept / file.relative_to(project))
        SPOILS[(number + list(AREAS).index(area)) % len(SPOILS)](file)

    try:
        again = line("digits")
    except (DataError, ArtifactError, RegistryError, TrackingError, ConfigurationError) as error:
        assert re.search(r"`[^`]+`|remove|run the pipeline|again", str(error)), error
        assert any(file.name in str(error) for file in files), error
        for file in files:
            if file.is_dir():
                shutil.rmtree(file)
            shutil.copy2(kept / file.relative_to(project), file)
        again = line("digits")
    assert again.decision.action == "pass"
    for file in files:
        if file.is_relative_to(project / ".convoy" / "data") and file.parent.name != "data":
            assert file.read_bytes() == (kept / file.relative_to(project)).read_bytes(), file


def test_a_damaged_database_is_a_sentence_for_every_command_and_is_never_replaced(
    project: Path, outcome: Outcome, tmp_path: Path
) -> None:
    database = project / ".convoy" / "mlflow.db"
    for spoil in (cut, rubbish, empty, other):
        root = tmp_path / spoil.__name__
        (root / ".convoy" / "mlartifacts" / "run").mkdir(parents=True)
        for name in ("params.yaml", "dvc.yaml"):
            shutil.copy(project / name, root / name)
        copy = root / ".convoy" / "mlflow.db"
        shutil.copy(database, copy)
        spoil(copy)
        before = copy.read_bytes()
        words = [sys.executable, "-m", "flows.cli", "status", "--json"]
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2]), "CONVOY_ROOT": str(root)}
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stdout
        said = re.sub(r"\s+", " ", done.stderr)
        assert "Traceback" not in said and "mlflow.db.damaged" in said.replace(" ", ""), said
        assert copy.read_bytes() == before
