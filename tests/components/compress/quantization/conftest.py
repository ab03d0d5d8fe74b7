"""One small graph that can be computed by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper


@pytest.fixture(scope="session")
def graph() -> onnx.ModelProto:
    """Image → depthwise convolution with a bias → Gemm without one."""
    random = np.random.default_rng(0)
    constants = {
        "kernel": random.normal(size=(3, 1, 3, 3)),
        "bias": random.normal(size=3),
        "matrix": random.normal(size=(5, 48)),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["pixels"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["pixels", "kernel", "bias"], ["maps"], "conv", group=3),
        helper.make_node("Flatten", ["maps"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix"], ["embedding"], "gemm", transB=1),
    ]
    values = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    given = helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, ["n", 6, 6, 3])
    made = helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["n", 5])
    model = helper.make_model(
        helper.make_graph(nodes, "test", [given], [made], values), opset_imports=[helper.make_opsetid("", 20)]
    )
    model.ir_version = 10
    return model
