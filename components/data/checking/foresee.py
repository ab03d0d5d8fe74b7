"""What the line would make of a source, and which of its own rules that would break: no picture is decoded for it.

The line's own functions draw the splits and lay out the data set, and the rules are those that validation asks; only
what a picture will be is read off its header here, and whether it can be decoded is the inspection's word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.artifacts import Dataset
from components.config import DatasetConfig, ImageDeclaration
from components.data.checking.survey import Survey
from components.data.inspection.findings import Decisions
from components.data.preparing import facts
from components.data.preparing.ingest import RawCard, raw_tables
from components.data.preparing.prepare import fitted, prepare
from components.data.preparing.shards import ShardWriter
from components.data.sources.base.form import SourceData
from components.data.validation.rules import Broken, broken
from components.data.validation.tables import Tables
from components.own_files import remove

RAW, PREPARED, VALIDATED = "raw", "prepared", "validated"  # below the folder of a check


def keeping(data: SourceData, folder: Path) -> SourceData:
    """The same source, of which everything but the pictures is written into `folder/raw` as it passes.

    What an earlier check has left in `folder` goes.
    """
    raw = folder / RAW
    for left in (raw, folder / PREPARED, folder / VALIDATED):
        remove(left)

    def tables() -> Iterator[pa.Table]:
        raw.mkdir(parents=True)
        columns = pa.schema([field for field in data.schema if field.name != "image"])
        with ShardWriter(raw, "raw", columns) as writer:
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
    """The rules that stop the line, and what breaks each.

    `folder` is where `keeping` has written; `corrupt` says of ids why they cannot be decoded. Raises DataError where
    the line stops before it comes to its rules: splits that cannot be drawn, for example.
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
    raw: Path, declared: ImageDeclaration, card: RawCard, *, survey: Survey, corrupt: Mapping[str, str]
) -> Iterator[tuple[pa.Table, facts.Described]]:
    at = 0
    for table in raw_tables(raw):
        rows, headers = table, survey.headers[at : at + len(table)]
        at += len(table)
        sizes = [None if header is None else header.size for header in headers]
        if declared.resize:
            rows = fitted(rows, card.target, sizes, declared)
        told: list[dict[str, Any]] = []
        for name, header in zip(rows.column("id").to_pylist(), headers, strict=True):
            if name in corrupt or header is None:
                told.append({"decodable": False, "problem": corrupt.get(name, "no image")})
            else:
                told.append({"decodable": True} | facts.foretold(header.size, header.mode, declared))
        yield rows, _without_pixels(told, declared)


def _without_pixels(told: list[dict[str, Any]], declared: ImageDeclaration) -> facts.Described:
    columns = {name: pa.array([each.get(name) for each in told], kind) for name, kind in facts.FACTS}
    none = np.zeros((len(told), declared.channels), dtype=np.int64)
    return facts.Described(pa.nulls(len(told), pa.binary()), columns, none, none, none[:, 0])
