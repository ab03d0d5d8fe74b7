"""Which candidate is served, and why, in words. Figures come from `measuring`; nothing is computed here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from components.metrics.metric import Metric

Goal = Literal["speed", "size"]

# Below this the two are equally fast: medians of 15 alternating rounds of one graph against itself differed by up to
# 4 % at batch 64 on a busy two-core machine, and full accuracy is worth more than what the next run may turn round.
FASTER = 1.05


@dataclass(frozen=True)
class Outcome:
    """What a candidate costs and gains, against float32."""

    name: str
    loss: float  # as `Metric.lost` has it, positive where it is worse
    speedup: float
    speedup_low: float  # what three of four rounds reach
    shrinkage: float  # float32's bytes in its own


def choose(
    outcomes: Sequence[Outcome], metric: Metric, allowance: float, batch: int, goal: Goal = "speed"
) -> tuple[str, str]:
    """Name and reason: of those within the allowance the fastest (or smallest), if it is more so than float32.

    A loss that could not be measured is not allowed.
    """
    refusals = {each.name: _against(each, metric, allowance, batch, goal) for each in outcomes}
    fitting = [each for each in outcomes if refusals[each.name] is None]
    if not fitting:
        why = [refusal for refusal in refusals.values() if refusal is not None]
        return "float32", f"float32: {'; '.join(why) or 'there is no other candidate (quantize.candidates)'}"
    best = max(fitting, key=lambda each: each.speedup if goal == "speed" else each.shrinkage)
    gain = f"{best.speedup:.1f}× faster at batch {batch}" if goal == "speed" else f"{best.shrinkage:.1f}× smaller"
    change = "keeps" if best.loss == 0 else "loses" if best.loss > 0 else "gains"
    price = f"{change} {metric.name if best.loss == 0 else f'{metric.amount(abs(best.loss))} of {metric.name}'}"
    return best.name, f"{best.name}: {gain} and {price} (allowed {metric.amount(allowance)})"


def _against(each: Outcome, metric: Metric, allowance: float, batch: int, goal: Goal) -> str | None:
    """Why the candidate is not served; None where nothing speaks against it."""
    name, pace = each.name, f"the speed at batch {batch}"
    if not math.isfinite(each.loss):
        return f"the {metric.name} of {name} or of float32 could not be computed, so the loss is not known"
    if each.loss > allowance:
        lost = f"{metric.amount(each.loss)} of {metric.name} (allowed {metric.amount(allowance)})"
        return f"{name} loses {lost}, at {each.speedup:.1f}× {pace}"
    if goal == "size":
        return None if each.shrinkage > 1.0 else f"{name} is not smaller"
    if each.speedup < 1.0:
        return f"{name} is slower ({each.speedup:.2f}× {pace})"
    # Storage alone changes no arithmetic, and where many candidates are timed one of them looks faster by chance.
    if each.speedup_low < FASTER:
        seen = f"{each.speedup:.2f}× at batch {batch}, {each.speedup_low:.2f}× in three of four rounds"
        return f"{name} is not measurably faster ({seen}, needs {FASTER}×)"
    return None
