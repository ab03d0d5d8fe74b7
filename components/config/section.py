"""What every part of the configuration is: frozen, typed, digested, and deaf to keys it does not know."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from components import texts

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]

# Whole numbers have an upper bound each: a slip of the keyboard is refused at once, instead of filling the memory once
# the pipeline has begun. The bounds are far above what anybody has been seen to need.
Few = Annotated[int, Field(ge=1, le=1_000)]  # trainings, rounds, workers, threads
Many = Annotated[int, Field(ge=1, le=10_000_000)]  # samples
Epochs = Annotated[int, Field(ge=1, le=100_000)]
Batch = Annotated[int, Field(ge=1, le=2**20)]  # samples at once
Side = Annotated[int, Field(ge=1, le=2**16 - 1)]  # pixels, channels
Failures = Annotated[int, Field(ge=0, le=1_000)]  # after which something is given up
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what every library takes


UNSHOWN = "unshown"  # type of a mistake (`PydanticCustomError`) whose value may be a secret
# A context of `model_dump`: files are told by their digests and not by their places, so that what is keyed by a section
# is found again in a project that was moved.
BY_CONTENT = {"by": "content"}


class ConfigurationError(ValueError):
    """Everything that is wrong with the configuration, one line per key."""

    def __init__(self, message: str) -> None:
        super().__init__(texts.printable(message))


class Section(BaseModel):
    """A frozen part of the configuration that refuses keys it does not know."""

    # NaN is neither above nor below a limit: a gate with one would never close.
    # Schemas are built when they are first used: `convoy --help` needs none.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    def digest(self) -> str:
        """SHA-256 of the section's canonical JSON: equal sections have equal digests."""
        content = self.model_dump(mode="json", context=BY_CONTENT)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def ascending(limits: tuple[float, float]) -> tuple[float, float]:
    """A validator: the lesser of two limits first."""
    if limits[0] > limits[1]:
        raise ValueError("the lesser of two limits first")
    return limits


def different(names: tuple[str, ...]) -> tuple[str, ...]:
    """A validator: no name twice."""
    if len(set(names)) != len(names):
        raise ValueError("names that differ from each other")
    return names
