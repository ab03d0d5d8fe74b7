"""What is a person's own is found before anything is removed: in outputs, in sources, in tables of verdicts."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import ArtifactError
from components.config import DatasetConfig, write_yaml
from components.data import places
from components.data.checking.check import Wanted, look
from components.data.checking.check import check as inspect
from components.data.errors import DataError
from components.data.sources import apart
from components.data.stages import outputs, stages
from components.files import replacing
from tests.components.data.data_builders import DIGITS, folder_entry
from tests.components.data.sources import source_builders as good

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with `digits`, which was made up to `inspect`."""
    root = tmp_path / "project"
    root.mkdir()
    shutil.copy(ROOT / "dvc.yaml", root)
    _write(root, digits=DIGITS)
    return root


def _write(root: Path, **entries: Any) -> None:
    (root / "params.yaml").write_text(write_yaml({"datasets": entries}), encoding="utf-8")


def _made(root: Path, name: str = "digits", until: str = "inspect") -> None:
    for stage in stages.STAGES[: stages.STAGES.index(until) + 1]:
        stages.run(stage, name, root)


# -- outputs ---------------------------------------------------------------------------------------------------------


def _mine(folder: Path) -> Path:
    """Somebody's own pictures, one of which may not be written."""
    good.write_folder(folder)
    (folder / "cat" / "000.png").chmod(0o444) if (folder / "cat" / "000.png").exists() else None
    return folder


def _a_folder_of_mine(output: Path, elsewhere: Path) -> None:
    _mine(output)


def _a_link_to_mine(output: Path, elsewhere: Path) -> None:
    output.symlink_to(_mine(elsewhere))


def _a_chain_of_links(output: Path, elsewhere: Path) -> None:
    (elsewhere.parent / "between").symlink_to(_mine(elsewhere))
    output.symlink_to(elsewhere.parent / "between")


def _a_note_beside_ours(output: Path, elsewhere: Path) -> None:
    output.mkdir()
    (output / "notes.txt").write_text("mine", encoding="utf-8")


def _a_file(output: Path, elsewhere: Path) -> None:
    output.write_text("mine", encoding="utf-8")


def _a_link_to_tables_of_mine(output: Path, elsewhere: Path) -> None:
    elsewhere.mkdir()
    for name in ("raw-00000.parquet", "train-00000.parquet", "findings.parquet"):
        if outputs._is_known(outputs._pattern(_stage_of(output)), Path(name)):
            (elsewhere / name).write_bytes(b"mine")
    (elsewhere / ".gitignore").write_bytes(b"mine")
    output.symlink_to(elsewhere)


def _stage_of(output: Path) -> str:
    return next(stage for stage, folder in places.FOLDERS.items() if folder == output.parent.name)


FOREIGN = [
    *(_a_folder_of_mine, _a_link_to_mine, _a_chain_of_links, _a_note_beside_ours, _a_file, _a_link_to_tables_of_mine)
]


@pytest.mark.parametrize("stage", ["ingest", "inspect", "prepare", "validate"])
@pytest.mark.parametrize("put", FOREIGN)
def test_what_is_not_convoys_own_stops_watch_and_the_stage_and_stays(
    put: Callable[[Path, Path], None], stage: str, project: Path, tmp_path: Path
) -> None:
    output, elsewhere = places.output(project, stage, "digits"), tmp_path / "elsewhere"
    output.parent.mkdir(parents=True, exist_ok=True)
    put(output, elsewhere)
    before = _everything(tmp_path)
    for asked in ("watch", stage):
        with pytest.raises(DataError) as caught:
            stages.run(asked, "digits", project)
        assert str(caught.value).startswith(f"{output}: expected what Convoy itself keeps there, or nothing, received ")
        assert "not Convoy's own and would be removed" in str(caught.value)
    assert _everything(tmp_path) == before
    # when the command that it offers is pasted into a shell
    command = str(caught.value).split("`")[1]
    subprocess.run(command, shell=True, cwd=project, check=True)  # noqa: S602 — a sentence's own, as a person would
    # then nothing of mine is lost, and the stage is free to write
    outputs.check_outputs(project, "digits")
    assert {content for _, content in _everything(tmp_path).values()} >= {content for _, content in before.values()}


def _everything(folder: Path) -> dict[str, tuple[float, bytes]]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".convoy/locks" not in str(path))
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_link_to_nothing_is_told_before_dvc_would_tear_it_off(project: Path, tmp_path: Path) -> None:
    output = places.prepared(project, "digits")
    output.parent.mkdir(parents=True)
    output.symlink_to(tmp_path / "unplugged" / "digits")
    with pytest.raises(DataError, match=r"received a link to .*unplugged/digits, where nothing is; mount that disk"):
        stages.run("watch", "digits", project)
    assert output.is_symlink()


