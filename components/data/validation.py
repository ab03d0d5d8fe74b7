"""Is this data valid? The one room of Great Expectations.

The suite comes from the declaration (`suite`) and from the task; this module makes the tables they speak of, has
Great Expectations judge them, and turns its answers into a report. An expectation that cannot be evaluated, or whose
kind is unknown, raises: nothing passes unjudged.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from components.artifacts import SPLITS, Card, Dataset, replacing, writing
from components.config import DatasetConfig
from components.data import images, suite
from components.data.errors import DataError
from components.tasks import registry as tasks
from components.tasks.protocol import Expectation, Task

EXAMPLES = 5  # rows that a report names for each expectation


class Result(Card):
    """What came of one expectation."""

    expectation: str  # in words
    kind: str
    severity: Literal["error", "warning"]
    success: bool
    unexpected_count: int
    rows: int
    examples: tuple[str, ...]  # the first offending rows: `id (value)`

    @property
    def line(self) -> str:
        return (
            f"{self.expectation}: {self.unexpected_count} of {self.rows} rows do not; first: {', '.join(self.examples)}"
        )


class ValidationReport(Card):
    """`validation.json`: whether the data may be used, and everything that was looked at."""

    dataset: str
    passed: bool
    warnings: tuple[str, ...]
    results: tuple[Result, ...]

    @property
    def explanation(self) -> str:
        """Why it did not pass, with the first offending rows."""
        failed = [result for result in self.results if result.severity == "error" and not result.success]
        lines = [f"- {result.line}" for result in failed]
        return "\n".join([f"{self.dataset}: {len(failed)} of {len(self.results)} expectations are not met", *lines])

    @classmethod
    def load(cls, folder: Path) -> ValidationReport:
        return cls.read(folder / "validation.json")


def validate(dataset: Dataset, config: DatasetConfig, folder: Path) -> ValidationReport:
    """Judge a prepared data set; writes `validation.json` and the page `docs/index.html` into `folder`.

    Returns the report whether or not it passed. Raises DataError where an expectation cannot be evaluated.
    """
    task = tasks.get(config.task)
    table = pa.concat_tables([dataset.table(split) for split in SPLITS]).combine_chunks()
    kind = "class" if pa.types.is_integer(table.schema.field("target").type) else "mask"
    masks = images.decode_masks(table.column("target").combine_chunks()) if kind == "mask" else None
    samples = facts(table, kind, masks)
    judged = [("samples", samples, suite.of_samples(config.image, task.spec.target))]
    if kind == task.spec.target:  # otherwise that fails, and the task has nothing it could speak of
        _add_task_facts(samples, task, dataset, masks)
        judged[0][2].extend(task.expectations(dataset.card))
        judged.append(("counts", counts(samples, dataset.card.classes, masks), suite.of_counts()))
    results = _judge(judged, folder / "docs")
    report = ValidationReport(
        dataset=dataset.card.name,
        passed=all(result.success for result in results if result.severity == "error"),
        warnings=tuple(result.line for result in results if result.severity == "warning" and not result.success),
        results=tuple(results),
    )
    with writing(folder / "validation.json") as temporary:
        temporary.write_text(report.to_json(), encoding="utf-8")
    return report


# -- the tables ------------------------------------------------------------------------------------------------------


def facts(table: pa.Table, kind: str, masks: Sequence[Any] | None) -> pd.DataFrame:
    """A row a sample: every column but the image and dense targets, and what is known of its duplicates."""
    columns = [name for name in table.column_names if name not in ("image", "target")]
    frame: pd.DataFrame = table.select(columns).to_pandas()
    frame["target_kind"] = kind
    if masks is None:
        frame["target"] = table.column("target").to_pandas()
    else:
        frame["target"] = ["mask" if mask is not None else None for mask in masks]
    by_pixels = frame.groupby("pixels_sha256")["split"]
    frame["splits_with_same_pixels"] = by_pixels.transform("nunique")
    frame["copies_in_split"] = frame.groupby(["pixels_sha256", "split"])["id"].transform("size")
    return frame


def counts(samples: pd.DataFrame, classes: Sequence[str], masks: Sequence[Any] | None) -> pd.DataFrame:
    """A row a split and class: how many of the split's samples show the class. `id` is `SPLIT/CLASS`."""
    if masks is None:
        number = samples["target"].to_numpy(dtype=np.int64, na_value=-1)
        shows = number[:, None] == np.arange(len(classes))
    else:
        seen = [np.bincount(mask.ravel(), minlength=256) if mask is not None else np.zeros(256) for mask in masks]
        shows = (np.array(seen).reshape(-1, 256) > 0)[:, : len(classes)]
    rows = [
        {"id": f"{split}/{name}", "samples": int(shows[(samples["split"] == split).to_numpy(), index].sum())}
        for split in SPLITS
        for index, name in enumerate(classes)
    ]
    return pd.DataFrame(rows)


