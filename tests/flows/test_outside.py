"""Convoy as those have it who never saw its repository: a wheel, a project, and a package of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from components.config import merge
from components.data.versions import repository
from tests import extending
from tests.flows.conftest import ROOT, SMALL

BUILT = ("components", "flows", "recipes", ".dvc", "pyproject.toml", "README.md", "LICENSE", "dvc.yaml", ".dvcignore")
ENTRY = """  turned-digits:
    task: direction
    source: {kind: turned-digits, pictures: 300}
    image: {height: 16, width: 16, channels: 1}
"""
RECIPE = """line:
  dataset: turned-digits
  model: turned
  augment: {crop: 1, flip: 0.0, erase: 0.0}
  training: {batch_size: 32, cpus_per_worker: 1, label_smoothing: 0.0}
  members: {count: 1, networks: [{name: residual, arguments: {width: 8}}], epochs: 1}
  student: null
  evaluate: {bootstrap: 100}
  quantize: {allowance: 1.0}
  gates:
    floor: null
    ceiling: {limit: 180.0, metric: angular_error}
    worst_group: null
    robustness: null
    calibration: null
    int8_drop: {limit: 1.0}
    size: null
"""


pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


class Elsewhere:
    """An environment with the wheel in it, and a folder; nothing of the clone can be imported there."""

    def __init__(self, place: Path) -> None:
        self.place, self.bin = place, place / "environment" / "bin"
        source = place / "source"
        for name in (*BUILT, "requirements.lock"):
            copied = source / name
            if (ROOT / name).is_dir():
                left_out = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local")
                shutil.copytree(ROOT / name, copied, symlinks=True, ignore=left_out)
            else:
                shutil.copy(ROOT / name, copied)
        self._pip("wheel", "--no-build-isolation", "-w", str(place / "wheels"), str(source))
        shutil.rmtree(source)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place / "environment")], check=True)
        (self.site,) = (place / "environment").glob("lib/python3.*/site-packages")
        engines = sysconfig.get_paths()["purelib"]  # without what is linked to there: the clone's code
        (self.site / "engines.pth").write_text(f"{engines}\n")
        (self.wheel,) = (place / "wheels").glob("convoy_cnn-*.whl")
        self.install(self.wheel)

    def install(self, what: Path) -> None:
        """A wheel, or a package's folder, into the environment, from nowhere else."""
        options = ("--no-compile", "--force-reinstall", "--no-build-isolation")
        self._pip("--python", str(self.bin.parent), "install", *options, str(what))

    def _pip(self, *words: str) -> None:
        pip = [sys.executable, "-m", "pip", "-q", "--no-input", "--disable-pip-version-check"]
        before = words.index("install") + 1 if "install" in words else 1
        command = [*pip, *words[:before], "--no-index", "--no-deps", *words[before:]]
        variables = self._variables()
        done = subprocess.run(command, cwd=self.place, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _variables(self) -> dict[str, str]:
        own = ("CONVOY_", "MLFLOW_", "PREFECT_", "PYTHON", "PYTEST")
        variables = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        path = f"{self.bin}:{os.environ['PATH']}"
        return {**variables, "PATH": path, "HOME": str(self.place), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}

    def run(self, folder: Path, *words: str, code: int = 0, error: bool = False) -> str:
        """What a command of the environment prints."""
        done = subprocess.run(
            [str(self.bin / words[0]), *words[1:]],
            cwd=folder, env=self._variables(), capture_output=True, text=True, timeout=1500, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{words}\n{done.stdout[-5000:]}{done.stderr[-3000:]}"
        return done.stderr if error else done.stdout

    def waiting(self, folder: Path, recipe: str) -> dict[str, str]:
        """What is not done: step → why, for those whose own inputs, settings or code have changed."""
        told = json.loads(self.run(folder, "convoy", "run", "-r", recipe, "--plan", "--json"))
        return {step["step"]: step["why"] for step in told["steps"] if step["does"] == "runs"}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    return Elsewhere(tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="module")
def project(elsewhere: Elsewhere) -> Path:
    """One with small networks, and with folders that are called as the code is."""
    folder = elsewhere.place / "my project"
    elsewhere.run(elsewhere.place, "convoy", "init", folder.name)
    for name in ("components", "flows"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise SystemExit('another code')\n")
    recipe = folder / "recipes" / "digits.yaml"
    values = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    recipe.write_text(yaml.safe_dump({"line": merge(values["line"], SMALL["digits"])}), encoding="utf-8")
    return folder


def test_the_wheel_holds_every_file_of_the_code(elsewhere: Elsewhere) -> None:
    def files(folder: Path) -> set[str]:
        found = (path.relative_to(folder) for room in ("components", "flows") for path in (folder / room).rglob("*.*"))
        return {path.as_posix() for path in found if path.suffix != ".pyc" and (folder / path).is_file()}

    assert files(elsewhere.site) == files(ROOT)
    assert "convoy" in elsewhere.run(elsewhere.place, "convoy", "--help")
    where = "import components, flows; print(components.__file__, flows.__file__)"
    assert str(ROOT) not in elsewhere.run(elsewhere.place, "python", "-c", where)


def test_a_project_goes_to_a_staged_version_and_then_has_nothing_to_do(elsewhere: Elsewhere, project: Path) -> None:
    assert "digits version 1 is staging" in elsewhere.run(project, "convoy", "run", "-r", "digits")
    assert not elsewhere.waiting(project, "digits")
    assert "digits version 1 is staging" in elsewhere.run(project, "convoy", "run", "-r", "digits")
    locks = [repository.parse_lock((folder / "dvc.lock").read_bytes()) for folder in (project, ROOT)]
    own, clones = (repository.locked_digest(lock, "digits") for lock in locks)
    assert own == clones is not None


def test_another_release_does_again_what_its_code_does_otherwise_and_nothing_else(
    elsewhere: Elsewhere, project: Path
) -> None:
    changed = {
        "components/evaluate/report.py": {"promote": "components.evaluate.report"},
        "components/data/validation/validate.py": {"data": "components.data.validation.validate"},
    }
    for name, expected in changed.items():
        file = elsewhere.site / name
        text = file.read_text(encoding="utf-8")
        file.write_text(f"# another comment\n{text}", encoding="utf-8")
        assert not elsewhere.waiting(project, "digits")
        file.write_text(f"{text}\nCHANGED = True\n", encoding="utf-8")
        waiting = elsewhere.waiting(project, "digits")
        assert waiting.keys() == expected.keys() and all(said in waiting[step] for step, said in expected.items())
        file.write_text(text, encoding="utf-8")
    elsewhere.install(elsewhere.wheel)
    assert not elsewhere.waiting(project, "digits")


def test_what_is_staged_goes_into_production(elsewhere: Elsewhere, project: Path) -> None:
    elsewhere.run(project, "convoy", "approve", "digits", "--reason", "as it should be", "--by", "somebody")
    elsewhere.run(project, "convoy", "promote", "digits", "--to", "production")
    assert "production" in elsewhere.run(project, "convoy", "status")
    assert "digits" in elsewhere.run(project, "convoy", "data", "list")


def test_a_task_with_its_data_from_a_package_of_ones_own_goes_the_whole_way(
    elsewhere: Elsewhere, project: Path
) -> None:
    elsewhere.install(extending.example(elsewhere.place))
    params = project / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("datasets:\n", f"datasets:\n{ENTRY}", 1))
    (project / "recipes" / "turned.yaml").write_text(RECIPE, encoding="utf-8")
    assert "direction" in elsewhere.run(project, "convoy", "tasks")
    assert "convoy.sources.turned_digits of my-angles 1.0" in elsewhere.run(project, "convoy", "doctor")
    assert "turned version 1 is staging" in elsewhere.run(project, "convoy", "run", "-r", "turned")
    assert not elsewhere.waiting(project, "turned")

    file = elsewhere.site / "my_angles" / "direction.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(f"# a comment\n{text}", encoding="utf-8")
    assert not elsewhere.waiting(project, "turned")
    file.write_text(text.replace("CLOSE = 15.0", "CLOSE = 14.0"), encoding="utf-8")
    assert list(elsewhere.waiting(project, "turned")) == ["data-validation", "train"]
    (elsewhere.site / "my_angles" / "turned_digits.py").write_text("MORE = 1\n", encoding="utf-8")
    told = elsewhere.run(project, "convoy", "tasks", code=2, error=True)
    assert "convoy.sources.turned_digits of my-angles 1.0: expected a module of which a line begins" in told
