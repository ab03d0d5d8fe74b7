"""A real environment, with a real editable installation by setuptools, moved and copied."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "infra" / "portable.py"


def _script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("portable", SCRIPT)
    assert specification is not None and specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


portable = _script()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a package, a command, and another project's package beside it in its environment."""
    project = tmp_path_factory.mktemp("made") / "project"
    neighbour = project.parent / "project2"
    for root, name in ((project, "vehicle"), (neighbour, "trailer")):
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").write_text(
            "import pathlib, sys\ndef main(): print(pathlib.Path(__file__).parents[1], sys.prefix, sep='\\n')\n"
        )
        (root / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
            f'[project]\nname = "{name}"\nversion = "1"\n[project.scripts]\n{name} = "{name}:main"\n'
            f'[tool.setuptools.packages.find]\ninclude = ["{name}*"]\n'
        )
        (root / "notes").mkdir()  # beside the package: setuptools makes a finder rather than a path
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    python = project / ".venv" / "bin" / "python"
    for root in (project, neighbour):
        command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
        build = ["--no-build-isolation", "-e", root]
        own = [path for path in sys.path if path.endswith("site-packages")]
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(own), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        subprocess.run([*command, *build], env=environment, check=True)
    return project


def said(command: Path, *arguments: object) -> list[str]:
    done = subprocess.run([command, *map(str, arguments)], capture_output=True, text=True, check=True, env={})
    return done.stdout.splitlines()


@pytest.fixture
def elsewhere(installed: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy; the original stays where it is."""
    copy = tmp_path / getattr(request, "param", "copy")
    shutil.copytree(installed, copy, symlinks=True)
    return copy


PLACES = ["copy", "with blanks & 'quotes' #1", "a" * 140]


@pytest.mark.parametrize("elsewhere", PLACES, indirect=True)
def test_a_copy_runs_its_own_code(installed: Path, elsewhere: Path) -> None:
    venv = elsewhere / ".venv"
    assert said(venv / "bin" / "vehicle")[0] == str(installed)  # what is to be mended

    command = [venv / "bin" / "python", SCRIPT, ".venv"]
    began = time.monotonic()
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=True)
    assert time.monotonic() - began < 3.0
    assert "they work wherever the project lies now" in done.stdout

    assert said(venv / "bin" / "vehicle") == [str(elsewhere), str(venv)]
    assert said(venv / "bin" / "python", "-c", "import vehicle; vehicle.main()") == [str(elsewhere), str(venv)]
    assert said(Path("/bin/sh"), "-c", '. "$0/bin/activate"; vehicle', venv) == [str(elsewhere), str(venv)]
    # What was installed from elsewhere is used from there, though its name begins alike.
    assert said(venv / "bin" / "trailer") == [str(installed.parent / "project2"), str(venv)]
    assert said(installed / ".venv" / "bin" / "vehicle") == [str(installed), str(installed / ".venv")]

    again = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=True)
    assert (again.stdout, again.stderr) == ("", "")


def test_once_portable_it_works_in_any_place_without_help(elsewhere: Path, tmp_path: Path) -> None:
    assert portable.main([str(elsewhere / ".venv")]) == 0
    further = tmp_path / "one place" / "further"
    shutil.copytree(elsewhere, further, symlinks=True)
    for place in (elsewhere, further, further.rename(tmp_path / "last")):
        if place.exists():
            assert said(place / ".venv" / "bin" / "vehicle") == [str(place), str(place / ".venv")]
    # By a link, from the PATH and from a folder of another name.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vehicle").symlink_to(elsewhere / ".venv" / "bin" / "vehicle")
    shell = f'PATH="{tmp_path}/bin:$PATH"; vehicle'
    assert said(Path("/bin/sh"), "-c", shell) == [str(elsewhere), str(elsewhere / ".venv")]


def test_it_may_move_again_and_back(installed: Path, tmp_path: Path) -> None:
    place = tmp_path / "one place"
    shutil.copytree(installed, place, symlinks=True)
    for name in ("two", "one place", "three"):
        place = place.rename(tmp_path / name)
        assert portable.main([str(place / ".venv")]) == 0  # now and then, for `source`
        assert said(place / ".venv" / "bin" / "vehicle") == [str(place), str(place / ".venv")]
        assert portable.made_for(place / ".venv") == place / ".venv"


def test_an_interrupted_change_is_finished_the_next_time(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(portable, "_above", killed)
        with pytest.raises(KeyboardInterrupt):
            portable.mend(elsewhere / ".venv")
    assert portable.mend(elsewhere / ".venv") > 0
    assert said(elsewhere / ".venv" / "bin" / "vehicle") == [str(elsewhere), str(elsewhere / ".venv")]


def test_what_is_no_environment_is_left_alone_or_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert portable.mend(tmp_path) == 0
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").write_text("echo hello\n")
    assert portable.main([str(tmp_path)]) == 1
    assert "expected a line VIRTUAL_ENV=" in capsys.readouterr().err
    assert portable.main([]) == 2