def _add_task_facts(samples: pd.DataFrame, task: Task, dataset: Dataset, masks: Sequence[Any] | None) -> None:
    """Add the task's own facts about each target as columns; a target that cannot be read has none."""
    targets = masks if masks is not None else samples["target"].tolist()
    rows = [task.facts(target, dataset.card) if target is not None else {} for target in targets]
    for name in sorted({name for row in rows for name in row}):
        samples[name] = [row.get(name) for row in rows]


# -- Great Expectations ----------------------------------------------------------------------------------------------


def _judge(judged: Sequence[tuple[str, pd.DataFrame, list[Expectation]]], docs: Path) -> list[Result]:
    """Evaluate each table's expectations and write their page."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    for name in ("great_expectations", "great_expectations.expectations.expectation"):
        logging.getLogger(name).setLevel(logging.ERROR)
    results: list[Result] = []
    with replacing(docs) as page, TemporaryDirectory() as project, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context = gx.get_context(mode="file", project_root_dir=project)
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        context.update_data_docs_site("local_site", _site(page))
        source = context.data_sources.add_pandas("prepared")
        for name, frame, expectations in judged:
            built = context.suites.add(gx.ExpectationSuite(name=name))
            for number, expectation in enumerate(expectations):
                built.add_expectation(_build(expectation, number))
            batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
            definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=built))
            answer = definition.run(
                batch_parameters={"dataframe": frame},
                result_format={
                    "result_format": "SUMMARY",
                    "unexpected_index_column_names": ["id"],
                    "partial_unexpected_count": EXAMPLES,
                },
            )
            results += _read(name, expectations, [result.to_json_dict() for result in answer.results])
        context.build_data_docs(site_names=["local_site"])
    return results


def _site(folder: Path) -> Any:
    return {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())},
    }


def _build(expectation: Expectation, number: int) -> Any:
    """The Great Expectations object; an unknown kind or argument raises DataError."""
    import great_expectations.expectations as known

    kind = getattr(known, expectation.kind, None)
    if not expectation.kind.startswith("Expect") or kind is None:
        raise DataError(
            f"{expectation.says}: expected the name of a Great Expectations class, received {expectation.kind!r}"
        )
    severity = {"error": "critical", "warning": "warning"}[expectation.severity]
    meta = {"number": number, "severity": expectation.severity}
    try:
        return kind(**expectation.arguments, meta=meta, notes=expectation.says, severity=severity)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{expectation.says}: {expectation.kind} does not take {dict(expectation.arguments)}: {error}"
        ) from error


def _read(table: str, expectations: Sequence[Expectation], answers: Sequence[dict[str, Any]]) -> list[Result]:
    """Great Expectations' answers, matched to what was asked; every question must have been answered."""
    by_number = {answer["expectation_config"]["meta"]["number"]: answer for answer in answers}
    missing = [expectation.says for number, expectation in enumerate(expectations) if number not in by_number]
    if missing or len(answers) != len(expectations):
        raise DataError(f"{table}: expected {len(expectations)} answers, received {len(answers)}; without: {missing}")
    return [_result(expectation, by_number[number]) for number, expectation in enumerate(expectations)]


def _result(expectation: Expectation, answer: dict[str, Any]) -> Result:
    found = answer["result"]
    if "unexpected_count" not in found:
        raise DataError(
            f"{expectation.says}: {expectation.kind} could not be evaluated: {_fault(answer.get('exception_info', {}))}"
        )
    column = expectation.arguments.get("column")
    examples = [f"{row['id']} ({row.get(column)})" for row in found.get("partial_unexpected_index_list") or []]
    return Result(
        expectation=expectation.says,
        kind=expectation.kind,
        severity=expectation.severity,
        success=bool(answer["success"]),
        unexpected_count=int(found["unexpected_count"]),
        rows=int(found["element_count"]),
        examples=tuple(examples[:EXAMPLES]),
    )


def _fault(information: dict[str, Any]) -> str:
    nested = [value for value in information.values() if isinstance(value, dict)] or [information]
    return "; ".join(str(value.get("exception_message")) for value in nested)
