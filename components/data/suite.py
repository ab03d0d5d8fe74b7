"""What every prepared data set must hold to, whatever its task: expectations by the names of Great Expectations.

An `error` stops the line; a `warning` is recorded and the line goes on. The rows they speak of are those of
`validation.facts` and `validation.counts`.
"""

from __future__ import annotations

from components.artifacts import SPLITS
from components.config import ImageDeclaration
from components.data.images import MODE
from components.tasks.protocol import Expectation

# Below this many samples of a class in a split, one sample moves that class's recall by more than ten points.
FEW_SAMPLES = 10


def of_samples(image: ImageDeclaration, target: str) -> list[Expectation]:
    """About the table with a row a sample; `target` is what the task learns from, `class` or `mask`."""
    mode = MODE[image.channels]
    resize = "set `image.resize: true` to convert, or correct `image:` in params.yaml"
    return [
        _holds("id", "ExpectColumnValuesToNotBeNull", {}, "every sample has an id"),
        _holds("id", "ExpectColumnValuesToBeUnique", {}, "ids are unique"),
        _holds("split", "ExpectColumnValuesToBeInSet", {"value_set": list(SPLITS)}, "every sample is in a known split"),
        _holds("target_kind", "ExpectColumnValuesToBeInSet", {"value_set": [target]}, f"targets are a {target} each"),
        _holds("target", "ExpectColumnValuesToNotBeNull", {}, "every sample has a target that can be read"),
        _holds("decodable", "ExpectColumnValuesToBeInSet", {"value_set": [True]}, "every image can be decoded"),
        _between("width", image.width, image.width, f"every image is {image.width} pixels wide ({resize})"),
        _between("height", image.height, image.height, f"every image is {image.height} pixels high ({resize})"),
        _holds("mode", "ExpectColumnValuesToBeInSet", {"value_set": [mode]}, f"every image has mode {mode} ({resize})"),
        _between("mean", 0.0, 1.0, "mean brightness lies in [0, 1]"),
        _between("std", 0.0, 0.5, "contrast lies in [0, 0.5]"),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "std", "min_value": 0.0, "strict_min": True},
            "warning",
            "no image is of one constant value",
        ),
        # Leakage: a figure measured on such a sample is a memory, not a skill. Fashion-MNIST's published splits share
        # none (exact pixels, counted over all 70,000), nor do scikit-learn's digits, so nothing is tolerated.
        _between("splits_with_same_pixels", 1, 1, "no image is in two splits"),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "copies_in_split", "max_value": 1},
            "warning",
            "no image is twice in one split",
        ),
    ]


def of_counts() -> list[Expectation]:
    """About the table with a row a split and class."""
    return [
        _between("samples", 1, None, "every class is in every split"),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "samples", "min_value": FEW_SAMPLES},
            "warning",
            f"every class has at least {FEW_SAMPLES} samples in every split",
        ),
    ]


def _holds(column: str, kind: str, arguments: dict[str, object], says: str) -> Expectation:
    return Expectation(kind, {"column": column, **arguments}, "error", says)


def _between(column: str, least: float | None, most: float | None, says: str) -> Expectation:
    limits = {"min_value": least, "max_value": most}
    given: dict[str, object] = {key: value for key, value in limits.items() if value is not None}
    return _holds(column, "ExpectColumnValuesToBeBetween", given, says)
