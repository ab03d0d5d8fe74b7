"""`python -m tests.strangers [NAME …]`: every told case, what is said, and whether it is right; exit code 1 if not.

What pages of faults tell of downloads without bounds (S12) and of commands that only read (S14) is in
`tests/components/data/sources/test_download.py`, `test_remote.py` and `tests/flows/test_reading_makes_nothing.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.environment import switch_off_telemetry
from tests.strangers.cases import CASES
from tests.strangers.judging import Read, judged


def main(names: list[str]) -> int:
    switch_off_telemetry()
    shown = Table("case", "page", "verdict", "what it says", show_lines=False)
    wrong = 0
    for case in CASES:
        if names and case.name not in names:
            continue
        with TemporaryDirectory() as folder:
            verdict = judged(case, Path(folder) / "project")
        wrong += bool(verdict.wrong)
        right = "right: read" if isinstance(case.right, Read) else "right: refused clearly"
        shown.add_row(*map(Text, (case.title, case.page, str(verdict) or right, verdict.says)))
    Console().print(shown)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
