from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from components.artifacts import (
    Ancestor,
    ArtifactError,
    Dataset,
    DatasetCard,
    Decision,
    Evidence,
    Figure,
    GroupFigure,
    ImageSpec,
    Model,
    ModelCard,
    Predictions,
    Verdict,
    write_model,
)
from components.config import NetworkConfig
from components.files import digest_folder, digest_values, replacing, writing

NAN = float("nan")
SPEC = ImageSpec(height=8, width=8, channels=1, mean=(0.3,), std=(0.2,))
CARD = ModelCard(
    name="student",
    task="classification",
    network=NetworkConfig(name="residual", arguments={"width": 8, "rate": 0.5, "deep": True, "kind": "a"}),
    classes=("cat", "dog"),
    input=SPEC,
    data="d" * 64,
    parents=(Ancestor(role="teacher", digest="t" * 64),),
)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# -- writing in one move ---------------------------------------------------------------------------------------------


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with replacing(tmp_path / "deep" / "noun") as temporary:
        (temporary / "a").write_text("new")
        assert not (tmp_path / "deep" / "noun").exists()
        assert temporary.parent == tmp_path / "deep"  # on the same disk, so that a rename is one move
        assert temporary.name.startswith(".")
    assert (tmp_path / "deep" / "noun" / "a").read_text() == "new"
    assert names(tmp_path / "deep") == {"noun"}


