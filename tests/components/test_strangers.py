"""Other people's pictures, whole and damaged: each is read, or refused in one sentence, within a gigabyte and 20 s.

CONVOY_STRANGERS names a folder of such (Pillow's `Tests/images`, pydicom's test files); a few are made here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
SEVERAL = 200  # files a process
MEGABYTES, SECONDS = 1024, 20


def looked_at(files: list[Path]) -> Iterator[dict[str, Any]]:
    """What the child says of each; it is started anew behind a file over which it has ended."""
    names = [str(path) for path in files]
    while names:
        some = names[:SEVERAL]
        done = subprocess.run(
            [sys.executable, "-m", "tests.components.strangers", *some],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        said = [json.loads(line) for line in done.stdout.splitlines()]
        yield from (each for each in said if "done" in each)
        begun = [each["begun"] for each in said if "begun" in each]
        if done.returncode:
            yield {"done": begun[-1] if begun else some[0], "ended": done.returncode, "says": done.stderr[-300:]}
        names = names[len(begun) if done.returncode == 0 or begun else 1 :]


def wrong(each: dict[str, Any]) -> bool:
    if "ended" in each:
        return True
    sentence = each["refused"] is None or (0 < len(each["refused"]) < 300 and "\n" not in each["refused"])
    return not sentence or each["megabytes"] > MEGABYTES or each["seconds"] > SECONDS


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured by /proc")
def test_pictures_of_every_kind_are_read_or_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (40, 30, 3)).astype(np.uint8))
    for form in ("png", "jpeg", "webp", "bmp", "gif", "tiff", "ppm", "jp2", "avif"):
        path = tmp_path / f"whole.{form}"
        picture.save(path)
        content = bytearray(path.read_bytes())
        (tmp_path / f"short.{form}").write_bytes(content[: len(content) // 2])
        content[len(content) // 3 :: 97] = b"\xff" * len(content[len(content) // 3 :: 97])
        (tmp_path / f"spoilt.{form}").write_bytes(content)
    (tmp_path / "program.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n{} loop\n")
    said = list(looked_at(sorted(tmp_path.iterdir())))
    assert [each for each in said if wrong(each)] == []
    refused = {Path(each["done"]).name for each in said if each["refused"]}
    assert not {name for name in refused if name.startswith("whole")}
    assert {"program.png", "short.png", "short.jpeg", "short.bmp"} <= refused
    assert len(said) == 28


@pytest.mark.slow
def test_a_folder_of_other_peoples_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    if not (folder := os.environ.get("CONVOY_STRANGERS")):
        pytest.skip("CONVOY_STRANGERS names no folder")
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    said = list(looked_at(files))
    assert len(said) == len(files)
    with capsys.disabled():
        read = sum("ended" not in each and each["refused"] is None for each in said)
        print(f"\n{len(files)} files: {read} read, {len(files) - read} refused")
    assert [each for each in said if wrong(each)] == []
