from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest

from components.artifacts import CellFigure, Decision, Evidence, Figure, Predictions, Verdict
from components.config import EvaluateConfig, Gate, load
from components.config.gates import ApprovalsGate, CeilingGate, FloorGate, FreshnessGate, WorstGroupGate
from components.evaluate.evaluate import measure
from components.metrics.metric import Metric
from components.metrics.proportion import exact
from components.registry import gates
from components.registry.gates.judging import JUDGES
from components.tasks import registry as tasks
from tests.components.registry.registry_builders import DATA, LIMITS, NOW, build_case, build_evidence, drift_report

MODEL = "a" * 64
GOOD = build_evidence(MODEL)


def verdict(gate: str, case: gates.Case) -> Any:
    return {entry.gate: entry for entry in gates.judge(case, LIMITS)}[gate]


def with_figure(name: str, figure: Figure | None) -> Any:
    figures = {**GOOD.figures}
    if figure is None:
        del figures[name]
    else:
        figures[name] = figure
    return GOOD.model_copy(update={"figures": figures})


def test_a_good_first_version_passes_every_gate() -> None:
    verdicts = gates.judge(build_case(GOOD), LIMITS)
    assert gates.passed(verdicts), [entry.reason for entry in verdicts]
    assert "nothing is in production" in verdict("production", build_case(GOOD)).reason


def test_no_verdict_is_no_approval() -> None:
    assert not gates.passed([])


@pytest.mark.parametrize(
    ("gate", "case", "reason"),
    [
        ("floor", build_case(with_figure("accuracy", Figure(value=0.81, low=0.79, high=0.83))), "0.79 < 0.8"),
        ("floor", build_case(with_figure("accuracy", Figure(value=0.99))), "no interval"),
        ("floor", build_case(with_figure("accuracy", Figure(value=0.99, low=math.nan, high=1.0))), "no interval"),
        ("floor", build_case(with_figure("accuracy", Figure(value=math.nan, low=0.9, high=0.9))), "nan, not a number"),
        ("floor", build_case(with_figure("accuracy", None)), "'accuracy' is missing"),
        ("worst_group", build_case(with_figure("worst_group_accuracy", Figure(value=0.6))), "0.6 < 0.7"),
        ("worst_group", build_case(with_figure("worst_group_accuracy", Figure(value=math.nan))), "not a number"),
        ("worst_group", build_case(with_figure("worst_group_accuracy", None)), "missing"),
        ("latency", build_case(with_figure("latency_ms", Figure(value=11.0))), "11 > 10"),
        ("latency", build_case(with_figure("latency_ms", Figure(value=0.0))), "nothing takes none"),
        ("latency", build_case(with_figure("latency_ms", None)), "missing"),
        ("size", build_case(with_figure("size_bytes", Figure(value=3e6))), "3 > 2"),
        ("size", build_case(with_figure("size_bytes", None)), "missing"),
        (
            "calibration",
            build_case(with_figure("calibration_error", Figure(value=0.09, low=0.08, high=0.11))),
            "0.11 > 0.1",
        ),
        ("calibration", build_case(with_figure("calibration_error", Figure(value=0.0))), "no interval"),
        ("calibration", build_case(with_figure("calibration_error", None)), "missing"),
        (
            "robustness",
            build_case(with_figure("robustness_accuracy", Figure(value=0.6, low=0.4, high=0.8))),
            "0.4 < 0.5",
        ),
        ("robustness", build_case(with_figure("robustness_accuracy", None)), "missing"),
        ("drift", build_case(GOOD, drift=None), "was not compared"),
        ("drift", build_case(GOOD, drift=drift_report(0.5), production=1), "0.5 > 0.25"),
        ("drift", build_case(GOOD, drift=drift_report(math.nan), production=1), "not a number"),
        ("drift", build_case(GOOD, production=1), "version 1 is in production, and there is no reference"),
        ("parity", build_case(GOOD, parity=None), "was not compared"),
        ("parity", build_case(GOOD, parity=math.nan), "not a distance"),
        ("parity", build_case(GOOD, parity=0.01), "0.01 > 0.001"),
        ("int8_drop", build_case(GOOD, parent=None), "float parent has no evidence"),
        ("int8_drop", build_case(GOOD, parent=build_evidence("f" * 64, 0.92)), "0.02 > 0.01"),
        ("int8_drop", build_case(GOOD, parent=build_evidence("e" * 64)), "artifact eeee"),
        ("int8_drop", build_case(GOOD, parent_artifact=None), "an unknown one"),
        ("int8_drop", build_case(GOOD, parent=build_evidence("f" * 64, data="x" * 64)), "on data xxxx"),
        ("int8_drop", build_case(GOOD, parent=build_evidence("f" * 64, samples=50)), "on 50 samples"),
        ("production", build_case(GOOD, production=3), "version 3 is in production and was not compared"),
        (
            "production",
            build_case(GOOD, production=3, against_production=Figure(value=0.0, low=-0.02, high=0.02)),
            "-0.02 < -0.01",
        ),
        ("production", build_case(GOOD, production=3, against_production=Figure(value=0.5)), "no interval"),
        (
            "production",
            build_case(GOOD, production=3, against_production=Figure(value=math.nan, low=0.0, high=0.0)),
            "not a number",
        ),
    ],
)
def test_a_bad_or_missing_figure_is_a_failure_that_says_which(gate: str, case: gates.Case, reason: str) -> None:
    said = verdict(gate, case)
    assert not said.passed
    assert reason in said.reason


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (None, "has no evidence"),
        (build_evidence("b" * 64), "artifact bbbb"),
        (build_evidence("f" * 64), "on its float parent, artifact ffff"),
        (build_evidence(MODEL, data="x" * 64), "on data xxxx"),
        (build_evidence(MODEL, split="validation"), "validation split"),
        (build_evidence(MODEL, samples=0), "on no sample"),
    ],
)
@pytest.mark.parametrize(
    "gate", ["floor", "worst_group", "calibration", "robustness", "production", "int8_drop", "latency", "size"]
)
def test_evidence_of_something_else_is_a_failure(gate: str, evidence: Any, reason: str) -> None:
    better = Figure(value=0.1, low=0.05, high=0.15)
    case = build_case(evidence, artifact=MODEL, data=DATA, production=1, against_production=better)
    said = verdict(gate, case)
    assert not said.passed
    assert reason in said.reason


