from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts import Model
from components.export.bench import targets
from components.export.bench.energy import meter
from components.export.bench.fresh import FreshError, start
from components.export.bench.measure import STRETCH, _pace, measure
from components.export.errors import CompressionError
from components.export.formats import Source, write
from components.runtimes.execution import Shape


def sleeping(seconds: float) -> Any:
    def answer(images: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(seconds)
        return {"probabilities": images}

    return answer


def test_known_times_are_measured_call_by_call() -> None:
    images = np.zeros((4, 2, 2, 1), dtype=np.uint8)
    quick, slow = _pace({"quick": sleeping(0.005), "slow": sleeping(0.02)}, images, 1, 2, None)
    assert (quick.runtime, slow.runtime, quick.batch, quick.millijoules) == ("quick", "slow", 4, None)
    for pace, known in ((quick, 5.0), (slow, 20.0)):
        assert known <= pace.p50_ms <= pace.p90_ms <= pace.p99_ms
        assert pace.p50_ms < known * 3
        assert pace.images_per_second == pytest.approx(4000 / pace.p50_ms, rel=0.5)
    assert slow.calls <= 2 * (STRETCH / 0.02 + 1)


def test_one_model_is_measured_in_every_engine_that_reads_it(exported: Model, tmp_path: Path) -> None:
    target = targets.of_model(exported, None, [], tmp_path)
    assert set(target.files) == {"onnxruntime", "openvino", "pytorch"}
    assert "convoy export MODEL --format executorch" in target.left_out["executorch"]
    done = measure(
        target.files, target.shape, artifact=target.artifact, machine="m", batches=(1, 8), rounds=1, cold=False
    )
    assert [(pace.batch, pace.runtime) for pace in done.pace] == [
        (batch, name) for batch in (1, 8) for name in ("onnxruntime", "openvino", "pytorch")
    ]
    assert type(done).model_validate_json(done.to_json()) == done


def test_an_exported_file_is_measured_by_its_signature(exported: Model, tmp_path: Path) -> None:
    file = write(Source(exported), "openvino", tmp_path / "out")
    target = targets.of_file(file, [])
    assert list(target.files) == ["openvino"]
    assert target.shape == Shape((8, 8, 1), "uint8")
    with pytest.raises(CompressionError, match=r"onnxruntime: it reads a file \*\.onnx"):
        targets.of_file(file, ["onnxruntime"])
    (file.parent / "signature.json").unlink()
    with pytest.raises(CompressionError, match=r"signature\.json: expected the input's shape"):
        targets.of_file(file, [])


def test_a_cold_start_is_that_of_the_engine_alone(exported: Model) -> None:
    began = start("onnxruntime", exported.onnx, 1, Shape((8, 8, 1), "uint8"), 64)
    assert 0 < began.load_seconds + began.answer_seconds < began.seconds
    # PyTorch alone holds more: neither it nor this process is counted.
    assert 20 * 2**20 < began.peak_bytes < 200 * 2**20
    program = "import sys, components.export.bench.process; print('torch' in sys.modules, 'pyarrow' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[4]
    )
    assert told.stdout.split() == ["False", "False"]


def test_a_file_that_does_not_open_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(FreshError, match=r"onnxruntime: expected an answer of .*model\.onnx"):
        start("onnxruntime", tmp_path / "model.onnx", 1, Shape((8, 8, 1), "uint8"), 1)


def counter(root: Path, package: str, microjoules: int, most: int = 1_000_000_000) -> Path:
    folder = root / package
    folder.mkdir(parents=True)
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    return folder / "energy_uj"


def test_energy_is_the_sum_of_the_packages_and_survives_a_counter_that_starts_again(tmp_path: Path) -> None:
    one = counter(tmp_path, "intel-rapl:0", 999_000_000)
    two = counter(tmp_path, "intel-rapl:1", 5_000_000)
    counter(tmp_path, "intel-rapl:0:0", 7)  # a part of the first
    found = meter(watts=10.0, powercap=tmp_path)
    assert found is not None and found.basis == "counters"
    before = found.read()
    one.write_text("1000000\n")  # 1 J to the end and 1 J from the start
    two.write_text("8000000\n")
    assert found.since(before) == pytest.approx(5.0)


def test_without_counters_energy_is_an_estimate_or_nothing(tmp_path: Path) -> None:
    assert meter(None, tmp_path) is None
    found = meter(20.0, tmp_path)
    assert found is not None and found.basis == "estimate"
    before, cpu = found.read(), time.process_time()
    while time.process_time() - cpu < 0.05:
        sum(range(1000))
    spent = time.process_time() - cpu
    assert found.since(before) == pytest.approx(spent * 20.0, rel=0.2)
