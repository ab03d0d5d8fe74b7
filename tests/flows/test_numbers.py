"""A stranger's table with a column of numbers goes the whole way, from the check to a version that answers in units."""

from __future__ import annotations

import base64
import csv
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from components.registry import versions
from components.registry.memory import tracking
from flows.processes.prefect_server import free_port

COUNT = 240


def coins(folder: Path) -> Path:
    """Pictures of one disc each, and a table of what it weighs: 2 to 12 g, by its area, with one slip of the pen."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(COUNT):
        grams = float(random.uniform(2.0, 12.0))
        radius = 1.8 * np.sqrt(grams)
        x, y = random.uniform(radius, 24 - radius, 2)
        picture = Image.fromarray(random.integers(0, 40, (24, 24)).astype(np.uint8))
        ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), fill=200)
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        picture.save(folder / "pictures" / f"{number:03d}.png")
        told = -999 if number == 7 else round(grams, 2)
        rows.append([f"pictures/{number:03d}.png", told, ("north", "south")[number % 2]])
    with (folder / "coins.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "grams", "group_mint"], *rows])
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_column_of_numbers_becomes_a_staged_version_without_a_line_of_code(project: Path, tmp_path: Path) -> None:
    from flows.cli import app

    def convoy(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "110"})
        assert done.exit_code == code, f"{arguments}: {done.output}"
        return done.output

    place = str(coins(tmp_path / "coins"))

    checked = convoy("data", "check", place)
    assert f"{COUNT} with grams" in checked
    assert "1 label-noise" in checked and "grams is -999" in checked
    added = convoy("data", "add", "coins", place, "-S", "numbers={grams: g}", "-S", "checks.label_noise=drop")
    assert "convoy run -r coins" in added
    entry = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))["datasets"]["coins"]
    assert (entry["task"], entry["source"]["numbers"]) == ("regression", {"grams": "g"})

    settings = {
        "members.epochs": "10",
        "student.epochs": "10",
        "training.cpus_per_worker": "1",
        "evaluate.bootstrap": "200",
    }
    settings |= {"gates.floor.limit": "0.3", "gates.ceiling.limit": "0.5", "training.batch_size": "16"}
    options = [word for key, value in settings.items() for word in ("-S", f"{key}={value}")]
    command = ["run", "-r", "digits-measure", "-S", "dataset=coins", "-S", "model=coins", *options]
    said = convoy(*command)
    assert "coins version 1 is staging" in said
    assert "rmse" in said and " g" in said
    assert {"member-0", "member-1", "ensemble", "student", "artifact"} <= set(said.split())
    assert "log loss" not in said and "calibration" not in said
    assert "Nothing new" in convoy(*command), "a second run did something"

    store = tracking.connect(project, "coins")
    evidence = versions.version_evidence(store, "coins", 1)
    assert evidence.primary == "rmse" and evidence.figures["rmse"].unit == "g"
    assert evidence.figures["rmse"].value < 2.0  # of 2.9 g by which they differ
    assert {row.group for row in evidence.groups if row.column == "group_mint"} == {"north", "south"}
    assert "with grams (g)" in versions.version_card(store, "coins", 1)

    answer = served(project, store.uri, (tmp_path / "coins" / "pictures" / "003.png").read_bytes())
    assert answer["units"] == {"grams": "g"}
    assert set(answer["values"]) == {"grams"}
    assert answer["low"]["grams"] <= answer["high"]["grams"]
    assert 0.0 < answer["values"]["grams"] < 15.0


def served(project: Path, uri: str, picture: bytes) -> dict[str, Any]:
    """What `mlflow models serve` answers for one picture, over HTTP."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/coins@staging"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri}
    with (project / "served.txt").open("wb") as output:
        server = subprocess.Popen(
            [*command, "--env-manager", "local", "-p", str(port)],
            cwd=project,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    body = json.dumps({"dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(picture).decode()]]}})
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body.encode(), {"Content-Type": "application/json"}
    )
    try:
        limit = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 — our own address
                    (answer,) = json.load(response)["predictions"]
                    return dict(answer)
            except urllib.error.URLError:
                assert server.poll() is None and time.monotonic() < limit, (project / "served.txt").read_text()
                time.sleep(0.5)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