def test_a_version_within_the_margin_of_production_passes() -> None:
    case = build_case(GOOD, production=3, against_production=Figure(value=0.0, low=-0.005, high=0.005))
    assert verdict("production", case).passed


def test_where_lower_is_better_the_signs_turn() -> None:
    error = build_evidence(MODEL, figures={"accuracy": Figure(value=0.7, low=0.68, high=0.79)})
    worse = Figure(value=0.02, low=0.0, high=0.04)
    case = build_case(error, metric=Metric("error", "less"), production=1, against_production=worse)
    assert verdict("floor", case).passed
    assert not verdict("production", case).passed


def test_every_gate_that_can_be_configured_has_a_judge() -> None:
    from typing import get_args

    assert set(get_args(get_args(Gate)[0])) == JUDGES.keys()


def test_a_metric_has_a_floor_or_a_ceiling_of_its_own() -> None:
    known = {"macro_f1": Figure(value=0.85, low=0.8, high=0.9), "brier_score": Figure(value=0.2, low=0.1, high=0.3)}
    case = build_case(GOOD.model_copy(update={"figures": GOOD.figures | known}))
    said = gates.judge(
        case,
        [
            FloorGate(gate="floor", metric="macro_f1", limit=0.79),
            FloorGate(gate="floor", metric="macro_f1", limit=0.81),
            CeilingGate(gate="ceiling", metric="brier_score", limit=0.31),
            CeilingGate(gate="ceiling", metric="brier_score", limit=0.29),
            CeilingGate(gate="ceiling", metric="unheard_of", limit=1.0),
        ],
    )
    assert [verdict.passed for verdict in said] == [True, False, True, False, False]
    assert said[0].gate == "floor macro_f1" and (said[0].value, said[0].low, said[0].limit) == (0.85, 0.8, 0.79)


