"""A project is a folder: moved, copied, mounted elsewhere and handed to another user, all that was done stays done."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from components.config import ConfigurationError
from flows.base import project as whereabouts
from flows.base.project import Project, enter
from tests.flows.conftest import ROOT, make_project

FINISHED = "Nothing new: every step was cached."
TINY = ["members.count=1", "members.epochs=2", "student=null", "quantize.allowance=0.3", "evaluate.bootstrap=100"]
RUN = ["run", "--recipe", "digits", *(word for override in TINY for word in ("-S", override))]


def variables(root: Path, home: str) -> dict[str, str]:
    """A new shell: nothing of this session but the interpreter's packages."""
    temporary = root.parent / "t"  # short, for the sockets' paths
    temporary.mkdir(exist_ok=True)
    temporary.chmod(0o1777)
    places = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "CONVOY_ROOT": str(root), "TMPDIR": str(temporary)}
    return {**places, **({"HOME": home} if home else {}), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def convoy(root: Path, *arguments: str, home: str = "", before: tuple[str, ...] = ()) -> str:
    """What a command prints, which must end well; `before` is what starts it."""
    command = [*before, sys.executable, "-m", "flows.cli", *arguments]
    environment = variables(root, home or str(root.parent))
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return " ".join(f"{done.stdout} {done.stderr}".split())


def tree(folder: Path) -> dict[str, str]:
    """Path → SHA-256 of every file; locks are taken by reading too."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock")
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def finished() -> Iterator[Path]:
    """A project in which a line has been run, in a folder that other users can reach."""
    with TemporaryDirectory(prefix="cm") as folder:
        Path(folder).chmod(0o755)
        root = Path(folder) / "project"
        root.mkdir()
        make_project(root)
        home = Path(folder) / "home"
        home.mkdir()
        assert "is staging" in convoy(root, *RUN, home=str(home))
        assert list(home.iterdir()) == []  # what engines keep for themselves lies in the project
        yield root


@pytest.fixture
def another(finished: Path) -> Iterator[Path]:
    """Another place, as short, into which the project can be moved."""
    with TemporaryDirectory(prefix="cm") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "another place"


def works(root: Path, home: str = "", before: tuple[str, ...] = ()) -> None:
    """The commands that read, and a line that finds everything done."""
    assert "staging 1" in convoy(root, "status", home=home, before=before)
    assert "every gate passed" in convoy(root, "ledger", "digits", home=home, before=before)
    exported = root / ".convoy" / "exported"
    convoy(root, "export", "digits", "--format", "onnx", "-o", str(exported), home=home, before=before)
    assert (exported / "model.onnx").is_file()
    assert FINISHED in convoy(root, *RUN, home=home, before=before)


@pytest.mark.slow
def test_a_project_that_was_moved_has_everything_done(finished: Path, another: Path) -> None:
    before = another.parent / "project"
    shutil.copytree(finished, before, symlinks=True)
    convoy(before, "status")
    before.rename(another)

    told = convoy(another, "status")
    assert f"the project was moved or copied: what MLflow keeps was at {before}/.convoy/mlartifacts" in told
    works(another)
    assert not before.exists()


@pytest.mark.slow
def test_a_copy_goes_on_by_itself_and_touches_nothing_of_the_original(finished: Path, another: Path) -> None:
    original = another.parent / "project"
    shutil.copytree(finished, original, symlinks=True)
    convoy(original, "status")
    shutil.copytree(original, another, symlinks=True)
    before = tree(original)

    works(another)
    assert "is approved by" in convoy(another, "approve", "digits", "--reason", "in the copy")
    assert "is production now" in convoy(another, "promote", "digits", "--to", "production")
    # There is something to compare with now: steps are done again, on networks that are not trained again.
    again = convoy(another, *RUN)
    assert FINISHED not in again
    assert "= train" in again
    assert tree(original) == before

    assert "staging 1" in convoy(original, "status")
    assert "in the copy" not in convoy(original, "ledger", "digits")
    shutil.rmtree(original)
    assert "in the copy" in convoy(another, "ledger", "digits")
    assert FINISHED in convoy(another, *RUN)


@pytest.mark.slow
def test_a_project_that_is_mounted_elsewhere_has_everything_done(finished: Path, another: Path) -> None:
    original = another.parent / "project"
    shutil.copytree(finished, original, symlinks=True)
    convoy(original, "status")
    mounted = another.parent / "m" / "project"  # short: sockets lie beside it
    mounted.mkdir(parents=True)
    # The original's place is not there, as in a container.
    mount = f"mount --bind {shlex.quote(str(original))} {shlex.quote(str(mounted))} && mount -t tmpfs none {original}"
    before = ("unshare", "--mount", "sh", "-c", f'{mount} && cd {shlex.quote(str(mounted))} && exec "$@"', "sh")
    tried = subprocess.run([*before, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"this machine does not let us mount: {tried.stderr.strip()}")

    assert "staging 1" in convoy(mounted, "status", before=before)
    assert FINISHED in convoy(mounted, *RUN, before=before)
    assert "staging 1" in convoy(original, "status")  # and back again


@pytest.mark.slow
@pytest.mark.parametrize("home", ["/", "/nowhere"])
def test_a_user_without_name_and_home_runs_a_line_and_goes_on_with_anothers(
    finished: Path, another: Path, home: str
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root becomes another user")
    # The interpreter may lie where only root reads.
    reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    before = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *reading, "--")
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("setpriv does not let us become another user")
    if home == "/":  # what another user has done, restored for this one
        shutil.copytree(finished, another, symlinks=True)
    else:  # a new project, whose repository is still the other's
        another.mkdir()
        make_project(another)
        config = another / ".dvc" / "config"
        config.write_text(config.read_text().replace("no_scm = true", ""), encoding="utf-8")
    for path in (another, *another.rglob("*")):
        os.chown(path, 54321, 54321, follow_symlinks=False)
    if home != "/":
        subprocess.run(["git", "init", "-q"], cwd=another, check=True)
        assert "is staging" in convoy(another, *RUN, home=home, before=before)

    works(another, home=home, before=before)
    approved = convoy(another, "approve", "digits", "--reason", "fine", home=home, before=before)
    assert "is approved by uid-54321" in approved
    left = [path for path in another.parent.iterdir() if path.name not in (another.name, "t")]
    assert left == []


def test_a_project_that_cannot_be_written_says_so_in_one_sentence() -> None:
    if os.getuid() != 0:
        pytest.skip("only root becomes another user")
    with TemporaryDirectory(prefix="cm") as folder:
        Path(folder).chmod(0o755)
        root = Path(folder) / "project"
        root.mkdir()
        make_project(root)
        command = ["setpriv", "--reuid=54321", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"]
        command += [sys.executable, "-m", "flows.cli", "status"]
        environment = variables(root, "/")
        done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "expected a folder that uid-54321 can write" in said
    assert "Traceback" not in said


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of this project; what `enter` sets is taken back."""
    monkeypatch.setattr(whereabouts.os, "environ", dict(os.environ))
    monkeypatch.delitem(os.environ, "CONVOY_ROOT", raising=False)
    make_project(tmp_path)
    shutil.copytree(ROOT / "flows", tmp_path / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_copy_is_not_worked_on_by_the_originals_code_unless_that_is_said(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=f"expected this project's own code to run, and it is that of {ROOT}"):
        enter(Project(elsewhere))
    assert not (elsewhere / ".convoy").exists()

    monkeypatch.setitem(os.environ, "CONVOY_ROOT", str(elsewhere))
    enter(Project(elsewhere))
    assert (elsewhere / ".convoy").is_dir()


def test_what_is_started_from_a_project_imports_its_code(elsewhere: Path) -> None:
    program = (
        "import subprocess, sys; from pathlib import Path; from flows.base.project import find, enter\n"
        "enter(find()); print(subprocess.check_output([sys.executable, '-c', "
        "'import components.config; print(components.config.__file__)'], cwd='/', text=True))"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(elsewhere)}
    # As `python -m` does: the current folder comes first, in this process alone.
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(elsewhere)!r})\n{program}"]
    done = subprocess.run(command, env=environment, cwd=elsewhere, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(elsewhere / "components" / "config" / "__init__.py")
