from __future__ import annotations

import io
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from components.artifacts import ArtifactError, Dataset, DatasetCard, ImageSpec, Model, ModelCard, write_model
from components.config import NetworkConfig
from components.evaluate import slices
from components.evaluate.evaluate import evaluate, quality
from components.evaluate.predict import predict
from components.export.export import export
from components.inputs.image import INPUT
from components.models.network import load_network, save_weights
from components.tasks import registry as tasks
from components.tasks.network import network_of
from tests.components.evaluate.evaluate_builders import CONFIG

SPEC = ImageSpec(height=8, width=8, channels=1, mean=(0.3,), std=(0.3,))


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def digits(folder: Path, task: str, groups: tuple[str, ...] = (), samples: int = 150) -> Dataset:
    """scikit-learn's digits as a test split; for segmentation, ink against background."""
    data = load_digits()
    images = (data.images[:samples] * 15).astype(np.uint8)
    dense = task == "segmentation"
    classes = ("background", "ink") if dense else tuple(map(str, range(10)))
    table = {
        "id": [f"digit-{number}" for number in range(samples)],
        "image": [png(image) for image in images],
        "target": [png(image > 60) for image in images] if dense else data.target[:samples],
        **{name: ["even" if number % 2 == 0 else "odd" for number in range(samples)] for name in groups},
        "split": ["test"] * samples,
    }
    folder.mkdir()
    pq.write_table(pa.table(table), folder / "test-00000.parquet")
    card = DatasetCard(
        name="digits",
        task=task,
        classes=classes,
        groups=groups,
        input=SPEC,
        splits={"test": samples},
        fingerprint="0" * 64,
    )
    (folder / "dataset.json").write_text(card.to_json(), encoding="utf-8")
    return Dataset.load(folder)


def untrained(folder: Path, dataset: Dataset) -> Model:
    task = tasks.get(dataset.card.task)
    network = NetworkConfig(name="unet" if task.spec.target == "mask" else "residual", arguments={"width": 8})
    card = ModelCard(
        name="student",
        task=dataset.card.task,
        network=network,
        classes=dataset.card.classes,
        input=SPEC,
        data=dataset.digest,
    )
    torch.manual_seed(0)
    module = network_of(task, network, dataset.card)
    return write_model(folder, card, lambda temporary: save_weights(module, temporary))


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_graph_and_network_give_the_same_table(task: str, tmp_path: Path) -> None:
    # given one network as weights and as the graph that is served
    dataset = digits(tmp_path / "data", task)
    model = untrained(tmp_path / "student", dataset)
    graph = export(model, tmp_path / "graph")
    # when both answer
    by_network, by_graph = predict(model, dataset, "test"), predict(graph, dataset, "test")
    # then the rows are the same, more than one batch of them, in the data's order
    assert by_graph.table.column("id").to_pylist() == [f"digit-{number}" for number in range(150)]
    assert by_graph.table.schema.equals(by_network.table.schema)
    assert (by_graph.model, by_graph.data) == (graph.digest, dataset.digest)
    one = np.ones((1, 150))
    ours, theirs = (tasks.get(task).measure(table, one) for table in (by_graph, by_network))
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], atol=0.01, err_msg=name)
    # and evaluating adds what the graph costs
    evidence, _ = evaluate(graph, dataset, CONFIG)
    assert evidence.model == graph.digest and evidence.data == dataset.digest
    assert evidence.figures["size_bytes"].value == graph.onnx.stat().st_size
    assert 0 < evidence.figures["latency_ms"].value < 1000 and evidence.figures["throughput_64"].value > 1
    # and what twins that were learnt from change, where the data knows of any
    assert "samples_with_twins" not in evidence.figures
    known = dataset.card.model_copy(update={"twins": {"digit-3": "digit-1700", "digit-149": "digit-1701"}})
    alike, _ = quality(graph, replace(dataset, card=known), CONFIG)
    assert alike.figures["samples_with_twins"].value == 2
    assert f"{alike.primary}_without_twins" in alike.figures


