"""`make setup` with PyTorch from where its user says, tried on a project of a few hand-made wheels."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PYPROJECT = """
[project]
name = "tiny"
version = "0"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(f"{folder}/tiny-0-py3-none-any.whl", "w") as file:
        file.writestr("tiny-0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 0\\n")
        file.writestr("tiny-0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        file.writestr("tiny-0.dist-info/RECORD", "")
    return "tiny-0-py3-none-any.whl"
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def wheel(folder: Path, name: str, version: str) -> None:
    """A package that says its own version."""
    folder.mkdir(exist_ok=True)
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}/__init__.py", f"version = {version!r}\n")
        file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", "")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """One whose locks name PyTorch, what belongs to CUDA, and one library more, of which there is a wheel."""
    root = tmp_path / "a project"
    (root / "infra").mkdir(parents=True)
    for name in ("Makefile", "infra/portable.py"):
        shutil.copyfile(ROOT / name, root / name)
    (root / "requirements.lock").write_text("nvidia-cublas==1\nsmall==1.0\ntorch==2.0\ntorchvision==1.0\ntriton==3\n")
    (root / "requirements-dev.lock").write_text("cuda-bindings==1\nsmall==1.0\nsmaller==1.0\ntorch==2.0\n")
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "backend.py").write_text(BACKEND)
    wheel(root / "others", "small", "1.0")
    wheel(root / "others", "smaller", "1.0")
    for name, version in (("torch", "2.0+cpu"), ("torchvision", "1.0+cpu")):
        wheel(root / "cpu wheels", name, version)
    return root


def make(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "PIP_NO_INDEX": "1",  # what is not in a folder is in none
        "PIP_FIND_LINKS": (project / "others").as_uri(),
        "PIP_CONFIG_FILE": "/dev/null",
    }
    command = ["make", f"PYTHON={sys.executable} ", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def installed(project: Path) -> set[str]:
    listed = subprocess.run(
        [project / ".venv" / "bin" / "python", "-m", "pip", "list", "--format", "freeze"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.split("==")[0] for line in listed.stdout.splitlines()}
    return names - {"pip", "setuptools", "tiny"}


@pytest.mark.slow  # two environments and six installations
def test_pytorch_comes_from_the_folder_that_is_named_and_nothing_of_cuda_does(project: Path) -> None:
    # given an environment with what builds a project, which is not what is tried here
    made = make(project, ".venv/.installed", "TORCH_INDEX=cpu wheels")
    assert made.returncode == 0, made.stderr
    assert installed(project) == {"small", "torch", "torchvision"}

    # then what comes later remembers where from
    more = make(project, ".venv/.installed-dev")
    assert more.returncode == 0, more.stderr
    assert installed(project) == {"small", "smaller", "torch", "torchvision"}


def test_without_it_all_that_is_locked_is_asked_for(project: Path) -> None:
    made = make(project, ".venv/.installed")

    assert made.returncode != 0
    assert "nvidia-cublas==1" in made.stderr
