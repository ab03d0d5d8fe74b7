"""The model card (Mitchell et al., "Model Cards for Model Reporting", 2019) in Markdown, from the nouns.

Opens with what somebody who comes upon the version wants to know first, for those lines are the version's description.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from components import machine, texts
from components.artifacts import WITH_TWINS, CellFigure, DatasetCard, Evidence, Figure, ModelCard, Verdict
from components.evaluate import cells
from components.inputs import registry as inputs
from components.metrics.metric import decimal
from components.targets import registry as targets
from components.tasks import registry as tasks


def model_card(
    *,
    name: str,
    model: ModelCard,
    dataset: DatasetCard,
    evidence: Evidence,
    stages: Mapping[str, Evidence],
    provenance: Mapping[str, str],
    verdicts: Sequence[Verdict] = (),
    intended_use: str = "",
) -> str:
    """The card. `stages` are the models on the way (members, ensemble, student, served) in their order; `provenance` is
    whatever else is known of the origin (git commit, MLflow run, lock). An unset `intended_use` is said to be unset.
    """
    primary = evidence.figures.get(evidence.primary)
    asked = targets.get(tasks.get(model.task).spec.target).described(model.classes, model.target)
    sections = [
        f"# {name}",
        f"A {model.precision} network for {model.task} of {inputs.of(dataset).described(dataset.input)} "
        f"{texts.markdown(asked)}. **{_words(evidence.primary)} {_text(primary)}** on {evidence.samples} samples "
        f"of the {evidence.split} split.",
        "## Intended use",
        intended_use
        or f"Answers for {inputs.of(dataset).many} like those of the data set {texts.code(dataset.name)}. Nobody has "
        "stated a purpose beyond that; state one before the model decides anything about people.",
        "## Data",
        _data(dataset, evidence),
        "## Training",
        _training(model),
        "## Metrics",
        texts.markdown_table(
            ("metric", "value", "interval"),
            [(_words(key), _text(figure, False), _interval(figure)) for key, figure in evidence.figures.items()],
        ),
        *_processor(evidence),
        "## Groups and slices",
        _groups(evidence),
        "## Compression",
        _compression(stages, evidence.primary),
        "## Limits",
        _limits(dataset, evidence),
        "## Gates",
        _gates(verdicts),
        "## Provenance",
        texts.markdown_table(
            ("what", "value"),
            [
                ("artifact measured", f"`{evidence.model}`"),
                ("data measured on", f"`{evidence.data}`"),
                ("data trained on", f"`{model.data}`"),
                *((f"{ancestor.role}", f"`{ancestor.digest}`") for ancestor in model.parents),
                *((texts.markdown(key), texts.code(value)) for key, value in provenance.items()),
            ],
        ),
    ]
    return "\n\n".join(sections) + "\n"


def _data(dataset: DatasetCard, evidence: Evidence) -> str:
    splits = ", ".join(f"{count} {split}" for split, count in dataset.splits.items())
    classes = ", ".join(map(texts.markdown, dataset.classes)) or "none"
    groups = ", ".join(map(texts.code, dataset.groups)) or "none"
    return (
        f"{texts.code(dataset.name)}, {splits} samples; classes: {classes}; declared groups: {groups}. "
        f"Source fingerprint `{dataset.fingerprint}`. All metrics here are of the {evidence.split} split, which "
        "neither training nor compression has seen." + _twins(evidence)
    )


def _processor(evidence: Evidence) -> list[str]:
    """What speed, and int8's answers, were measured on; nothing of evidence of earlier versions."""
    if not evidence.processor:
        return []
    sums = {
        "": "",
        "either": " No sum of its int8 arithmetic can saturate, so its answers are those of every processor.",
        "as run": " Where int8 sums saturate (x86 without VNNI) it is no worse than these values.",
        "saturating": " These values are those where int8 sums saturate (x86 without VNNI), the worse ones.",
    }[evidence.sums]
    return [f"Measured on {texts.markdown(machine.said(evidence.processor))}: speed is that of this kind.{sums}"]


def _twins(evidence: Evidence) -> str:
    """What samples that may have been learnt by heart make of the figure, where there are any."""
    without = evidence.figures.get(f"{evidence.primary}_without_twins")
    number = evidence.figures.get(WITH_TWINS)
    if without is None or number is None:
        return ""
    return (
        f" {number.value:,.0f} of its samples are all but the same picture as one that was learnt from; without them "
        f"{_words(evidence.primary)} is {_text(without)}."
    )


