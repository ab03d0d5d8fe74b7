"""What a network's last layer gives."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, model_validator


class Head(BaseModel):
    """`outputs` numbers in a form that a family of networks must give, and the units that they are in.

    With `mean` and `std`, a value per output, the layer's own numbers are multiplied by `std` and `mean` is added: it
    learns what has mean 0 and deviation 1, and gives what people measure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gives: str  # "vector", (N, K); "map", (N, K, H, W); "sequence", (N, K, L); or what only some families give
    outputs: int  # K
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _a_value_per_output(self) -> Head:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if (values and len(values) != self.outputs) or bool(self.mean) != bool(self.std):
                raise ValueError(f"head.{name}: expected {self.outputs} values, received {len(values)}")
        return self

    def said(self, classes: int) -> Head | None:
        """What `model.json` keeps of it: nothing of a number per class, which every family gives in its own form."""
        return None if (self.outputs, self.mean) == (classes, ()) else self
