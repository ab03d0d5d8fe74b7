"""Two who promote at once, with processes that share nothing but the store: one wins, the other is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from components.artifacts import Evidence, Figure
from components.registry import decisions, ledger
from components.registry.memory.tracking import Tracking
from components.registry.versions import PRODUCTION, aliased
from tests.components.registry.registry_builders import LIMITS, build_case, drift_report

Register = Callable[..., tuple[int, Evidence]]
ROOT = Path(__file__).resolve().parents[3]
# A line in is a round; a line out is what came of it.
PROGRAM = """
import sys
from pathlib import Path
from components.registry import decisions
from components.registry.memory import tracking
from components.registry.versions import RegistryError
store = tracking.connect(Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    try:
        done = decisions.promote(store, "digits", "production", sys.argv[2], f"round {line.strip()}")
        print(f"won {done.version}", flush=True)
    except RegistryError as error:
        print(f"told {error}", flush=True)
"""


@contextmanager
def contender(root: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ask(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{text}\n")
    process.stdin.flush()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(
    tracking: Tracking, register_version: Register, rounds: int
) -> None:
    # given two versions that are staged in turn, and two processes
    known = [register_version(seed) for seed in range(2)]
    winners = []
    with ExitStack() as stack:
        racers = {name: stack.enter_context(contender(tracking.root, name)) for name in ("Ada", "Grace")}
        assert [said(process) for process in racers.values()] == ["ready", "ready"]
        for number in range(rounds):
            version, evidence = known[number % 2]
            rival = aliased(tracking, "digits", PRODUCTION)
            even = Figure(value=0.0, low=0.0, high=0.0) if rival else None
            case = build_case(
                evidence,
                production=rival,
                against_production=even,
                drift=drift_report(0.0 if rival else None),
            )
            assert decisions.decide(tracking, "digits", version, case, LIMITS).action == "pass"
            # when both promote at the same moment
            for process in racers.values():
                ask(process, str(number))
            answers = {name: said(process) for name, process in racers.items()}
            # then exactly one has done it, and the other hears who was faster
            won = [name for name, answer in answers.items() if answer == f"won {version}"]
            told = [answer for answer in answers.values() if answer.startswith("told ")]
            assert len(won) == len(told) == 1, answers
            assert f"version {version} is in production already (promote by {won[0]}" in told[0]
            assert f"round {number}" in told[0]
            assert aliased(tracking, "digits", PRODUCTION) == version
            winners += won
    # and the record has each round once
    promoted = [each for each in ledger.history(tracking, "digits") if each.action == "promote"]
    assert [(each.by, each.reason) for each in promoted] == [(name, f"round {n}") for n, name in enumerate(winners)]
