"""A version put back: its bytes and nothing else, whatever happens meanwhile, and nothing lost on the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.data import versions
from components.data.errors import DataError
from components.files import digest_folder
from tests.components.data.versions.versions_builders import NAME, Sample, keep_version, new_project

ROOT = Path(__file__).parents[4]


def _samples(count: int) -> list[Sample]:
    return [Sample(f"{number}", number % 2, ("train", "test")[number % 3 == 0], f"{number}") for number in range(count)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_project(tmp_path / "project")


@pytest.fixture
def two(project: Path) -> tuple[str, str]:
    """Digests of a first version, and of the one that lies in the workspace."""
    first = keep_version(project, _samples(20))
    return first, keep_version(project, _samples(30))


def _held(folder: Path) -> int:
    """Samples in the training split's shard: which version a folder holds."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(shard).num_rows for shard in sorted(folder.glob("*.parquet")))


def test_the_bytes_are_those_of_the_version(project: Path, two: tuple[str, str]) -> None:
    from dvc.repo import Repo

    folder = project / ".convoy" / "data" / "prepared" / NAME
    second = digest_folder(folder)
    assert versions.restore(project, NAME, two[0]) == folder
    assert _held(folder) == 20
    assert versions.resolve(project, NAME, "workspace").digest == two[0]
    # DVC, whose record says the second, sees that it is another, and can bring the second back
    repo = Repo(str(project))
    assert [*repo.status().values()] == [[{"changed outs": {f".convoy/data/prepared/{NAME}": "modified"}}]]
    repo.checkout(force=False)
    repo.close()
    assert digest_folder(folder) == second
    assert {path.name for path in folder.parent.iterdir()} == {NAME, f"{NAME}.dvc"}


def test_another_folder_gets_it_and_the_workspace_stays(project: Path, two: tuple[str, str], tmp_path: Path) -> None:
    folder = project / ".convoy" / "data" / "prepared" / NAME
    before = digest_folder(folder)
    to = tmp_path / "far" / "away"
    assert versions.restore(project, NAME, two[0][:8], to) == to
    assert _held(to) == 20
    assert digest_folder(folder) == before
    # what is there already is left alone, to the file's time
    written = (to / "dataset.json").stat().st_mtime_ns
    assert versions.restore(project, NAME, two[0], to) == to
    assert (to / "dataset.json").stat().st_mtime_ns == written


def test_what_is_not_in_the_cache_is_not_lost(project: Path, two: tuple[str, str]) -> None:
    folder = project / ".convoy" / "data" / "prepared" / NAME
    shutil.copy(folder / "test-00000.parquet", folder / "dropped-00000.parquet")
    (folder / "dropped-00000.parquet").open("ab").write(b"another")
    before = digest_folder(folder)
    with pytest.raises(DataError, match=r"received 1 that it has not: dropped-00000\.parquet.*--force"):
        versions.restore(project, NAME, two[0])
    assert digest_folder(folder) == before
    versions.restore(project, NAME, two[0], force=True)
    assert not (folder / "dropped-00000.parquet").exists()
    assert _held(folder) == 20


def test_what_is_not_convoys_own_stays_even_where_that_is_forced(project: Path, two: tuple[str, str]) -> None:
    folder = project / ".convoy" / "data" / "prepared" / NAME
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    before = digest_folder(folder)
    for force in (False, True):
        with pytest.raises(DataError, match=r"received one with other things in it \(notes\.txt\), which are never"):
            versions.restore(project, NAME, two[0], force=force)
    assert digest_folder(folder) == before


def test_a_link_to_a_bigger_disk_stays_a_link(project: Path, two: tuple[str, str], tmp_path: Path) -> None:
    folder, disk = project / ".convoy" / "data" / "prepared" / NAME, tmp_path / "disk"
    disk.mkdir()
    folder.rename(disk / "pets")
    folder.symlink_to(disk / "pets")
    versions.restore(project, NAME, two[0])
    assert folder.readlink() == disk / "pets" and _held(disk / "pets") == 20
    assert [path.name for path in disk.iterdir()] == ["pets"]


def test_a_folder_with_other_things_is_never_replaced(project: Path, two: tuple[str, str], tmp_path: Path) -> None:
    to = tmp_path / "home"
    to.mkdir()
    (to / "thesis.tex").write_text("years", encoding="utf-8")
    for force in (False, True):
        with pytest.raises(
            DataError,
            match=r"empty or not there, or a data set alone, received one with other things in it \(thesis\.tex\)",
        ):
            versions.restore(project, NAME, two[0], to, force=force)
    assert (to / "thesis.tex").read_text(encoding="utf-8") == "years"
    held = tmp_path / "held"
    versions.restore(project, NAME, two[0], held)
    with pytest.raises(DataError, match=f"received one with a data set, {NAME}; name another"):
        versions.restore(project, NAME, two[1], held)
    versions.restore(project, NAME, two[1], held, force=True)
    assert _held(held) == 30


