"""What the pipeline would make of a source, and which of its own rules that would break: no picture is decoded for it.

Its own functions draw the splits and lay out the data set, and the rules are those that validation asks; only
what an input will be is what its survey foresees, and whether it can be read is the inspection's word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from components.artifacts import Dataset
from components.config import DatasetConfig
from components.data.checking.survey import Survey
from components.data.inspection.base.findings import Decisions
from components.data.preparing.ingest import RawCard, raw_tables
from components.data.preparing.prepare import fitted, prepare
from components.data.preparing.shards import ShardWriter
from components.data.sources.base.form import INPUT, SourceData
from components.data.validation.rules import Broken, broken
from components.data.validation.tables import Tables
from components.inputs.protocol import Described
from components.own_files import remove

RAW, PREPARED, VALIDATED = "raw", "prepared", "validated"  # below the folder of a check


def keeping(data: SourceData, folder: Path) -> SourceData:
    """The same source, of which everything but the inputs is written into `folder/raw` as it passes.

    What an earlier check has left in `folder` goes.
    """
    raw = folder / RAW
    for left in (raw, folder / PREPARED, folder / VALIDATED):
        remove(left)

    def tables() -> Iterator[pa.Table]:
        raw.mkdir(parents=True)
        columns = data.schema.remove(INPUT)
        with ShardWriter(raw, "raw", columns, data.given) as writer:
            for table in data.tables:
                writer.add(table.select(columns.names))
                yield table
        card = RawCard.of(data, writer.rows, fingerprint="")
        (raw / "raw.json").write_text(card.to_json(), encoding="utf-8")

    return replace(data, tables=tables())


def foresee(
    name: str,
    config: DatasetConfig,
    folder: Path,
    survey: Survey,
    corrupt: Mapping[str, str],
    *,
    inspected: Path,
    project: Path,
) -> list[Broken]:
    """The rules that stop the pipeline, and what breaks each.

    `folder` is where `keeping` has written; `corrupt` says of ids why they cannot be read. Raises DataError where
    the pipeline stops before it comes to its rules: splits that cannot be drawn, for example.
    """
    describe = partial(_described, survey=survey, corrupt=corrupt)
    decisions = Decisions.load(inspected)
    dataset = prepare(name, config, folder / RAW, folder / PREPARED, decisions, describe=describe)
    found = broken(Tables(dataset, config, inspected))
    if config.checks.expectations is not None:
        found += _of_the_user(dataset, config, folder / VALIDATED, project, inspected, {each.says for each in found})
    return found


def _of_the_user(
    dataset: Dataset, config: DatasetConfig, folder: Path, project: Path, inspected: Path, known: Collection[str]
) -> list[Broken]:
    """What a user's own expectations come to: any kind of Great Expectations, so that it must judge them itself."""
    from components.data.validation.validate import validate

    folder.mkdir()
    report = validate(dataset, config, folder, project=project, inspected=inspected)
    return [
        Broken(result.expectation, "", result.examples, result.unexpected_count, result.rows)
        for result in report.results
        if result.severity == "error" and not result.success and result.expectation not in known
    ]


def _described(
    raw: Path, config: DatasetConfig, card: RawCard, *, survey: Survey, corrupt: Mapping[str, str]
) -> Iterator[tuple[pa.Table, Described]]:
    at, declared = 0, config.declared
    for table in raw_tables(raw):
        rows = slice(at, at + len(table))
        at = rows.stop
        ids = table.column("id").to_pylist()
        sizes, described = survey.inputs.foreseen(rows, ids, corrupt, declared)
        yield table if sizes is None else fitted(table, card.target, sizes, declared, card.about), described