def test_what_the_data_ignores_is_not_judged_whatever_the_model_was_trained_on(tmp_path: Path) -> None:
    # given a model of data that ignores nothing
    plain = digits(tmp_path / "plain", "segmentation")
    model = export(untrained(tmp_path / "student", plain), tmp_path / "graph")
    # and the same data, of which the lower half is ignored
    shard = plain.folder / "test-00000.parquet"
    table = pq.read_table(shard)
    masks = np.stack([np.asarray(Image.open(io.BytesIO(each))) for each in table.column("target").to_pylist()])
    masks = masks.astype(np.uint8)
    masks[:, 4:] = 255
    (tmp_path / "ignoring").mkdir()
    place = table.schema.get_field_index("target")
    pq.write_table(
        table.set_column(place, "target", [[png(mask) for mask in masks]]), tmp_path / "ignoring" / shard.name
    )
    card = plain.card.model_copy(update={"target": {"kind": "mask", "ignore": 255}})
    (tmp_path / "ignoring" / "dataset.json").write_text(card.to_json(), encoding="utf-8")
    ignoring = Dataset.load(tmp_path / "ignoring")
    # when it answers for them
    counts = np.array(predict(model, ignoring, "test").table.column("confusion").to_pylist())
    # then the upper half is counted, and judged against corruptions too
    assert (counts.sum(axis=1) == 4 * 8).all()
    evidence, _ = quality(model, ignoring, CONFIG)
    assert 0 < evidence.figures["mean_iou"].value < 1
    with pytest.raises(ValueError, match="expected classes 0 to 1"):
        predict(model, replace(ignoring, card=plain.card), "test")


def test_answers_are_those_of_the_network_itself(tmp_path: Path) -> None:
    dataset = digits(tmp_path / "data", "classification")
    model = untrained(tmp_path / "student", dataset)
    images = torch.tensor((load_digits().images[:150] * 15).astype(np.uint8), dtype=torch.float32)[:, None] / 255.0
    with torch.inference_mode():
        expected = load_network(model)(images).softmax(dim=1).numpy()
    scores = np.asarray(predict(model, dataset, "test").table.column("scores").to_pylist())
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_declared_groups_are_carried_and_slices_only_stand_in_for_none(tmp_path: Path) -> None:
    named = digits(tmp_path / "named", "classification", ("group_parity",))
    plain = digits(tmp_path / "plain", "classification")
    model = untrained(tmp_path / "student", named)
    assert slices.columns(predict(model, named, "test").table.column_names) == ["group_parity"]
    table = predict(model, plain, "test", slice_count=3).table
    assert slices.columns(table.column_names) == ["slice_brightness", "slice_contrast"]
    assert set(table.column("slice_brightness").to_pylist()) == {"1 of 3 (darkest)", "2 of 3", "3 of 3 (brightest)"}


def test_a_model_of_other_classes_is_refused(tmp_path: Path) -> None:
    dataset = digits(tmp_path / "data", "classification")
    model = untrained(tmp_path / "student", dataset)
    other = Model(model.folder, model.card.model_copy(update={"classes": ("a", "b")}))
    with pytest.raises(ArtifactError, match="expected a model for digits"):
        predict(other, dataset, "test")
    with pytest.raises(ArtifactError, match="validation"):
        predict(model, dataset, "validation")


def test_slices_hold_equal_shares_in_order() -> None:
    values = np.random.default_rng(0).random(1000)
    names = slices.quantile_slices(values, 4, ("low", "high"))
    order = ["1 of 4 (low)", "2 of 4", "3 of 4", "4 of 4 (high)"]
    assert [int((names == name).sum()) for name in order] == [250] * 4
    ranges = [values[names == name] for name in order]
    assert all(lower.max() <= upper.min() for lower, upper in itertools.pairwise(ranges))


def test_equal_images_are_never_parted() -> None:
    assert set(slices.quantile_slices(np.zeros(10), 4)) == {"1 of 1"}
    half = slices.quantile_slices(np.array([0.0] * 9 + [1.0]), 4)
    assert len(set(half[:9])) == 1


def test_statistics_are_numpy_s() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
    found = INPUT.sliced(images)
    np.testing.assert_allclose(found["brightness"], [image.mean() / 255 for image in images])
    np.testing.assert_allclose(found["contrast"], [image.std() / 255 for image in images])
