"""How long the commands that read take where many runs and models are on record.

    python -m benchmarks.stores [--project FOLDER] [--runs 5000] [--models 200]

The store is that of a project in which a line was run, by default this one, multiplied: all of its runs, versions and
decisions are there again under other ids and, in turn, under the names of that many models. Their files are those of
the first. The catalogue has an entry for each model, too. Each command is a process of its own, its time the best of
three; goal: at most 2.5 s.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.machine import ROOT, show

FIRST = "model-0000"
COMMANDS = (("status",), ("runs",), ("runs", "--model", FIRST), ("ledger", FIRST), ("data", "list"))
NAMED = ("registered_models", "registered_model_aliases", "model_versions", "model_version_tags")
MINUTE = 60_000  # milliseconds between two copies of a run
Row = tuple[Any, ...]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--project", type=Path, default=ROOT)
    arguments.add_argument("--runs", type=int, default=5000)
    arguments.add_argument("--models", type=int, default=200)
    options = arguments.parse_args()
    few, _ = measured(options.project.resolve(), 1, 1)
    many, there = measured(options.project.resolve(), options.runs, options.models)
    rows = [(" ".join(("convoy", *words)), f"{few[words]:.2f}", f"{many[words]:.2f}") for words in COMMANDS]
    columns = ("seconds", "of one model", f"of {options.models} models")
    show(f"a store of {there:,} runs", columns, rows)


def measured(project: Path, runs: int, models: int) -> tuple[dict[tuple[str, ...], float], int]:
    """Seconds by command in a store of so many, and how many runs it holds."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        copy_project(project, root)
        with closing(sqlite3.connect(root / ".convoy" / "mlflow.db")) as connection:
            there = multiply(connection, runs, models)
        extend_catalogue(root, models)
        return {words: fastest(root, words) for words in COMMANDS}, there


def copy_project(source: Path, root: Path) -> None:
    """The project's configuration and store; the files of its runs stay where they are."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(source / name, root / name)
    shutil.copytree(source / "recipes", root / "recipes")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    (root / ".convoy").mkdir()
    shutil.copy(source / ".convoy" / "mlflow.db", root / ".convoy")
    (root / ".convoy" / "mlartifacts").symlink_to(source / ".convoy" / "mlartifacts", target_is_directory=True)


@dataclass(frozen=True)
class Table:
    """Rows of one of MLflow's tables, and what its columns are called."""

    name: str
    columns: list[str]
    rows: list[Row]

    def put(self, connection: sqlite3.Connection, rows: list[list[Any]]) -> None:
        marks = ", ".join("?" * len(self.columns))
        connection.executemany(f"insert into {self.name} values ({marks})", rows)  # noqa: S608 — MLflow's own names


def read(connection: sqlite3.Connection, name: str, condition: str, values: list[str]) -> Table:
    columns = [row[1] for row in connection.execute(f"pragma table_info({name})")]
    return Table(name, columns, connection.execute(f"select * from {name} where {condition}", values).fetchall())  # noqa: S608


def multiply(connection: sqlite3.Connection, runs: int, models: int) -> int:
    """Put copies of the newest line's model beside it until there are so many; how many runs there are then."""
    found = connection.execute(
        "select e.experiment_id, e.name from experiments e join registered_models m on m.name = e.name "
        "join runs r on r.experiment_id = e.experiment_id order by r.start_time desc limit 1"
    ).fetchone()
    if found is None:
        sys.exit("expected a project in which a line has registered a version, received one without; `make run` first")
    experiment, name = str(found[0]), str(found[1])
    ids = [row[0] for row in connection.execute("select run_uuid from runs where experiment_id = ?", [experiment])]
    tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
    marks = ", ".join("?" * len(ids))
    of_runs = [read(connection, table, f"run_uuid in ({marks})", ids)
               for table in tables if "run_uuid" in read(connection, table, "0", []).columns]  # fmt: skip
    of_models = [read(connection, table, "name = ?", [name]) for table in NAMED]
    place = read(connection, "experiments", "experiment_id = ?", [experiment])
    known = re.compile("|".join(ids))
    copies = max(1, runs // len(ids))
    for number in range(copies):
        fresh = {each: uuid.uuid4().hex for each in ids}
        model = f"model-{number % models:04d}"
        own = {"experiment_id": str(10_000 + number % models), "name": model}
        back = MINUTE * (copies - number)

        def copied(table: Table, row: Row, fresh: dict[str, str] = fresh, own: dict[str, str] = own,
                   back: int = back) -> list[Any]:  # fmt: skip
            values: list[Any] = []
            for column, value in zip(table.columns, row, strict=True):
                if column == "experiment_id" or (column == "name" and value == name):
                    values.append(own[column])
                elif column in ("start_time", "end_time") and value:
                    values.append(value - back)
                elif value == name:
                    values.append(own["name"])
                elif isinstance(value, str) and column != "artifact_uri":  # where files are stays as it is
                    values.append(known.sub(lambda found: fresh[found[0]], value))
                else:
                    values.append(value)
            return values

        for table in of_runs if number >= models else [place, *of_models, *of_runs]:
            table.put(connection, [copied(table, row) for row in table.rows])
    connection.commit()
    return int(connection.execute("select count(*) from runs").fetchone()[0])


def extend_catalogue(root: Path, models: int) -> None:
    """An entry for each model, like the first there is."""
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    entry = json.dumps(next(iter(params["datasets"].values())))
    params["datasets"] |= {f"data-{number:04d}": json.loads(entry) for number in range(models)}
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def fastest(root: Path, words: tuple[str, ...]) -> float:
    """Wall seconds of a command; ends the benchmark where it fails."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        command = [sys.executable, "-m", "flows", *words]
        subprocess.run(
            command, env={**os.environ, "CONVOY_ROOT": str(root)}, cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )
        taken.append(time.perf_counter() - began)
    return min(taken)


if __name__ == "__main__":
    main()
