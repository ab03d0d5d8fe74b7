"""What a model answered, and what was asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.files import ArtifactError, writing


@dataclass(frozen=True)
class Predictions:
    """One table, a row a sample: whoever judges a model reads this.

    Columns: `id`, `split`, any `group_*`, then those of the task: a classifier's `target` and `prediction` (int64) and
    `scores` (list of a probability a class); a dense task's per-sample sufficient statistics (`confusion`: list of
    C·C counts, row = target; `calibration`: list of 3·bins sums) in their place.
    `model` and `data` are the digests of what predicted and of what it was shown.
    """

    table: pa.Table
    model: str
    data: str
    classes: tuple[str, ...]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        about = {"model": self.model, "data": self.data, "classes": list(self.classes)}
        table = self.table.replace_schema_metadata({b"convoy": json.dumps(about).encode()})
        with writing(folder / "predictions.parquet") as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def load(cls, folder: Path) -> Predictions:
        path = folder / "predictions.parquet"
        try:
            table = pq.read_table(path)
            about = json.loads((table.schema.metadata or {})[b"convoy"])
            return cls(table, about["model"], about["data"], tuple(about["classes"]))
        except (OSError, KeyError, ValueError) as error:  # pa.ArrowInvalid and json's are ValueErrors
            raise ArtifactError(f"{path}: expected a table of predictions: {error}") from error
