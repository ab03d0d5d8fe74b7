from __future__ import annotations

import ast
import base64
import io
import json
import shutil
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace

import mlflow.pyfunc
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from PIL import Image

from components import machine
from components.artifacts import Model, write_model
from components.artifacts.model import Precision
from components.members import ANSWERS, READERS
from components.registry import registration, served
from components.tasks import registry as tasks
from tests.components.registry.registry_builders import SIDE, build_evidence, build_model, encode


@pytest.fixture
def network(tmp_path: Path, request: pytest.FixtureRequest) -> served.ServedNetwork:
    model = build_model(tmp_path / "model", dense=getattr(request, "param", False))
    network = served.ServedNetwork()
    network.load_context(context(model))
    return network


def context(model: Model) -> SimpleNamespace:
    answer = model.folder.with_name("answer")
    answer.mkdir(exist_ok=True)
    shutil.copyfile(str(ANSWERS.load(tasks.of(model.card).spec.written).__file__), answer / "answer.py")
    reader = model.folder.with_name("reader")
    if not reader.is_dir():
        registration.pack_reader(READERS.load(model.card.input.kind), reader)
    folders = {"model": model.folder, "reader": reader, "answer": answer}
    return SimpleNamespace(artifacts={name: str(folder) for name, folder in folders.items()})


def answer(network: served.ServedNetwork, *values: object) -> pd.DataFrame:
    return network.predict(None, pd.DataFrame({"image": list(values)}))


@pytest.mark.parametrize("module", [served, *map(ANSWERS.load, ANSWERS.names()), *map(READERS.load, READERS.names())])
def test_it_imports_nothing_that_its_requirements_do_not_bring(module: ModuleType) -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    modules = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    outside = {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names)
    # openvino is imported where a model's card names it, and is among that model's requirements
    assert outside <= {"mlflow", "numpy", "onnxruntime", "openvino", "pandas", "PIL"}
    assert module is not served or "mlflow" in outside


def test_bytes_base64_and_data_addresses_are_one_image(network: served.ServedNetwork) -> None:
    text = base64.b64encode(encode(255)).decode()
    rows = answer(network, encode(255), text, f"data:image/png;base64,{text}", encode(0))
    assert rows["label"].tolist() == ["bright", "bright", "bright", "dark"]
    assert rows["probabilities"][0] == {"dark": 0.0, "bright": 1.0}


@pytest.mark.parametrize("card", [{"runtime": "openvino"}, {"batch_runtime": "openvino", "batch_from": 8}])
def test_openvino_answers_alike_and_where_it_is_missing_onnx_runtime_does(
    card: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model(tmp_path / "model")
    known = json.loads((model.folder / "model.json").read_text())
    (model.folder / "model.json").write_text(json.dumps(known | card))
    levels = [encode(int(level)) for level in np.random.default_rng(0).integers(0, 256, 70)]

    def answered() -> pd.DataFrame:
        network = served.ServedNetwork()
        network.load_context(context(model))
        assert answer(network, levels[0])["label"].tolist() == answer(network, *levels)["label"].tolist()[:1]
        return answer(network, *levels)

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with_it = answered()
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.warns(RuntimeWarning, match="openvino is not installed: onnxruntime answers"):
        without = answered()
    assert with_it["label"].tolist() == without["label"].tolist()
    np.testing.assert_allclose(with_it["probability"], without["probability"], atol=1e-6)


def test_more_images_than_a_batch_keep_their_order(network: served.ServedNetwork) -> None:
    levels = np.random.default_rng(0).integers(0, 256, 150)
    rows = answer(network, *(encode(int(level)) for level in levels))
    assert rows["label"].tolist() == ["bright" if level > 127.5 else "dark" for level in levels]


@pytest.mark.parametrize("network", [True], indirect=True)
def test_a_mask_is_as_large_as_its_image(network: served.ServedNetwork) -> None:
    pixels = np.zeros((8, 12), dtype=np.uint8)
    pixels[:, 6:] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    [row] = answer(network, buffer.getvalue()).to_dict("records")
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(row["mask"]))))
    assert np.array_equal(mask, pixels // 255)
    assert row["shares"] == {"dark": 0.5, "bright": 0.5}


def bomb(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"no image at all", "is text, not a picture"),
        ("%%%", "not base64"),
        (encode(9)[:50], "damaged or cut short"),
        (None, "received NoneType"),
        (bomb(10_000), "at most 64,000,000"),
        (bomb(20_000), "at most 64,000,000"),
        (b"", "is empty (0 bytes)"),
    ],
)
def test_what_is_no_image_is_named_by_its_row(network: served.ServedNetwork, value: object, reason: str) -> None:
    with pytest.raises(ValueError, match="row 1, column `image`") as caught:
        answer(network, encode(9), value)
    assert reason in str(caught.value)


