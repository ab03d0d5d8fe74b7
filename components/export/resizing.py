"""A graph for images of one size → the same graph for images of any size: a `Resize` in front of it.

The exact graph stays as it is, for what the pipeline has measured is that one, and it is what most requests are for.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from components.export.errors import CompressionError

INPUT, FITTED = "image", "image_fitted"


def any_size(source: Path, target: Path) -> None:
    """Write `target`: input `image` uint8 (N, H, W, C) of any H and W, brought to the graph's own size first.

    The resampling is the one by which the data was prepared (`components.decoding`): Pillow's bilinear filter, whose
    support widens where an image shrinks and ends at the border. Images of the graph's own size pass unchanged; others
    differ from Pillow's by one of 255 levels at most, as long as they shrink less than six times on a side: from there
    on Pillow averages whole pixels first (`reducing_gap`), and single ones differ by more.

    A batch is of one size. Raises CompressionError where the source has no fixed size, or is for images that are not
    stretched.
    """
    model = onnx.load(source)
    graph = model.graph
    known = {prop.key: prop.value for prop in model.metadata_props}
    if (fit := json.loads(known.get("input", "{}")).get("fit", "stretch")) != "stretch":
        raise CompressionError(
            f"{source}: a graph for any size stretches images, and this one was made for `image.fit: {fit}`; export it "
            "for its own size, and bring images there as `components.decoding` does"
        )
    (entry,) = graph.input
    _, height, width, channels = (dimension.dim_value for dimension in entry.type.tensor_type.shape.dim)
    if entry.name != INPUT or not (height and width):
        raise CompressionError(f"{source}: expected an input `{INPUT}` of a fixed height and width, found {entry.name}")
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == INPUT:
                node.input[place] = FITTED
    # On the bytes themselves, so that it rounds where Pillow does. `exclude_outside` renormalises at the border, as it.
    fitting = [
        helper.make_node("Shape", [INPUT], ["image_count"], name="count", start=0, end=1),
        helper.make_node("Concat", ["image_count", "image_size"], ["image_sizes"], name="sizes", axis=0),
        helper.make_node(
            "Resize", [INPUT, "", "", "image_sizes"], [FITTED], "fit", mode="linear", antialias=1, exclude_outside=1
        ),
    ]
    graph.initializer.append(numpy_helper.from_array(np.array([height, width, channels], np.int64), "image_size"))
    for place, node in enumerate(fitting):
        graph.node.insert(place, node)
    entry.CopyFrom(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", "height", "width", channels]))
    said = {**json.loads(known.get("input", "{}")), "any_size": True}
    del model.metadata_props[:]
    helper.set_model_props(model, {**known, "input": json.dumps(said)})
    onnx.checker.check_model(model)
    onnx.save(model, target)
