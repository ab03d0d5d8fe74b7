"""A stranger's folder in YOLO's layout goes the whole way, from the check to a version that answers with boxes."""

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

COUNT = 240
NAMES = ("disc", "plate")
Drawn = tuple[Image.Image, list[tuple[int, float, float, float, float]]]


def things(random: np.random.Generator, wide: bool) -> Drawn:
    """A picture of one to three bright things on dark noise, and their labels and corners."""
    width, height = (72, 48) if wide else (48, 72)
    picture = Image.fromarray(random.integers(0, 60, (height, width, 3)).astype(np.uint8))
    pencil, boxes = ImageDraw.Draw(picture), []
    for _ in range(random.integers(1, 4)):
        side, label = float(random.uniform(12, 22)), int(random.integers(2))
        left, top = float(random.uniform(0, width - side)), float(random.uniform(0, height - side))
        corners = (left, top, left + side, top + side)
        colour = tuple(random.integers(150, 256, 3).tolist())
        (pencil.ellipse if label == 0 else pencil.rectangle)(corners, fill=colour)
        boxes.append((label, *corners))
    return picture, boxes


def yolo(folder: Path) -> Path:
    """`images/`, `labels/` and `data.yaml`, as many tools write them."""
    random = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number in range(COUNT):
        picture, boxes = things(random, wide=number % 2 == 0)
        picture.save(folder / "images" / f"{number:03d}.png")
        lines = [
            f"{label} {(left + right) / 2 / picture.width:.6f} {(top + bottom) / 2 / picture.height:.6f} "
            f"{(right - left) / picture.width:.6f} {(bottom - top) / picture.height:.6f}\n"
            for label, left, top, right, bottom in boxes
        ]
        (folder / "labels" / f"{number:03d}.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "data.yaml").write_text(yaml.safe_dump({"train": "images", "nc": 2, "names": list(NAMES)}))
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_boxes_become_a_staged_version_without_a_line_of_code(project: Path, tmp_path: Path) -> None:
    from flows.cli import app

    def convoy(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "110"})
        assert done.exit_code == code, f"{arguments}: {done.output}"
        return done.output

    place = str(yolo(tmp_path / "things"))

    assert "in 2 classes of objects" in convoy("data", "check", place)
    added = convoy("data", "add", "things", place, "--height", "64", "--width", "64")
    assert "convoy run -r things" in added
    entry = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))["datasets"]["things"]
    assert (entry["task"], entry["image"]["fit"]) == ("detection", "letterbox")

    settings = {
        "members.epochs": "40",
        "training.cpus_per_worker": "1",
        "training.learning_rate": "0.01",
        "evaluate.bootstrap": "100",
        "gates.floor.limit": "0.3",
        "gates.robustness": "null",
    }
    options = [word for key, value in settings.items() for word in ("-S", f"{key}={value}")]
    command = ["run", "-r", "scenes-detect", "-S", "dataset=things", "-S", "model=things", *options]
    said = convoy(*command)
    assert "things version 1 is staging" in said
    assert "Nothing new" in convoy(*command), "a second run did something"

    store = tracking.connect(project, "things")
    evidence = versions.version_evidence(store, "things", 1)
    assert evidence.primary == "map" and set(evidence.classes) == set(NAMES)
    assert evidence.figures["map50"].value > 0.6

    mlflow.set_tracking_uri(store.uri)
    served = mlflow.pyfunc.load_model("models:/things@staging")
    random = np.random.default_rng(1)
    found = there = 0
    for wide in (True, False) * 10:
        picture, boxes = things(random, wide)
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        row = served.predict(pd.DataFrame({"image": [stream.getvalue()]})).iloc[0]
        sides = [row[side] for side in ("left", "top", "right", "bottom")]
        said_boxes = [(label, box) for label, *box in zip(row["label"], *sides, strict=True)]
        for _, (left, top, right, bottom) in said_boxes:
            assert 0 <= left <= right <= picture.width and 0 <= top <= bottom <= picture.height
        there += len(boxes)
        found += sum(
            any(name == NAMES[label] and np.abs(np.subtract(box, truth)).max() < 4.0 for name, box in said_boxes[:6])
            for label, *truth in boxes
        )
    assert found > 0.6 * there  # in the request's own pixels
