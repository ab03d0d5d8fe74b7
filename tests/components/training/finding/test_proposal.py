"""A first recipe suits the data that it is for: the line accepts it, and it takes minutes whatever their size."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components.config import DatasetConfig, load, read_yaml
from components.training.finding.proposal import EPOCHS, MINUTES, propose
from flows.base.project import Project
from flows.run.check import complete

ROOT = Path(__file__).parents[4]
ENTRIES = read_yaml((ROOT / "params.yaml").read_bytes())["datasets"]
GATES = [each.gate for each in load(ROOT, None, []).line.gates]
CLASSES = {"often": 750, "seldom": 250}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    return Project(tmp_path)


def entry(name: str, **said: object) -> DatasetConfig:
    return DatasetConfig.model_validate({**ENTRIES[name], **said})


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_the_line_accepts_it_whatever_the_task(name: str, project: Project) -> None:
    proposal = propose("mine", entry(name), 1000, CLASSES, GATES)
    assert proposal is not None
    proposal.line["dataset"] = name  # so that the entry is there
    proposal.save(project.root / "recipes" / "mine.yaml")
    settings = complete(project, "mine", [])
    assert settings.line.members.count == 1 and settings.line.student is None
    assert EPOCHS[0] <= settings.line.members.epochs <= EPOCHS[1]
    assert any(f"epochs {settings.line.members.epochs}:" in reason for reason in proposal.reasons)


def test_epochs_are_as_many_as_the_time_allows() -> None:
    image = {"height": 64, "width": 64, "channels": 3}
    small, large = (
        propose("mine", entry("digits", image=image), samples, CLASSES, GATES) for samples in (2_000, 200_000)
    )
    longer = propose("mine", entry("digits", image=image), 200_000, CLASSES, GATES, minutes=20 * MINUTES)
    assert small is not None and large is not None and longer is not None
    epochs = [each.line["members"]["epochs"] for each in (large, longer, small)]
    assert epochs[0] == EPOCHS[0] and epochs[0] < epochs[1] < epochs[2] <= EPOCHS[1]
    # and what is learnt from in one step grows with the data
    assert small.line["training"]["batch_size"] < large.line["training"]["batch_size"]


def test_a_floor_is_what_the_largest_class_alone_has() -> None:
    proposal = propose("mine", entry("digits"), 1000, CLASSES, GATES)
    assert proposal is not None and proposal.line["gates"]["floor"] == {"limit": 0.75}
    # nobody knows whether a mirror image is of the same class
    assert proposal.line["augment"] == {"crop": 1, "flip": 0.0, "erase": 0.0}


def test_a_recipe_that_is_there_stays(tmp_path: Path) -> None:
    proposal = propose("mine", entry("digits"), 1000, CLASSES, GATES)
    assert proposal is not None
    place = tmp_path / "recipes" / "mine.yaml"
    proposal.save(place)
    before = place.read_text(encoding="utf-8")
    assert before.startswith("# A first recipe for mine") and all(reason in before for reason in proposal.reasons)
    with pytest.raises(FileExistsError):
        proposal.save(place)
    assert place.read_text(encoding="utf-8") == before