DAY = 86_400.0


@pytest.mark.parametrize(
    ("newest", "later", "passed", "reason"),
    [
        (NOW - 20 * DAY, 5.0, True, "25 <= 30"),
        (NOW - 20 * DAY, 11.0, False, "31 > 30"),
        (NOW - 31 * DAY, 0.0, False, "31 > 30"),
        (None, 0.0, False, "needs a column `time`"),
        (math.nan, 0.0, False, "needs a column `time`"),
        (NOW + DAY, 5.0, False, "its time is wrong"),
    ],
)
def test_data_grows_older_between_judgement_and_promotion(
    newest: float | None, later: float, passed: bool, reason: str
) -> None:
    judged = gates.judge(build_case(GOOD, newest=newest), [FreshnessGate(gate="freshness", days=30.0)])
    (said,) = gates.at_promotion(judged, later, [])
    assert said.passed is passed
    assert reason in said.reason


def statement(action: str, by: str) -> Decision:
    return Decision.model_validate(
        {"action": action, "name": "m", "version": 1, "alias": None, "by": by, "at": "", "reason": "r", "evidence": "e"}
    )


@pytest.mark.parametrize(
    ("required", "said", "passed"),
    [
        (1, [], False),
        (1, [("approve", "Ada")], True),
        (2, [("approve", "Ada")], False),
        (2, [("approve", "Ada"), ("approve", "Grace")], True),
        (1, [("approve", "Ada"), ("reject", "Grace")], False),
    ],
)
def test_people_are_asked_before_production_and_not_before(
    required: int, said: list[tuple[str, str]], passed: bool
) -> None:
    judged = gates.judge(build_case(GOOD), [ApprovalsGate(gate="approvals", required=required)])
    assert gates.passed(judged)
    (asked,) = gates.at_promotion(judged, 0.0, [statement(*each) for each in said])
    assert asked.passed is passed and asked.limit == required


@pytest.mark.parametrize("recipe", [None, "digits", "digits-segment", "fashion-mnist-fast", "fashion-mnist-best"])
def test_the_recipes_ask_for_everything_that_is_measured(recipe: str | None) -> None:
    root = Path(__file__).resolve().parents[3]
    wanted = {gate.gate for gate in load(root, recipe).line.gates}
    assert wanted == {type(gate).model_fields["gate"].annotation.__args__[0] for gate in LIMITS} | {"approvals"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("sums", "dropped", "floor"),
    [
        ("", "the loss: 0.005 <= 0.01", ""),
        ("either", "(no int8 sum can saturate: the same on every processor)", ""),
        ("as run", "(int8 as run, which is worse than saturating)", "(int8 as run"),
        ("saturating", "(int8 saturating, as on x86 without VNNI", "(int8 saturating"),
    ],
)
def test_a_verdict_says_how_int8_was_added_up(sums: Any, dropped: str, floor: str) -> None:
    verdicts = {each.gate: each.reason for each in gates.judge(build_case(build_evidence("a" * 64, sums=sums)), LIMITS)}
    assert verdicts["int8_drop"].endswith(dropped) or dropped in verdicts["int8_drop"]
    for gate in ("floor", "worst_group", "calibration", "robustness"):
        assert floor in verdicts[gate] if floor else "int8" not in verdicts[gate]


def test_the_verdict_on_latency_names_the_processor() -> None:
    def said(processor: dict[str, str]) -> str:
        case = build_case(build_evidence("a" * 64, processor=processor))
        return next(each.reason for each in gates.judge(case, LIMITS) if each.gate == "latency")

    assert said({}) == "the median in ms: 1 <= 10"
    amx = {"architecture": "x86_64", "instructions": "amx_int8", "cores": "2"}
    assert said(amx) == "the median in ms: 1 <= 10 on x86_64 with AMX, 2 cores"


# -- classes in groups -----------------------------------------------------------------------------------------------

