"""`convoy predict`: a registered version answers for files, in a table, as JSON, as CSV and on pictures."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema
from PIL import Image
from typer.testing import CliRunner, Result

from components.artifacts import ModelCard
from components.config import NetworkConfig
from components.registry import answering, telling, versions
from components.registry.memory.tracking import Tracking, connect
from components.registry.registration import register
from tests.components.registry.registry_builders import DATA, SPEC, build_evidence, build_model, encode
from tests.flows.test_reading_makes_nothing import a_project, tree

Convoy = Callable[..., Result]


@pytest.fixture(scope="module")
def store(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """A project with a classifier in production as version 1, another one as candidate, and a segmenter, staged."""
    root = a_project(tmp_path_factory.mktemp("project"))
    (root / ".convoy").mkdir()
    shutil.copy(empty_database, root / ".convoy" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracking = connect(root, "digits")
        for seed, (name, dense) in enumerate((("digits", False), ("digits", False), ("roads", True))):
            model = build_model(root / f"model-{seed}", dense=dense, seed=seed)
            known = {"evidence": build_evidence(model.digest), "name": name, "run_id": tracking.start_run("register")}
            register(tracking, model, **known, card="# Model", examples=[encode(200)])
        tracking.client.set_registered_model_alias("digits", "production", "1")
        tracking.client.set_registered_model_alias("roads", "staging", "1")
    return tracking


@pytest.fixture
def convoy(store: Tracking, monkeypatch: pytest.MonkeyPatch) -> Convoy:
    from flows.cli import app

    monkeypatch.setenv("CONVOY_ROOT", str(store.root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def called(*words: object, code: int = 0, columns: int = 80) -> Result:
        done = CliRunner().invoke(app, [str(each) for each in words], env={"COLUMNS": str(columns)})
        assert done.exit_code == code, done.output
        return done

    return called


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two readable pictures below `in`, one that is torn, and what is hidden; the current folder is above it."""
    monkeypatch.chdir(tmp_path)
    for name, content in {"a/bright.png": encode(230), "b/dark.png": encode(20), "b/torn.png": encode(9)[:40]}.items():
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (tmp_path / "in" / ".hidden").write_bytes(b"x")
    return Path("in")


def test_a_table_names_each_file_with_its_answer_and_what_cannot_be_read(convoy: Convoy, pictures: Path) -> None:
    done = convoy("predict", "digits", pictures, code=1)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["in/a/bright.png", "bright", "90.2%", "dark", "9.8%"]
    assert lines[1].split()[:3] == ["in/b/dark.png", "dark", "92.2%"]
    assert "in/b/torn.png" in lines[2] and "no answer: " in lines[2]
    assert "hidden" not in done.output and all(len(line) <= 80 for line in lines)
    assert "digits version 1 answered for 2 of 3" in done.stderr


@pytest.mark.parametrize(
    ("said", "version"), [("digits", 1), ("digits@candidate", 2), ("digits:2", 2), ("digits/2", 2), ("roads", 1)]
)
def test_versions_are_named_as_everywhere(said: str, version: int, convoy: Convoy, pictures: Path) -> None:
    done = convoy("predict", said, pictures / "a")
    assert f"version {version} answered for 1\n" in done.stderr


def test_json_is_an_object_a_line_the_same_as_is_served(convoy: Convoy, pictures: Path, store: Tracking) -> None:
    done = convoy("predict", "digits", pictures, "--json", code=1)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["file"] for row in rows] == ["in/a/bright.png", "in/b/dark.png", "in/b/torn.png"]
    package = mlflow.pyfunc.load_model(str(versions.version_package(store, "digits", 1)))
    served = package.predict(pd.DataFrame({"image": [encode(230), encode(20)]})).to_dict("records")
    assert [{key: row[key] for key in ("label", "probability", "probabilities")} for row in rows[:2]] == served
    assert set(rows[2]) == {"file", "error"} and "row 0" not in rows[2]["error"]
    assert "in/b/torn.png: " in done.stderr


