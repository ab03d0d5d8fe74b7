"""A registered version's own package, asked as `mlflow models serve` asks it: files in, an answer a row out.

What a file holds is said by the package's signature: a column of bytes takes whole files, one of text a row of each
line. Rows are read and asked some at a time, so as many as there are fit into memory.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from mlflow.types.schema import DataType

from components.artifacts import Model
from components.decoding import LARGEST_BYTES
from components.registry import finding, verification, versions
from components.registry.memory.tracking import Tracking
from components.registry.obstacles import require_whole
from components.registry.versions import RegistryError

ROWS = 64  # that are asked together, as the package itself answers
BYTES = 64 * 2**20  # of rows that wait to be asked together, at most; one row alone may be larger
LONGEST_LINE = 2**20  # bytes

_REFUSED = "INVALID_PARAMETER_VALUE"  # MLflow's word for a row that the package does not take
_WHERE = re.compile(r"^row \d+, column `[^`]*`: ")  # how the package begins: the file says it better


@dataclass(frozen=True)
class Row:
    """What is asked for, where it comes from, and the answer or why there is none."""

    file: Path
    line: int | None = None  # from 1 on, where each line of the file is a row
    value: Any = None  # None where it cannot be read
    answer: Mapping[str, Any] | None = None  # column → plain value
    fault: str | None = None


@dataclass(frozen=True)
class Answering:
    """A version that is loaded and answers."""

    name: str
    version: int
    model: Model
    column: str  # of what it takes
    takes: str  # its type, MLflow's name: `binary` or `string`
    notes: tuple[str, ...]  # aliases of the model that nobody decided, and what it warned of when it was loaded
    package: PyFuncModel

    def answered(self, files: Iterable[Path | Row]) -> Iterator[list[Row]]:
        """All rows of the files in their order, a batch at a time. A file that is a Row already is one with a fault."""
        read = _READ[self.takes]
        every = itertools.chain.from_iterable([each] if isinstance(each, Row) else read(each) for each in files)
        for batch in _batches(every):
            yield self._asked(batch)

    def _asked(self, rows: Sequence[Row]) -> list[Row]:
        """The rows with their answers. Where one is refused all are: each alone says why, the others are asked anew."""
        known = list(rows)
        try:
            answers = self._answers(known)
        except MlflowException as error:
            if error.error_code != _REFUSED:
                raise
            known = [self._tried(row) for row in known]
            answers = self._answers(known)
        return [row if row.fault else replace(row, answer=next(answers)) for row in known]

    def _tried(self, row: Row) -> Row:
        try:
            self._answers([row])
        except MlflowException as error:
            if error.error_code != _REFUSED:
                raise
            return replace(row, fault=_WHERE.sub("", error.message))
        return row

    def _answers(self, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
        values = [row.value for row in rows if row.fault is None]
        if not values:
            return iter(())
        answers: Any = self.package.predict(pd.DataFrame({self.column: values}))
        return iter([{str(key): _plain(value) for key, value in each.items()} for each in answers.to_dict("records")])


def load(tracking: Tracking, text: str) -> Answering:
    """The version that `text` names (as `finding` says), ready to answer.

    Raises RegistryError where there is none, where its files are not those that were registered, and where it takes
    something else than one column of bytes or of text.
    """
    name, version = finding.find_version(tracking, text)
    require_whole(tracking, name, version)
    model = versions.version_model(tracking, name, version)
    folder = versions.version_package(tracking, name, version)
    with _compiling_nothing(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", RuntimeWarning)  # the package's own: of another processor, of a lacking engine
        package = mlflow.pyfunc.load_model(str(folder))
    schema = package.metadata.get_input_schema()
    taken = [] if schema is None else [each for each in schema.inputs if each.required]
    kinds = {each.name: each.type.name for each in taken if isinstance(each.type, DataType)}
    if len(taken) != 1 or not (kinds and set(kinds.values()) <= set(_READ)):
        received = ", ".join(map(str, taken)) or "no signature"
        expected = f"one column of {' or '.join(_READ)} to be asked for"
        raise RegistryError(f"{name} version {version}: expected {expected}, received {received}")
    ((column, takes),) = kinds.items()
    moved = [f"{name}: {each.finding.says}" for each in verification.not_decided_of(tracking, name)]
    notes = (*moved, *(str(each.message) for each in caught))
    return Answering(name, version, model, str(column), takes, notes, package)


@contextmanager
def _compiling_nothing() -> Iterator[None]:
    """Versions of earlier releases have nothing in them that keeps Python from writing beside their code."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def files(places: Sequence[Path], besides: Sequence[Path] = ()) -> Iterator[Path | Row]:
    """The files in their order, folders with all that is below them by name; a folder that cannot be read as a fault.

    Hidden files and folders, links to folders and what lies in `besides` are passed over.
    """
    left = {each.resolve() for each in besides}
    for place in places:
        yield from _below(place, left) if place.is_dir() else [place]


def _below(folder: Path, left: set[Path]) -> Iterator[Path | Row]:
    unread: list[Row] = []

    def note(error: OSError) -> None:
        unread.append(Row(Path(str(error.filename)), fault=f"cannot be read: {error.strerror}"))

    for root, folders, names in os.walk(folder, onerror=note):
        yield from unread
        unread.clear()
        here = Path(root)
        folders[:] = sorted(
            each for each in folders if not each.startswith(".") and (here / each).resolve() not in left
        )
        for each in sorted(names):
            file = here / each
            if not each.startswith(".") and file.is_file() and file.resolve() not in left:
                yield file
    yield from unread


def _whole(file: Path) -> Iterator[Row]:
    """A row of a file's bytes."""
    try:
        size = file.stat().st_size
        if size > LARGEST_BYTES:
            yield Row(file, fault=f"expected at most {LARGEST_BYTES // 2**20} MiB, received {size / 2**20:,.0f}")
        else:
            yield Row(file, value=file.read_bytes())
    except OSError as error:
        yield Row(file, fault=f"cannot be read: {error.strerror}")


def _lines(file: Path) -> Iterator[Row]:
    """A row of each line of a file in UTF-8, without its end; empty lines too, so that rows are the file's own."""
    try:
        with file.open("rb") as stream:
            for number in itertools.count(1):
                line = stream.readline(LONGEST_LINE + 1)
                if not line:
                    return
                if len(line) > LONGEST_LINE:
                    yield Row(file, number, fault=f"expected lines of at most {LONGEST_LINE:,} bytes, received more")
                    return  # what comes behind it is no line
                yield _line(file, number, line)
    except OSError as error:
        yield Row(file, fault=f"cannot be read: {error.strerror}")


def _line(file: Path, number: int, line: bytes) -> Row:
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        return Row(file, number, fault=f"expected text in UTF-8, received byte {line[error.start]:#04x}")
    return Row(file, number, text.rstrip("\r\n"))


_READ: dict[str, Callable[[Path], Iterator[Row]]] = {"binary": _whole, "string": _lines}


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        more = len(row.value) if row.value is not None else 0
        if batch and (len(batch) == ROWS or size + more > BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += more
    if batch:
        yield batch


def _plain(value: Any) -> Any:
    """The same of Python's own types, as JSON has them; None for a number that is none."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
