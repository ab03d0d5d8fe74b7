"""`convoy data …` as a person meets it: one page an answer, nothing written that was not asked for, errors in words."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.cells import cell_len
from typer.testing import CliRunner, Result

from components.data.stages import stages
from components.files import digest_folder
from flows.cli import app
from flows.commands.data_pages import PAGE
from tests.components.data.versions.versions_builders import NAME as PETS
from tests.components.data.versions.versions_builders import Sample, keep_version, new_project
from tests.flows.conftest import ROOT
from tests.flows.test_cli import convoy


@dataclass(frozen=True)
class Shell:
    """`convoy` in a project, in this process."""

    root: Path

    def __call__(self, *arguments: str, columns: int = 100) -> Result:
        environment = {"CONVOY_ROOT": str(self.root), "COLUMNS": str(columns), "MLFLOW_TRACKING_URI": ""}
        return CliRunner().invoke(app, ["data", *arguments], env=environment)


def said(result: Result) -> str:
    """Standard output and error, with broken lines joined."""
    return re.sub(r"\s+", " ", result.output)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    root = tmp_path / "project"
    root.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, root / name)
    before = Path.cwd()
    yield Shell(root)
    os.chdir(before)


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """`photos({"cat": 20, …})` writes noise pictures, 12×10 RGB, no two alike."""

    def write(classes: dict[str, int], under: str = "photos") -> Path:
        random = np.random.default_rng(0)
        for label, each in classes.items():
            folder = tmp_path / under / label
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(each):
                Image.fromarray(random.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(folder / f"{number:03d}.png")
        return tmp_path / under

    return write


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# -- check -----------------------------------------------------------------------------------------------------------


def test_a_check_says_what_is_there_writes_nothing_and_names_the_next_command(
    shell: Shell, photos: Callable[..., Path], tmp_path: Path
) -> None:
    base = photos({"cat": 25, "dog": 20})
    before = everything_below(tmp_path)

    done = shell("check", str(base))

    assert done.exit_code == 0, done.output
    assert everything_below(tmp_path) == before
    for words in ("folder: one folder per class", "45 in 2 classes", "12×10", "RGB", "✓ nothing is wrong"):
        assert words in done.output, words
    assert re.search(r"cat +█+ +25\n", re.sub(r" +\n", "\n", done.output))
    assert done.output.rstrip().endswith(f"next: convoy data add photos {base} --kind folder")


def test_the_command_that_a_check_names_does_what_it_says(shell: Shell, photos: Callable[..., Path]) -> None:
    base = photos({"cat": 25, "dog": 20}, under="two words")
    checked = shell("check", str(base), "--height", "6", "--validation", "0.3", "-S", "checks.outliers=drop")
    import shlex

    words = shlex.split(checked.output.rstrip().splitlines()[-1].removeprefix("next: "))
    assert words[:3] == ["convoy", "data", "add"]

    added = shell(*words[2:])

    assert added.exit_code == 0, added.output
    entry = yaml.safe_load((shell.root / "params.yaml").read_text(encoding="utf-8"))["datasets"]["two-words"]
    assert entry == {
        "task": "classification",
        "source": {"kind": "folder", "path": str(base)},
        "image": {"height": 6, "width": 7, "channels": 3, "resize": True},
        "split": {"validation": 0.3},
        "checks": {"outliers": "drop"},
    }


def test_errors_are_named_with_their_files_and_end_in_3(shell: Shell, photos: Callable[..., Path]) -> None:
    base = photos({"cat": 20, "dog": 20, "newt": 2})
    (base / "cat" / "torn – ü.png").write_bytes((base / "cat" / "000.png").read_bytes()[:90])
    Image.new("RGB", (12, 10), "white").save(base / "dog" / "white.png")

    done = shell("check", str(base))

    assert done.exit_code == 3
    for words in (
        "✗ 1 corrupt",
        "cat/torn – ü.png",
        "✗ 1 small-class",
        "newt: 2 samples",
        "! 1 blank",
        "dog/white.png",
    ):
        assert words in said(done), words
    assert "✗ 2 errors to fix, 1 warning" in said(done)
    assert "when that is fixed: convoy data add" in said(done)

    for_programs = shell("check", str(base), "--json")

    told = json.loads(for_programs.stdout)
    assert for_programs.exit_code == 3
    assert (told["samples"], told["errors"], told["classes"]["newt"]) == (44, 2, {"": 2})
    assert {(each["kind"], each["id"], each["error"]) for each in told["findings"]} >= {
        ("corrupt", "cat/torn – ü.png", True),
        ("blank", "dog/white.png", False),
    }
    assert told["entry"]["source"]["kind"] == "folder" and told["next"].startswith("convoy data add ")


def test_twins_stop_nothing_where_splits_are_drawn_and_are_dealt_with_where_they_are_published(
    shell: Shell, photos: Callable[..., Path]
) -> None:
    base = photos({"cat": 25, "dog": 20})
    for number in range(6):
        shutil.copy(base / "cat" / f"{number:03d}.png", base / "cat" / f"copy-{number:03d}.png")

    drawn = shell("check", str(base))

    assert drawn.exit_code == 0, drawn.output
    assert "! 6 duplicate" in said(drawn) and "✓ no errors, 6 warnings" in said(drawn)
    assert "twins: 12 samples in 6 families; a family stays together where splits are drawn" in said(drawn)

    shutil.copytree(base, base / "train")
    for label in ("cat", "dog"):
        shutil.rmtree(base / label)
        (base / "test" / label).mkdir(parents=True)
        for number in range(12, 20):
            shutil.move(base / "train" / label / f"{number:03d}.png", base / "test" / label)
        shutil.copy(base / "train" / label / "000.png", base / "test" / label / "again.png")
    published = shell("check", str(base))

    assert published.exit_code == 3
    assert "the same pixels as another, and in two splits" in said(published)
    assert "-S checks.leakage=drop leaves it out, move puts it beside its twin, keep learns from it" in said(published)
    moved = shell("check", str(base), "-S", "checks.leakage=move")
    assert moved.exit_code == 0, moved.output

    # where the test split repeats all of train, moving twins leaves train nothing: said before the line says it
    shutil.copytree(base / "train", base / "test", dirs_exist_ok=True)
    emptied = shell("check", str(base), "-S", "checks.leakage=move")
    assert emptied.exit_code == 3
    assert "received none of 'cat' for train" in said(emptied)
    assert "-S split.predefined=ignore" in said(emptied)
    drawn = shell("check", str(base), "-S", "checks.leakage=move", "-S", "split.predefined=ignore")
    assert drawn.exit_code == 0, drawn.output


def test_a_source_that_cannot_be_read_ends_in_1_without_a_page_of_stack(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("x")
    for path, words in ((tmp_path / "notes", "received 1 .txt (a.txt)"), (tmp_path / "nothing", "there is none")):
        done = shell("check", str(path))
        assert done.exit_code == 1
        assert words in said(done) and "Traceback" not in done.output
        assert "the whole story" not in done.output
    assert not (shell.root / ".convoy").exists()


def test_mistakes_of_the_command_line_end_in_2(shell: Shell, photos: Callable[..., Path]) -> None:
    done = shell("check", str(photos({"cat": 3, "dog": 3})), "--channels", "2", "-S", "colour=red")
    assert done.exit_code == 2
    assert "image.channels: expected 1 or 3" in said(done)
    assert "source.colour: expected no such key" in said(done)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_much_that_is_wrong_is_still_one_page(columns: int, shell: Shell, photos: Callable[..., Path]) -> None:
    """Two hundred classes, long and foreign names, seven kinds of findings: folded, counted, and not cut off."""
    base = photos({f"class-{number:03d}": 3 for number in range(200)} | {"猫" * 60: 20, "x" * 150: 20})
    damaged = (base / "class-000" / "000.png").read_bytes()[:90]
    for number in range(40):
        (base / "class-000" / f"torn-{number}.png").write_bytes(damaged)
        Image.new("RGB", (12, 10), (number, number, number)).save(base / "class-001" / f"blank-{number}.png")
        shutil.copy(base / "class-002" / "000.png", base / "class-003" / f"copy-{number}.png")

    done = shell("check", str(base), columns=columns)

    assert done.exit_code == 3
    lines = done.output.splitlines()
    # One finding of each kind is always told; in 40 columns, names of 150 letters take four lines each time.
    assert len(lines) <= (PAGE if columns >= 80 else 1.5 * PAGE)
    assert all(cell_len(line) <= columns for line in lines[:-1])
    assert "\x1b" not in done.output  # no colours where nobody sees them
    for words in ("… 188 more", "✗ 40 corrupt", "--all"):
        assert words in said(done)


def test_all_of_it_is_told_where_it_is_asked_for(shell: Shell, photos: Callable[..., Path], tmp_path: Path) -> None:
    base = photos({"cat": 20, "dog": 20})
    damaged = (base / "cat" / "000.png").read_bytes()[:90]
    for number in range(30):
        (base / "cat" / f"torn-{number}.png").write_bytes(damaged)
    Image.new("RGB", (12, 10), "white").save(base / "dog" / "white.png")

    done = shell("check", str(base), "--all", "--pictures", str(tmp_path / "kept"))

    assert all(f"torn-{number}.png" in done.output for number in range(30))
    assert {"findings.parquet", "inspection.json"} <= {path.name for path in (tmp_path / "kept").iterdir()}
    assert (tmp_path / "kept" / "pictures" / "blank.png").is_file()


def test_a_check_needs_no_project(photos: Callable[..., Path], tmp_path: Path) -> None:
    base = photos({"cat": 20, "dog": 20})
    done = convoy(tmp_path, "data", "check", str(base))
    assert done.returncode == 0, done.stderr
    assert "next: convoy data add" in done.stdout and "\x1b" not in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"photos"}


# -- add and list ----------------------------------------------------------------------------------------------------


def test_an_entry_is_added_with_the_size_that_is_seen(shell: Shell, photos: Callable[..., Path]) -> None:
    base = photos({"cat": 5, "dog": 5}, under="project/photos")
    before = (shell.root / "params.yaml").read_text(encoding="utf-8")

    done = shell("add", "mine", str(base))

    assert done.exit_code == 0, done.output
    assert "size 12×10: that of all images" in done.output and "next: convoy run -r mine" in said(done)
    after = (shell.root / "params.yaml").read_text(encoding="utf-8")
    gained = "  mine:\n    task: classification\n    source: {kind: folder, path: photos}\n"
    gained += "    image: {height: 10, width: 12, channels: 3}\n"
    assert gained in after and after.replace(gained, "") == before
    recipe = (shell.root / "recipes" / "mine.yaml").read_text(encoding="utf-8")
    assert "dataset: mine" in recipe and "flip: 0.0" in recipe
    assert all(line.removeprefix("# ") in said(done) for line in recipe.splitlines() if line.startswith("# epochs"))
    assert "mine" in shell("list").output


def test_a_name_that_is_taken_is_refused_before_anything_is_read(shell: Shell, tmp_path: Path) -> None:
    before = (shell.root / "params.yaml").read_bytes()
    done = shell("add", "digits", str(tmp_path / "nothing there"))
    assert done.exit_code == 2
    assert "datasets.digits: expected a name that is free" in said(done) and "--force" in said(done)
    assert (shell.root / "params.yaml").read_bytes() == before


def test_a_task_that_does_not_exist_is_told_those_that_do(shell: Shell, photos: Callable[..., Path]) -> None:
    done = shell("add", "mine", str(photos({"cat": 3, "dog": 3})), "--task", "divination")
    assert done.exit_code == 2
    assert (
        "datasets.mine.task: expected one of classification, detection, multilabel, regression, segmentation, tagging, "
        "received 'divination'" in said(done)
    )
    assert "mine" not in (shell.root / "params.yaml").read_text(encoding="utf-8")


def test_two_that_add_at_once_lose_nothing(shell: Shell, photos: Callable[..., Path]) -> None:
    base = photos({"cat": 3, "dog": 3})
    environment = {**os.environ, "CONVOY_ROOT": str(shell.root)}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "data", "add", f"mine-{number}", str(base)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]
    for process in started:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    names = yaml.safe_load((shell.root / "params.yaml").read_text(encoding="utf-8"))["datasets"]
    assert {"mine-0", "mine-1", "digits", "fashion-mnist"} <= set(names)


def test_the_catalogue_is_listed_for_programs_too(shell: Shell) -> None:
    done = shell("list", "--json")
    assert {each["name"]: each["state"] for each in json.loads(done.stdout)} == {
        "fashion-mnist": "not prepared",
        "digits": "not prepared",
        "digits-segment": "not prepared",
        "digits-measure": "not prepared",
        "scenes-detect": "not prepared",
        "grammar": "not prepared",
        "digit-sheets": "not prepared",
        "topics": "not prepared",
        "grammar-entities": "not prepared",
    }


# -- show ------------------------------------------------------------------------------------------------------------


def test_the_card_is_printed_and_written(shell: Shell) -> None:
    assert "`dvc repro validate@digits` makes it" in said(shell("show", "digits"))
    assert "datasets.nobody: expected an entry" in said(shell("show", "nobody"))
    for stage in ("watch", "ingest", "inspect", "prepare"):
        stages.run(stage, "digits", shell.root)

    done = shell("show", "digits")

    assert done.exit_code == 0, done.output
    for words in (
        "train 1,168",
        "test 360",
        "not validated",
        ".convoy/data/prepared/digits",
        ".convoy/cards/digits.html",
    ):
        assert words in said(done), words
    told = json.loads(shell("show", "digits", "--json").stdout)
    assert told["name"] == "digits" and told["changed"] is False and told["page"].endswith("digits.html")
    assert sum(each["train"] for each in told["parts"].values()) == 1168 and told["sizes"] == {"8x8": 1797}
    page = (shell.root / ".convoy" / "cards" / "digits.html").read_text(encoding="utf-8")
    assert "<h1>digits</h1>" in page and "http" not in re.sub(r'src="data:[^"]*"', "", page)


# -- versions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class History:
    shell: Shell
    digests: tuple[str, str]
    runs: tuple[str, str]  # a step of the line that worked on each


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """Two versions in DVC's cache, and an MLflow run of each."""
    from components.registry.memory import tracking

    root = new_project(tmp_path_factory.mktemp("history") / "project")
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    shutil.copy(ROOT / "params.yaml", root / "params.yaml")
    old = [Sample(f"{number:02d}.png", number % 2, picture=str(number)) for number in range(30)]
    new = [*old[:20], *(Sample(each.id, 1 - each.target, picture=each.picture) for each in old[20:25])]
    new += [Sample("new–ü.png", 0, "test", "new")]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        digests = keep_version(root, old), keep_version(root, new)
        store = tracking.connect(root, "pets")
        lines = [store.start_run("line", tags={"convoy.dataset": PETS, "convoy.data": digest}) for digest in digests]
        runs = [store.start_run("train", parent=line) for line in lines]
    before = Path.cwd()
    yield History(Shell(root), digests, (runs[0], runs[1]))
    os.chdir(before)


