"""What other installed packages add is a member like any other, and what cannot be used is refused by name."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from components.config import ConfigurationError, load, parse_entry
from components.data.stages import made_by
from components.extensions import ExtensionError
from components.members import ANSWERS, FAMILIES, GATES, OPEN, SOURCES, TARGETS, TASKS, Member
from components.provenance import code_parts
from components.registry.gates import judging
from flows.base.project import check_extensions
from flows.projects.starting import start
from flows.run import known_by
from tests import extending
from tests.remembered import for_the_moment

ENTRY = {
    "task": "direction",
    "source": {"kind": "turned-digits", "pictures": 40},
    "image": {"height": 16, "width": 16, "channels": 1},
}
STEP = "components.training.cluster.fitting"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The example of docs/outside.md, installed: the folder of its modules."""
    folder = extending.example(tmp_path)
    extending.installed(folder, "my-angles", extending.points())
    monkeypatch.syspath_prepend(str(folder))
    with extending.looked_up_anew():
        yield folder / "my_angles"
    for name in [each for each in sys.modules if each.partition(".")[0] == "my_angles"]:
        del sys.modules[name]


def test_the_page_names_every_group_that_is_open() -> None:
    named = {word.strip("`") for word in extending.PAGE.split() if word.startswith("`convoy.")}
    assert named == {each.group for each in OPEN}


def test_members_of_another_package_are_found_by_name_and_imported_when_they_are_asked_for(package: Path) -> None:
    from components.tasks import registry

    assert {"direction", "classification"} <= set(TASKS.names())
    assert "angle" in TARGETS.names() and "angle" in ANSWERS.names() and "turned_digits" in SOURCES.names()
    assert Member(TASKS, "direction").exists and not Member(TASKS, "nothing").exists
    assert Member(SOURCES, "turned-digits").module == "my_angles.turned_digits"
    assert "my_angles" not in sys.modules
    assert registry.get("direction").spec.target == "angle"
    assert "my_angles.direction" in sys.modules and "my_angles.turned_digits" not in sys.modules


def test_an_entry_of_the_catalogue_says_what_their_source_takes_and_its_stages_are_done(
    package: Path, tmp_path: Path
) -> None:
    from components.data.preparing.ingest import ingest

    config = parse_entry("turned", ENTRY)
    assert config.source.pictures == 40  # type: ignore[union-attr]
    assert ingest(config.source, tmp_path, tmp_path / "ingested").classes == ()
    with pytest.raises(ConfigurationError, match=r"datasets.turned.source.leaves: expected no such key"):
        parse_entry("turned", {**ENTRY, "source": {"kind": "turned-digits", "leaves": 1}})


def test_keys_count_what_they_import_of_their_own_package_by_meaning(package: Path) -> None:
    def parts() -> dict[str, str]:
        with extending.looked_up_anew():
            return code_parts([STEP], [Member(TASKS, "direction"), Member(FAMILIES, "residual")])

    before = parts()
    theirs = {name for name in before if not name.startswith("components")}
    assert theirs == {"my_angles", "my_angles.angle", "my_angles.direction"}
    file = package / "angle.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(f"# a comment\n{text}")
    assert parts() == before
    file.write_text(f"{text}\nMORE = 1\n")
    assert {name for name, digest in parts().items() if before[name] != digest} == {"my_angles.angle"}
    (package / "answers.py").write_text("")  # which the task does not import
    assert parts().keys() == before.keys()


def test_stages_of_data_count_theirs_where_a_file_here_would_count(package: Path) -> None:
    config = parse_entry("turned", ENTRY)
    theirs = {
        stage: {name for name in made_by.code(stage, config) if not name.startswith("components")}
        for stage in made_by.STAGES
    }
    kind, source = {"my_angles", "my_angles.angle"}, {"my_angles", "my_angles.turned_digits"}
    assert theirs == {"ingest": source, "inspect": kind, "prepare": kind, "validate": kind}
    digits = parse_entry("digits", {**ENTRY, "task": "classification", "source": {"kind": "digits"}})
    assert not any(name.startswith("my_angles") for stage in made_by.STAGES for name in made_by.code(stage, digits))


GATE = """
from __future__ import annotations

from typing import Literal

from components.artifacts import Figure, Verdict
from components.config import Section
from components.registry.gates.case import Case, judged


class NewestGate(Section):
    gate: Literal["newest"]
    hours: float


def judge(case: Case, gate: NewestGate) -> Verdict:
    age = (case.at - (case.newest or 0.0)) / 3600
    return judged(gate.gate, age, gate.hours, Figure(value=age), above=False, what="hours")
"""


def test_a_gate_of_another_package_says_what_it_takes_and_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "newest_gate.py").write_text(GATE)
    extending.installed(tmp_path, "odd-tools", {"convoy.gates": {"newest": "newest_gate"}})
    monkeypatch.syspath_prepend(str(tmp_path))
    with extending.looked_up_anew():
        ours, theirs = load(extending.ROOT, "digits", ["gates.newest.hours=2"]).line.gates[-2:]
        case = SimpleNamespace(at=7200.0, newest=3600.0)
        (verdict,) = judging.judge(case, [theirs])  # type: ignore[arg-type]
        assert (verdict.gate, verdict.passed, verdict.value) == ("newest", True, 1.0)
        assert theirs.model_dump() == {"gate": "newest", "hours": 2.0}
        member = Member(GATES, "newest")
        assert known_by.used((ours, theirs)) == {member}
        assert "newest_gate" in code_parts(["components.registry.decisions"], [member])
        for wrong, expected in (("newest.days=1", "gates.*days: expected no such key"), ("oldest.hours=1", "'newest'")):
            with pytest.raises(ConfigurationError, match=expected):
                load(extending.ROOT, "digits", [f"gates.{wrong}"])
    sys.modules.pop("newest_gate")