RECALL = Metric("recall")


def inspected(sites: Mapping[str, tuple[int, int, int, int]]) -> Predictions:
    """Solar cells of each site: sound ones that are called so and all of them, defective ones likewise."""
    site: list[str] = []
    target: list[int] = []
    answer: list[int] = []
    for name, (sound, all_sound, defective, all_defective) in sites.items():
        site += [name] * (all_sound + all_defective)
        target += [0] * all_sound + [1] * all_defective
        answer += [0] * sound + [1] * (all_sound - sound) + [1] * defective + [0] * (all_defective - defective)
    table = {"id": [str(number) for number in range(len(site))], "group_site": site, "target": target}
    scores = np.eye(2, dtype=np.float32)[answer].tolist()
    return Predictions(pa.table({**table, "prediction": answer, "scores": scores}), MODEL, DATA, ("sound", "defective"))


def judged_groups(
    sites: Mapping[str, tuple[int, int, int, int]], limit: float = 0.7, by: Any = None, **changes: Any
) -> tuple[Verdict, Evidence]:
    evidence = measure(inspected(sites), tasks.get("classification"), EvaluateConfig(bootstrap=200, min_samples=20))
    case = build_case(evidence, **({"class_metric": RECALL} | changes))
    (said,) = gates.judge(case, [WorstGroupGate(gate="worst_group", limit=limit, by=by)])
    return said, evidence


SOLAR = {"north": (880, 890, 105, 110), "south": (910, 939, 36, 61)}


def test_a_class_that_is_missed_in_one_group_fails_where_its_accuracy_passes() -> None:
    """Four cells in ten that are defective are passed at one site, and 94.6 % of all answers there are right."""
    accuracy, evidence = judged_groups(SOLAR, 0.9, by="group")
    assert accuracy.passed and accuracy.value == pytest.approx((910 + 36) / 1000)

    said, _ = judged_groups(SOLAR)

    assert not said.passed
    interval = binomtest(36, 61).proportion_ci(0.95, method="exact")
    assert (said.value, said.low, said.high) == pytest.approx((36 / 61, interval.low, interval.high))
    assert "recall of defective in site south, the worst of 4 (0.5902 of 61 samples): 0.456776 < 0.7" in said.reason
    assert "It is weak there: more such samples to learn from would help" in said.reason
    assert evidence.figures["worst_group_accuracy"].value > 0.9
    # and so it does with what a project begins with
    line = load(Path(__file__).resolve().parents[3]).line
    whole = measure(inspected(SOLAR), tasks.get("classification"), line.evaluate)
    said = {each.gate: each for each in gates.judge(build_case(whole, class_metric=RECALL), line.gates)}["worst_group"]
    assert not said.passed and "defective in site south" in said.reason


def test_other_classes_in_groups_that_miss_the_limit_are_named_as_well() -> None:
    said, _ = judged_groups({**SOLAR, "west": (300, 300, 60, 120)})
    assert "recall of defective in site west, the worst of 6" in said.reason
    assert "< 0.7; so do defective in site south. It is weak" in said.reason
    said, _ = judged_groups({f"site {number}": (90, 100, 50, 100) for number in range(6)})
    assert "site 0, the worst of 12" in said.reason
    assert (
        "; so do defective in site site 1, defective in site site 2, defective in site site 3 and 2 more" in said.reason
    )


def test_a_class_is_judged_by_its_bound_and_not_at_the_point() -> None:
    """16 of 21 are .76, and may be as few as .53; 160 of 210 are at least .70."""
    few, many = ({"north": (300, 300, right, total)} for right, total in ((16, 21), (160, 210)))
    said, _ = judged_groups(few)
    assert not said.passed and said.value == pytest.approx(16 / 21)
    assert "It may be as good as that: more such samples in the test split would tell" in said.reason
    said, _ = judged_groups(many, 0.69)
    assert said.passed and "would" not in said.reason


