"""What an inspection keeps of each sample waits in files, not in memory: they have no name, and go when it is done."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

BATCH = 4096  # rows that are read at a time: of thumbnails 4 MB a channel


class Pieces:
    """Bytes of whatever length in a file without a name: eight bytes of memory each."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".pieces.")  # noqa: SIM115 — closed by `__exit__`
        self._ends = array("Q")

    def append(self, contents: Iterable[bytes]) -> None:
        """One each; empty where there is none."""
        self._file.seek(0, 2)
        at = self._ends[-1] if self._ends else 0
        for content in contents:
            self._file.write(content)
            at += len(content)
            self._ends.append(at)

    def __getitem__(self, index: int) -> bytes:
        start = self._ends[index - 1] if index else 0
        self._file.seek(start)
        return self._file.read(self._ends[index] - start)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class Rows:
    """Rows of one shape and kind in a file without a name: written in order, read a batch at a time."""

    def __init__(self, folder: Path, shape: tuple[int, ...], kind: npt.DTypeLike) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".rows.")  # noqa: SIM115 — closed by `__exit__`
        self.shape, self._kind = shape, np.dtype(kind)  # of a row
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def append(self, rows: npt.NDArray[Any]) -> None:
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(rows, dtype=self._kind).data)
        self._rows += len(rows)

    def take(self, indices: npt.NDArray[np.integer] | slice) -> npt.NDArray[Any]:
        """A copy; what is read is mapped only as long as that takes, so that memory does not grow with the file."""
        self._file.flush()
        if self._rows == 0:
            return np.zeros((0, *self.shape), dtype=self._kind)
        mapped = np.memmap(self._file, dtype=self._kind, mode="r", shape=(self._rows, *self.shape))
        return np.array(mapped[indices])

    def batches(self, size: int = BATCH) -> Iterator[tuple[slice, npt.NDArray[Any]]]:
        for start in range(0, self._rows, size):
            rows = slice(start, min(start + size, self._rows))
            yield rows, self.take(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
