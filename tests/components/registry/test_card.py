from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from components.artifacts import Ancestor, CellFigure, DatasetCard, Figure, GroupFigure
from components.registry.card import model_card
from components.registry.gates import judge
from components.registry.memory.tracking import evidence_metrics
from tests.components.registry.registry_builders import (
    CLASSES,
    DATA,
    LIMITS,
    SPEC,
    build_case,
    build_evidence,
    build_model,
)

DATASET = DatasetCard(
    name="digits",
    task="classification",
    classes=CLASSES,
    groups=(),
    input=SPEC,
    splits={"train": 800, "test": 100},
    fingerprint="5" * 64,
)


def test_the_card_says_what_a_reader_must_know(tmp_path: Path) -> None:
    model = build_model(tmp_path / "model")
    evidence = build_evidence(
        model.digest, classes={"dark": {"recall": 0.95}, "bright": {"recall": 0.7}, "rare": {"recall": math.nan}}
    )
    card = model_card(
        name="digits",
        model=model.card.model_copy(update={"parents": (Ancestor(role="teacher", digest="7" * 64),)}),
        dataset=DATASET,
        evidence=evidence,
        stages={"ensemble": build_evidence("e" * 64, 0.93), "artifact": evidence},
        provenance={"git commit": "abcdef"},
        verdicts=judge(build_case(evidence), LIMITS),
    )
    headings = {line.removeprefix("## ") for line in card.splitlines() if line.startswith("## ")}
    assert headings >= {"Intended use", "Data", "Training", "Metrics", "Groups and slices", "Limits", "Provenance"}
    # the first lines, which become the version's description, hold the figure with its interval
    assert "accuracy 0.9000 (0.8800 to 0.9200)" in card[:400]
    expected = ("Nobody has stated a purpose", "abcdef", DATA, model.digest, "7" * 64, "0.9300", "| parity | passed |")
    for said in expected:
        assert said in card, said
    assert "Weakest class: bright (recall 0.7000). Nothing is known about rare" in card


def test_the_card_shows_each_class_in_each_group_and_what_is_withheld(tmp_path: Path) -> None:
    model = build_model(tmp_path / "model")
    figure = Figure(value=0.59, low=0.457, high=0.714)

    def cell(group: str, label: str, samples: int, figure: Figure | None) -> CellFigure:
        return CellFigure(
            column="group_site", group=group, label=label, metric="recall", samples=samples, figure=figure
        )

    cells = (cell("A|B", "dark", 90, Figure(value=0.9, low=0.82, high=0.95)), cell("C", "bright", 61, figure))
    cells += (cell("C", "dark", 7, None),)
    group = GroupFigure(column="group_site", group="C", metric="accuracy", samples=68, figure=figure)
    evidence = build_evidence(model.digest, groups=(group,), cells=cells, min_samples=20)
    facts = {"name": "digits", "model": model.card, "dataset": DATASET, "stages": {}, "provenance": {}}
    card = model_card(evidence=evidence, **facts)  # type: ignore[arg-type]
    assert "### By class and group" in card and "fewer than 20" in card
    assert "| bright | – | 0.5900 (0.4570 to 0.7140), 61 |" in card
    assert "| dark | 0.9000 (0.8200 to 0.9500), 90 | withheld, 7 |" in card
    assert "By class and group" not in model_card(evidence=build_evidence(model.digest), **facts)  # type: ignore[arg-type]


def test_missing_figures_are_called_missing(tmp_path: Path) -> None:
    model = build_model(tmp_path / "model")
    evidence = build_evidence(model.digest, figures={"accuracy": Figure(value=math.nan)})
    facts = {"model": model.card, "dataset": DATASET, "evidence": evidence}
    card = model_card(name="digits", **facts, stages={}, provenance={}, intended_use="Toy.")  # type: ignore[arg-type]
    assert "accuracy unknown" in card and "Toy." in card and "Not judged" in card and "Not recorded." in card


def test_the_card_says_what_twins_change_where_some_were_learnt_from(tmp_path: Path) -> None:
    model = build_model(tmp_path / "model")
    plain = build_evidence(model.digest)
    known = {
        "samples_with_twins": Figure(value=7, unit="samples"),
        "accuracy_without_twins": Figure(value=0.875, low=0.85, high=0.9),
        "accuracy_change_by_twins": Figure(value=0.025, low=0.01, high=0.04),
    }
    facts = {"name": "digits", "model": model.card, "dataset": DATASET, "stages": {}, "provenance": {}}
    told = "7 of its samples are all but the same picture as one that was learnt from; without them accuracy is 0.8750"
    with_twins = plain.model_copy(update={"figures": plain.figures | known})
    assert told in model_card(evidence=with_twins, **facts)  # type: ignore[arg-type]
    assert "twins" not in model_card(evidence=plain, **facts)  # type: ignore[arg-type]
    assert evidence_metrics(with_twins)["test.accuracy_without_twins"] == 0.875
    assert evidence_metrics(with_twins)["test.accuracy_without_twins.low"] == 0.85


def test_the_card_names_the_processor_and_how_int8_was_added_up(tmp_path: Path) -> None:
    model = build_model(tmp_path / "model")
    processor = {"architecture": "x86_64", "instructions": "avx avx2", "cores": "2"}
    facts: dict[str, Any] = {"name": "digits", "model": model.card, "dataset": DATASET, "stages": {}, "provenance": {}}
    told = model_card(evidence=build_evidence(model.digest, processor=processor, sums="saturating"), **facts)
    assert "Measured on x86_64 with AVX2 without VNNI, 2 cores: speed is that of this kind." in told
    assert "where int8 sums saturate (x86 without VNNI), the worse ones" in told
    # evidence of earlier versions says nothing of it, and keeps its digest
    before = build_evidence(model.digest)
    assert "Measured on" not in model_card(evidence=before, **facts)
    assert "processor" not in before.to_json() and "sums" not in before.to_json()
