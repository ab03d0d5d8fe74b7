"""Each file that a project keeps for itself, spoilt in every way: put aside or made again, or one sentence about it."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from components.artifacts import ArtifactError, Dataset, ModelCard
from components.config import DatasetConfig, DriftConfig
from components.data.drift.comparison import History, compare
from components.data.errors import DataError
from components.data.reading.decoded import map_split
from components.data.reading.loading import load_split
from components.data.sources.places import download
from components.data.stages.watch import watch
from components.data.versions.repository import alone, lock_file
from components.own_files import remove, set_aside, text
from components.registry.memory import database
from components.training.jobs.job import TrainingError
from components.training.loop import checkpoint
from components.training.loop.restoring import CheckpointRestores
from tests.components.data.data_builders import DIGITS, build, folder_entry
from tests.flows.spoiling import SPOILS, Spoil

SPOILT = pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return build(tmp_path_factory.mktemp("digits"), "digits", **DIGITS)[0]


@SPOILT
@pytest.mark.parametrize("name", ["inputs.npy", "targets.npy", "ids.npy", "decoded.json"])
def test_a_decoded_split_is_decoded_again(dataset: Dataset, tmp_path: Path, name: str, spoil: Spoil) -> None:
    map_split(dataset, "validation", tmp_path)
    (file,) = tmp_path.glob(f"*/validation/{name}")
    spoil(file)
    told: list[str] = []

    mapped = map_split(dataset, "validation", tmp_path, told.append)

    assert np.array_equal(mapped.inputs, load_split(dataset, "validation").inputs)
    assert len(told) == 1 and name in told[0]


@pytest.mark.parametrize("content", ["{}", '{"data": "x", "split": "validation", "files": {}}'])
def test_the_record_of_nothing_or_of_another_split_is_not_believed(
    dataset: Dataset, tmp_path: Path, content: str
) -> None:
    map_split(dataset, "validation", tmp_path)
    (file,) = tmp_path.glob("*/validation/decoded.json")
    file.write_text(content)
    told: list[str] = []
    map_split(dataset, "validation", tmp_path, told.append)
    assert len(told) == 1


@pytest.mark.parametrize("level", ["*", "*/validation"])
def test_a_file_in_place_of_a_folder_of_the_cache_goes(dataset: Dataset, tmp_path: Path, level: str) -> None:
    map_split(dataset, "validation", tmp_path)
    (folder,) = (path for path in tmp_path.glob(level) if path.is_dir())
    shutil.rmtree(folder)
    folder.write_text("not a folder")
    assert len(map_split(dataset, "validation", tmp_path)) == dataset.card.splits["validation"]


@SPOILT
@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_the_checkpoint_before_a_damaged_one_is_gone_on_from(tmp_path: Path, name: str, spoil: Spoil) -> None:
    facts = {"epoch": 1, "history": []}
    tensors = {"weights": torch.ones(2000)}
    checkpoint.save(tmp_path, 1, checkpoint.Checkpoint(tensors, facts))
    spoil(checkpoint.save(tmp_path, 2, checkpoint.Checkpoint(tensors, {**facts, "epoch": 2})) / name)

    found, complaints = checkpoint.latest(tmp_path)

    assert found is not None and found.facts["epoch"] == 1
    assert len(complaints) == 1 and name in complaints[0]


@SPOILT
def test_checkpoint_restores_that_cannot_be_counted_are_said_with_the_way_out(tmp_path: Path, spoil: Spoil) -> None:
    file = tmp_path / "checkpoint_restores.json"
    file.write_text(json.dumps(["the loss is not finite"]))
    assert CheckpointRestores(tmp_path, 2).factor == 0.5
    spoil(file)
    if spoil.__name__ == "other":
        assert CheckpointRestores(tmp_path, 2).taken == 2  # a list is what it is
        return
    with pytest.raises(TrainingError, match=r"_restores\.json: expected a list of the checkpoint restores.*`rm -r "):
        CheckpointRestores(tmp_path, 2)


@SPOILT
@pytest.mark.parametrize("name", ["watched/mine/source.json", "watched/mine/rules.json", "mine.listing"])
def test_what_is_remembered_of_a_source_is_found_out_again(tmp_path: Path, name: str, spoil: Spoil) -> None:
    project, source = tmp_path / "project", tmp_path / "pictures"
    project.mkdir()
    for number, label in enumerate(("cat", "dog", "cat", "dog")):
        (source / label).mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 60 * number).save(source / label / f"{number}.png")
    config = DatasetConfig.model_validate(folder_entry(source))
    watch("mine", config, project)
    kept = project / ".convoy" / "data" / name
    whole = kept.read_bytes()
    spoil(kept)

    watch("mine", config, project)

    assert kept.read_bytes() == whole


@SPOILT
@pytest.mark.parametrize("name", ["dashboard.json", "metadata.json", "snapshots/*.json"])
def test_the_history_of_drift_goes_on(tmp_path: Path, name: str, spoil: Spoil) -> None:
    table = pd.DataFrame({"id": map(str, range(60)), "split": "train", "brightness": np.linspace(0, 1, 60)})
    history = [History(tmp_path / "evidently", "digits", key, {}) for key in ("one", "two")]
    compare(table, table, DriftConfig(), tmp_path / "drift", history[0])
    (file,) = (tmp_path / "evidently").glob(f"*/{name}")
    spoil(file)

    compare(table, table, DriftConfig(), tmp_path / "drift", history[1])

    from evidently.ui.storage.local.base import LocalState

    state, project = LocalState(str(tmp_path / "evidently")), history[1].project
    assert state.read_project(project).name == "digits"
    assert state.read_dashboard(project).panels
    assert [state.read_snapshot(project, each) for each in state.list_snapshots(project)]


@SPOILT
def test_a_lock_file_of_dvcs_that_is_none_is_a_sentence_with_the_way_out(tmp_path: Path, spoil: Spoil) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text("schema: '2.0'\nstages:\n  prepare@digits:\n    outs: []\n" + "#" * 1500)
    assert lock_file(tmp_path)
    spoil(lock)
    if spoil.__name__ == "cut":  # what is cut off is a comment
        assert lock_file(tmp_path)
        return
    with pytest.raises(DataError, match=r"(?s)dvc\.lock: expected what DVC writes.*`rm -r dvc\.lock`"):
        lock_file(tmp_path)


@SPOILT
@pytest.mark.parametrize("name", [".dvc/tmp/rwlock", ".convoy/locks/dvc.lock.saved"])
def test_what_dvc_leaves_after_a_kill_stops_nobody(tmp_path: Path, name: str, spoil: Spoil) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text("{}" * 600)
    spoil(file)
    with alone(tmp_path):
        assert not file.exists()


@SPOILT
def test_a_download_that_was_spoilt_is_taken_from_elsewhere(tmp_path: Path, spoil: Spoil) -> None:
    content = b"pixels" * 1000
    expected = {"images": download.Expected(hashlib.sha256(content).hexdigest(), len(content))}
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "images.gz").write_bytes(gzip.compress(content))
    places = [download.directory(tmp_path / "mirror")]
    download.fetch(expected, tmp_path / "kept", places, "")
    spoil(tmp_path / "kept" / "images.gz")

    assert download.fetch(expected, tmp_path / "kept", places, "")["images"] == content
    assert (tmp_path / "kept" / "images.gz").read_bytes() == (tmp_path / "mirror" / "images.gz").read_bytes()


@SPOILT
def test_every_card_names_its_file_in_one_line(tmp_path: Path, spoil: Spoil) -> None:
    file = tmp_path / "model.json"
    file.write_text(json.dumps({"name": "x" * 3000}))
    spoil(file)
    with pytest.raises(ArtifactError, match=r"model\.json: expected a readable ModelCard") as caught:
        ModelCard.read(file)
    assert "\n" not in str(caught.value)


@SPOILT
def test_mlflows_database_is_never_taken_for_one_that_it_is_not(
    tmp_path: Path, empty_database: Path, spoil: Spoil
) -> None:
    file = tmp_path / "mlflow.db"
    shutil.copy(empty_database, file)
    (tmp_path / "mlartifacts" / "run").mkdir(parents=True)
    uri = f"sqlite:///{file}"
    assert database.problem(uri) is None
    spoil(file)
    assert f"mv {file} {file}.damaged" in str(database.problem(uri))


@SPOILT
def test_a_note_of_an_address_is_one_or_none(tmp_path: Path, spoil: Spoil) -> None:
    from flows.pages.pages import noted

    note = tmp_path / "server.url"
    note.write_text("http://127.0.0.1:4200/api")
    assert noted(note) == "http://127.0.0.1:4200/api"
    spoil(note)
    assert noted(note) is None
    remove(note)
    note.write_text("http://127.0.0.1.example.com:80")
    assert noted(note) is None


def test_what_is_set_aside_is_there_still(tmp_path: Path) -> None:
    for content in ("one", "two"):
        (tmp_path / "file").write_text(content)
        assert set_aside(tmp_path / "file").read_text() == content
    assert text(tmp_path / "file") is None
    assert [path.name for path in tmp_path.iterdir()] == ["file.damaged"]