def _training(model: ModelCard) -> str:
    arguments = ", ".join(texts.markdown(f"{key}={value}") for key, value in model.network.arguments.items())
    text = f"Architecture `{model.network.name}`" + (f" ({arguments})" if arguments else "")
    text += f", {len(model.network.shapes)} of its tensors narrowed by pruning" if model.network.shapes else ""
    text += f", seed {model.seed}" if model.seed is not None else ""
    parents = [f"{ancestor.role} `{ancestor.digest[:12]}`" for ancestor in model.parents]
    return text + (f"; made of {', '.join(parents)}." if parents else ".")


def _groups(evidence: Evidence) -> str:
    if not evidence.groups:
        return "\n\n".join(map(texts.markdown, evidence.notes)) or "None were measured."
    rows = [
        (
            texts.code(row.column),
            texts.markdown(row.group),
            str(row.samples),
            _text(row.figure, False),
            _interval(row.figure),
        )
        for row in evidence.groups
    ]
    between = ", ".join(f"{texts.markdown(key)} {decimal(value)}" for key, value in evidence.disparity.items())
    table = texts.markdown_table(("column", "group", "samples", _words(evidence.primary), "interval"), rows)
    return "\n\n".join(
        [*map(texts.markdown, evidence.notes), table, f"Between groups (Fairlearn): {between}.", *_cells(evidence)]
    )


def _cells(evidence: Evidence) -> list[str]:
    """A heading and a table for each column of groups; nothing where no class was measured by group."""
    if not evidence.cells:
        return []
    says = (
        f"{_words(evidence.cells[0].metric)} of each class in each group, its interval and the number of such samples; "
        f"withheld where there are fewer than {evidence.min_samples}, and measured in such groups together."
    )
    parts = ["### By class and group", says]
    for table in cells.tables(evidence):
        head = (texts.code(table.column), *map(texts.markdown, table.groups))
        rows = [(texts.markdown(label), *map(_cell, row)) for label, row in table.rows.items()]
        parts += [texts.markdown_table(head, rows)] if table.groups else []
        if table.left_out:
            column = texts.code(table.column)
            parts.append(f"{table.left_out} more groups of {column} are not shown: all of their classes are withheld.")
    return parts


def _cell(cell: CellFigure | None) -> str:
    if cell is None:
        return "–"
    return f"{'withheld' if cell.figure is None else _text(cell.figure)}, {cell.samples}"


def _compression(stages: Mapping[str, Evidence], primary: str) -> str:
    if not stages:
        return "Not recorded."
    rows = []
    for stage, measured in stages.items():
        size, latency = measured.figures.get("size_bytes"), measured.figures.get("latency_ms")
        rows.append(
            (
                texts.markdown(stage),
                _text(measured.figures.get(primary)),
                f"{size.value / 1000:.1f} kB" if size else "–",
                f"{latency.value:.3g} ms" if latency else "–",
            )
        )
    return texts.markdown_table(("model", _words(primary), "size", "one image, one thread"), rows)


def _limits(dataset: DatasetCard, evidence: Evidence) -> str:
    weakest = _weakest(evidence)
    lines = [
        f"- {inputs.of(dataset).brought(dataset.input)} and gets an answer, also where it shows nothing of the kind.",
        "- The metrics hold for data like the test split. Watch for drift.",
    ]
    if weakest:
        lines.append(f"- {weakest}")
    return "\n".join(lines)


def _weakest(evidence: Evidence) -> str:
    """The class whose first metric is lowest."""
    first = {name: next(iter(metrics.items())) for name, metrics in evidence.classes.items() if metrics}
    known = {name: pair for name, pair in first.items() if math.isfinite(pair[1])}
    unknown = sorted(first.keys() - known.keys())
    if not known:
        return ""
    name = min(known, key=lambda key: known[key][1])
    metric, value = known[name]
    rest = (
        f" Nothing is known about {', '.join(map(texts.markdown, unknown))}: the split holds too few."
        if unknown
        else ""
    )
    return f"Weakest class: {texts.markdown(name)} ({_words(metric)} {value:.4f}).{rest}"


def _gates(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return "Not judged when this card was written; see the decisions recorded for this version."
    rows = [
        (v.gate, "passed" if v.passed else "**failed**", decimal(v.limit), texts.markdown(v.reason)) for v in verdicts
    ]
    return texts.markdown_table(("gate", "verdict", "limit", "why"), rows)


def _text(figure: Figure | None, with_interval: bool = True) -> str:
    if figure is None:
        return "not measured"
    interval = _interval(figure) if with_interval else ""
    return decimal(figure.value, figure.unit) + (f" ({interval})" if interval else "")


def _interval(figure: Figure) -> str:
    return "" if figure.low is None or figure.high is None else f"{decimal(figure.low)} to {decimal(figure.high)}"


def _words(name: str) -> str:
    return name.replace("_", " ")