def test_a_csv_has_a_column_a_class_and_is_safe_in_a_spreadsheet(
    convoy: Convoy, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "=1+1.png").write_bytes(encode(230))
    done = convoy("predict", "digits", "in/a/bright.png", "in/b/torn.png", "--csv", "out/answers.csv", code=1)
    rows = list(csv.DictReader(Path("out/answers.csv").read_text().splitlines()))
    assert list(rows[0]) == ["file", "label", "probability", "probabilities.dark", "probabilities.bright", "error"]
    assert rows[0]["label"] == "bright" and float(rows[0]["probabilities.bright"]) == pytest.approx(230 / 255)
    assert rows[1]["error"] and not rows[1]["label"]
    assert done.stdout == "" and "out/answers.csv" in done.stderr
    monkeypatch.chdir(pictures)
    convoy("predict", "digits", "=1+1.png", "--csv", "answers.csv")
    assert Path("answers.csv").read_text().splitlines()[1].startswith("'=1+1.png,")


def test_masks_are_drawn_below_the_folder_as_the_files_lie(convoy: Convoy, pictures: Path) -> None:
    (pictures / "a" / "half.png").write_bytes(_half())
    convoy("predict", "roads", pictures, "--drawn", "in/drawn", code=1)
    assert sorted(path.relative_to("in/drawn").as_posix() for path in Path("in/drawn").rglob("*.png")) == [
        "a/bright.png", "a/half.png", "b/dark.png",
    ]  # fmt: skip
    drawn = Image.open("in/drawn/a/half.png")
    left, right = drawn.getpixel((10, 100)), drawn.getpixel((200, 100))
    assert left == (0, 0, 0) and right != (255, 255, 255) and drawn.width == 256 and drawn.height > 256
    again = convoy("predict", "roads", pictures, "--drawn", "in/drawn", code=2)
    assert "--drawn: expected a folder that is empty or not there" in again.stderr


def _half() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.repeat([[0, 0, 255, 255]], 4, axis=0).astype(np.uint8)).save(buffer, format="PNG")
    return bytes(buffer.getvalue())


def test_what_is_not_there_is_told_before_anything_is_loaded(convoy: Convoy, pictures: Path) -> None:
    assert "nowhere: expected files or folders" in convoy("predict", "nobody", "nowhere", code=2).stderr
    Path("empty").mkdir()
    assert "expected files to be asked for, found none" in convoy("predict", "digits", "empty", code=2).stderr
    known = convoy("predict", "digits@staging", pictures, code=1).stderr
    assert "there are: digits@candidate, digits@production" in known
    assert "a registered model, received 'no such!'" in convoy("predict", "no such!", pictures, code=1).stderr


def test_a_version_whose_files_were_changed_is_refused(convoy: Convoy, pictures: Path, store: Tracking) -> None:
    graph = versions.version_model(store, "digits", 2).onnx
    whole = graph.read_bytes()
    graph.write_bytes(whole + b" ")
    try:
        said = convoy("predict", "digits:2", pictures / "a", code=1).stderr
    finally:
        graph.write_bytes(whole)
    assert "its files were changed after registration" in said and "registers a new version" in said
    convoy("predict", "digits:2", pictures / "a")


def test_it_changes_nothing_and_starts_nothing(convoy: Convoy, pictures: Path, store: Tracking) -> None:
    convoy("predict", "digits", pictures / "a")
    before = tree(store.root)
    convoy("predict", "digits", pictures / "a")
    assert tree(store.root) == before
    code = (
        f"from typer.testing import CliRunner; from flows.cli import app; import sys; "
        f"done = CliRunner().invoke(app, ['predict', 'digits', {str(pictures / 'a')!r}]); "
        "print(done.exit_code, 'ray' in sys.modules, 'prefect' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False", "False", "False"]


def test_many_files_are_asked_some_at_a_time(convoy: Convoy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "BYTES", 3 * len(encode(1)))
    asked: list[int] = []
    before = answering.Answering._asked
    monkeypatch.setattr(answering.Answering, "_asked", lambda self, rows: asked.append(len(rows)) or before(self, rows))
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(encode(1))
    done = convoy("predict", "digits", tmp_path, "--json")
    assert [Path(json.loads(line)["file"]).stem for line in done.stdout.splitlines()] == list("0123456789")
    assert max(asked) <= 3 and sum(asked) == 10


