"""DVC on a copy of the project: killed, run, run again, moved, broken."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from dvc.repo import Repo
from PIL import Image

from components.artifacts import Dataset
from components.data import places, versions
from components.data.errors import DataError
from components.data.stages import moving
from components.files import digest_folder
from tests.components.data.data_builders import DIGITS, folder_entry

ROOT = Path(__file__).parents[4]
DRIVER = """
import sys
from pathlib import Path
from components.data.versions import reproduce
reproduce(Path("."), sys.argv[1], log=Path(".convoy/driver.log"))
"""


@dataclass(frozen=True)
class Project:
    """A copy without git, and what a first run made of it after its predecessor was killed."""

    root: Path
    dataset: Dataset
    killed_cleanly: bool

    @property
    def log(self) -> Path:
        return self.root / ".convoy" / "logs" / "data.log"

    def reproduce(self, name: str = "digits") -> Dataset:
        return versions.reproduce(self.root, name, log=self.log)

    def written(self) -> dict[str, int]:
        """When each file of the data was last written; `watch`'s own are laid out anew by DVC at every look."""
        files = (path for path in sorted((self.root / places.KEPT).glob("*/**/*")) if path.is_file())
        return {
            str(path): path.stat().st_mtime_ns
            for path in files
            if "watched" not in path.parts and path.suffix != ".listing"
        }

    def dvc(self, *arguments: str) -> str:
        """The command line, as somebody without the project's code would use it."""
        folder = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
        command = [sys.executable, "-m", "dvc", *arguments]
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def prepare(self, name: str) -> str:
        """The same way, but nothing is judged, which takes longest; the digest."""
        told = self.dvc("repro", f"prepare@{name}")
        assert "ERROR" not in told, told
        return versions.digest(self.root, name)


