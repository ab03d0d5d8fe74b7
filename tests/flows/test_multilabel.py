"""A stranger's table of pictures with several labels each goes the whole way, from the check to a served answer."""

from __future__ import annotations

import io
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from components.registry import versions
from components.registry.memory import tracking

COUNT = 300
NAMES = ("disc", "frame", "plate")
CORNERS = ((2, 2), (2, 18), (18, 2), (18, 18))


def things(random: np.random.Generator) -> tuple[Image.Image, list[str]]:
    """A dark picture in which some of three things lie in quarters of their own, and which."""
    picture = Image.fromarray(random.integers(0, 60, (32, 32)).astype(np.uint8))
    pencil = ImageDraw.Draw(picture)
    shown = [name for name, share in zip(NAMES, (0.5, 0.4, 0.3), strict=True) if random.random() < share]
    for name, place in zip(shown, random.permutation(4), strict=False):
        left, top = CORNERS[place]
        corners, grey = (left, top, left + 11, top + 11), int(random.integers(150, 256))
        if name == "disc":
            pencil.ellipse(corners, fill=grey)
        else:
            pencil.rectangle(corners, fill=grey if name == "plate" else None, outline=grey, width=2)
    return picture, shown


def table(folder: Path) -> Path:
    """`things.csv` with `disc;plate` in its cells, and the pictures beside it."""
    random = np.random.default_rng(0)
    folder.mkdir()
    lines = ["file,tags"]
    for number in range(COUNT):
        picture, shown = things(random)
        picture.save(folder / f"{number:03d}.png")
        lines.append(f"{number:03d}.png,{';'.join(shown)}")
    (folder / "things.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_labels_become_a_staged_version_without_a_line_of_code(project: Path, tmp_path: Path) -> None:
    from flows.cli import app

    def convoy(*arguments: str) -> str:
        done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "110"})
        assert done.exit_code == 0, f"{arguments}: {done.output}"
        return done.output

    place = str(table(tmp_path / "things"))
    assert "with any of 3 labels" in convoy("data", "check", place)
    assert "convoy run -r things" in convoy("data", "add", "things", place)
    entry = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))["datasets"]["things"]
    assert entry["task"] == "multilabel"
    assert (entry["source"]["labels"], entry["source"]["separator"]) == ("tags", ";")

    settings = {
        "members.count": "2",
        "members.epochs": "8",
        "student.epochs": "8",
        "training.cpus_per_worker": "1",
        "training.imbalance.loss": "focal",
        "evaluate.bootstrap": "100",
        "gates.floor.limit": "0.6",
        "gates.calibration.limit": "0.3",  # focal loss, a few epochs: right, and far from sure
        "gates.worst_group.limit": "0.1",
        "evaluate.min_samples": "10",
        "gates.robustness": "null",
    }
    options = [word for key, value in settings.items() for word in ("-S", f"{key}={value}")]
    command = ["run", "-r", "digits-label", "-S", "dataset=things", "-S", "model=things", *options]
    assert "things version 1 is staging" in convoy(*command)
    assert "Nothing new" in convoy(*command), "a second run did something"

    store = tracking.connect(project, "things")
    evidence = versions.version_evidence(store, "things", 1)
    assert evidence.primary == "macro_f1" and set(evidence.classes) == set(NAMES)
    assert set(evidence.figures) >= {"macro_f1", "micro_f1", "map", "exact_match", "hamming_loss", "calibration_error"}

    mlflow.set_tracking_uri(store.uri)
    served = mlflow.pyfunc.load_model("models:/things@staging")
    random, right = np.random.default_rng(1), 0
    for _ in range(30):
        picture, shown = things(random)
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        row = served.predict(pd.DataFrame({"image": [stream.getvalue()]})).iloc[0]
        assert list(row["probabilities"]) == list(NAMES)
        assert list(row["labels"]) == [name for name in NAMES if row["probabilities"][name] >= 0.5]
        right += list(row["labels"]) == [name for name in NAMES if name in shown]
    assert right >= 15, right
