"""Which way what a picture shows is turned: an angle, of which a network says the cosine and the sine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from components.artifacts import DatasetCard, Head, Predictions
from components.metrics import errors
from components.metrics.metric import Metric
from components.models.forms import VECTOR
from components.targets import angle
from components.tasks.answers import Answers
from components.tasks.protocol import Batch, Columns, Output, TaskSpec

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float64]

CLOSE = 15.0  # degrees


class Direction:
    """Regression on a circle."""

    spec = TaskSpec(
        name="direction",
        target=angle.TARGET.name,
        outputs=(Output("angle", (), "float32", measured=True),),
        written="angle",
        metrics=(
            Metric("angular_error", "less", "°", "mean angle between answer and truth; less is better"),
            Metric("close", says=f"share of the answers within {CLOSE:g}° of the truth"),
        ),
    )
    gives = VECTOR

    def head(self, card: DatasetCard) -> Head:
        """Two numbers, whose length says nothing."""
        return Head(gives=self.gives, outputs=2)

    def loss(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        """1 − cos of the angle between answer and truth, mean over the samples; 0 where there is none."""
        import torch
        import torch.nn.functional as F

        if not len(outputs):
            return {"loss": outputs.float().sum() * 0.0}
        truth = torch.deg2rad(batch.targets)
        answered = F.normalize(outputs.float(), dim=1)
        return {"loss": (1.0 - answered[:, 0] * truth.cos() - answered[:, 1] * truth.sin()).mean()}

    def answer(self, outputs: Tensor) -> dict[str, Tensor]:
        """`(N, 2)` → `angle` (N,) float32, from -180 to 180 degrees."""
        import torch

        return {"angle": torch.rad2deg(torch.atan2(outputs[:, 1].float(), outputs[:, 0].float()))}

    def difference(self, one: Answers, other: Answers) -> Floats:
        """The angle between the two, in parts of half a turn."""
        return apart(one["angle"], other["angle"]) / 180.0

    def rows(self, answer: Mapping[str, npt.NDArray[Any]], targets: npt.NDArray[Any]) -> Columns:
        return {"target": targets.astype(np.float64), "prediction": answer["angle"].astype(np.float64)}

    def measure(self, predictions: Predictions, weights: Floats) -> dict[str, Floats]:
        gap = apart(*(predictions.table.column(name).to_numpy() for name in ("target", "prediction")))
        close = (gap <= CLOSE).astype(np.float64)
        return {"angular_error": errors.mean(gap, weights), "close": errors.mean(close, weights)}


TASK = Direction()


def apart(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> Floats:
    """`(N,)`: the angle between two directions, 0 to 180 degrees."""
    turned: Floats = np.abs((one.astype(np.float64) - other + 180.0) % 360.0 - 180.0)
    return turned
