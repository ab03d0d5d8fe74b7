"""What `dvc.yaml` runs: `python -m components.data.stages {watch,ingest,…} NAME`, in the project's root.

A stage dies with the process that started it, writes whole folders or nothing, and leaves the reason of a failure in
`.convoy/data/NAME.error`, where `versions` reads it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from components.config import ConfigurationError, DatasetConfig
from components.data import places
from components.data.errors import DataError, check_name
from components.data.processes import PARENT_VARIABLE, end_with_parent
from components.environment import keep_inside, switch_off_telemetry
from components.secrecy import scrub, watch_logs, watch_streams

STAGES = tuple(places.FOLDERS)
LOG_VARIABLE = "CONVOY_STAGE_LOG"  # a file that takes what a stage prints


def run(stage: str, name: str, project: Path) -> None:
    """One stage of one data set; raises DataError, ConfigurationError or OSError."""
    from components.config import dataset_entry

    config = dataset_entry(project, check_name(name))
    if stage not in _WORK:
        raise DataError(f"expected a stage of {', '.join(STAGES)}, received {stage!r}")
    # `watch` runs before every other stage and looks for all of them, since DVC removes an output before its stage.
    writing = STAGES if stage == "watch" else (stage,)
    check_safe(name, config, project, writing)
    _WORK[stage](name, config, project)


def check_safe(name: str, config: DatasetConfig, project: Path, writing: Iterable[str] = STAGES) -> None:
    """Raises DataError where stages that are about to write could take anything of a person's with them."""
    from components.data.sources import apart
    from components.data.stages import moving, outputs

    moving.check_declared(project)
    apart.check_entry(name, config, project)
    outputs.check_outputs(project, name, config.checks, writing)


def _watch(name: str, config: DatasetConfig, project: Path) -> None:
    from components.data.stages.watch import watch

    _move_alone(project)
    watch(name, config, project)


def _move_alone(project: Path) -> None:
    """Under plain `dvc`, which has read dvc.lock already; `versions` does it before DVC starts."""
    from components.data.stages import moving

    if not os.environ.get(PARENT_VARIABLE) and (told := moving.settle_alone(project)) is not None:
        raise DataError(f"{told}. DVC has read dvc.lock before that: run the same command again")


def _ingest(name: str, config: DatasetConfig, project: Path) -> None:
    from components.data.preparing.ingest import ingest
    from components.data.stages.watch import confirm

    folder = places.ingested(project, name)
    _clean(folder)
    confirm(name, project, ingest(config.source, project, folder).fingerprint)


def _inspect(name: str, config: DatasetConfig, project: Path) -> None:
    from components.data.inspection.inspect import inspect
    from components.data.preparing.ingest import ingested

    folder = places.inspected(project, name)
    _clean(folder)
    inspect(ingested(places.ingested(project, name)), config, project, folder)


def _prepare(name: str, config: DatasetConfig, project: Path) -> None:
    from components.data.inspection.base.findings import Decisions
    from components.data.preparing.prepare import prepare

    folder = places.prepared(project, name)
    _clean(folder)
    prepare(name, config, places.ingested(project, name), folder, Decisions.load(places.inspected(project, name)))


def _validate(name: str, config: DatasetConfig, project: Path) -> None:
    from components.artifacts import Dataset
    from components.data.validation.validate import validate

    dataset = Dataset.load(places.prepared(project, name), digest="not versioned yet")
    report = validate(
        dataset, config, places.validated(project, name), project=project, inspected=places.inspected(project, name)
    )
    if not report.passed:
        raise DataError(report.explanation)


_WORK: dict[str, Callable[[str, DatasetConfig, Path], None]] = {
    "watch": _watch,
    "ingest": _ingest,
    "inspect": _inspect,
    "prepare": _prepare,
    "validate": _validate,
}


def main(arguments: list[str]) -> int:
    """Exit code: 0, or 1 with the reason on standard error and in the error file."""
    _log_to_file()
    end_with_parent()
    switch_off_telemetry()
    if len(arguments) != 2:
        print(f"expected a stage ({', '.join(STAGES)}) and a data set, received {arguments}", file=sys.stderr)  # noqa: T201
        return 2
    stage, name = arguments
    project = Path.cwd()
    try:
        keep_inside(project)
        watch_logs()
        watch_streams()
        run(stage, name, project)
    except (DataError, ConfigurationError, ValueError, OSError) as error:
        return _report(stage, name, project, error)
    places.error_file(project, name).unlink(missing_ok=True)
    return 0


def _report(stage: str, name: str, project: Path, error: ValueError | OSError) -> int:
    reason = str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        reason = f"{where}{error.strerror or error}; nothing was left half-written. Put it right and run again"
    if error.__cause__ is not None and os.environ.get(LOG_VARIABLE):  # for whoever mends it
        print(scrub("".join(traceback.format_exception(error))), file=sys.stderr)  # noqa: T201
    message = scrub(f"{stage} {name}: {reason}")
    print(message, file=sys.stderr)  # noqa: T201
    try:
        if places.error_file(project, check_name(name)):
            path = places.error_file(project, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(message, encoding="utf-8")
    except (DataError, OSError) as second:  # the disk that is full, most likely: the message is on standard error
        print(f"(not kept in a file: {second})", file=sys.stderr)  # noqa: T201
    return 1


def _clean(folder: Path) -> None:
    """Remove what a killed stage has left beside its folder, or beside what that links to (`files.replacing`)."""
    real = folder.resolve()
    for left in real.parent.glob(f".{real.name}.*"):
        if re.fullmatch(r"[0-9a-f]{8}(\.old)?", left.name.removeprefix(f".{real.name}.")) and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)


def _log_to_file() -> None:
    log = os.environ.get(LOG_VARIABLE)
    if log:
        with Path(log).open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