def _write_params(root: Path, **datasets: object) -> None:
    content = {"datasets": {"digits": DIGITS} | datasets, "line": {"dataset": "digits"}}
    (root / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def _stages_of(root: Path, stage: str | None = None) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            command = process.info["cmdline"] or []
            if (
                "components.data.stages" in command
                and Path(process.cwd()) == root
                and (stage or command[-2]) in command
            ):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _worked() -> float:
    """Seconds of processor time of this process and its children: on a busy machine the clock tells little."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _kill_in_the_middle(root: Path) -> bool:
    """Start a run, kill its driver once it ingests, and say whether the stage went with it."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, "digits"], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    deadline = time.monotonic() + 60
    while not (working := _stages_of(root, "ingest")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert working, "no stage was started"
    time.sleep(0.5)  # it has asked to be told of its parent's end
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    _, alive = psutil.wait_procs(working, timeout=5)
    return not alive


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "components", root / "components", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)
    (root / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", root / ".dvc" / "config")
    (root / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    _write_params(root)
    killed_cleanly = _kill_in_the_middle(root)
    dataset = versions.reproduce(root, "digits", log=root / ".convoy" / "logs" / "data.log")
    return Project(root, dataset, killed_cleanly)


@pytest.fixture
def lock(project: Project) -> Iterator[Path]:
    """dvc.lock, put back afterwards."""
    path = project.root / "dvc.lock"
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


def test_a_killed_run_takes_its_stage_along_and_the_next_one_succeeds(project: Project) -> None:
    assert project.killed_cleanly
    assert sum(project.dataset.card.splits.values()) == 1797
    assert list(places.ingested(project.root, "digits").parent.glob(".digits*")) == []


def test_the_digest_is_dvcs_own(project: Project) -> None:
    repo = Repo(str(project.root))
    expected = repo.find_outs_by_path(str(project.dataset.folder))[0].hash_info.value
    assert project.dataset.digest == expected == versions.digest(project.root, "digits")


def test_the_stages_output_went_to_the_log(project: Project) -> None:
    assert "validate@digits" in project.log.read_text(encoding="utf-8")


def test_a_second_run_does_no_data_work_and_is_quick(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    before = project.written()
    started = _worked()
    dataset = project.reproduce()
    assert _worked() - started < 3.0  # 0.8 s measured, most of it the process of `watch`
    assert project.written() == before
    assert dataset == project.dataset
    assert capfd.readouterr() == ("", "")


def test_the_command_line_looks_at_the_source_and_finds_nothing_to_do_either(project: Project) -> None:
    before = project.written()
    assert project.dvc("status").split() == ["watch@digits:", "always", "changed"]
    told = project.dvc("repro")
    assert [line for line in told.splitlines() if line.startswith("Running stage")] == ["Running stage 'watch@digits':"]
    assert project.written() == before


def test_other_entries_and_the_line_concern_nobody(project: Project, pictures: Callable[..., Path]) -> None:
    before = project.written()
    _write_params(project.root, other=folder_entry(pictures(each=1)))
    assert project.reproduce() == project.dataset
    assert project.written() == before


def test_what_was_pushed_can_be_pulled_into_an_emptied_copy(project: Project) -> None:
    content = digest_folder(project.dataset.folder)
    assert versions.push(project.root) > 0
    shutil.rmtree(project.root / places.KEPT)
    shutil.rmtree(project.root / ".dvc" / "cache")
    assert versions.pull(project.root, "digits") > 0
    assert digest_folder(project.dataset.folder) == content
    assert {path.name for path in (project.root / places.KEPT).iterdir() if path.is_dir()} == set(
        places.FOLDERS.values()
    )
    before = project.written()
    assert project.reproduce() == project.dataset
    assert project.written() == before


def test_a_pull_of_what_nobody_pushed_says_so(project: Project, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(project.root, copy, ignore=shutil.ignore_patterns("data", "cache", ".convoy", "tmp"))
    with pytest.raises(DataError, match="DVC: "):
        versions.pull(copy, "digits")


@pytest.mark.parametrize("content", ["schema: '2.0'\nstages:\n  ingest@digits:\n    cmd: [", "half", ""])
def test_a_half_written_lock_file_is_named_and_nothing_runs(project: Project, lock: Path, content: str) -> None:
    lock.write_text(content, encoding="utf-8")
    before = project.written()
    for call in (project.reproduce, lambda: versions.digest(project.root, "digits")):
        with pytest.raises(DataError, match=r"dvc\.lock: expected what DVC writes"):
            call()
    assert project.written() == before


def test_a_lock_file_that_a_killed_run_left_half_written_is_put_back(project: Project, lock: Path) -> None:
    saved = project.root / ".convoy" / "locks" / "dvc.lock.saved"
    shutil.copy(lock, saved)
    lock.write_text("schema: '2.0'\nstages:\n  ing", encoding="utf-8")
    assert project.reproduce() == project.dataset
    assert not saved.exists()


def test_a_stale_lock_that_names_a_living_process_blocks_nobody(project: Project) -> None:
    stale = project.root / ".dvc" / "tmp" / "rwlock"
    blocker = f'{{"pid": {os.getppid()}, "cmd": "gone"}}'
    stale.write_text(f'{{"write": {{"{project.dataset.folder}": {blocker}}}, "read": {{}}}}', encoding="utf-8")
    os.utime(project.root / "components" / "data" / "preparing" / "prepare.py")
    assert project.reproduce() == project.dataset


def test_a_data_set_without_a_digest_says_how_to_make_one(project: Project) -> None:
    with pytest.raises(DataError, match="dvc repro validate@absent"):
        versions.digest(project.root, "absent")


def test_a_timeout_stays_a_timeout_and_ends_the_stage(project: Project) -> None:
    # given a data set that takes a while
    scenes = {"kind": "digit-scenes", "scenes": 50_000}
    image = {"height": 32, "width": 32, "channels": 1}
    _write_params(project.root, many={"task": "segmentation", "source": scenes, "image": image})

    def late(*_: object) -> None:
        raise TimeoutError("took too long")

    before = signal.signal(signal.SIGALRM, late)
    try:
        signal.setitimer(signal.ITIMER_REAL, 4.0)
        with pytest.raises(TimeoutError, match="took too long"):
            project.reproduce("many")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert _stages_of(project.root) == []
    assert not places.ingested(project.root, "many").exists()


def test_a_failing_stage_is_told_in_its_own_words(project: Project, tmp_path: Path) -> None:
    _write_params(project.root, mine=folder_entry(tmp_path / "absent"))
    with pytest.raises(DataError, match=r"watch mine: source\.path: expected a f.*absent"):
        project.reproduce("mine")
    assert not places.ingested(project.root, "mine").exists()


def test_what_changes_in_ones_own_folder_is_noticed_and_judged(project: Project, pictures: Callable[..., Path]) -> None:
    # given a folder that was ingested, and of which nothing changed since but the times of its files
    folder = pictures(each=20)
    _write_params(project.root, mine=folder_entry(folder))
    first = project.prepare("mine")
    os.utime(folder / "cat" / "000.png")
    before = project.written()
    assert project.prepare("mine") == first
    assert project.written() == before
    # when a picture is removed, plain `dvc repro` notices, and the two versions differ by it
    (folder / "dog" / "003.png").unlink()
    assert project.prepare("mine") != first
    difference = versions.diff(project.root, "mine", first, "workspace")
    assert {row["id"] for row in difference.rows.to_pylist() if row["change"] == "removed"} == {"dog/003.png"}
    assert difference.samples == (40, 39)
    # when a broken picture is added
    (folder / "dog" / "broken.png").write_bytes(b"no picture")
    # then the run fails with the expectation in words, how many, and which
    with pytest.raises(DataError) as caught:
        project.reproduce("mine")
    assert "every image can be decoded: 1 of 40 rows do not" in str(caught.value)
    assert "dog/broken.png" in str(caught.value)


def test_a_rule_file_of_ones_own_that_changes_is_noticed_and_nothing_is_ingested(project: Project) -> None:
    # given a data set with a file of verdicts
    rules = project.root / "reviewed.csv"
    rules.write_text("id,verdict\n", encoding="utf-8")
    _write_params(project.root, digits={**DIGITS, "checks": {"reviewed": "reviewed.csv"}})
    first = project.prepare("digits")
    raw = {path: when for path, when in project.written().items() if "/ingested/" in path}
    inspection = project.root / ".convoy" / "data" / "inspected" / "digits" / "inspection.json"
    inspected = inspection.stat().st_mtime_ns
    # when a verdict is added
    identifier = project.dataset.table("train", ["id"])["id"][0].as_py()
    rules.write_text(f"id,verdict\n{identifier},keep\n", encoding="utf-8")
    # then the data is inspected again, and is what it was
    assert project.prepare("digits") == first
    assert inspection.stat().st_mtime_ns != inspected
    assert {path: when for path, when in project.written().items() if "/ingested/" in path} == raw
    # and where the file is gone, the key is named
    rules.unlink()
    with pytest.raises(DataError, match=r"watch digits: datasets\.digits\.checks\.reviewed: expected a file"):
        project.reproduce()


def test_after_a_restore_dvc_tells_and_the_next_run_puts_the_configured_version_back(project: Project) -> None:
    # given a second version, split with another seed, and the first one back from DVC's memory of what it has run
    _write_params(project.root, digits={**DIGITS, "split": {**DIGITS["split"], "seed": 1}})
    other = project.prepare("digits")
    _write_params(project.root)
    assert project.reproduce() == project.dataset
    content = digest_folder(project.dataset.folder)
    lock = (project.root / "dvc.lock").read_bytes()
    # when the second is restored
    versions.restore(project.root, "digits", other[:8])
    assert digest_folder(project.dataset.folder) != content
    # then dvc.lock says what it said, dvc says that the workspace is another, and a run puts the first back
    assert (project.root / "dvc.lock").read_bytes() == lock
    assert "modified:" in project.dvc("status", "prepare@digits")
    assert project.reproduce() == project.dataset
    assert digest_folder(project.dataset.folder) == content
    difference = versions.diff(project.root, "digits", other, project.dataset.digest)
    assert difference.counts["split"] == difference.counts["changed"] > 100


def _as_earlier(root: Path) -> None:
    """What an earlier release left of `digits`: the same folders, and the lines of dvc.lock, where they were then."""
    lock = (root / "dvc.lock").read_text(encoding="utf-8")
    for stage in places.FOLDERS:
        now, before = places.output(Path(), stage, "digits"), Path(moving.before(stage, "digits"))
        (root / before).parent.mkdir(parents=True, exist_ok=True)
        (root / now).rename(root / before)
        lock = re.sub(rf"path: {re.escape(str(now))}\b(?!-)", f"path: {before}", lock)
    (root / "dvc.lock").write_text(lock, encoding="utf-8")
    (root / places.KEPT / "moved").unlink(missing_ok=True)


def test_a_project_of_an_earlier_release_is_moved_and_nothing_is_made_again(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    before, lock = project.written(), (project.root / "dvc.lock").read_bytes()
    _as_earlier(project.root)
    # with convoy, which says it once
    for _ in range(2):
        assert project.reproduce() == project.dataset
        assert project.written() == before
    assert (project.root / "dvc.lock").read_bytes() == lock
    assert sum("data/ is yours alone" in record.message for record in caplog.records) == 1
    # with plain `dvc`, which has read dvc.lock before: once more, and only `watch` runs
    _as_earlier(project.root)
    assert "run the same command again" in project.dvc("repro")
    told = project.dvc("repro")
    assert [line for line in told.splitlines() if line.startswith("Running stage")] == ["Running stage 'watch@digits':"]
    assert project.written() == before and not (project.root / "data").exists()
    # and an old dvc.lock alone, as from git's history, is enough to have its version back
    _as_earlier(project.root)
    shutil.rmtree(project.root / "data")
    assert project.reproduce() == project.dataset
    assert digest_folder(project.dataset.folder) == digest_folder(places.prepared(project.root, "digits"))


@pytest.mark.slow
def test_dvc_does_not_tidy_up_what_an_earlier_release_made_and_an_entry_reads_now(project: Project) -> None:
    # given an output of then that an entry names, and that DVC remembers to have laid out
    _as_earlier(project.root)
    old = project.root / moving.before("ingest", "digits")
    _write_params(project.root, other=folder_entry(old))
    with contextlib.closing(Repo(str(project.root))) as repo:
        repo.state.save_link(str(old), repo.fs)
        assert f"{old.relative_to(project.root)}" in repo.state.get_unused_links([], repo.fs)
    before = digest_folder(old)
    # when it is moved as far as that goes, and DVC tidies up
    assert project.reproduce() == project.dataset
    project.dvc("checkout")
    # then it is still there
    assert digest_folder(old) == before
    _write_params(project.root)
    shutil.rmtree(project.root / "data")


@pytest.mark.slow
def test_a_link_to_a_bigger_disk_stays_also_where_dvc_brings_back_what_it_remembers(
    project: Project, tmp_path: Path
) -> None:
    folder, disk = places.prepared(project.root, "digits"), tmp_path / "disk" / "digits"
    disk.parent.mkdir()
    shutil.move(folder, disk)
    folder.symlink_to(disk)
    # when it is made anew, and brought back from DVC's memory of what it has run
    _write_params(project.root, digits={**DIGITS, "split": {**DIGITS["split"], "seed": 2}})
    assert project.prepare("digits") != project.dataset.digest
    assert folder.readlink() == disk and (disk / "dataset.json").is_file()
    _write_params(project.root)
    assert project.reproduce() == project.dataset
    # then the link is still there, nothing is beside it, and nobody else may write at its other end
    assert folder.readlink() == disk and digest_folder(disk) == digest_folder(project.dataset.folder)
    assert [path.name for path in disk.parent.iterdir()] == ["digits"]
    assert disk.stat().st_mode & 0o002 == 0
    folder.unlink()
    shutil.move(disk, folder)


@pytest.mark.slow
def test_twenty_thousand_untouched_files_cost_seconds(project: Project, tmp_path: Path) -> None:
    # given a folder of 20,000 pictures that was ingested
    for number in range(20_000):
        picture = tmp_path / "many" / str(number % 10) / f"{number}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        values = np.frombuffer(number.to_bytes(4, "little") * 16, dtype=np.uint8).reshape(8, 8)
        Image.fromarray(values).save(picture)
    image = {"height": 8, "width": 8, "channels": 1}
    alike = {"checks": {"leakage": "keep"}, "split": {"twins": "ignore"}}  # so little of each is noise that many are
    _write_params(project.root, many=folder_entry(tmp_path / "many", image=image, **alike))
    first = project.reproduce("many")
    # then a run that finds nothing changed looks the files over, and no more
    started = _worked()
    assert project.reproduce("many") == first
    assert _worked() - started < 5.0  # 1.3 s measured
