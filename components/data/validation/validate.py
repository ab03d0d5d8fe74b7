"""Is this data valid? The one package of Great Expectations.

What is asked comes from the rule book (`rules`) and from the user (`expectations`), the rows they speak
of from `tables`; this module has Great Expectations judge them, and turns its answers into a report. An expectation
that cannot be evaluated, or whose kind is unknown, raises: nothing passes unjudged.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pandas as pd

from components import texts
from components.artifacts import Card, Dataset
from components.config import DatasetConfig
from components.data.errors import DataError
from components.data.validation import expectations
from components.data.validation.rules import EXAMPLES, Table, book
from components.data.validation.tables import Tables
from components.files import replacing, writing
from components.inputs.protocol import Expectation


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


def validate(
    dataset: Dataset, config: DatasetConfig, folder: Path, *, project: Path, inspected: Path
) -> ValidationReport:
    """Judge a prepared data set; writes `validation.json` and the page `docs/index.html` into `folder`.

    `project` is where the user's own expectations lie, `inspected` what the inspection wrote. Returns the report
    whether or not it passed. Raises DataError where an expectation cannot be evaluated.
    """
    tables = Tables(dataset, config, inspected)
    card, own = dataset.card, expectations.read(project, config.checks.expectations)
    judged = [replace(table, expectations=[*table.expectations, *own[table.name]]) for table in book(tables)]
    unheard = [name for name, given in own.items() if given and name not in {table.name for table in judged}]
    if unheard:
        raise DataError(
            f"{config.checks.expectations}: expected tables that this data has ({', '.join(t.name for t in judged)}), "
            f"received expectations of {', '.join(unheard)}"
        )
    results = _judge(judged, folder / "docs")
    report = ValidationReport(
        dataset=card.name,
        passed=all(result.success for result in results if result.severity == "error"),
        warnings=tuple(result.line for result in results if result.severity == "warning" and not result.success),
        results=tuple(results),
    )
    with writing(folder / "validation.json") as temporary:
        temporary.write_text(report.to_json(), encoding="utf-8")
    return report


# -- Great Expectations ----------------------------------------------------------------------------------------------


def _judge(judged: Sequence[Table], docs: Path) -> list[Result]:
    """Evaluate each table's expectations and write their page.

    What is said of single rows is judged some rows at a time and counted together; what is said of a whole column
    (a mean, an order) is given the whole column.
    """
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
        for table in judged:
            results += _judge_table(context, source, table)
        context.build_data_docs(site_names=["local_site"])
    return results


def _judge_table(context: Any, source: Any, table: Table) -> list[Result]:
    asked = dict(enumerate(table.expectations))
    by_row = {at: expectation for at, expectation in asked.items() if _is_of_rows(expectation)}
    whole = {at: expectation for at, expectation in asked.items() if at not in by_row}
    answers: dict[int, list[dict[str, Any]]] = {at: [] for at in asked}
    for number, frame in enumerate(table.frames() if by_row else ()):
        name = table.name if number == 0 else f"{table.name} {number + 1}"
        for at, answer in _evaluate(context, source, name, frame, by_row).items():
            answers[at].append(answer)
    if whole:
        columns = _columns_of(list(whole.values()))
        frame = pd.concat([_narrowed(frame, columns) for frame in table.frames()], ignore_index=True)
        for at, answer in _evaluate(context, source, f"{table.name}, whole", frame, whole).items():
            answers[at].append(answer)
    return [_result(expectation, answers[at]) for at, expectation in asked.items()]


def _is_of_rows(expectation: Expectation) -> bool:
    """Whether each row is judged by itself, so that counts of some rows at a time add up."""
    from great_expectations.expectations import expectation as kinds

    rows = (kinds.ColumnMapExpectation, kinds.ColumnPairMapExpectation, kinds.MulticolumnMapExpectation)
    return issubclass(_kind(expectation), rows) and expectation.kind not in _OF_ALL_ROWS


# Great Expectations counts these row by row, but no row can be judged without the others.
_OF_ALL_ROWS = frozenset(
    {
        "ExpectColumnValuesToBeUnique",
        "ExpectCompoundColumnsToBeUnique",
        "ExpectColumnValuesToBeIncreasing",
        "ExpectColumnValuesToBeDecreasing",
    }
)


def _columns_of(expectations: Sequence[Expectation]) -> list[str] | None:
    """The columns they name, or None where one of them speaks of the table itself."""
    names: list[str] = []
    for expectation in expectations:
        given = expectation.arguments
        own = [given[key] for key in ("column", "column_A", "column_B") if key in given] + [
            *given.get("column_list", ())
        ]
        if not own:
            return None
        names += own
    return [*dict.fromkeys(["id", *names])]


def _narrowed(frame: pd.DataFrame, columns: list[str] | None) -> pd.DataFrame:
    return frame if columns is None else frame[[name for name in columns if name in frame.columns]]


def _evaluate(
    context: Any, source: Any, name: str, frame: pd.DataFrame, asked: Mapping[int, Expectation]
) -> dict[int, dict[str, Any]]:
    """Great Expectations' answer to each question about one frame; every question must have been answered."""
    import great_expectations as gx

    built = context.suites.add(gx.ExpectationSuite(name=name))
    for number, expectation in asked.items():
        built.add_expectation(_build(expectation, number))
    batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=built))
    done = definition.run(
        batch_parameters={"dataframe": frame},
        result_format={
            "result_format": "SUMMARY",
            "unexpected_index_column_names": ["id"],
            "partial_unexpected_count": EXAMPLES,
        },
    )
    answers = {
        int(answer["expectation_config"]["meta"]["number"]): answer
        for answer in (result.to_json_dict() for result in done.results)
    }
    if set(answers) != set(asked) or len(done.results) != len(asked):
        raise DataError(f"{name}: expected answers to {sorted(asked)}, received {sorted(answers)}")
    return answers