def test_a_link_to_a_bigger_disk_stays_and_what_is_made_lies_there(project: Path, tmp_path: Path) -> None:
    # given a folder for the data set on another disk, empty at first
    disk = tmp_path / "disk"
    output = places.ingested(project, "digits")
    (disk / "digits").mkdir(parents=True)
    output.parent.mkdir(parents=True)
    output.symlink_to(disk / "digits")
    for _ in range(2):  # the second time in the place of what was made before
        _made(project, until="ingest")
        assert output.readlink() == disk / "digits" and (disk / "digits" / "raw.json").is_file()
    assert [path.name for path in disk.iterdir()] == ["digits"]
    # when the disk is not there
    disk.rename(tmp_path / "unplugged")
    with pytest.raises(ArtifactError, match="mount that disk"), replacing(output):
        pass
    assert output.is_symlink() and not disk.exists()


def test_damaged_files_of_our_own_are_no_obstacle(project: Path) -> None:
    for stage, names in (("ingest", ("raw.json", "raw-00000.parquet")), ("inspect", ("inspection.json",))):
        for name in names:
            output = places.output(project, stage, "digits")
            output.mkdir(parents=True, exist_ok=True)
            (output / name).write_bytes(b"")
    (places.inspected(project, "digits") / "findings.parquet").mkdir()
    (places.ingested(project, "digits").parent / ".digits.0a1b2c3d").mkdir()
    _made(project, until="ingest")
    assert {path.name for path in places.ingested(project, "digits").iterdir()} == {"raw.json", "raw-00000.parquet"}


