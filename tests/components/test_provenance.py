"""On the project's own modules, and on a small project of the test's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from components import provenance
from components.members import FAMILIES, INPUTS, SOURCES, TASKS, Member
from components.parsed import meaning
from components.provenance import code_digest, code_parts, git_commit, libraries
from tests.remembered import forget_code

ROOT = Path(__file__).resolve().parents[2]

SOURCE = '''"""What it is for."""

LIMIT = 3  # why three


class Thing:
    """A thing."""

    def value(self, factor: int = 2) -> int:
        """Its value."""
        # doubled
        return LIMIT * factor


async def later() -> str:
    """Later."""
    return "not a docstring"
'''


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# doubled", "# made twice as large"),
        ("        # doubled\n", ""),
        ("  # why three", ""),
        ('"""What it is for."""', '"""What else\n\nit is for."""'),
        ('"""What it is for."""\n', ""),
        ('    """A thing."""\n', ""),
        ('        """Its value."""\n', ""),
        ('"""Later."""', "'Sooner.'"),
        ("\n\n\n", "\n\n\n\n\n"),
        ("LIMIT * factor", "(LIMIT\n                * factor)"),
        ('"not a docstring"', "'not a docstring'"),
    ],
)
def test_what_only_people_read_changes_no_meaning(before: str, after: str) -> None:
    assert before in SOURCE
    assert meaning(SOURCE.replace(before, after)) == meaning(SOURCE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("LIMIT * factor", "factor * LIMIT"),
        ("factor: int = 2", "factor: int = 3"),
        ("factor: int", "factor: float"),
        ("def value", "def worth"),
        ('"not a docstring"', '"not  a docstring"'),
        ("async def", "def"),
        ("        return LIMIT", "        'a string'\n        return LIMIT"),
    ],
)
def test_what_the_machine_reads_changes_the_meaning(before: str, after: str) -> None:
    assert before in SOURCE
    assert meaning(SOURCE.replace(before, after, 1)) != meaning(SOURCE)


# -- the closure of imports ------------------------------------------------------------------------------------------

MODULES = {
    "__init__": "",
    "step": "from components.middle import go",
    "middle": "import components.leaf as leaf\n\ndef go():\n    from components.late import x",
    "leaf": "import os, json",
    "late": "x = 1",
    "family.__init__": "y = 1",
    "family.names": "FAMILIES = ('components.family.named', 'components.nowhere', 'componentsthing')",
    "family.named": "z = 1",
    "family.relative": "from . import named\nfrom .names import FAMILIES\nfrom .. import late",
    "apart": "from components import leaf",
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A project of the above modules; `write(middle="…")` changes them, as another process would find them."""

    def change(modules: dict[str, str]) -> None:
        for name, source in modules.items():
            path = tmp_path / "components" / f"{name.replace('.', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        forget_code()

    monkeypatch.setattr(provenance, "CODE", tmp_path)
    change(MODULES)
    yield change
    monkeypatch.undo()
    change({})


@pytest.mark.parametrize(
    ("module", "reached"),
    [
        ("step", {"step", "middle", "leaf", "late"}),
        ("apart", {"apart", "leaf"}),
        ("family.names", {"family.names", "family.named", "family.__init__"}),
        ("family.relative", {"family.relative", "family.named", "family.names", "family.__init__", "late"}),
    ],
)
def test_a_digest_is_of_all_that_is_imported_and_of_nothing_else(
    write: Callable[..., None], module: str, reached: set[str]
) -> None:
    before = code_digest([f"components.{module}"])
    for name, source in MODULES.items():
        write({name: f"{source}\nchanged = 1"})
        changed = code_digest([f"components.{module}"]) != before
        assert changed == (name in reached | {"__init__"}), name
        write({name: f"# a comment\n{source}"})
        assert code_digest([f"components.{module}"]) == before
        write({name: source})


def test_a_digest_is_of_a_set_of_modules(write: Callable[..., None]) -> None:
    both = code_digest(["components.late", "components.leaf"])
    assert both == code_digest(["components.leaf", "components.late", "components.leaf"])
    assert both != code_digest(["components.late"])


def test_a_module_that_does_not_exist_is_an_error_and_not_an_empty_digest(write: Callable[..., None]) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"components\.typo"):
        code_digest(["components.typo"])