def test_classes_in_groups_with_few_samples_are_withheld_and_the_verdict_says_so() -> None:
    said, _ = judged_groups({"north": (300, 300, 100, 100), "south": (300, 300, 2, 19)})
    assert said.passed and "; withheld for fewer than 20 samples: 1 of 4 (1 not judged)" in said.reason
    said, _ = judged_groups({"north": (19, 19, 19, 19)})
    assert not said.passed and said.value is None
    assert "nothing can be judged; withheld for fewer than 20 samples: 2 of 2 (2 not judged)." in said.reason
    assert "More test samples would help; gates.worst_group.by: group judges whole groups" in said.reason


def test_a_class_that_is_rare_in_every_group_does_not_get_away() -> None:
    said, _ = judged_groups({f"site {number}": (90, 90, 6, 10) for number in range(6)})
    assert not said.passed and said.value == pytest.approx(36 / 60)
    assert "recall of defective in 6 groups of site together, the worst of 7" in said.reason
    assert "withheld for fewer than 20 samples: 6 of 12 (6 judged with such groups together)" in said.reason


def test_every_evaluation_on_the_test_split_widens_the_intervals_of_classes_in_groups_too() -> None:
    first, _ = judged_groups(SOLAR)
    tenth, _ = judged_groups(SOLAR, evaluations=10)
    assert first.low is not None and tenth.low is not None and tenth.low < first.low - 0.05
    assert "evaluation 10 on this test split" in tenth.reason


def test_evidence_without_what_is_asked_for_fails_and_without_a_metric_of_classes_groups_are_judged() -> None:
    case = build_case(GOOD, class_metric=RECALL)
    (said,) = gates.judge(case, [WorstGroupGate(gate="worst_group", limit=0.1)])
    assert not said.passed and "neither groups nor slices" in said.reason
    (said,) = gates.judge(case, [WorstGroupGate(gate="worst_group", limit=0.1, by="group")])
    assert said.passed
    (said,) = gates.judge(build_case(GOOD), [WorstGroupGate(gate="worst_group", limit=0.1, by="class")])
    assert not said.passed and "no metric of single classes" in said.reason
    (said,) = gates.judge(build_case(GOOD), [WorstGroupGate(gate="worst_group", limit=0.1)])
    assert said.passed
    cell = {"column": "group_site", "group": "a", "label": "b", "metric": "recall", "samples": 30}
    unknown = CellFigure(**cell, figure=Figure(value=math.nan))  # type: ignore[arg-type]
    for figure, reason in ((Figure(value=math.nan), "nan, not a number"), (Figure(value=0.9), "no interval")):
        cells = (unknown.model_copy(update={"figure": figure}),)
        case = build_case(GOOD.model_copy(update={"cells": cells, "min_samples": 20}), class_metric=RECALL)
        (said,) = gates.judge(case, [WorstGroupGate(gate="worst_group", limit=0.1)])
        assert not said.passed and reason in said.reason


@pytest.mark.parametrize("cells", [2, 40])
def test_of_any_number_of_classes_one_that_is_at_the_limit_passes_by_luck_as_seldom_as_one_alone(cells: int) -> None:
    """All but one are always right, so that nothing else fails the version: the chance is that of one interval."""
    random, limit, samples = np.random.default_rng(0), 0.7, 100
    gate = WorstGroupGate(gate="worst_group", limit=limit)
    named = {"column": "group_site", "label": "defective", "metric": "recall", "samples": samples}
    sure = Figure(value=1.0, low=exact(1.0, samples, 0.95)[0], high=1.0)
    others = tuple(CellFigure(**named, group=str(number), figure=sure) for number in range(cells - 1))  # type: ignore[arg-type]
    count = 0
    for right in random.binomial(samples, limit, 4000):
        low, high = exact(right / samples, samples, 0.95)
        own = CellFigure(**named, group="own", figure=Figure(value=right / samples, low=low, high=high))  # type: ignore[arg-type]
        case = build_case(GOOD.model_copy(update={"cells": (*others, own)}), class_metric=RECALL)
        count += gates.judge(case, [gate])[0].passed
    assert 0.005 < count / 4000 < 0.032  # 2.5 % and four standard deviations at most
