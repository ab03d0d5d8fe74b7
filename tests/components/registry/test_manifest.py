"""A result is held against what was written: whatever happened to a file of it, that file is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.artifacts import ArtifactError
from components.registry.memory import manifest
from components.registry.memory.tracking import KIND, Tracking


@pytest.fixture
def result(tracking: Tracking, tmp_path: Path) -> tuple[str, Path]:
    """A finished step's run, and the folder of its result in the store."""
    folder = tmp_path / "made"
    (folder / "models" / "m").mkdir(parents=True)
    (folder / "models" / "m" / "weights").write_bytes(b"w" * 1000)
    (folder / "summary.json").write_text('{"summary": "", "table": []}')
    run = tracking.start_run("05 train", tags={KIND: "step"})
    tracking.log_artifacts(run, folder, manifest.RESULT)
    manifest.record(tracking, run, folder)
    tracking.finish(run)
    return run, tracking.artifact_folder(run, manifest.RESULT)


def test_a_whole_result_has_no_damage_and_hidden_files_do_not_count(
    tracking: Tracking, result: tuple[str, Path]
) -> None:
    run, folder = result
    (folder / ".left-by-an-editor").write_text("x")
    assert manifest.damage(tracking, run) == []
    assert manifest.whole(tracking, run) == folder


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[500] ^= 1
    file.write_bytes(bytes(content))


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("spoil", "expected", "found"),
    [
        (cut, "1,000 bytes", "20"),
        (flip, "SHA-256", ""),
        (Path.unlink, "1,000 bytes", "no file"),
        (make_folder, "1,000 bytes", "a folder"),
    ],
)
def test_a_damaged_file_is_named_with_what_was_expected_and_found(
    tracking: Tracking, result: tuple[str, Path], spoil: Callable[[Path], None], expected: str, found: str
) -> None:
    run, folder = result
    file = folder / "models" / "m" / "weights"

    spoil(file)

    (wrong,) = manifest.damage(tracking, run)
    assert wrong.file == file and expected in wrong.expected and found in wrong.found
    with pytest.raises(ArtifactError, match=f"run {run}: its result is damaged: .*weights: expected"):
        manifest.whole(tracking, run)


def test_a_file_that_was_added_and_a_manifest_that_was_changed_or_lost_are_damage_too(
    tracking: Tracking, result: tuple[str, Path]
) -> None:
    run, folder = result
    (folder / "models" / "other").mkdir()
    (folder / "models" / "other" / "weights").write_bytes(b"")
    assert [str(each.file.name) for each in manifest.damage(tracking, run)] == ["weights"]
    shutil.rmtree(folder / "models" / "other")

    file = tracking.artifact_folder(run, manifest.FILE)
    whole = file.read_text()
    for content, found in ((whole.replace("1000", "1001"), ""), ("[]", "something else"), ("", "something else")):
        file.write_text(content)
        (wrong,) = manifest.damage(tracking, run)
        assert wrong.file == file and found in wrong.found
    file.unlink()
    (wrong,) = manifest.damage(tracking, run)
    assert "manifest" in wrong.expected
    file.write_text(whole)
    assert manifest.damage(tracking, run) == []
    shutil.rmtree(folder)
    assert "has no artifact 'result'" in str(manifest.damage(tracking, run)[0])


def test_a_result_of_a_release_without_manifests_is_not_called_damaged(tracking: Tracking, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{}")
    run = tracking.start_run("02 drift", tags={KIND: "step"})
    tracking.log_artifact(run, tmp_path / "summary.json", manifest.RESULT)
    tracking.finish(run)
    assert manifest.damage(tracking, run) == []
