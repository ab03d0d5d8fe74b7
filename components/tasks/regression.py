"""One number a sample, or several, in their units, each with an interval that is meant to hold nine truths in ten."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from components.artifacts import DatasetCard, Head, Predictions
from components.metrics import errors
from components.metrics.metric import Metric
from components.models.forms import VECTOR
from components.targets import values
from components.tasks import linear
from components.tasks.answers import Answers
from components.tasks.capabilities import Compared, Loss, Told
from components.tasks.protocol import Batch, Columns, Output, TaskSpec

if TYPE_CHECKING:
    from torch import Tensor

    from components.models.ensemble import Fuses

Floats = npt.NDArray[np.float64]

INTERVAL = 0.9  # share of the truths that an interval is meant to hold, as many missed below it as above
NORMAL = 1.6448536269514722  # deviations from the mean within which a normal distribution has that share
SIGMA = "σ"  # unit of errors of several values together: each in deviations of its own over the training split
HUBER = 0.5  # deviations: from there on an error counts linearly (Huber 1964)
INTERVAL_WEIGHT = 0.1  # of the interval's loss beside the value's, of which the features are to be
LEAST_DEVIATION = 1e-3  # of the normal distribution that the Gaussian loss is of, in deviations of the targets
LOSSES = {
    "squared": "squared error, for the mean",
    "absolute": "absolute error, for the median",
    "huber": "squared for small errors and absolute for large ones, so that wrong labels count little",
    "gaussian": "likelihood of a normal distribution, whose deviation is the interval's",
    "quantile": "pinball loss at 5, 50 and 95 %, in equal parts",
}

ERRORS = ("root mean square of the errors", "mean of the errors' sizes")


@dataclass(frozen=True)
class Regression:
    """Numbers in their units, with intervals."""

    target: Mapping[str, Any] = field(default_factory=dict)  # what the data's card says of its values
    gives: ClassVar[str] = VECTOR
    losses: ClassVar[Mapping[str, str]] = LOSSES
    fuses: ClassVar[Fuses] = "numbers"
    combiners: ClassVar[frozenset[str]] = frozenset({"soft", "weighted", "stacking", "soup"})

    def bound(self, target: Mapping[str, Any]) -> Regression:
        return Regression(target)

    @cached_property
    def values(self) -> values.Record:
        """Names, units and scales; raises ValidationError for a task that is bound to no data."""
        return values.Record.model_validate(dict(self.target))

    @cached_property
    def spec(self) -> TaskSpec:
        """Of one value, in its unit; of several, in deviations, and of each in its own."""
        named = list(zip(self.values.names, self.values.units, strict=True)) if self.target else []
        unit = SIGMA if len(named) > 1 else next((unit for _, unit in named), "")
        said = ", in deviations of each value over the training split" if len(named) > 1 else ""
        several = named if len(named) > 1 else []
        return TaskSpec(
            name="regression",
            target=values.TARGET.name,
            outputs=tuple(Output(name, ("values",), "float32", measured=True) for name in ("value", "low", "high")),
            written="values",
            metrics=(
                Metric("rmse", "less", unit, f"{ERRORS[0]}{said}; less is better"),
                Metric("mae", "less", unit, f"{ERRORS[1]}{said}; less is better"),
                Metric("r2", unit="", says="share of the truths' variance that the answers explain"),
                Metric("coverage", says=f"share of the truths inside their interval, meant to be {INTERVAL:.0%}"),
                Metric("coverage_error", "less", says=f"how far that is from {INTERVAL:.0%}; less is better"),
                Metric("interval_width", "less", unit, "mean width of the intervals; less is better"),
                *(
                    Metric(key, "less", own, f"{name}: {says}; less is better")
                    for key, name, own, says in _of_each(several)
                ),
            ),
        )

    def head(self, card: DatasetCard) -> Head:
        """Values, then lower ends, then upper ones; an untrained network says what is known without the picture."""
        known = values.record_of(card)
        mean, std = np.array(known.mean), np.array(known.std)
        begin = np.concatenate([mean, mean - NORMAL * std, mean + NORMAL * std])
        return Head(gives=self.gives, outputs=len(begin), mean=tuple(begin.tolist()), std=known.std * 3)

    # -- learnt -------------------------------------------------------------------------------------------------------

    def loss(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        """The squared error; there is nothing to be smoothed."""
        return _mean(partial(self._each, "squared"), outputs, batch)

    def named_loss(self, name: str) -> Loss:
        """One of `losses`."""
        if name not in self.losses:
            raise ValueError(f"loss: expected one of {', '.join(self.losses)}, received {name!r}")
        return partial(_mean, partial(self._each, name))

    def each(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
        return self._each("squared", outputs, batch)

    def distillation_loss(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Squared distance in deviations, of values and of intervals' ends; a temperature means nothing to numbers."""
        gap = self._standard(student) - self._standard(teacher)
        return gap.square().mean() if gap.numel() else gap.sum()

    def _each(self, name: str, outputs: Tensor, batch: Batch) -> Tensor:
        """`(N,)` in deviations, mean over the values."""
        import torch.nn.functional as F

        mean, std = self._scale(outputs)
        truth = (batch.targets.float() - mean) / std
        value, low, high = self._standard(outputs).unbind(dim=1)
        tail = (1.0 - INTERVAL) / 2
        ends = _pinball(truth - low, tail) + _pinball(truth - high, 1.0 - tail)
        match name:
            case "gaussian":
                width = (high - low) / (2 * NORMAL)
                deviation = (width.square() + LEAST_DEVIATION**2).sqrt()
                loss = ((truth - value) / deviation).square() / 2 + deviation.log()
            case "quantile":
                loss = _pinball(truth - value, 0.5) + ends
            case "absolute":
                loss = (truth - value).abs() + INTERVAL_WEIGHT * ends
            case "huber":
                loss = F.huber_loss(value, truth, reduction="none", delta=HUBER) + INTERVAL_WEIGHT * ends
            case _:
                loss = (truth - value).square() + INTERVAL_WEIGHT * ends
        return loss.mean(dim=1)

    def _scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the targets, `(K,)`, where `like` is."""
        import torch

        mean, std = (torch.tensor(each, dtype=torch.float32) for each in (self.values.mean, self.values.std))
        return mean.to(like.device), std.to(like.device)

    def _standard(self, outputs: Tensor) -> Tensor:
        """`(N, 3·K)` in units → `(N, 3, K)` float32 in deviations from the mean."""
        mean, std = self._scale(outputs)
        return (_parts(outputs.float()) - mean) / std

    # -- answered -----------------------------------------------------------------------------------------------------

    def answer(self, outputs: Tensor) -> dict[str, Tensor]:
        """`(N, 3·K)` → `value`, `low`, `high`, each `(N, K)` float32 in units; the ends in order."""
        value, one, other = _parts(outputs.float()).unbind(dim=1)
        return {"value": value, "low": one.minimum(other), "high": one.maximum(other)}

    def difference(self, one: Answers, other: Answers) -> Floats:
        """The largest difference of a value, in parts of its interval."""
        gap = np.abs(one["value"].astype(np.float64) - other["value"])
        width = one["high"].astype(np.float64) - one["low"]
        parts = np.where(gap == 0.0, 0.0, gap / np.maximum(width, np.finfo(np.float64).tiny))
        largest: Floats = np.minimum(np.nan_to_num(parts, nan=1.0), 1.0).max(axis=1)
        return largest

    def rows(self, answer: Mapping[str, npt.NDArray[Any]], targets: npt.NDArray[Any]) -> Columns:
        told = {"target": targets, "prediction": answer["value"], "low": answer["low"], "high": answer["high"]}
        return {name: each.astype(np.float64).tolist() for name, each in told.items()}

    def told(self, answer: Answers, targets: npt.NDArray[Any]) -> Told:
        """Errors and values of all numbers; a fusion takes them with their intervals, in units."""
        mean, std = np.array(self.values.mean), np.array(self.values.std)
        value = answer["value"].astype(np.float64)
        numbers = np.concatenate([answer["value"], answer["low"], answer["high"]], axis=1).astype(np.float32)
        return Told((value - targets) / std, (value - mean) / std, numbers)

    def fitted(self, features: Any, targets: npt.NDArray[Any], card: DatasetCard) -> Callable[[Any], Answers]:
        """Ridge regression; its intervals are the same for all samples, as wide as its errors over what it learnt."""
        values = linear.ridge(features, targets.astype(np.float64))
        apart = targets - values(features)
        low, high = np.quantile(apart, ((1 - INTERVAL) / 2, (1 + INTERVAL) / 2), axis=0)

        def answer(asked: Any) -> Answers:
            found = values(asked)
            told = {"value": found, "low": found + low, "high": found + high}
            return {name: each.astype(np.float32) for name, each in told.items()}

        return answer

    def compared(self, predictions: Predictions) -> dict[str, Compared]:
        """Of each value, by its name."""
        columns = ("target", "prediction", "low", "high")
        target, prediction, low, high = (_column(predictions, name, len(self.values.names)) for name in columns)
        return {
            name: Compared(unit, target[:, k], prediction[:, k], low[:, k], high[:, k])
            for k, (name, unit) in enumerate(zip(self.values.names, self.values.units, strict=True))
        }

    def measure(self, predictions: Predictions, weights: Floats) -> dict[str, Floats]:
        found: dict[str, list[Floats]] = {}
        each: dict[str, Floats] = {}
        named = list(zip(self.values.names, self.values.units, strict=True))
        scale = self.values.std if len(named) > 1 else (1.0,)
        squares = []
        for std, (name, _), told in zip(scale, named, self.compared(predictions).values(), strict=True):
            gap = told.prediction - told.target
            squares.append(errors.mean((gap / std) ** 2, weights))
            values = {
                "mae": errors.mean_absolute(gap / std, weights),
                "r2": errors.explained(told.target, gap, weights),
                "coverage": errors.coverage(told.target, told.low, told.high, weights),
                "interval_width": errors.mean((told.high - told.low) / std, weights),
            }
            for key, value in values.items():
                found.setdefault(key, []).append(value)
            if len(named) > 1:
                each[f"rmse_{_key(name)}"] = errors.root_mean_square(gap, weights)
                each[f"mae_{_key(name)}"] = errors.mean_absolute(gap, weights)
        over = {key: np.mean(values, axis=0) for key, values in found.items()}
        return {
            "rmse": np.sqrt(np.mean(squares, axis=0)),
            "mae": over["mae"],
            "r2": over["r2"],
            "coverage": over["coverage"],
            "coverage_error": np.abs(over["coverage"] - INTERVAL),
            "interval_width": over["interval_width"],
            **each,
        }


TASK = Regression()


def _mean(each: Callable[[Tensor, Batch], Tensor], outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Of each sample's loss; 0 where there is no sample."""
    own = each(outputs, batch)
    return {"loss": own.mean() if len(own) else outputs.float().sum() * 0.0}


def _pinball(above: Tensor, quantile: float) -> Tensor:
    """Loss whose minimum is the quantile (Koenker & Bassett 1978), by how far the truth is `above` the answer."""
    return (quantile * above).maximum((quantile - 1.0) * above)


def _parts(outputs: Tensor) -> Tensor:
    """`(N, 3·K)` → `(N, 3, K)`: values, one end of their intervals, the other."""
    return outputs.reshape(-1, 3, outputs.shape[1] // 3)


def _of_each(named: list[tuple[str, str]]) -> list[tuple[str, str, str, str]]:
    """Metric, value, unit and meaning of what is measured of each of several values."""
    return [
        (f"{metric}_{_key(name)}", name, unit, says)
        for name, unit in named
        for metric, says in zip(("rmse", "mae"), ERRORS, strict=True)
    ]


def _key(name: str) -> str:
    """A value's name within a metric's."""
    return re.sub(r"\W+", "_", name).strip("_").lower() or "value"


def _column(predictions: Predictions, name: str, count: int) -> Floats:
    """A list column as `(N, K)`; what is no number is NaN."""
    flat = predictions.table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float64).reshape(len(predictions.table), count)
