from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from components.artifacts import Dataset, Model
from components.data.reading.loading import load_split
from components.export import formats
from components.export.errors import CompressionError
from components.export.export import OPSET
from components.export.formats import Source, write
from components.files import digest_folder
from components.runtimes import registry


@pytest.fixture(scope="module")
def written(exported: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("written")
    source = Source(exported, about={"registered": "digits version 1"})
    return {name: write(source, name, folder / name) for name in ("onnx", "openvino", "torch")}


@pytest.mark.parametrize("name", ["onnx", "openvino", "torch"])
def test_what_is_exported_answers_as_the_model(
    name: str, written: dict[str, Path], exported: Model, digits: Dataset
) -> None:
    images = load_split(digits, "test").inputs
    expected = registry.get("pytorch").open(exported.folder, 1)(images)
    answer = registry.get(formats.FORMATS[name].runtime).open(written[name], 1)
    for part in (images, images[:1], images[:7]):
        given = answer(part)
        np.testing.assert_allclose(given["probabilities"], expected["probabilities"][: len(part)], atol=1e-5)
    assert answer(images)["embedding"].shape[0] == len(images)


@pytest.mark.parametrize("name", ["onnx", "openvino", "torch"])
def test_the_folder_says_what_it_holds_and_nothing_of_this_machine(
    name: str, written: dict[str, Path], exported: Model
) -> None:
    folder = written[name].parent
    sums = dict(reversed(row.split("  ")) for row in (folder / "SHA256SUMS").read_text().splitlines())
    files = {path.name for path in folder.iterdir()}
    assert files == {*sums, "SHA256SUMS"}
    for file, digest in sums.items():
        content = (folder / file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        assert str(Path(__file__).parents[3]).encode() not in content
    assert (folder / "labels.txt").read_text().splitlines() == list(exported.card.classes)
    signature = json.loads((folder / "signature.json").read_text())
    assert signature["inputs"][written[name].name]["shape"] == ["batch", 8, 8, 1]
    assert [output["name"] for output in signature["outputs"]] == ["probabilities", "prediction", "embedding"]
    assert signature["outputs"][0] == {"name": "probabilities", "type": "float32", "shape": ["batch", 10]}
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["data"] == exported.card.data
    assert provenance["artifact"] == exported.digest
    assert provenance["origin"] == {"registered": "digits version 1"}
    assert provenance["compared"]["largest_difference_of_a_probability"] < 1e-5


def test_the_opset_is_stated_and_true(written: dict[str, Path]) -> None:
    stated = json.loads((written["onnx"].parent / "signature.json").read_text())["opset"]
    assert stated["ai.onnx"] == OPSET
    assert {entry.domain or "ai.onnx": entry.version for entry in onnx.load(written["onnx"]).opset_import} == stated


def test_images_of_any_size_have_a_graph_of_their_own(written: dict[str, Path], digits: Dataset) -> None:
    images = load_split(digits, "test", limit=20).inputs
    exact, free = (
        registry.get("onnxruntime").open(written["onnx"].with_name(name), 1)
        for name in ("model.onnx", "model-any-size.onnx")
    )
    np.testing.assert_array_equal(free(images)["probabilities"], exact(images)["probabilities"])
    doubled = free(images.repeat(2, axis=1).repeat(2, axis=2))  # the same picture in twice as many pixels
    assert (doubled["prediction"] == exact(images)["prediction"]).mean() > 0.8


def test_pytorchs_program_holds_no_pickle(written: dict[str, Path]) -> None:
    with zipfile.ZipFile(written["torch"]) as archive:
        for entry in archive.infolist():
            content = archive.read(entry)
            assert not entry.filename.endswith(".pkl")
            # PyTorch keeps examples as a pickle within a zip within the zip
            assert not (entry.filename.endswith(".pt") and content), entry.filename


def test_a_graph_alone_has_no_weights_to_make_a_program_of(exported: Model, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("model.json", "model.onnx"):
        (bare / name).write_bytes((exported.folder / name).read_bytes())
    with pytest.raises(CompressionError, match="format torch: expected the weights of member-0, found its graph alone"):
        write(Source(Model.load(bare)), "torch", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert write(Source(Model.load(bare), weights=exported), "torch", tmp_path / "out").is_file()


def test_an_export_that_answers_otherwise_is_not_written(
    written: dict[str, Path], exported: Model, tmp_path: Path
) -> None:
    # given a graph with other numbers than the weights beside it
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in exported.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    graph = onnx.load(folder / "model.onnx")
    head = next(entry for entry in graph.graph.initializer if list(entry.dims) == [10])
    head.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(head) + np.arange(10, dtype=np.float32), head.name))
    onnx.save(graph, folder / "model.onnx")
    shutil.copytree(written["onnx"].parent, tmp_path / "out")
    before = digest_folder(tmp_path / "out")
    with pytest.raises(CompressionError, match=r"expected answers within 0\.001 of the model's, found a difference"):
        write(Source(Model.load(folder)), "onnx", tmp_path / "out")
    assert digest_folder(tmp_path / "out") == before


def test_outputs_that_a_format_numbers_go_by_the_signature_beside_it(written: dict[str, Path], tmp_path: Path) -> None:
    alone = tmp_path / "alone.pt2"
    shutil.copyfile(written["torch"], alone)
    images = np.zeros((2, 8, 8, 1), np.uint8)
    names = ["probabilities", "prediction", "embedding"]
    assert list(registry.get("pytorch").open(alone, 1)(images)) == names  # as earlier versions wrote them
    signature = json.loads(written["torch"].with_name("signature.json").read_text())
    assert [output["name"] for output in signature["outputs"]] == names
    alone.with_name("signature.json").write_text(json.dumps({"outputs": [{"name": name} for name in "abc"]}))
    assert list(registry.get("pytorch").open(alone, 1)(images)) == ["a", "b", "c"]
    alone.with_name("signature.json").write_text("[]")
    with pytest.raises(ValueError, match="expected a signature with the names of the outputs"):
        registry.get("pytorch").open(alone, 1)


@pytest.mark.parametrize(
    ("name", "reason"), [("tflite", "not available: its converter"), ("caffe", "expected one of onnx, openvino, torch")]
)
def test_formats_that_cannot_be_written_say_why(name: str, reason: str) -> None:
    with pytest.raises(CompressionError, match=reason):
        formats.chosen(name)


@pytest.mark.slow
def test_executorch_answers_as_the_model(exported: Model, digits: Dataset, tmp_path: Path) -> None:
    file = write(Source(exported), "executorch", tmp_path / "out")
    images = load_split(digits, "test").inputs
    given: dict[str, Any] = registry.get("executorch").open(file)(images)
    expected = registry.get("pytorch").open(exported.folder, 1)(images)
    np.testing.assert_allclose(given["probabilities"], expected["probabilities"], atol=1e-5)
    assert json.loads((tmp_path / "out" / "signature.json").read_text())["inputs"]["model.pte"]["shape"] == [1, 8, 8, 1]


@pytest.mark.parametrize("kept", ["thesis.tex", "data/raw/1.png", "SHA256SUMS", "signature.json", ".git/HEAD"])
def test_only_an_export_or_nothing_is_replaced(kept: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / kept).parent.mkdir(parents=True)
    (folder / kept).write_text("years of work", encoding="utf-8")
    with pytest.raises(CompressionError, match=r"out: expected a folder that is empty, not there or an export alone"):
        formats.check_replaceable(folder)
    assert (folder / kept).read_text(encoding="utf-8") == "years of work"
    formats.check_replaceable(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    formats.check_replaceable(tmp_path / "empty")
    with pytest.raises(CompressionError, match="received a file"):
        formats.check_replaceable(folder / kept)


def test_an_export_is_replaced_at_the_other_end_of_a_link_but_not_what_somebody_put_beside_it(
    written: dict[str, Path], exported: Model, tmp_path: Path
) -> None:
    folder = tmp_path / "disk" / "out"
    shutil.copytree(written["onnx"].parent, folder)
    (tmp_path / "link").symlink_to(folder)
    (folder / "model.onnx").write_bytes(b"damaged")
    write(Source(exported), "onnx", tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (folder / "model.onnx").stat().st_size > 1000
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(CompressionError, match=r"received one with notes\.txt"):
        write(Source(exported), "onnx", folder)