def test_another_column_is_named(network: served.ServedNetwork) -> None:
    with pytest.raises(ValueError, match="expected a column `image`, received columns: picture"):
        network.predict(None, pd.DataFrame({"picture": [encode(9)]}))


ELSEWHERE = {"architecture": "riscv64", "instructions": "", "cores": "1"}


def packed(folder: Path, precision: Precision, processor: dict[str, str], sums: str) -> Path:
    """A package of a model with such evidence."""
    model = build_model(folder / "model", precision=precision)
    evidence = build_evidence(model.digest, processor=processor, sums=sums)
    registration.build_package(model, folder / "packed" / "package", [encode(9)], evidence=evidence)
    return folder / "packed" / "package"


def warned(package: Path) -> list[str]:
    """What is said while the package is loaded and asked."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mlflow.pyfunc.load_model(str(package)).predict(pd.DataFrame({"image": [encode(200)]}))
    return [str(each.message) for each in caught if issubclass(each.category, RuntimeWarning)]


@pytest.mark.parametrize(
    ("precision", "sums", "expected"),
    [
        ("float32", "", "another speed"),
        ("int8", "either", "another speed"),
        ("int8", "as run", "another speed and perhaps other answers, since its int8 sums can saturate"),
        ("int8", "saturating", "another speed and perhaps other answers, since its int8 sums can saturate"),
    ],
)
def test_on_another_kind_of_processor_it_says_so_once_and_what_may_differ(
    tmp_path: Path, precision: Precision, sums: str, expected: str
) -> None:
    (said,) = warned(packed(tmp_path, precision, ELSEWHERE, sums))
    here = machine.arithmetic(machine.kind())
    assert said == (
        f"this model was measured on riscv64 with instructions not known and runs on {here}: expect {expected}"
    )


def test_on_the_same_kind_or_where_it_is_not_known_it_says_nothing(tmp_path: Path) -> None:
    # another number of cores is the same kind
    assert warned(packed(tmp_path / "same", "int8", machine.kind() | {"cores": "640"}, "saturating")) == []
    assert warned(packed(tmp_path / "unknown", "int8", {}, "saturating")) == []


@pytest.fixture
def measuring(tmp_path: Path) -> Model:
    """Answers how bright a picture is, in per cent and in steps of 255, ten steps up and down."""
    record = {"kind": "values", "names": ["light", "steps"], "units": ["%", ""]}
    scale = {"mean": [50.0, 128.0], "std": [20.0, 50.0], "low": [0.0, 0.0], "high": [100.0, 255.0]}
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["level"], keepdims=1),
        helper.make_node("Reshape", ["level", "column"], ["flat"]),
        helper.make_node("Mul", ["flat", "share"], ["value"]),
        helper.make_node("Sub", ["value", "wide"], ["low"]),
        helper.make_node("Add", ["value", "wide"], ["high"]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
        helper.make_tensor("column", TensorProto.INT64, [2], [-1, 1]),
        helper.make_tensor("share", TensorProto.FLOAT, [1, 2], [100.0 / 255.0, 1.0]),
        helper.make_tensor("wide", TensorProto.FLOAT, [1, 2], [5.0, 10.0]),
    ]
    value = helper.make_tensor_value_info
    outputs = [value(name, TensorProto.FLOAT, ["N", 2]) for name in ("value", "low", "high")]
    built = helper.make_graph(
        nodes, "light", [value("image", TensorProto.UINT8, ["N", SIDE, SIDE, 1])], outputs, constants
    )
    graph = helper.make_model(built, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    plain = build_model(tmp_path / "plain").card
    card = plain.model_copy(update={"task": "regression", "classes": (), "target": record | scale})
    return write_model(tmp_path / "measuring", card, lambda folder: onnx.save(graph, folder / "model.onnx"))


def test_numbers_are_answered_by_name_in_their_units_with_the_ends_of_their_intervals(
    measuring: Model, tmp_path: Path
) -> None:
    registration.build_package(
        measuring, tmp_path / "package", [encode(255)], evidence=build_evidence(measuring.digest)
    )
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "package"))
    row = loaded.predict(pd.DataFrame({"image": [encode(51)]})).iloc[0].to_dict()
    assert row["values"] == {"light": pytest.approx(20.0), "steps": 51.0}
    assert row["low"] == {"light": pytest.approx(15.0), "steps": 41.0}
    assert row["high"] == {"light": pytest.approx(25.0), "steps": 61.0}
    assert row["units"] == {"light": "%", "steps": ""}
    assert loaded.metadata.get_output_schema().input_names() == ["values", "low", "high", "units"]