def _site(folder: Path) -> Any:
    return {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())},
    }


def _kind(expectation: Expectation) -> Any:
    """Great Expectations' class of that name; DataError where there is none."""
    import great_expectations.expectations as known

    kind = getattr(known, expectation.kind, None)
    if not expectation.kind.startswith("Expect") or kind is None:
        raise DataError(
            f"{expectation.says}: expected the name of a Great Expectations class, received {expectation.kind!r}"
        )
    return kind


def _build(expectation: Expectation, number: int) -> Any:
    """The Great Expectations object; an unknown argument raises DataError."""
    severity = {"error": "critical", "warning": "warning"}[expectation.severity]
    meta = {"number": number, "severity": expectation.severity}
    try:
        return _kind(expectation)(**expectation.arguments, meta=meta, notes=expectation.says, severity=severity)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{expectation.says}: {expectation.kind} does not take {dict(expectation.arguments)}: {error}"
        ) from error


def _result(expectation: Expectation, answers: Sequence[dict[str, Any]]) -> Result:
    """What the answers about all parts of a table come to."""
    for answer in answers:
        if not {"unexpected_count", "observed_value"} & answer["result"].keys():
            fault = _fault(answer.get("exception_info", {}))
            raise DataError(f"{expectation.says}: {expectation.kind} could not be evaluated: {fault}")
    found = [answer["result"] for answer in answers]
    success = all(answer["success"] for answer in answers)
    if "unexpected_count" not in found[0]:  # of a whole column: there is a value, and there are no rows
        count, rows, examples = int(not success), 1, [f"received {found[0]['observed_value']}"]
    else:
        count, rows = (sum(int(each[key]) for each in found) for key in ("unexpected_count", "element_count"))
        judged = rows - sum(int(each.get("missing_count") or 0) for each in found)
        if len(answers) > 1:  # a part may fail its share where the whole does not
            success = judged == 0 or (judged - count) / judged >= float(expectation.arguments.get("mostly", 1.0))
        column = expectation.arguments.get("column")
        examples = [
            f"{texts.shown(str(row['id']))} ({texts.shown(str(row.get(column)), 60)})"
            for each in found
            for row in each.get("partial_unexpected_index_list") or []
        ]
    return Result(
        expectation=expectation.says,
        kind=expectation.kind,
        severity=expectation.severity,
        success=success,
        unexpected_count=count,
        rows=rows,
        examples=tuple(examples[:EXAMPLES]),
    )


def _fault(information: dict[str, Any]) -> str:
    nested = [value for value in information.values() if isinstance(value, dict)] or [information]
    return "; ".join(str(value.get("exception_message")) for value in nested)
