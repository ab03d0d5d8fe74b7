"""What differs between two versions, against a comparison of dictionaries; and what is said where one is missing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from components.data import versions
from components.data.errors import DataError
from components.inputs import png
from tests.components.data.versions.versions_builders import NAME, Sample, keep_version, new_project, write_version

CLASSES = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_project(tmp_path_factory.mktemp("versions") / "project")


@pytest.fixture(scope="module")
def three(project: Path) -> list[str]:
    """Three digests: as it began, with every kind of change, and the second once more in another order of classes."""
    samples = [Sample(f"{number}", number % 2, "train", f"{number}", {"group_site": "north"}) for number in range(10)]
    changed = [
        *samples[2:6],
        Sample("6", 0, "test", "6", {"group_site": "north"}),  # another split
        Sample("7", 0, "train", "7", {"group_site": "north"}),  # was a dog
        Sample("8", 0, "train", "brighter", {"group_site": "south"}),  # other pixels, and another site
        Sample("9", 1, "dropped", "9", {"group_site": None}),  # left the training split, and its site is forgotten
        Sample("new", 2, "train", "10", {"group_site": "south"}),
    ]
    return [
        keep_version(project, samples, classes=CLASSES[:2]),
        keep_version(project, changed, classes=CLASSES),
        keep_version(
            project,
            [Sample(each.id, 2 - each.target, each.split, each.picture, each.groups) for each in changed],
            classes=CLASSES[::-1],
        ),
    ]


def test_every_kind_of_change_is_told_apart(project: Path, three: list[str]) -> None:
    difference = versions.diff(project, NAME, three[0], three[1])
    assert difference.samples == (10, 9)
    assert difference.counts == {
        "added": 1,
        "removed": 2,
        "changed": 4,
        "image": 1,
        "label": 1,
        "split": 2,
        "group": 2,
    }
    rows = {row["id"]: row for row in difference.rows.to_pylist()}
    assert {name: row["change"] for name, row in rows.items()} == {
        **dict.fromkeys(["0", "1"], "removed"),
        **dict.fromkeys(["6", "7", "8", "9"], "changed"),
        "new": "added",
    }
    assert (rows["7"]["class_before"], rows["7"]["class_after"], rows["7"]["label"]) == ("dog", "cat", True)
    assert (rows["9"]["split_before"], rows["9"]["split_after"]) == ("train", "dropped")
    assert (rows["8"]["image"], rows["8"]["group"], rows["8"]["split"]) == (True, True, False)
    assert (rows["0"]["split_before"], rows["0"]["split_after"]) == ("train", None)
    assert difference.notes == ("new classes: owl",)
    assert not difference.same


def test_changes_are_counted_by_class_split_and_group(project: Path, three: list[str]) -> None:
    difference = versions.diff(project, NAME, three[0], three[1])
    tallies = {(tally.by, tally.value): tally for tally in difference.tallies}
    assert set(tallies) == {
        *(("class", name) for name in CLASSES),
        *(("split", name) for name in ("train", "test", "dropped")),
        *(("group_site", name) for name in ("north", "south", "(none)")),
    }
    cat, dog = tallies["class", "cat"], tallies["class", "dog"]
    assert (cat.before, cat.after, cat.removed, cat.changed["label"], cat.changed["image"]) == (5, 5, 1, 1, 1)
    assert (dog.before, dog.after, dog.removed, dog.changed["label"]) == (5, 3, 1, 0)
    assert tallies["class", "owl"].added == 1
    assert (tallies["split", "train"].before, tallies["split", "train"].after) == (10, 7)
    assert {(move.by, move.before, move.after): move.samples for move in difference.moves} == {
        ("class", "dog", "cat"): 1,
        ("split", "train", "test"): 1,
        ("split", "train", "dropped"): 1,
        ("group_site", "north", "south"): 1,
        ("group_site", "north", "(none)"): 1,
    }


def test_a_class_with_another_number_is_no_change_of_its_samples(project: Path, three: list[str]) -> None:
    difference = versions.diff(project, NAME, three[1], three[2])
    assert set(difference.counts.values()) == {0}
    assert len(difference.rows) == 0
    assert difference.notes == ("the classes have other numbers",)
    assert not difference.same


def test_a_version_does_not_differ_from_itself(project: Path, three: list[str]) -> None:
    difference = versions.diff(project, NAME, three[2], "workspace")  # the last one that was written
    assert difference.same
    assert (set(difference.counts.values()), difference.tallies, difference.moves) == ({0}, (), ())


def test_two_thousand_random_changes_are_those_a_dictionary_finds(tmp_path: Path) -> None:
    random = np.random.default_rng(0)

    def draw(ids: npt.NDArray[np.int64]) -> list[Sample]:
        return [
            Sample(
                f"{number}",
                int(random.random() < 0.3),
                ("train", "test")[int(random.random() < 0.1)],
                f"{number if random.random() < 0.9 else -number}",
                {"group_a": ("x", None)[int(random.random() < 0.2)]},
            )
            for number in ids
        ]

    before, after = (draw(np.flatnonzero(random.random(3000) < 0.8)) for _ in range(2))
    project = new_project(tmp_path / "project")
    difference = versions.diff(project, NAME, keep_version(project, before), keep_version(project, after))

    old, new = ({sample.id: sample for sample in samples} for samples in (before, after))
    both = [(old[key], new[key]) for key in old.keys() & new.keys()]
    assert difference.counts == {
        "added": len(new.keys() - old.keys()),
        "removed": len(old.keys() - new.keys()),
        "changed": sum(one != other for one, other in both),
        "image": sum(one.picture != other.picture for one, other in both),
        "label": sum(one.target != other.target for one, other in both),
        "split": sum(one.split != other.split for one, other in both),
        "group": sum(one.groups != other.groups for one, other in both),
    }
    unlike = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    assert set(difference.rows["id"].to_pylist()) == unlike
    assert (
        sum(tally.changed["label"] for tally in difference.tallies if tally.by == "class") == difference.counts["label"]
    )


def test_masks_are_compared_by_the_names_of_their_classes(tmp_path: Path) -> None:
    def mask(*values: int) -> bytes:
        return bytes(png.encode(np.array([[values]], dtype=np.uint8))[0].as_py())

    project = new_project(tmp_path / "project")
    one = keep_version(project, [Sample("a", mask(0, 1)), Sample("b", mask(0, 2))], classes=CLASSES)
    other = keep_version(project, [Sample("a", mask(0, 2)), Sample("b", mask(0, 2))], classes=CLASSES)
    assert versions.diff(project, NAME, one, other).rows["id"].to_pylist() == ["a"]
    assert {tally.by for tally in versions.diff(project, NAME, one, other).tallies} == {"split"}
    # when the last two classes change places, so does what a pixel means
    swapped = keep_version(
        project, [Sample("a", mask(0, 1)), Sample("b", mask(0, 2))], classes=(CLASSES[0], CLASSES[2], CLASSES[1])
    )
    assert versions.diff(project, NAME, one, swapped).counts["label"] == 2
    assert versions.diff(project, NAME, other, swapped).rows["id"].to_pylist() == ["b"]


def test_pixels_that_are_ignored_on_both_sides_are_no_difference_and_that_they_are_is_said(tmp_path: Path) -> None:
    def mask(*values: int) -> bytes:
        return bytes(png.encode(np.array([[values]], dtype=np.uint8))[0].as_py())

    project, about = new_project(tmp_path / "project"), {"kind": "mask", "ignore": 255}
    swapped = (CLASSES[0], CLASSES[2], CLASSES[1])
    before = [Sample("a", mask(0, 1, 255)), Sample("b", mask(0, 2, 0))]
    plain = keep_version(project, [Sample("a", mask(0, 1, 0)), before[1]], classes=CLASSES)
    one = keep_version(project, before, classes=CLASSES, target=about)
    other = keep_version(
        project, [Sample("a", mask(0, 2, 255)), Sample("b", mask(0, 1, 0))], classes=swapped, target=about
    )
    assert versions.diff(project, NAME, one, other).counts["label"] == 0
    told = versions.diff(project, NAME, plain, one)
    assert told.rows["id"].to_pylist() == ["a"] and told.notes == ("pixels of masks are ignored now",)
    assert versions.diff(project, NAME, one, plain).notes == ("pixels of masks are ignored no longer",)


def test_an_id_that_occurs_twice_is_two_samples(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    one = keep_version(project, [Sample("a"), Sample("a", picture="another")])
    other = keep_version(project, [Sample("a")])
    assert versions.diff(project, NAME, one, other).counts["removed"] == 1


def test_no_image_is_read(tmp_path: Path) -> None:
    # given a workspace in whose shard the images are nothing but noise
    project = new_project(tmp_path / "project")
    before = keep_version(project, [Sample("a"), Sample("b")])
    folder = write_version(project / ".convoy" / "data" / "prepared" / NAME, [Sample("a"), Sample("b", 1)])
    shard = folder / "train-00000.parquet"
    chunk = pq.ParquetFile(shard).metadata.row_group(0).column(1)
    assert chunk.path_in_schema == "image"
    content = bytearray(shard.read_bytes())
    start = chunk.data_page_offset
    content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    shard.write_bytes(content)
    with pytest.raises(OSError, match=r".+"):
        pq.read_table(shard)
    # then it can be compared all the same
    assert versions.diff(project, NAME, before, "workspace").rows["id"].to_pylist() == ["b"]


def test_a_difference_can_be_written_as_csv(project: Path, three: list[str], tmp_path: Path) -> None:
    from pyarrow import csv

    rows = versions.diff(project, NAME, three[0], three[1]).rows
    csv.write_csv(rows, tmp_path / "rows.csv")
    assert csv.read_csv(tmp_path / "rows.csv").num_rows == len(rows)


# -- revisions -------------------------------------------------------------------------------------------------------


def test_what_the_cache_lacks_is_fetched_and_what_nobody_has_is_said(project: Path, three: list[str]) -> None:
    from dvc.repo import Repo

    # given versions in the remote alone, but for one that is nowhere
    repo = Repo(str(project))
    assert repo.push() > 0
    repo.close()
    cache = project / ".dvc" / "cache"
    aside = cache.rename(project / "aside")
    try:
        for asked in (three[2], three[2].removesuffix(".dir"), three[2][:7]):
            assert versions.resolve(project, NAME, asked).digest == three[2]
        assert len(versions.diff(project, NAME, three[2], three[2][:7]).rows) == 0
        with pytest.raises(DataError) as caught:
            versions.diff(project, NAME, three[2], three[0])
        for said in (NAME, three[0], str(cache), "the remote 'local'", "dvc push", "dvc pull"):
            assert said in str(caught.value)
    finally:
        shutil.rmtree(cache)
        aside.rename(cache)


def test_one_file_that_the_cache_has_lost_is_fetched(project: Path, three: list[str]) -> None:
    from dvc.repo import Repo

    repo = Repo(str(project))
    repo.push()
    repo.close()
    digest = three[2]
    with versions.repository.at_work(project) as opened:
        version = versions.revisions.contents(opened, project, NAME, versions.Revision(digest, digest))
    lost = version.files["train-00000.parquet"]
    content = lost.read_bytes()
    lost.unlink()
    assert versions.diff(project, NAME, digest, digest).same
    assert lost.read_bytes() == content


def test_a_beginning_that_two_versions_share_is_refused_with_both(project: Path, three: list[str]) -> None:
    # given a second version whose digest differs in its last character
    digest = three[0].removesuffix(".dir")
    twin = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    folder = project / ".dvc" / "cache" / "files" / "md5" / digest[:2]
    shutil.copy(folder / f"{digest[2:]}.dir", folder / f"{twin[2:]}.dir")
    with pytest.raises(DataError, match=r"expected one version, received .*; write more of it") as caught:
        versions.resolve(project, NAME, digest[:9])
    assert digest in str(caught.value) and twin in str(caught.value)
    (folder / f"{twin[2:]}.dir").unlink()


@pytest.mark.parametrize("asked", ["nonsense", "0123", "abc", "--help", "", "../../etc", "HEAD"])
def test_a_revision_that_means_nothing_is_refused(project: Path, three: list[str], asked: str) -> None:
    with pytest.raises(DataError, match=r"expected 'workspace', a git revision, or a digest.*looked in the cache"):
        versions.resolve(project, NAME, asked)


def test_another_data_sets_version_is_refused(project: Path, three: list[str]) -> None:
    other = keep_version(project, [Sample("a")], name="birds")
    with pytest.raises(DataError, match="expected a version of pets, received one of birds"):
        versions.diff(project, NAME, three[0], other)
    with pytest.raises(DataError, match="received none of these"):
        versions.resolve(project, NAME, other[:8])


def test_a_workspace_without_the_data_is_said(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    with pytest.raises(DataError, match=r".convoy/data/prepared/pets.*dvc repro validate@pets"):
        versions.diff(project, NAME, "workspace", "workspace")


@pytest.fixture
def committed(project: Path, three: list[str], tmp_path: Path) -> tuple[Path, Callable[..., str]]:
    """A copy of the project in a folder of a git repository, with two versions in its history."""
    top = tmp_path / "repository"
    copy = top / "inside"
    shutil.copytree(project, copy)

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=copy, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "--quiet", "--initial-branch=main", str(top))
    for number, version in enumerate(three[:2]):
        lock = f"schema: '2.0'\nstages:\n  prepare@{NAME}:\n    outs:\n    - path: data\n      md5: {version}\n"
        (copy / "dvc.lock").write_text(lock, encoding="utf-8")
        git("add", "dvc.lock")
        git("commit", "--quiet", "-m", f"{number}")
    git("tag", "last")
    return copy, git


def test_a_commit_a_branch_and_a_tag_are_the_versions_of_their_lock_file(
    committed: tuple[Path, Callable[..., str]], three: list[str]
) -> None:
    copy, git = committed
    meant = dict.fromkeys(("HEAD", "main", "last", git("rev-parse", "--short", "HEAD")), three[1])
    meant |= {"HEAD~1": three[0], git("rev-parse", "HEAD~1"): three[0]}
    assert {asked: versions.resolve(copy, NAME, asked).digest for asked in meant} == meant
    assert versions.diff(copy, NAME, "main~1", "main").counts["changed"] == 4


def test_a_branch_named_like_a_digest_is_refused_and_more_of_it_is_not(
    committed: tuple[Path, Callable[..., str]], three: list[str]
) -> None:
    copy, git = committed
    git("branch", three[0][:6], "HEAD")
    with pytest.raises(DataError, match=r"expected one meaning, received two: the commit .* and the data"):
        versions.resolve(copy, NAME, three[0][:6])
    assert versions.resolve(copy, NAME, three[0][:7]).digest == three[0]


def test_a_commit_from_before_the_data_says_so(committed: tuple[Path, Callable[..., str]]) -> None:
    copy, git = committed
    with pytest.raises(DataError, match=r"prepare@birds in the dvc\.lock of the commit"):
        versions.resolve(copy, "birds", "HEAD")
    git("rm", "--quiet", "dvc.lock")
    git("commit", "--quiet", "-m", "none")
    with pytest.raises(DataError, match=r"expected a dvc\.lock in the commit .*, received none"):
        versions.resolve(copy, NAME, "HEAD")