def test_two_runs_differ_by_the_data_they_worked_on(history: History) -> None:
    done = history.shell("diff", *history.runs)
    assert done.exit_code == 0, done.output
    assert "30 → 26 samples: 1 added, 5 removed, 5 changed (5 label)" in said(done)
    assert "+ new–ü.png" in said(done) and "class cat → dog" in said(done)
    assert "… 1 more samples" in said(done)


def test_the_difference_is_told_to_programs_whole(history: History) -> None:
    done = history.shell("diff", history.digests[0], "workspace", "--name", PETS, "--json")
    told = json.loads(done.stdout)
    assert told["samples"] == {"before": 30, "after": 26}
    assert sorted(row["id"] for row in told["rows"] if row["change"] == "removed") == [
        f"{n}.png" for n in range(25, 30)
    ]
    assert len(told["rows"]) == 11


def test_what_a_run_worked_on_is_put_back(history: History, tmp_path: Path) -> None:
    prepared = history.shell.root / ".convoy" / "data" / "prepared" / PETS
    now = digest_folder(prepared)

    apart = history.shell("restore", history.runs[0], "--output", str(tmp_path / "then"))
    assert apart.exit_code == 0, apart.output
    assert digest_folder(prepared) == now

    done = history.shell("restore", history.runs[0])
    assert done.exit_code == 0, done.output
    assert digest_folder(prepared) == digest_folder(tmp_path / "then") != now
    assert f"dvc repro validate@{PETS}" in said(done)
    assert "the same bytes" in said(history.shell("diff", history.runs[0], "workspace"))

    history.shell("restore", history.digests[1], "--name", PETS)
    assert digest_folder(prepared) == now


def test_versions_of_two_data_sets_are_not_compared(history: History) -> None:
    done = history.shell("diff", *history.runs, "--name", "digits")
    assert done.exit_code == 2
    assert f"expected versions of one data set, received {history.runs[0]} of {PETS}" in said(done)


def test_a_revision_that_is_none_is_told_what_one_is(history: History) -> None:
    done = history.shell("diff", "nonsense", "--name", PETS)
    assert done.exit_code == 1
    assert "nonsense" in said(done) and "git revision" in said(done)