def test_of_tasks_and_architectures_those_count_that_are_used() -> None:
    mine = [Member(TASKS, "segmentation"), Member(FAMILIES, "unet"), Member(SOURCES, "fashion-mnist")]
    reached = provenance._closure(frozenset({"components.training.cluster.fitting"}), frozenset(mine))
    assert {"components.models.families.unet", "components.tasks.segmentation"} <= reached
    others = {"components.models.families.residual", "components.tasks.classification"}
    assert not reached & {*others, "components.data.sources.fashion_mnist"}  # training reads no source
    assert "components.registry.gates" not in reached  # a limit that moves does not train anything again


def test_every_member_is_found_by_its_name_without_being_imported() -> None:
    code = (
        "import sys; from components import members as m;"
        "print(m.TASKS.names(), m.FAMILIES.names(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    tasks = ["classification", "detection", "multilabel", "regression", "segmentation", "tagging"]
    families = ["convnext", "densenet", "detector", "idcnn", "mobilenet", "residual", "textcnn", "unet"]
    assert done.stdout.strip() == f"{tasks} {families} False"
    assert Member(SOURCES, "fashion-mnist").exists
    assert not Member(FAMILIES, "ensemble").exists


def test_a_digest_imports_neither_what_it_reads_nor_an_engine() -> None:
    code = (
        "import sys; from components.provenance import code_digest;"
        "digest = code_digest(['components.training.cluster.fitting', 'components.data.validation.validate']);"
        "heavy = {'torch', 'ray', 'numpy', 'mlflow', 'pydantic', 'components.config'} & set(sys.modules);"
        "print(len(digest), sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "64 []"


# -- the lock and the commit -----------------------------------------------------------------------------------------


def test_libraries_are_those_that_run_of_those_that_are_locked(tmp_path: Path) -> None:
    assert libraries(tmp_path) == libraries(ROOT) != {}  # without a lock of its own: what the release brings along
    (tmp_path / "requirements.lock").write_text(
        "# a remark\nNumPy==1.0  # another\n    # via pandas\nno-such-library==2.0\n"
        "for-others==1 ; sys_platform == 'win32'\n"
    )
    assert libraries(tmp_path) == {"no-such-library": "none", "numpy": version("numpy")}


def test_the_commit_says_whether_tracked_files_differ_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit(tmp_path) == "unknown"

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    (tmp_path / "file").write_text("one")
    git("init", "-q")
    git("add", "file")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD")
    (tmp_path / "untracked").touch()
    assert git_commit(tmp_path) == commit
    (tmp_path / "file").write_text("two")
    assert git_commit(tmp_path) == f"{commit}+changes"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a repository to somebody else")
def test_the_commit_of_a_project_that_another_user_owns_is_known_and_of_what_lies_above_it_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # where all repositories may be trusted
    monkeypatch.delenv("SUDO_UID", raising=False)
    root = tmp_path / "repository"
    below = root / "project"
    below.mkdir(parents=True)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *identity, *arguments], cwd=root, check=True)
    commit = git_commit(root)
    assert len(commit) == 40
    for path in (root, *root.rglob("*")):
        os.chown(path, 54321, 54321)

    plain = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    assert "dubious ownership" in plain.stderr
    assert git_commit(root) == commit
    assert git_commit(below) == "unknown"


@pytest.mark.parametrize(("task", "family"), [("classification", "residual"), ("segmentation", "unet")])
def test_a_recipes_steps_hold_nothing_of_other_tasks(task: str, family: str) -> None:
    """So that a new task, with its kind of target, its metrics and its way to answer, is no step done anew."""
    used = [Member(TASKS, task), Member(FAMILIES, family), Member(INPUTS, "image")]
    steps = ("training.cluster.fitting", "compress.quantize", "evaluate.evaluate", "registry.registration")
    for step in steps:
        parts = code_parts([f"components.{step}"], used)
        assert f"components.tasks.{task}" in parts
        own = ("inputs.text", "tasks.regression", "targets.values", "metrics.errors", "registry.answers.values")
        assert not {f"components.{name}" for name in own} & parts.keys()
    whole = code_parts(["components.training.cluster.fitting"], [Member(TASKS, "regression"), *used[1:]])
    assert {"components.tasks.regression", "components.targets.values"} <= whole.keys()
