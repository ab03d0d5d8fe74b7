"""Objects, the best first: of each its class, its score and its box in pixels of the request's own picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OUTPUTS = ("boxes", "scores", "labels", "valid")
SIDES = ("left", "top", "right", "bottom")
COLUMNS = {"label": "list of string", "score": "list of double", **dict.fromkeys(SIDES, "list of double")}


def write(answer: Sequence[Any], place: Any, card: Mapping[str, Any]) -> dict[str, Any]:
    """`(K, 4)` boxes in pixels of the network's picture, `(K,)` scores, labels and which are valid → a row of lists.

    `place` takes points back into the image's own pixels. All lists are empty where nothing was found.
    """
    *found, valid = answer
    boxes, scores, labels = (each[valid] for each in found)
    own = [(*place.back(left, top), *place.back(right, bottom)) for left, top, right, bottom in boxes.tolist()]
    return {
        "label": [card["classes"][label] for label in labels.tolist()],
        "score": scores.tolist(),
        **{side: [box[number] for box in own] for number, side in enumerate(SIDES)},
    }