def test_a_folder_that_is_replaced_keeps_nothing_of_the_old_one(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with replacing(tmp_path / "noun") as temporary:
            (temporary / name).touch()
    assert names(tmp_path / "noun") == {"new"}
    assert names(tmp_path) == {"noun"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_fails_on_the_way_leaves_the_old_folder_and_nothing_beside_it(
    tmp_path: Path, error: type[BaseException]
) -> None:
    with replacing(tmp_path / "noun") as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(error), replacing(tmp_path / "noun") as temporary:
        (temporary / "a").write_text("half")
        raise error
    assert (tmp_path / "noun" / "a").read_text() == "old"
    assert names(tmp_path) == {"noun"}


def test_a_new_folder_that_cannot_be_moved_in_leaves_the_old_one(tmp_path: Path) -> None:
    with replacing(tmp_path / "noun") as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "noun") as temporary:
        shutil.rmtree(temporary)  # so that the last move fails, after the old folder was moved aside
    assert (tmp_path / "noun" / "a").read_text() == "old"
    assert names(tmp_path) == {"noun"}


def test_the_old_folder_is_never_seen_half_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with replacing(tmp_path / "noun") as temporary:
        for name in ("a", "b"):
            (temporary / name).write_text("old")
    seen = []
    real = shutil.rmtree

    def watched(folder: Path, *arguments: Any) -> None:
        seen.append({path.read_text() for path in (tmp_path / "noun").iterdir()})
        real(folder, *arguments)

    monkeypatch.setattr(shutil, "rmtree", watched)
    with replacing(tmp_path / "noun") as temporary:
        for name in ("a", "b"):
            (temporary / name).write_text("new")
    assert seen == [{"new"}]  # whatever is removed, the noun itself is complete by then


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_fails_on_the_way_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "deep" / "file"
    with writing(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(error), writing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(path.parent) == {"file"}


# -- digests ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    noun = tmp_path / "noun"
    (noun / "inner").mkdir(parents=True)
    (noun / "a").write_text("1")
    (noun / "inner" / "b").write_text("2")
    return noun


def _content(noun: Path) -> None:
    (noun / "a").write_text("3")


def _name(noun: Path) -> None:
    (noun / "a").rename(noun / "c")


def _place(noun: Path) -> None:
    (noun / "inner" / "b").rename(noun / "b")


def _swap(noun: Path) -> None:
    (noun / "a").write_text("2")
    (noun / "inner" / "b").write_text("1")


def _empty_file(noun: Path) -> None:
    (noun / "d").touch()


@pytest.mark.parametrize("change", [_content, _name, _place, _swap, _empty_file])
def test_a_digest_changes_with_what_is_in_the_files_and_where(folder: Path, change: Callable[[Path], None]) -> None:
    before = digest_folder(folder)
    change(folder)
    assert digest_folder(folder) != before


def test_a_digest_does_not_change_with_times_places_and_what_is_hidden(folder: Path) -> None:
    before = digest_folder(folder)
    (folder / ".gitignore").write_text("*")
    with pytest.raises(RuntimeError), replacing(folder / "page"):
        (folder / ".page.0123abcd").mkdir()  # as a kill within `replacing` leaves it
        (folder / ".page.0123abcd" / "index.html").write_text("half")
        raise RuntimeError
    os.utime(folder / "a", (0, 0))
    (folder / "a").chmod(0o600)
    assert digest_folder(folder) == before
    assert digest_folder(folder.rename(folder.with_name("elsewhere"))) == before


def test_values_in_another_order_have_the_same_digest() -> None:
    assert digest_values({"a": 1, "b": [1, 2]}) == digest_values({"b": [1, 2], "a": 1})
    assert digest_values({"a": 1, "b": [1, 2]}) != digest_values({"a": 1, "b": [2, 1]})


# -- Dataset and Model -----------------------------------------------------------------------------------------------


def test_a_dataset_comes_back_with_its_shards_in_order(tmp_path: Path) -> None:
    card = DatasetCard(
        name="n", task="t", classes=("a",), groups=(), input=SPEC, splits={"train": 3}, fingerprint="f" * 64
    )
    (tmp_path / "dataset.json").write_text(card.to_json())
    for number, ids in enumerate((["a", "b"], ["c"])):
        pq.write_table(pa.table({"id": ids}), tmp_path / f"train-{number:05d}.parquet")
    dataset = Dataset.load(tmp_path)
    assert dataset.card == card
    assert dataset.table("train").column("id").to_pylist() == ["a", "b", "c"]
    assert dataset.digest == digest_folder(tmp_path)
    assert Dataset.load(tmp_path, "of DVC").digest == "of DVC"
    with pytest.raises(ArtifactError, match=r"expected shards test-\*\.parquet, found none"):
        dataset.table("test")


def test_a_splits_samples_are_known_whatever_their_order_and_their_shards(tmp_path: Path) -> None:
    card = DatasetCard(name="n", task="t", classes=("a",), groups=(), input=SPEC, splits={}, fingerprint="f" * 64)
    rows = [("a", "p", 0), ("b", "q", 1), ("c", "r", 1)]

    def digest(name: str, *shards: list[tuple[str, str, int]]) -> str:
        (tmp_path / name).mkdir()
        for number, shard in enumerate(shards):
            columns = dict(zip(("id", "pixels_sha256", "target"), zip(*shard, strict=True), strict=True))
            pq.write_table(pa.table(columns), tmp_path / name / f"test-{number:05d}.parquet")
        return Dataset(tmp_path / name, card, "").samples_digest("test")

    known = digest("whole", rows)
    assert digest("reversed and in two", rows[:0:-1], rows[:1]) == known
    others = [rows[1:], [("A", "p", 0), *rows[1:]], [("a", "P", 0), *rows[1:]], [("a", "p", 1), *rows[1:]]]
    assert known not in [digest(f"other {number}", other) for number, other in enumerate(others)]


def test_a_dataset_without_its_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"dataset\.json: expected a readable DatasetCard"):
        Dataset.load(tmp_path)


def written(folder: Path) -> Model:
    return write_model(folder, CARD, lambda target: (target / "model.safetensors").write_bytes(b"weights") and None)


def test_a_model_comes_back_as_it_was_written(tmp_path: Path) -> None:
    model = written(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert loaded.card == CARD
    # a number stays a number and a flag a flag: they are arguments of a function
    assert {key: type(value) for key, value in loaded.card.network.arguments.items()} == {
        "width": int,
        "rate": float,
        "deep": bool,
        "kind": str,
    }
    assert loaded.digest == model.digest == digest_folder(tmp_path / "model")


def test_a_model_that_could_not_be_filled_is_not_there(tmp_path: Path) -> None:
    def fill(target: Path) -> None:
        (target / "model.safetensors").write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_model(tmp_path / "model", CARD, fill)
    assert names(tmp_path) == set()


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "model").weights.unlink()
    with pytest.raises(ArtifactError, match=r"model: expected model\.safetensors or model\.onnx, found neither"):
        Model.load(tmp_path / "model")
    (tmp_path / "model" / "model.onnx").touch()
    assert Model.load(tmp_path / "model").onnx.is_file()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("{", "JSON"),
        ("[]", "ModelCard"),
        ("{}", "network"),
        (CARD.to_json().replace('"seed": null', '"seed": null, "pickle": "yes"'), "pickle"),
        (CARD.to_json().replace('"float32"', '"float8"'), "precision"),
    ],
)
def test_a_card_that_is_none_is_refused_by_the_name_of_its_file(tmp_path: Path, content: str | None, says: str) -> None:
    path = written(tmp_path / "model").folder / "model.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(ArtifactError, match=r"model\.json: expected a readable ModelCard") as error:
        Model.load(tmp_path / "model")
    assert says in str(error.value)


