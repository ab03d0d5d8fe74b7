from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

from components.export.resizing import any_size


def resizer(folder: Path, channels: int, side: int = 28) -> onnxruntime.InferenceSession:
    """A graph that gives back the image it was given, with the resizing in front of it."""
    shape = ["batch", side, side, channels]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["seen"])],
        "identity",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("seen", TensorProto.UINT8, shape)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), folder / "a.onnx")
    any_size(folder / "a.onnx", folder / "b.onnx")
    return onnxruntime.InferenceSession(folder / "b.onnx", providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_size_are_seen_as_the_training_data_was_prepared(channels: int, tmp_path: Path) -> None:
    session = resizer(tmp_path, channels)
    random = np.random.default_rng(0)
    for height, width in ((30, 41), (20, 17), (56, 56), (100, 130), (160, 90)):
        # noise is the hardest: every pixel counts
        images = random.integers(0, 256, (2, height, width, channels), dtype=np.uint8)
        (seen,) = session.run(None, {"image": images})
        for image, mine in zip(images, seen, strict=True):
            picture = Image.fromarray(image if channels == 3 else image[..., 0])
            theirs = np.asarray(picture.resize((28, 28), Image.Resampling.BILINEAR, reducing_gap=3.0))
            assert np.abs(theirs.reshape(mine.shape).astype(int) - mine.astype(int)).max() <= 1, (height, width)


def test_images_of_the_right_size_pass_unchanged(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), dtype=np.uint8)
    (seen,) = resizer(tmp_path, 1).run(None, {"image": images})
    np.testing.assert_array_equal(seen, images)