def test_ctrl_c_leaves_no_half_of_a_file(store: Tracking, tmp_path: Path) -> None:
    for number in range(20_000):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.png").write_bytes(encode(number % 256))
    words = ["-m", "flows", "predict", "digits", str(tmp_path / "in"), "--json", "--csv", "answers.csv", "--drawn", "d"]
    environment = {**os.environ, "CONVOY_ROOT": str(store.root)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline().startswith("{")
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted; no file was written" in errors and "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


# -- the package's own signature -------------------------------------------------------------------------------------


LENGTHS = """
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class Lengths(PythonModel):
    def predict(self, context, model_input, params=None):
        return pd.DataFrame({"length": [float(len(each)) for each in model_input["text"]]})


set_model(Lengths())
"""


def test_a_column_of_text_takes_a_row_of_each_line(tmp_path: Path) -> None:
    signature = ModelSignature(Schema([ColSpec("string", "text")]), Schema([ColSpec("double", "length")]))
    (tmp_path / "lengths.py").write_text(LENGTHS)
    code = str(tmp_path / "lengths.py")
    mlflow.pyfunc.save_model(tmp_path / "model", python_model=code, signature=signature, pip_requirements=[])
    package = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    asked = answering.Answering("t", 1, build_model(tmp_path / "m"), "text", "string", (), package)
    (tmp_path / "lines.txt").write_bytes("\ufefffirst\r\n\nthïrd".encode() + b"\n\xff\n" + b"x" * (2**20 + 1))
    (rows,) = asked.answered([tmp_path / "lines.txt"])
    told = [(row.line, row.answer and row.answer["length"], row.fault and row.fault[:30]) for row in rows]
    assert told == [
        (1, 5.0, None), (2, 0.0, None), (3, 5.0, None),
        (4, None, "expected text in UTF-8, receiv"), (5, None, "expected lines of at most 1,04"),
    ]  # fmt: skip


# -- in words and on pictures ----------------------------------------------------------------------------------------

BOXES = {
    "label": ["dark", "bright"], "score": [0.9, 0.4],
    "left": [10.0, 40.0], "top": [20.0, 0.0], "right": [30.0, 60.0], "bottom": [50.0, 30.0],
}  # fmt: skip
VALUES = {"values": {"price": 3.25}, "low": {"price": 3.0}, "high": {"price": 3.5}, "units": {"price": "€"}}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (BOXES, "dark 0.90, bright 0.40"),
        ({name: [] for name in BOXES}, "nothing"),
        (VALUES, "price 3.25 € [3, 3.5]"),
        ({"mask": "", "shares": {"sky": 0.25, "road": 0.75}}, "road 75.0%  sky 25.0%"),
        ({"colour": "red", "odds": {"a": 0.1, "b": 0.9}, "places": [1, 2, 3, 4]},
         "colour: red; odds: b 0.9 a 0.1; places: 4 values"),
    ],
)  # fmt: skip
def test_each_way_of_answering_has_words(answer: dict[str, Any], words: str) -> None:
    assert telling.said(answer) == words


def test_boxes_are_drawn_with_their_labels_and_a_caption() -> None:
    card = ModelCard(
        name="served", task="detection", network=NetworkConfig(name="x"), classes=("dark", "bright"), input=SPEC,
        target={"kind": "boxes", "most": 2}, data=DATA,
    )  # fmt: skip
    drawn = telling.drawn(encode(0, (64, 64)), BOXES, card)
    assert drawn.width == 256 and drawn.height > 256
    assert drawn.getpixel((40, 150)) == (230, 159, 0)  # the left edge of the first, four times as large
    assert drawn.getpixel((80, 90)) == (0, 0, 0)
    assert np.asarray(drawn)[260:].min() < 100 < np.asarray(drawn)[256:258].min()