def test_a_card_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        CARD.name = "other"  # type: ignore[misc]


# -- Predictions, Evidence, Decision ---------------------------------------------------------------------------------


def test_predictions_come_back_with_what_they_are_of(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b"], "target": [0, 1], "prediction": [1, 1], "scores": [[0.25, 0.75], [NAN, 1.0]]})
    Predictions(table, "m" * 64, "d" * 64, ("cat", "dög")).save(tmp_path / "new" / "folder")
    loaded = Predictions.load(tmp_path / "new" / "folder")
    assert (loaded.model, loaded.data, loaded.classes) == ("m" * 64, "d" * 64, ("cat", "dög"))
    assert loaded.table.schema.equals(table.schema)
    assert loaded.table.drop(["scores"]).equals(table.drop(["scores"]))
    assert loaded.table.column("scores").to_pylist()[0] == [0.25, 0.75]
    assert math.isnan(loaded.table.column("scores").to_pylist()[1][0])
    assert names(tmp_path / "new" / "folder") == {"predictions.parquet"}


def _no_file(path: Path) -> None:
    path.unlink()


def _no_table(path: Path) -> None:
    path.write_bytes(b"no table")


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _without_origin(path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), path)


def _with_half_an_origin(path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}).replace_schema_metadata({b"convoy": b'{"model": "m"}'}), path)


def _with_garbled_origin(path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}).replace_schema_metadata({b"convoy": b"{"}), path)


