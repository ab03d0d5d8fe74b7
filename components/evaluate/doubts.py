"""Labels that the model's answers make doubtful, of samples that it has not learnt from: a list to go through.

In the form of the review that comes before training (`components.data.inspection.reviewing`): filled in and named as
`checks.reviewed`, its verdicts count the next time.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from components import texts
from components.artifacts import Predictions
from components.data.inspection.reviewing import COLUMNS
from components.files import writing
from components.tasks.capabilities import Doubt, Doubting

REVIEW = "review.csv"
SHOWN = 20  # on the page


def write(task: Doubting, predictions: Predictions, path: Path) -> Sequence[tuple[str, Doubt]]:
    """Write the CSV, a line a doubt; nothing where nothing is doubted. Returns those that the page shows, with ids."""
    found = task.doubts(predictions)
    if not found:
        return ()
    ids = predictions.table.column("id").to_pylist()
    told = [(ids[doubt.row], doubt) for doubt in found]
    with writing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, doubt in told:
            writer.writerow((texts.cell(name), doubt.finding, f"{doubt.score:.4g}", texts.cell(doubt.says), ""))
    return told[:SHOWN]
