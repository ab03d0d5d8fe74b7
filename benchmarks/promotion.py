"""How often a row of challengers that are no better than production has one that is promoted, and one that is better.

Every challenger has a test split of its own, as where a pipeline trains on new data every night. Nothing is trained: a
challenger answers some of the samples otherwise than production, and is right more or less often where it does. Gates,
counting and the width of intervals are Convoy's own.
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt

from components.artifacts import Evidence, Figure
from components.config.gates import ProductionGate
from components.metrics import bootstrap
from components.registry import gates

MODEL, DATA = "a" * 64, "d" * 64
EVIDENCE = Evidence(
    model=MODEL, data=DATA, split="test", samples=1, primary="accuracy", figures={"accuracy": Figure(value=0.9)}
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000, help="rows of challengers")
    parser.add_argument("--challengers", type=int, default=50, help="in a row, against one version in production")
    parser.add_argument("--samples", type=int, nargs="+", default=[2_000, 10_000], help="of each test split")
    parser.add_argument("--otherwise", type=float, default=0.05, help="share of the samples answered otherwise")
    asked = parser.parse_args()
    print("| test samples | better by | first try | any of the row, counted | any, not counted |")
    print("|---|---|---|---|---|")
    for samples in asked.samples:
        for better in (0.0, 0.01):
            random = np.random.default_rng(0)
            rows = [
                [difference(random, samples, asked.otherwise, better) for _ in range(asked.challengers)]
                for _ in range(asked.rows)
            ]
            counted, plain = (
                np.array([[passes(each, n if count else 1) for n, each in enumerate(row, 1)] for row in rows])
                for count in (True, False)
            )
            shares = (counted[:, 0].mean(), counted.any(axis=1).mean(), plain.any(axis=1).mean())
            print(f"| {samples:,} | {better * 100:g} pp | {' | '.join(f'{share:.1%}' for share in shares)} |")


def difference(random: np.random.Generator, samples: int, otherwise: float, better: float) -> Figure:
    """The paired difference of a challenger that answers that share otherwise, and is better by that much."""
    drawn = random.multinomial(samples, [(otherwise + better) / 2, (otherwise - better) / 2, 1 - otherwise])
    # Resampling samples that each count +1, -1 or 0 is drawing how many of each there are.
    again = random.multinomial(samples, drawn / samples, size=1000)
    spread: npt.NDArray[np.float64] = (again[:, 0] - again[:, 1]) / samples
    low, high = bootstrap.interval(spread, 0.95)
    return Figure(value=float(drawn[0] - drawn[1]) / samples, low=low, high=high)


def passes(figure: Figure, challenges: int) -> bool:
    """Whether it is promoted as the n-th challenger, with a margin of nothing."""
    case = gates.Case(
        artifact=MODEL,
        data=DATA,
        test="t" * 64,
        evidence=EVIDENCE,
        confidence=0.95,
        parent=EVIDENCE,
        parent_artifact=MODEL,
        parity=None,
        production=1,
        against_production=figure,
        drift=None,
        newest=None,
        at=0.0,
        challenges=challenges,
    )
    return gates.judge(case, [ProductionGate(gate="production", margin=0.0)])[0].passed


if __name__ == "__main__":
    main()