@pytest.mark.parametrize(
    "damage", [_no_file, _no_table, _cut_short, _without_origin, _with_half_an_origin, _with_garbled_origin]
)
def test_a_table_that_is_not_of_predictions_is_refused_by_its_name(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    Predictions(pa.table({"id": ["a"]}), "m", "d", ("cat",)).save(tmp_path)
    damage(tmp_path / "predictions.parquet")
    with pytest.raises(ArtifactError, match=r"predictions\.parquet: expected a table of predictions"):
        Predictions.load(tmp_path)


def evidence(value: float) -> Evidence:
    return Evidence(
        model="m",
        data="d",
        split="test",
        samples=3,
        primary="accuracy",
        figures={"accuracy": Figure(value=value, low=NAN, high=math.inf), "size": Figure(value=0.1, unit="MB")},
        classes={"cat": {"recall": 1 / 3, "precision": value}},
        groups=(GroupFigure(column="group_x", group="1", metric="accuracy", samples=0, figure=Figure(value=value)),),
        disparity={"group_x.ratio": value},
        notes=("said",),
    )


def test_evidence_comes_back_to_the_last_digit(tmp_path: Path) -> None:
    given = evidence(0.1 + 0.2).model_copy(update={"figures": {"accuracy": Figure(value=1 / 3, low=0.0, high=1.0)}})
    given.save(tmp_path)
    assert Evidence.load(tmp_path) == given
    assert Evidence.load(tmp_path).digest == given.digest


def test_what_could_not_be_computed_comes_back_as_that_and_not_as_missing_or_zero(tmp_path: Path) -> None:
    given = evidence(NAN)
    given.save(tmp_path)
    loaded = Evidence.load(tmp_path)
    figure = loaded.figures["accuracy"]
    assert math.isnan(figure.value)
    assert figure.low is not None
    assert math.isnan(figure.low)
    assert figure.high == math.inf
    assert loaded.figures["size"].low is None  # which is another thing: it has no interval
    assert math.isnan(loaded.classes["cat"]["precision"])
    assert math.isnan(loaded.groups[0].figure.value)
    assert math.isnan(loaded.disparity["group_x.ratio"])
    assert loaded.digest == given.digest
    assert loaded.digest != evidence(0.0).digest


def test_a_decision_comes_back_with_every_verdict(tmp_path: Path) -> None:
    given = Decision(
        action="reject",
        name="digits",
        version=3,
        alias=None,
        by="gates",
        at="2026-01-02T03:04:05Z",
        reason="two gates",
        evidence="e" * 64,
        verdicts=(
            Verdict(gate="floor", passed=False, value=NAN, limit=0.9, reason="not computed"),
            Verdict(gate="latency", passed=True, value=1.5, low=1.0, high=2.0, limit=None, reason="fast"),
        ),
    )
    given.save(tmp_path)
    loaded = Decision.load(tmp_path)
    assert loaded.model_dump(exclude={"verdicts"}) == given.model_dump(exclude={"verdicts"})
    assert loaded.verdicts[1] == given.verdicts[1]
    assert loaded.verdicts[0].value is not None
    assert math.isnan(loaded.verdicts[0].value)
    assert loaded.digest == given.digest


def test_a_decision_that_nobody_can_take_is_refused(tmp_path: Path) -> None:
    (tmp_path / "decision.json").write_text('{"action": "force"}')
    with pytest.raises(ArtifactError, match=r"decision\.json: expected a readable Decision"):
        Decision.load(tmp_path)


def test_what_one_of_a_group_has_written_the_others_can_read(tmp_path: Path) -> None:
    """safetensors writes for its owner alone, whatever the umask."""
    program = (
        "import os, sys; from pathlib import Path\n"
        "os.umask(0o027)\n"
        "import torch; from safetensors.torch import save_file\n"
        "from components.files import replacing, writing\n"
        "root, tensors = Path(sys.argv[1]), {'x': torch.zeros(1)}\n"
        "(root / 'kept').touch(0o600)\n"
        "for name in ('new', 'kept'):\n"
        "    with writing(root / name) as temporary: save_file(tensors, temporary)\n"
        "with replacing(root / 'folder') as temporary: save_file(tensors, temporary / 'x')\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=Path(__file__).parents[2], check=True)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("new", "folder/x", "kept")}
    assert modes == {"new": 0o640, "folder/x": 0o640, "kept": 0o600}


DATASET_OF_BEFORE = """{
  "classes": ["0", "1"], "dropped": {}, "fingerprint": "c0285831ff5a", "folds": null, "groups": [],
  "input": {"channels": 1, "height": 8, "mean": [0.30440725305533173], "std": [0.3753757289955211], "width": 8},
  "name": "digits", "splits": {"test": 360, "train": 1168, "validation": 269}, "task": "classification"
}"""  # as version 0.1.0 wrote it


def test_a_data_set_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(DATASET_OF_BEFORE, encoding="utf-8")
    card = DatasetCard.read(tmp_path / "dataset.json")
    assert (card.classes, card.input.mean, card.splits["train"]) == (("0", "1"), (0.30440725305533173,), 1168)
    assert card.input.resize  # pictures of any size were taken, as they were then
    assert not card.moved and not card.twins