def test_the_gates_that_there_are_have_names_that_nobody_else_may_have() -> None:
    declared = {get_args(kind.model_fields["gate"].annotation)[0] for kind in judging.JUDGES}
    assert declared == set(GATES.taken)


@pytest.mark.slow
def test_the_contract_tests_of_a_clone_walk_over_them(package: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for name in ("components", "tests/components"):
        shutil.copytree(extending.ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "pyproject.toml",
        "tests/conftest.py",
        "tests/remembered.py",
        "tests/slices.py",
        "tests/durations.json",
    ):
        shutil.copy(extending.ROOT / name, clone / name)
    for kind in ("targets", "tasks"):
        given = (extending.EXAMPLE / "tests/components" / kind / "given/angle.py").read_text(encoding="utf-8")
        own = given.replace("from components.targets.angle import", "from my_angles.angle import")
        (clone / "tests/components" / kind / "given/angle.py").write_text(own, encoding="utf-8")
    (command,) = re.findall(r"^python -m (pytest .*)$", extending.PAGE, re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command), "-vv", "-p", "no:cacheprovider"],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": f"{clone}:{package.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "test_one_batch_can_be_learned_by_heart[direction] PASSED" in done.stdout
    assert re.search(r"test_targets.py::test_\w+\[angle\] PASSED", done.stdout)


TASK = "TASK = None\n"


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ({"convoy.tasks": {"classification": "odd.task"}}, "a name that is free, received one of Convoy's own"),
        ({"convoy.tasks": {"Odd-One": "odd.task"}}, "a name as a file's"),
        ({"convoy.tasks": {"lambda": "odd.task"}}, "a name as a file's"),
        (
            {"convoy.tasks": {"odd": "odd.nowhere"}},
            "a module that is installed, received 'odd.nowhere'",
        ),
        (
            {"convoy.tasks": {"odd": "odd.task:TASK"}},
            "a module that is installed, received 'odd.task:TASK'",
        ),
        ({"convoy.tasks": {"odd": "nowhere_at_all.task"}}, "a module that is installed"),
        ({"convoy.gates": {"floor": "odd.task"}}, "a name that is free, received one of Convoy's own, floor"),
        ({"convoy.targets": {"odd": "odd.task"}}, r"a module of which a line begins as 'TARGET = ' does"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_package_before_anything_is_run(
    points: Mapping[str, Mapping[str, str]], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "task.py").write_text(TASK)
    extending.installed(tmp_path, "odd-tools", points)
    monkeypatch.syspath_prepend(str(tmp_path))
    with extending.looked_up_anew(), pytest.raises(ConfigurationError, match=f"of odd-tools 1.0: expected {expected}"):
        check_extensions()


def test_a_name_that_two_packages_add_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "task.py").write_text(TASK)
    for package in ("odd-tools", "other-tools"):
        extending.installed(tmp_path, package, {"convoy.tasks": {"odd": "odd.task"}})
    monkeypatch.syspath_prepend(str(tmp_path))
    with extending.looked_up_anew(), pytest.raises(ConfigurationError, match="that no other package adds"):
        check_extensions()


def test_one_that_cannot_be_imported_or_bears_another_name_is_told_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.models import registry as models

    (tmp_path / "broken_task.py").write_text(f"import no_such_library\n{TASK}")
    (tmp_path / "odd_family.py").write_text(
        "from components.models.registry import register\n\n\n"
        "@register('another_family')\ndef family(inputs, outputs):\n    raise NotImplementedError\n"
    )
    extending.installed(
        tmp_path, "odd-tools", {"convoy.tasks": {"odd": "broken_task"}, "convoy.families": {"odd": "odd_family"}}
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for_the_moment(monkeypatch)
    with extending.looked_up_anew():
        assert len(check_extensions()) == 2  # which imports nothing
        with pytest.raises(ExtensionError, match="can be imported, received broken_task: ModuleNotFoundError"):
            TASKS.load("odd")
        with pytest.raises(ValueError, match="expected a family that is registered as 'odd'"):
            models.gives("odd")


def test_every_command_ends_with_that_sentence_and_doctor_lists_what_is_added(tmp_path: Path) -> None:
    def convoy(*words: str) -> subprocess.CompletedProcess[str]:
        variables = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": f"{extending.ROOT}:{tmp_path}"}
        command = [sys.executable, "-m", "flows.cli", *words]
        return subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=False)

    project = tmp_path / "project"
    start(project, git=False)
    (tmp_path / "their_task.py").write_text(TASK)
    extending.installed(tmp_path, "odd-tools", {"convoy.tasks": {"odd": "their_task"}})
    assert "convoy.tasks.odd of odd-tools 1.0" in convoy("doctor").stdout

    extending.installed(tmp_path, "other-tools", {"convoy.tasks": {"regression": "their_task"}})
    for command in ("status", "tasks", "run"):
        done = convoy(command)
        assert done.returncode == 2 and "convoy.tasks.regression of other-tools 1.0: expected" in done.stderr, command
    assert convoy("doctor").returncode == 3