def test_what_only_looks_like_a_leftover_of_a_killed_stage_stays(project: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for name in (".digits.20260101.old2", ".digits.holidays", ".digits.backup-1", "digits.0a1b2c3d"):
        (mine / name).mkdir(parents=True)
    places.ingested(project, "digits").parent.parent.mkdir(parents=True)
    places.ingested(project, "digits").parent.symlink_to(mine)
    (mine / ".digits.0a1b2c3d").mkdir()
    before = {path.name for path in mine.iterdir()} - {".digits.0a1b2c3d"}
    _made(project, until="ingest")
    assert {path.name for path in mine.iterdir()} == before | {"digits"}


# -- verdicts --------------------------------------------------------------------------------------------------------


def test_what_stages_write_is_their_own_but_for_verdicts_that_were_filled_in_in_place(project: Path) -> None:
    entry: dict[str, Any] = {**DIGITS, "checks": {"outliers": "review"}}
    _write(project, digits=entry)
    _made(project)
    review = places.inspected(project, "digits") / "review.csv"
    lines = review.read_text(encoding="utf-8").splitlines()
    review.write_text("\n".join([lines[0], *(f"{line}keep" for line in lines[1:])]), encoding="utf-8")
    # when anything would look again, it says so, and how to keep them
    with pytest.raises(DataError, match=rf"review\.csv: expected verdicts that .*received {len(lines) - 1}") as caught:
        stages.run("watch", "digits", project)
    command = shlex.split(str(caught.value).split("`")[1])
    subprocess.run(command, cwd=project, check=True)
    entry["checks"] = {"outliers": "review", "reviewed": command[-1]}
    _write(project, digits=entry)
    # then they count, and the next look may write anew
    _made(project, until="prepare")
    assert (places.inspected(project, "digits") / "pictures").is_dir()
    outputs.check_outputs(project, "digits", DatasetConfig.model_validate(entry).checks)
    assert outputs._verdicts(project / command[-1]) == outputs._verdicts(review) != set()


# -- sources ---------------------------------------------------------------------------------------------------------


def _refused(project: Path, entry: dict[str, Any]) -> list[str]:
    """What `watch`, `ingest` and the door itself say of an entry `pets`."""
    config = DatasetConfig.model_validate(entry)
    _write(project, digits=DIGITS, pets=entry)
    said = []
    calls: list[Callable[[], object]] = [
        lambda: apart.check_entry("pets", config, project),
        lambda: stages.run("watch", "pets", project),
        lambda: stages.run("ingest", "pets", project),
    ]
    for call in calls:
        with pytest.raises(DataError) as caught:
            call()
        said.append(str(caught.value))
    return said


INSIDE = {
    "the state": (".convoy", "which is .*the project's state"),
    "an output of the entry": (".convoy/data/ingested/pets", "the output of ingest@pets"),
    "an output of another": (".convoy/data/ingested/digits", "the output of ingest@digits"),
    "below one": (".convoy/data/prepared/digits/cats", "the output of prepare@digits"),
    "the outputs' folder": (".convoy/data/ingested", "the project's state"),
    "with dots": ("components/../.convoy/data", "the project's state"),
    "downloads": (".convoy/data/downloads/x", "what was fetched and unpacked"),
    "DVC's": (".dvc/cache/files", "DVC's state"),
    "a link to it": ("link/ingested/digits", "the output of ingest@digits"),
    "a file's address": ("file://{project}/.convoy/data/ingested/digits", "the output of ingest@digits"),
    "the project": (".", "in which .*/project/.convoy lies, the project's state; name the folder that holds nothing"),
    "above the project": ("..", r"in which .*/project/.convoy lies"),
    "everything": ("/", r"in which .*\.convoy lies"),
    "the cache elsewhere": ("../cache/files", "DVC's cache"),
    "above the cache": ("../cache/..", r"in which .*lies"),
    "the end of a link in the state": ("../disk/set", "which lies in .*/disk, a part of the project's state"),
    "the end of an output that is a link": ("../far", "the output of prepare@far"),
}


@pytest.mark.parametrize("case", INSIDE)
def test_a_source_at_below_or_above_what_convoy_keeps_is_refused_at_every_door(case: str, project: Path) -> None:
    path, says = INSIDE[case]
    for output in (places.ingested(project, "digits"), places.ingested(project, "pets")):
        output.mkdir(parents=True)
    (places.prepared(project, "digits") / "cats").mkdir(parents=True)
    (project / "components").mkdir()
    (project / "link").symlink_to(project / ".convoy" / "data")
    (project / ".dvc" / "cache" / "files").mkdir(parents=True)
    (project / ".dvc" / "config.local").write_text("['remote \"x\"']\n    url = y\n[cache]\n    dir = ../../cache\n")
    for folder in ("cache/files", "disk/set", "far"):
        (project.parent / folder).mkdir(parents=True)
    (project / ".convoy" / "decoded").symlink_to(project.parent / "disk")
    (places.prepared(project, "far")).symlink_to(project.parent / "far")
    named = path.format(project=project)
    for said in _refused(project, folder_entry(Path("x"), source={"kind": "folder", "path": named})):
        assert said.startswith("source.path: expected originals apart from what Convoy keeps for itself, received ")
        assert "\n" not in said and "`mkdir -p data" in said
        assert re.search(says, said), said
    # and by `data check` and `data add`, before anything is read
    place = named if named.startswith("file://") else str(project / named)
    for ask in (lambda: look(place, Wanted(), project), lambda: inspect(place, Wanted(), project, project / "tmp")):
        with pytest.raises(DataError, match="expected originals apart from what Convoy keeps"):
            ask()


FURTHER: dict[str, tuple[dict[str, Any], str]] = {
    "root": ({"kind": "manifest", "path": "t.csv", "root": ".convoy/data/ingested/digits"}, "source.root"),
    "images": ({"kind": "coco", "path": "t.json", "images": "link/ingested/digits"}, "source.images"),
    "images a split": ({"kind": "coco", "path": "t.json", "images": {"train": ".dvc"}}, "source.images"),
    "mirror": ({"kind": "fashion-mnist", "mirror": "{project}/.convoy/data/downloads/fashion-mnist"}, "source.mirror"),
}


@pytest.mark.parametrize("case", FURTHER)
def test_so_is_whatever_else_a_source_names(case: str, project: Path) -> None:
    source, key = FURTHER[case]
    (project / "link").symlink_to(project / ".convoy" / "data")
    (project / "t.csv").write_text("path,target\n", encoding="utf-8")
    (project / "t.json").write_text("{}", encoding="utf-8")
    source = {
        name: value.format(project=project) if isinstance(value, str) else value for name, value in source.items()
    }
    for said in _refused(project, folder_entry(Path("x"), source=source)):
        assert said.startswith(f"{key}: expected originals apart from"), said


@pytest.mark.parametrize("key", ["reviewed", "expectations"])
def test_and_a_file_of_ones_own_that_is_really_convoys(key: str, project: Path) -> None:
    _made(project, until="watch")
    rules = places.watched(project, "digits") / "rules.json"
    (said, *_) = _refused(project, {**DIGITS, "checks": {key: str(rules.relative_to(project))}})
    assert said.startswith(f"datasets.pets.checks.{key}: expected originals apart from")
    assert f"`cp -n {rules} rules.json`, and name rules.json instead" in said


ALLOWED = [
    "data/raw/pets",
    "data/raw",
    "data",
    "pets",
    "data/raw/digits",
    "data/prepared/digits",
    "../pets",
    ".convoys",
]


@pytest.mark.parametrize("path", ALLOWED)
def test_originals_anywhere_else_are_fine(path: str, project: Path) -> None:
    _made(project, until="watch")
    apart.check_source(good.parse({"kind": "folder", "path": path}), project)
    # a table in the project's own folder names its files one by one
    apart.check_source(good.parse({"kind": "manifest", "path": "t.csv", "root": "."}), project)


def test_a_look_outside_of_a_project_keeps_nothing_that_could_be_lost(tmp_path: Path) -> None:
    apart.check_path(tmp_path, tmp_path, "PATH")


def test_one_null_byte_and_a_circle_of_links_are_sentences(project: Path) -> None:
    _made(project, until="watch")
    with pytest.raises(DataError, match="null byte"):
        apart.check_path(project / "a\0b", project, "source.path")
    (project / "circle").symlink_to("circle")
    apart.check_path(project / "circle", project, "source.path")