def test_a_digest_nobody_has_says_where_it_was_looked_for(project: Path, two: tuple[str, str]) -> None:
    before = digest_folder(project / ".convoy" / "data" / "prepared" / NAME)
    with pytest.raises(DataError) as caught:
        versions.restore(project, NAME, "0" * 32)
    for said in ("0" * 32, str(project / ".dvc" / "cache"), "the remote 'local'", "project-remote"):
        assert said in str(caught.value)
    assert digest_folder(project / ".convoy" / "data" / "prepared" / NAME) == before
    with pytest.raises(DataError, match="'workspace', which is there already"):
        versions.restore(project, NAME, "workspace")


def test_a_damaged_cache_is_noticed_and_the_place_is_left_as_it_was(project: Path, two: tuple[str, str]) -> None:
    # given an object of the first version with one byte changed, and still marked as checked
    with versions.repository.at_work(project) as repo:
        version = versions.revisions.contents(repo, project, NAME, versions.Revision(two[0], two[0]))
    victim = version.files["train-00000.parquet"]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.chmod(0o644)
    victim.write_bytes(content)
    victim.chmod(0o444)
    folder = project / ".convoy" / "data" / "prepared" / NAME
    before = digest_folder(folder)
    with pytest.raises(DataError, match=rf"train-00000\.parquet: the cache is damaged; `rm -f {victim}`"):
        versions.restore(project, NAME, two[0])
    assert digest_folder(folder) == before
    assert {path.name for path in folder.parent.iterdir()} == {NAME, f"{NAME}.dvc"}


KILLED = """
import json, os, shutil, signal, sys
from pathlib import Path
from components.files import digest_folder
from components.data.versions import restore, restoring

project, name, old, new = Path(sys.argv[1]), *sys.argv[2:]
folder = project / ".convoy" / "data" / "prepared" / name

def dying(module, function, *, after=False):
    original = getattr(module, function)
    def call(*arguments, **options):
        if after:
            original(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(module, function, call)

def half_a_checkout():
    import dvc_data.hashfile.checkout as engine
    original, calls = engine._checkout_file, []
    def call(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)
    engine._checkout_file = call

POINTS = {
    "half checked out": half_a_checkout,
    "before it takes its place": lambda: dying(restoring, "_take_place"),
    "once it has taken its place": lambda: dying(restoring, "_take_place", after=True),
    "before the old one is removed": lambda: dying(shutil, "rmtree"),
}
restore(project, name, old)
states = {"old": digest_folder(folder)}
for point, prepare in POINTS.items():
    restore(project, name, old)
    child = os.fork()
    if child == 0:
        prepare()
        restore(project, name, new)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (point, status)
    states[point] = digest_folder(folder)
restore(project, name, new)
states["new"] = digest_folder(folder)
print(json.dumps(states))
"""


def _python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere two names cannot be exchanged at once")
def test_a_kill_at_any_point_leaves_the_old_or_the_new(project: Path, two: tuple[str, str]) -> None:
    process = _python(KILLED, str(project), NAME, *two)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    states = json.loads(told)
    old, new = states.pop("old"), states.pop("new")
    assert old != new
    assert states == {
        "half checked out": old,
        "before it takes its place": old,
        "once it has taken its place": new,
        "before the old one is removed": new,
    }
    # and nothing of the killed ones is left
    assert {path.name for path in (project / ".convoy" / "data" / "prepared").iterdir()} == {NAME, f"{NAME}.dvc"}


def test_two_at_once_leave_one_of_the_two(project: Path, two: tuple[str, str], tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from components.data.versions import restore\n"
        "for _ in range(5):\n"
        "    restore(Path(sys.argv[1]), sys.argv[2], sys.argv[3])\n"
        "    restore(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]), force=True)\n"
    )
    to = tmp_path / "elsewhere"
    both = [_python(code, str(project), NAME, digest, str(to)) for digest in two]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    for folder in (project / ".convoy" / "data" / "prepared" / NAME, to):
        held = _held(folder)
        assert held in (20, 30)
        expected = tmp_path / f"expected-{folder.name}"
        versions.restore(project, NAME, two[held == 30], expected)
        assert digest_folder(folder) == digest_folder(expected)


def test_where_names_cannot_be_exchanged_it_works_all_the_same(
    project: Path, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions.restoring, "_exchange", lambda *_: False)  # as on a Mac, or a network share
    folder = versions.restore(project, NAME, two[0])
    assert _held(folder) == 20
    assert {path.name for path in folder.parent.iterdir()} == {NAME, f"{NAME}.dvc"}


def test_a_version_that_only_the_remote_has_is_fetched(project: Path, two: tuple[str, str]) -> None:
    from dvc.repo import Repo

    folder = project / ".convoy" / "data" / "prepared" / NAME
    repo = Repo(str(project))
    repo.push()
    repo.close()
    before = digest_folder(folder)
    shutil.rmtree(project / ".dvc" / "cache")
    shutil.rmtree(folder)
    assert digest_folder(versions.restore(project, NAME, two[1])) == before
