"""Outlines from anywhere: a mask of the picture's size, or a sentence; never the end of the process.

`pycocotools` is C code without checks, so what is tried on it runs in a process of its own, which must survive.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coding

from components.data.sources.annotations import outlines

ROOT = Path(__file__).parents[4]
SIZE = (40, 30)
TRIES = 1500
# Reads segmentations, a line each, and says of each what it is: `mask` with its area, or `fault` with its kind.
DOOR = """
import json, sys
from components.data.sources.annotations import outlines
size = tuple(json.loads(sys.argv[1]))
for line in sys.stdin:
    outline = outlines.parse(json.loads(line))
    fault = outline and outlines.fault(outline, size, "here")
    if outline is None or fault:
        print("fault", json.dumps(fault.says if fault else "no outline"), flush=True)
        continue
    coded = outlines.coded(outline, size)
    drawn = outlines.draw([(coded, 1)], size, 0)
    assert drawn.shape == size[::-1] and int(drawn.sum()) == outlines.area(coded)
    print("mask", int(drawn.sum()), flush=True)
"""


def _answers(segmentations: list[Any], size: tuple[int, int] = SIZE, memory: int | None = None) -> list[list[str]]:
    """What a process of its own makes of them, `memory` bytes being all it may have."""
    command = [sys.executable, "-c", DOOR, json.dumps(size)]
    if memory is not None:
        command = ["/bin/sh", "-c", f'ulimit -v {memory // 1024}; exec "$@"', "sh", *command]
    text = "\n".join(map(json.dumps, segmentations))
    done = subprocess.run(command, input=text, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    answers = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert len(answers) == len(segmentations)
    return answers


ODD = [
    1e300,
    -1e300,
    1e18,
    -1e9,
    2**31,
    2**32,
    2**63,
    10**400,
    0.5,
    -0.0,
    -3,
    -3.01,
    43,
    43.01,
    None,
    True,
    "7",
    [],
    {},
]


def _mutated(random: np.random.Generator) -> Any:
    """A segmentation that is right, or was: some of its numbers, letters, lengths and types are others."""
    width, height = SIZE
    kind = random.integers(3)
    if kind == 0:
        outline: Any = [
            [float(value) for value in random.uniform(-1, [width, height] * int(random.integers(2, 12)))]
            for _ in range(random.integers(1, 4))
        ]
        for _ in range(random.integers(0, 3)):
            polygon = outline[random.integers(len(outline))]
            polygon[random.integers(len(polygon))] = ODD[random.integers(len(ODD))]
        return outline
    mask = np.asfortranarray(random.integers(0, 2, (height, width), dtype=np.uint8))
    counts: Any = coding.encode(mask)["counts"].decode()
    if kind == 1:
        letters = list(counts[: random.integers(1, len(counts) + 1)] if random.random() < 0.3 else counts)
        for _ in range(random.integers(0, 3)):
            letters[random.integers(len(letters))] = chr(random.choice([0, 47, 48, 79, 80, 111, 112, 255, 0x20AC]))
        counts = "".join(letters)
    else:
        flat = mask.ravel(order="F")
        edges = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
        counts = np.diff(np.concatenate([[0], edges]) if flat[0] else edges).tolist()
        for _ in range(random.integers(0, 3)):
            counts[random.integers(len(counts))] = ODD[random.integers(len(ODD))]
    size = [height, width] if random.random() < 0.9 else [ODD[random.integers(len(ODD))], width]
    return {"size": size, "counts": counts}


def test_mutated_segmentations_are_masks_of_the_right_size_or_faults() -> None:
    random = np.random.default_rng(0)
    tried = [_mutated(random) for _ in range(TRIES)]
    answers = [kind for kind, _ in _answers(tried)]
    assert min(answers.count("mask"), answers.count("fault")) > TRIES / 5  # both doors were tried


def test_what_is_drawn_is_what_pycocotools_draws_of_sound_outlines() -> None:
    random = np.random.default_rng(1)
    width, height = SIZE
    for _ in range(100):
        polygons = [random.uniform(0, [width, height] * 5).tolist() for _ in range(2)]
        outline = outlines.parse(polygons)
        assert outline is not None and outlines.fault(outline, SIZE, "here") is None
        expected = coding.decode(coding.merge(coding.frPyObjects(polygons, height, width)))
        assert (coding.decode(outlines.coded(outline, SIZE)) == expected).all()


def test_points_a_little_outside_are_cut_off_at_the_edge() -> None:
    # given an outline that reaches over every edge by what tools allow
    outline = outlines.parse([[-3, -3, 43, -3, 43, 33, -3, 33]])
    assert outline is not None and outlines.fault(outline, SIZE, "here") is None
    assert (coding.decode(outlines.coded(outline, SIZE)) == 1).all()
    # and one that ends inside on one side: as Pillow, cutting it off, draws it to half a pixel
    outline = outlines.parse([[-2.5, 5, 20, 5, 20, 25, -2.5, 25]])
    assert outline is not None and outlines.fault(outline, SIZE, "here") is None
    canvas = Image.new("1", SIZE)
    ImageDraw.Draw(canvas).rectangle([-3, 5, 19, 24], fill=1)
    assert (coding.decode(outlines.coded(outline, SIZE)).astype(bool) == np.asarray(canvas)).all()


@pytest.mark.parametrize("unit", ["shares", "percent"])
def test_polygons_in_shares_are_those_in_pixels(unit: Any) -> None:
    full = {"shares": 1, "percent": 100}[unit]
    points = [4, 6, 32, 6, 32, 24]
    scaled = [value * full / side for value, side in zip(points, [*SIZE] * 3, strict=True)]
    plain, other = outlines.parse([points]), outlines.parse([scaled])
    assert plain is not None and other is not None
    found = outlines.coded(other.in_pixels(SIZE, unit), SIZE)
    assert (coding.decode(found) == coding.decode(outlines.coded(plain, SIZE))).all()


def test_what_a_few_bytes_say_takes_no_gigabytes() -> None:
    size = (3000, 3000)
    zigzag = [value for number in range(100) for value in (3000 * (number % 2), number * 30)]
    tried: list[Any] = [
        [zigzag],  # 300,000 pixels long: drawn
        [zigzag * 4],  # longer than any outline
        [[0, 0, 2999, 0, 2999, 2999]] * 500,  # as is this
        {"size": [3000, 3000], "counts": [9_000_000]},
        {"size": [3000, 3000], "counts": [0] * 100_000 + [9_000_000]},
        {"size": [10**9, 10**9], "counts": [10**18]},
        {"size": [3000, 3000], "counts": "o" * 1_000_000},
        [[0, 0, 1e300, 0, 5, 5]],
    ]
    kinds = [kind for kind, _ in _answers(tried, size, memory=2 * 2**30)]
    assert kinds == ["mask", "fault", "fault", "mask", "mask", "fault", "fault", "fault"]
